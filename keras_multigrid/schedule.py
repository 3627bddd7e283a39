"""The multigrid schedule: what the mini-batch of every training step looks like.

Multigrid training (Wu, Girshick, He, Feichtenhofer, Krähenbühl, "A Multigrid Method for Efficiently
Training Video Models", CVPR 2020, arXiv 1912.00998) keeps the work of a step constant,
`clips * frames * height * width`, and varies the shape: coarse grids with many clips first, fine
grids with few clips last. This file is plain arithmetic on the standard library.
"""

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SQRT_HALF = math.sqrt(0.5)

# Paper, section 3.2: frames and crop of the four base grids, as shares of the baseline's.
LONG_CYCLE = ((0.25, SQRT_HALF), (0.5, SQRT_HALF), (0.5, 1.0), (1.0, 1.0))
# Paper, section 3.2: the two small crops of the short cycle; the third is the base grid's own.
SHORT_CYCLE = (0.5, SQRT_HALF)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Shape of one mini-batch, (batch_size, num_frames, crop_size, crop_size, 3).

    Args:
        batch_size: clips in the mini-batch, over all replicas.
        num_frames: frames of each clip.
        crop_size: height and width of each clip, in pixels.

    Raises:
        ValueError: if one of them is not a positive integer.

    Example:

    >>> Grid(batch_size=64, num_frames=32, crop_size=224)
    Grid(batch_size=64, num_frames=32, crop_size=224)
    """

    batch_size: int
    num_frames: int
    crop_size: int

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_count(field.name, getattr(self, field.name))

    @property
    def voxels(self) -> int:
        """Pixels of the whole mini-batch: the work of a step."""
        return self.batch_size * self.num_frames * self.crop_size**2

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Shape of the mini-batch, channels last."""
        return (self.batch_size, self.num_frames, self.crop_size, self.crop_size, 3)

    def __str__(self) -> str:
        return f"{self.batch_size} x {self.num_frames} x {self.crop_size}²"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A run of steps with one base grid and one stage of the learning rate.

    Args:
        first_step: the first step of the phase.
        end_step: the step after its last.
        first_epoch: passes over the training videos before the phase; whole with
            `round_to_epochs`, else a fraction.
        end_epoch: passes over the training videos at its end.
        first_clip: clips consumed before the phase.
        base: grid that the long cycle sets.
        short_cycle: grids that the steps of the phase take in turn, smallest crop first.
        lr_stage: how often the baseline has cut its learning rate, 0 at the start.
        relative_batch_size: clips of the base grid relative to the baseline's.
        relative_learning_rate: `decay ** lr_stage * relative_batch_size`.
        first_progress: share of the baseline's training that the phase starts at, in [0, 1].
        end_progress: share of the baseline's training that it ends at, in [0, 1].
    """

    first_step: int
    end_step: int
    first_epoch: float
    end_epoch: float
    first_clip: int
    base: Grid
    short_cycle: tuple[Grid, ...]
    lr_stage: int
    relative_batch_size: int
    relative_learning_rate: float
    first_progress: float
    end_progress: float

    @property
    def num_steps(self) -> int:
        return self.end_step - self.first_step

    @property
    def clips_per_cycle(self) -> int:
        """Clips of one turn of the short cycle."""
        return sum(grid.batch_size for grid in self.short_cycle)

    def grid(self, step: int) -> Grid:
        """The grid of a step, which may lie beyond the end of the phase."""
        return self.short_cycle[(step - self.first_step) % len(self.short_cycle)]

    def clips_before(self, step: int) -> int:
        """Clips consumed by all steps before `step`, which may lie beyond the end of the phase."""
        turns, rest = divmod(step - self.first_step, len(self.short_cycle))
        begun = sum(grid.batch_size for grid in self.short_cycle[:rest])
        return self.first_clip + turns * self.clips_per_cycle + begun

    def epoch(self, step: float) -> float:
        """Passes over the training videos before `step`, linear within the phase."""
        share = (step - self.first_step) / self.num_steps
        return self.first_epoch + share * (self.end_epoch - self.first_epoch)

    def progress(self, step: float) -> float:
        """Share of the baseline's training that `step` stands for, linear within the phase."""
        share = (step - self.first_step) / self.num_steps
        return self.first_progress + share * (self.end_progress - self.first_progress)


