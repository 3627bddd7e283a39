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
from collections.abc import Mapping
from typing import Any

from keras_multigrid.schedule.grid import Grid, check_count
from keras_multigrid.schedule.phase import Phase, make_phases

SQRT_HALF = math.sqrt(0.5)

# Paper, section 3.2: frames and crop of the four base grids, as shares of the baseline's.
LONG_CYCLE = ((0.25, SQRT_HALF), (0.5, SQRT_HALF), (0.5, 1.0), (1.0, 1.0))
# Paper, section 3.2: the two small crops of the short cycle; the third is the base grid's own.
SHORT_CYCLE = (0.5, SQRT_HALF)


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
        short_cycle: crops as shares of the baseline's, smallest first, ahead of the base grid's
            own; `()` turns the short cycle off.
        round_to_epochs: end every phase at a whole epoch, as the published schedules do. This can
            erase a phase of a short recipe; by default phases end at the nearest step.
        long_cycles: how often to go through the long cycle where there are no boundaries.
        replicas: devices that share every mini-batch evenly: the schedule is made from
            `baseline_grid`, whose clips are a multiple of it, and so are those of all grids.

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
    replicas: int = 1

    def __post_init__(self):
        _check_settings(self)
        _check_cycles(self)
        # gin and JSON give lists: a frozen value must be hashable.
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        object.__setattr__(self, "long_cycle", tuple(tuple(shape) for shape in self.long_cycle))
        object.__setattr__(self, "short_cycle", tuple(self.short_cycle))
        if not self.phases:
            raise ValueError(
                "The schedule has no steps: no phase lasts "
                f"{'half an epoch' if self.round_to_epochs else 'half a step'}. "
                f"Received: num_clips={self.num_clips}, epochs={self.epochs}, "
                f"epoch_factor={self.epoch_factor}. Use more epochs."
            )

    @property
    def baseline_grid(self) -> Grid:
        """`base`, its clips rounded to the nearest multiple of `replicas`, the larger of two."""
        share = (2 * self.base.batch_size + self.replicas) // (2 * self.replicas)
        return dataclasses.replace(self.base, batch_size=max(1, share) * self.replicas)

    @functools.cached_property
    def phases(self) -> tuple[Phase, ...]:
        """All phases, in order; those too short for a single step are left out."""
        return make_phases(self)

    @property
    def total_steps(self) -> int:
        """Steps of the whole schedule."""
        return self.phases[-1].end_step

    @property
    def baseline_steps(self) -> int:
        """Steps of the baseline, which trains at `base` alone."""
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

    def first_steps(self, start_step: int = 0) -> dict[Grid, int]:
        """The first step of each grid at or after `start_step`, in order of these steps."""
        first_steps = {}
        for phase in self.phases:
            first = max(phase.first_step, start_step)
            # One turn of the short cycle shows every grid of the phase.
            for step in range(first, min(phase.end_step, first + len(phase.short_cycle))):
                first_steps.setdefault(phase.grid(step), step)
        return first_steps

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
    for name in ("num_clips", "epochs", "long_cycles", "replicas"):
        check_count(name, getattr(schedule, name))
    for name in ("decay", "epoch_factor"):
        _check_positive(name, getattr(schedule, name))
    if not isinstance(schedule.round_to_epochs, bool):
        raise ValueError(
            "`round_to_epochs` must be True or False. "
            f"Received: round_to_epochs={schedule.round_to_epochs!r}."
        )
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
    for name in ("long_cycle", "short_cycle"):
        if not isinstance(getattr(schedule, name), (tuple, list)):
            raise ValueError(
                f"`{name}` must be a tuple, () for none. "
                f"Received: {name}={getattr(schedule, name)!r}."
            )
    for shape in schedule.long_cycle:
        if not isinstance(shape, (tuple, list)) or len(shape) != 2:
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
            f"`{name}` must hold shares of the baseline's size, at most 1 and large enough to "
            f"leave one frame and one pixel. Received: {share!r} of {size}. "
            "Use a larger base grid or a larger share."
        )
