"""The phases of a schedule: real-valued lengths by the published rule, and two ways to round."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from keras_multigrid.schedule.grid import Grid

if TYPE_CHECKING:
    from keras_multigrid.schedule.multigrid_schedule import MultigridSchedule


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

    def groups(self, replicas: int = 1, clips_per_group: int = 8) -> int:
        """Normalization groups on each replica: they follow the long cycle alone (section 3.4)."""
        return max(1, round(self.base.batch_size / replicas / clips_per_group))

    def synchronized_replicas(self, replicas: int = 1, clips_per_group: int = 8) -> int:
        """Neighbouring replicas that share statistics, where one has too few clips for a group.

        >>> # 16 clips on 8 replicas: 4 replicas of 2 clips make a group of 8.
        """
        return max(1, min(replicas, round(clips_per_group * replicas / self.base.batch_size)))

    def epoch(self, step: float) -> float:
        """Passes over the training videos before `step`, linear within the phase."""
        share = (step - self.first_step) / self.num_steps
        return self.first_epoch + share * (self.end_epoch - self.first_epoch)

    def progress(self, step: float) -> float:
        """Share of the baseline's training that `step` stands for, linear within the phase."""
        share = (step - self.first_step) / self.num_steps
        return self.first_progress + share * (self.end_progress - self.first_progress)


def make_phases(schedule: "MultigridSchedule") -> tuple[Phase, ...]:
    """All phases of a schedule, in order; those too short for a single step are left out."""
    lengths = _phase_lengths(schedule)
    if schedule.round_to_epochs:
        return _whole_epochs(schedule, lengths)
    return _exact(schedule, lengths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Length:
    """A phase before rounding: what it is and how long it lasts, in epochs."""

    epochs: float
    shape: tuple[float, float]
    lr_stage: int
    end_progress: float


def _phase_lengths(schedule: "MultigridSchedule") -> list[_Length]:
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


def _long_cycle_lengths(schedule: "MultigridSchedule") -> list[_Length]:
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


def _long_cycle_stages(schedule: "MultigridSchedule") -> Iterator[tuple[float, float]]:
    """First and end epoch of the baseline for every turn of the long cycle."""
    if schedule.boundaries:
        return itertools.pairwise((0, *schedule.boundaries))
    turns = schedule.long_cycles
    return itertools.pairwise(schedule.epochs * turn / turns for turn in range(turns + 1))


def _fine_tuning(schedule: "MultigridSchedule", *, saving: float, mean: float) -> list[_Length]:
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


def _mean_relative_batch(schedule: "MultigridSchedule", shape: tuple[float, float]) -> float:
    """Mean clips over the short cycle relative to the baseline's, as published.

    The short crops enter unrounded, the base grid's own rounded.
    """
    base = schedule.base
    frames, crop = _frames_and_crop(base, shape)
    crops = [min(base.crop_size * share, crop) for share in schedule.short_cycle] + [crop]
    work = base.num_frames * base.crop_size**2
    return sum(round(work / (frames * crop**2)) for crop in crops) / len(crops)


def _frames_and_crop(base: Grid, shape: tuple[float, float]) -> tuple[int, int]:
    return round(base.num_frames * shape[0]), round(base.crop_size * shape[1])


def _base_grid(schedule: "MultigridSchedule", shape: tuple[float, float]) -> tuple[Grid, int]:
    """Grid of a long-cycle shape and its clips relative to the baseline's."""
    base = schedule.baseline_grid
    frames, crop = _frames_and_crop(base, shape)
    relative = round(base.num_frames * base.crop_size**2 / (frames * crop**2))
    grid = Grid(batch_size=relative * base.batch_size, num_frames=frames, crop_size=crop)
    return grid, relative


def _short_cycle(schedule: "MultigridSchedule", base: Grid) -> tuple[Grid, ...]:
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


def _exact(schedule: "MultigridSchedule", lengths: Sequence[_Length]) -> tuple[Phase, ...]:
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


def _whole_epochs(schedule: "MultigridSchedule", lengths: Sequence[_Length]) -> tuple[Phase, ...]:
    """Phases that end at whole epochs, each of as many whole steps as its clips fill."""
    phases, end_step, end_epoch = [], 0, 0
    for length, end in zip(lengths, _rounded_ends(schedule, lengths), strict=True):
        base, _ = _base_grid(schedule, length.shape)
        grids = _short_cycle(schedule, base)
        clips = sum(grid.batch_size for grid in grids)
        steps_per_epoch = schedule.num_clips * len(grids) // clips
        if end > end_epoch and not steps_per_epoch:
            raise ValueError(
                f"`round_to_epochs` needs epochs of at least one step. Received: "
                f"num_clips={schedule.num_clips} at batches of {clips / len(grids):.0f} clips on "
                "average. Use round_to_epochs=False or a smaller base batch."
            )
        end_step += (end - end_epoch) * steps_per_epoch
        end_epoch = end
        _append(phases, schedule, length, end_step=end_step, end_epoch=end_epoch)
    return tuple(phases)


def _rounded_ends(schedule: "MultigridSchedule", lengths: Sequence[_Length]) -> list[int]:
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