@dataclasses.dataclass(frozen=True)
class MultigridSchedule:
    """Grid, clips and learning-rate stage of every step, from the baseline's own settings.

    Everything is a pure function of the settings and the step: nothing is counted or stored.

    Args:
        base: the baseline's grid, which the schedule ends with.
        num_clips: videos in the training set; an epoch takes one clip of each.
        epochs: the baseline's length, in epochs.
        boundaries: epochs at which the baseline cuts its learning rate. Each stage before the last
            boundary runs once through the long cycle; what follows is fine-tuning at the base grid
            (paper, section 3.3).
        decay: factor of each cut.
        epoch_factor: length in epochs relative to the baseline's, when a cycle is on. Coarse epochs
            are cheap: at the default 1.5 the published recipes take 3.4 times fewer steps.
        long_cycle: (frames, crop) of each base grid as shares of the baseline's, in order; `()`
            turns the long cycle off.
        short_cycle: crops as shares of the baseline's, smallest first, ahead of the base grid's own;
            `()` turns the short cycle off.
        round_to_epochs: end every phase at a whole epoch, as the published schedules do. This can
            erase a phase of a short recipe; by default phases end at the nearest step.
        long_cycles: how often to go through the long cycle where there are no boundaries.

    Raises:
        ValueError: for any setting that makes no schedule.

    Example:

    >>> schedule = MultigridSchedule(
    ...     base=Grid(batch_size=64, num_frames=32, crop_size=224),
    ...     num_clips=239_975, epochs=239, boundaries=(94, 154, 196), round_to_epochs=True)
    >>> schedule.grid(0)
    Grid(batch_size=1024, num_frames=8, crop_size=112)
    >>> round(schedule.baseline_steps / schedule.total_steps, 2)
    3.42
    """

    base: Grid
    num_clips: int
    epochs: int
    boundaries: tuple[int, ...] = ()
    decay: float = 0.1
    epoch_factor: float = 1.5
    long_cycle: tuple[tuple[float, float], ...] = LONG_CYCLE
    short_cycle: tuple[float, ...] = SHORT_CYCLE
    round_to_epochs: bool = False
    long_cycles: int = 1

    def __post_init__(self):
        _check_settings(self)
        # gin and JSON give lists: a frozen value must be hashable.
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        object.__setattr__(self, "long_cycle", tuple(tuple(shape) for shape in self.long_cycle))
        object.__setattr__(self, "short_cycle", tuple(self.short_cycle))
        _check_cycles(self)
        if not self.phases:
            raise ValueError(
                "The schedule has no steps: no phase lasts "
                f"{'half an epoch' if self.round_to_epochs else 'half a step'}. "
                f"Received: num_clips={self.num_clips}, epochs={self.epochs}, "
                f"epoch_factor={self.epoch_factor}. Use more epochs."
            )

    @functools.cached_property
    def phases(self) -> tuple[Phase, ...]:
        """All phases, in order; those too short for a single step are left out."""
        lengths = _phase_lengths(self)
        return _whole_epochs(self, lengths) if self.round_to_epochs else _exact(self, lengths)

    @property
    def total_steps(self) -> int:
        """Steps of the whole schedule."""
        return self.phases[-1].end_step

    @property
    def baseline_steps(self) -> int:
        """Steps of the baseline, which trains at the base grid alone."""
        if self.round_to_epochs:
            return self.epochs * (self.num_clips // self.base.batch_size)
        return round(self.epochs * self.num_clips / self.base.batch_size)

    @property
    def total_clips(self) -> int:
        """Clips that the whole schedule consumes."""
        return self.clips_before(self.total_steps)

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Every grid that the schedule visits, once each, in order of first use."""
        return tuple(dict.fromkeys(grid for phase in self.phases for grid in phase.short_cycle))

    @functools.cached_property
    def _end_steps(self) -> tuple[int, ...]:
        return tuple(phase.end_step for phase in self.phases)

    def phase(self, step: float) -> Phase:
        """The phase of a step; beyond the last step the last phase goes on."""
        if step < 0:
            raise ValueError(f"`step` must not be negative. Received: step={step}.")
        index = bisect.bisect_right(self._end_steps, step)
        return self.phases[min(index, len(self.phases) - 1)]

    def grid(self, step: int) -> Grid:
        """Shape of the mini-batch of a step."""
        return self.phase(step).grid(step)

    def clips_before(self, step: int) -> int:
        """Clips consumed by all steps before `step`: the position of its first clip."""
        return self.phase(step).clips_before(step)

    def epoch(self, step: float) -> float:
        """Passes over the training videos before `step`."""
        return self.phase(step).epoch(step)

    def progress(self, step: float) -> float:
        """Share of the baseline's training that `step` stands for, at most 1."""
        return min(self.phase(step).progress(step), 1.0)

    def baseline(self) -> "MultigridSchedule":
        """The same training without cycles."""
        return dataclasses.replace(self, long_cycle=(), short_cycle=())

    def get_config(self) -> dict[str, Any]:
        """The settings as plain values, for `from_config`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "MultigridSchedule":
        """The schedule of a `get_config()`."""
        return cls(**{**config, "base": Grid(**config["base"])})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Length:
    """A phase before rounding: what it is and how long it lasts, in epochs."""

    epochs: float
    shape: tuple[float, float]
    lr_stage: int
    end_progress: float


def _phase_lengths(schedule: MultigridSchedule) -> list[_Length]:
    """Real-valued phases; both ways of rounding start from this list."""
    if schedule.long_cycle:
        return _long_cycle_lengths(schedule)
    factor = schedule.epoch_factor if schedule.short_cycle else 1.0
    ends = (*schedule.boundaries, schedule.epochs)
    return [
        _Length(
            epochs=(end - start) * factor,
            shape=(1.0, 1.0),
            lr_stage=stage,
            end_progress=end / schedule.epochs,
        )
        for stage, (start, end) in enumerate(itertools.pairwise((0, *ends)))
    ]


def _long_cycle_lengths(schedule: MultigridSchedule) -> list[_Length]:
    """Paper, section 3.3: all base grids of a stage get the same number of steps."""
    means = [_mean_relative_batch(schedule, shape) for shape in schedule.long_cycle]
    lengths = []
    for stage, (start, end) in enumerate(_long_cycle_stages(schedule)):
        for index, (shape, mean) in enumerate(zip(schedule.long_cycle, means, strict=True)):
            progress = start + (end - start) * (index + 1) / len(means)
            lengths.append(
                _Length(
                    epochs=(end - start) * mean / sum(means),
                    shape=shape,
                    lr_stage=stage if schedule.boundaries else 0,
                    end_progress=progress / schedule.epochs,
                )
            )
    lengths += _fine_tuning(schedule, saving=sum(means) / len(means), mean=means[-1])
    scale = schedule.epochs * schedule.epoch_factor / sum(length.epochs for length in lengths)
    return [dataclasses.replace(length, epochs=length.epochs * scale) for length in lengths]


def _long_cycle_stages(schedule: MultigridSchedule) -> Iterator[tuple[float, float]]:
    """First and end epoch of the baseline for every turn of the long cycle."""
    if schedule.boundaries:
        return itertools.pairwise((0, *schedule.boundaries))
    turns = schedule.long_cycles
    return itertools.pairwise(schedule.epochs * turn / turns for turn in range(turns + 1))


def _fine_tuning(schedule: MultigridSchedule, *, saving: float, mean: float) -> list[_Length]:
    """The baseline's last stage at the last grid: half at the LR before the cut, half after it."""
    if not schedule.boundaries:
        return []
    stages, last = len(schedule.boundaries), schedule.boundaries[-1]
    epochs = (schedule.epochs - last) / saving * mean
    middle = (last + schedule.epochs) / 2
    shape = schedule.long_cycle[-1]
    return [
        _Length(epochs=epochs / 2, shape=shape, lr_stage=stage, end_progress=end / schedule.epochs)
        for stage, end in ((stages - 1, middle), (stages, schedule.epochs))
    ]


def _mean_relative_batch(schedule: MultigridSchedule, shape: tuple[float, float]) -> float:
    """Mean clips over the short cycle relative to the baseline's, as published.

    The short crops enter unrounded, the base grid's own rounded.
    """
    base = schedule.base
    frames, crop = _frames_and_crop(base, shape)
    crops = [base.crop_size * share for share in schedule.short_cycle] + [crop]
    work = base.num_frames * base.crop_size**2
    return sum(round(work / (frames * crop**2)) for crop in crops) / len(crops)


def _frames_and_crop(base: Grid, shape: tuple[float, float]) -> tuple[int, int]:
    return round(base.num_frames * shape[0]), round(base.crop_size * shape[1])


def _base_grid(schedule: MultigridSchedule, shape: tuple[float, float]) -> tuple[Grid, int]:
    """Grid of a long-cycle shape and its clips relative to the baseline's."""
    base = schedule.base
    frames, crop = _frames_and_crop(base, shape)
    relative = round(base.num_frames * base.crop_size**2 / (frames * crop**2))
    grid = Grid(batch_size=relative * base.batch_size, num_frames=frames, crop_size=crop)
    return grid, relative


def _short_cycle(schedule: MultigridSchedule, base: Grid) -> tuple[Grid, ...]:
    """Paper, section 3.2: small crops with more clips, never larger than the base grid's crop."""
    small = (round(schedule.base.crop_size * share) for share in schedule.short_cycle)
    crops = [min(crop, base.crop_size) for crop in small] + [base.crop_size]
    return tuple(
        Grid(
            batch_size=base.batch_size * round((base.crop_size / crop) ** 2),
            num_frames=base.num_frames,
            crop_size=crop,
        )
        for crop in crops
    )


def _exact(schedule: MultigridSchedule, lengths: Sequence[_Length]) -> tuple[Phase, ...]:
    """Phases that end at the nearest step."""
    phases, epochs, steps = [], 0.0, 0.0
    for length in lengths:
        base, _ = _base_grid(schedule, length.shape)
        grids = _short_cycle(schedule, base)
        mean_batch = sum(grid.batch_size for grid in grids) / len(grids)
        epochs += length.epochs
        steps += length.epochs * schedule.num_clips / mean_batch
        _append(phases, schedule, length, end_step=round(steps), end_epoch=epochs)
    return tuple(phases)


def _whole_epochs(schedule: MultigridSchedule, lengths: Sequence[_Length]) -> tuple[Phase, ...]:
    """Phases that end at whole epochs, each of as many whole steps as its clips fill."""
    phases, end_step, end_epoch = [], 0, 0
    for length, end in zip(lengths, _rounded_ends(schedule, lengths), strict=True):
        base, _ = _base_grid(schedule, length.shape)
        grids = _short_cycle(schedule, base)
        clips = sum(grid.batch_size for grid in grids)
        end_step += (end - end_epoch) * (schedule.num_clips * len(grids) // clips)
        end_epoch = end
        _append(phases, schedule, length, end_step=end_step, end_epoch=end_epoch)
    return tuple(phases)


def _rounded_ends(schedule: MultigridSchedule, lengths: Sequence[_Length]) -> list[int]:
    """Whole epochs at which the phases end, by the published rules."""
    ends = list(itertools.accumulate(length.epochs for length in lengths))
    if not schedule.long_cycle:
        return [int(end) for end in ends]
    ends = [round(end) for end in ends]
    if schedule.boundaries:
        # Fine-tuning is rounded as one phase, then halved downwards.
        ends[-2] = (ends[-3] + ends[-1]) // 2
    return ends


def _append(phases, schedule, length: _Length, *, end_step: int, end_epoch: float) -> None:
    """Add the phase that ends at `end_step`, unless rounding left it no step."""
    last = phases[-1] if phases else None
    first_step = last.end_step if last else 0
    if end_step == first_step:
        return
    base, relative = _base_grid(schedule, length.shape)
    phases.append(
        Phase(
            first_step=first_step,
            end_step=end_step,
            first_epoch=last.end_epoch if last else 0,
            end_epoch=end_epoch,
            first_clip=last.clips_before(first_step) if last else 0,
            base=base,
            short_cycle=_short_cycle(schedule, base) if schedule.short_cycle else (base,),
            lr_stage=length.lr_stage,
            relative_batch_size=relative,
            relative_learning_rate=schedule.decay**length.lr_stage * relative,
            first_progress=last.end_progress if last else 0.0,
            end_progress=length.end_progress,
        )
    )


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")


def _check_positive(name: str, value: object) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ValueError(f"`{name}` must be a positive number. Received: {name}={value!r}.")


def _check_settings(schedule: MultigridSchedule) -> None:
    if not isinstance(schedule.base, Grid):
        raise ValueError(
            f"`base` must be a Grid. Received: base={schedule.base!r}. "
            "Use Grid(batch_size=64, num_frames=32, crop_size=224)."
        )
    for name in ("num_clips", "epochs", "long_cycles"):
        _check_count(name, getattr(schedule, name))
    for name in ("decay", "epoch_factor"):
        _check_positive(name, getattr(schedule, name))
    _check_boundaries(schedule)


def _check_boundaries(schedule: MultigridSchedule) -> None:
    if not isinstance(schedule.boundaries, (tuple, list)):
        raise ValueError(
            "`boundaries` must be a tuple of epochs, () for none. "
            f"Received: boundaries={schedule.boundaries!r}."
        )
    for boundary in schedule.boundaries:
        _check_positive("boundaries", boundary)
    ends = (*schedule.boundaries, schedule.epochs)
    if any(first >= second for first, second in itertools.pairwise(ends)):
        raise ValueError(
            "`boundaries` must rise and lie before the last epoch. "
            f"Received: boundaries={tuple(schedule.boundaries)}, epochs={schedule.epochs}."
        )
    if schedule.boundaries and schedule.long_cycles != 1:
        raise ValueError(
            "`long_cycles` is for training without `boundaries`: with them the long cycle runs "
            f"once a learning-rate stage. Received: long_cycles={schedule.long_cycles}, "
            f"boundaries={tuple(schedule.boundaries)}. Leave one of them out."
        )


def _check_cycles(schedule: MultigridSchedule) -> None:
    """Every share must give a grid of at least one frame, one pixel and one clip."""
    for shape in schedule.long_cycle:
        if len(shape) != 2:
            raise ValueError(
                "`long_cycle` must hold pairs (share of frames, share of crop). "
                f"Received: {shape!r}."
            )
        _check_share("long_cycle", shape[0], schedule.base.num_frames)
        _check_share("long_cycle", shape[1], schedule.base.crop_size)
    for share in schedule.short_cycle:
        _check_share("short_cycle", share, schedule.base.crop_size)
    if schedule.long_cycle and tuple(schedule.long_cycle[-1]) != (1.0, 1.0):
        raise ValueError(
            "`long_cycle` must end with the base grid, (1.0, 1.0), which training ends with. "
            f"Received: long_cycle={schedule.long_cycle}."
        )
    if list(schedule.short_cycle) != sorted(schedule.short_cycle):
        raise ValueError(
            "`short_cycle` must name the smallest crop first. "
            f"Received: short_cycle={schedule.short_cycle}."
        )


def _check_share(name: str, share: object, size: int) -> None:
    _check_positive(name, share)
    if share > 1 or round(size * share) < 1:
        raise ValueError(
            f"`{name}` must hold shares of the baseline's size, at most 1 and large enough to leave "
            f"one frame and one pixel. Received: {share!r} of {size}. "
            "Use a larger base grid or a larger share."
        )
