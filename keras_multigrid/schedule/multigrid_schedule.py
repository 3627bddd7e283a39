"""The multigrid schedule: what the mini-batch of every training step looks like.

Multigrid training (Wu, Girshick, He, Feichtenhofer, Krähenbühl, "A Multigrid Method for Efficiently
Training Video Models", CVPR 2020, arXiv 1912.00998) keeps the work of a step constant,
`clips * frames * height * width`, and varies the shape: coarse grids with many clips first, fine
grids with few clips last. Here the batch may also grow less than that, down to not at all: coarse
steps then are less work. This file is plain arithmetic on the standard library.
"""

import collections
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from keras_multigrid.schedule.grid import Grid
from keras_multigrid.schedule.phase import Phase
from keras_multigrid.schedule.phase_lengths import make_phases
from keras_multigrid.schedule.phase_table import PhaseTable
from keras_multigrid.schedule.settings import ScheduleSettings
from keras_multigrid.schedule.suggestion import suggest

_LATER_SETTINGS = (
    "clips_per_group",
    "batch_growth",
    "min_frames",
    "min_crop",
    "phase_shares",
    "base_share",
)


@dataclasses.dataclass(frozen=True)
class MultigridSchedule(ScheduleSettings):
    """Grid, clips and learning-rate stage of every step, from the baseline's own settings.

    Everything is a pure function of the settings and the step: nothing is counted or stored.

    Args:
        base: the baseline's grid, which the schedule ends with.
        num_clips: videos in the training set; an epoch takes one clip of each. With
            `ClipSampling.repeats`, that many times the videos.
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
        clips_per_group: clips that share batch-normalization statistics, by default 8, those of
            the published baselines on each GPU (paper, section 3.4).
        batch_growth: how the batch grows as its clips get coarser, from 0 to 1. A base grid whose
            clips are r times less work than the baseline's has `round(r ** batch_growth)` times
            its clips, and so has a short crop, relative to the base grid. 1, as published, keeps
            the work of a step constant: coarse steps are few. 0 keeps the batch: coarse steps are
            as many as the others, and cheap.
        min_frames: the fewest frames of a grid. Coarser ones get as many, and the clips for them.
        min_crop: the smallest crop of a grid, in pixels. Coarser ones get this, and the clips for
            it.
        phase_shares: of the steps of each stage, the share of each base grid of `long_cycle`, in
            any unit: (2, 1, 1, 4). `()`, as published, gives all of them as many steps (paper,
            section 3.3).
        base_share: the share of all steps, at the end, that train at the base grid alone, without
            short crops, as the model is tested. 0, as published, keeps the short cycle to the end.
            For training without `boundaries`.

    Raises:
        ValueError: for any setting that makes no schedule.

    At every `batch_growth`, these stay: the length in epochs, `epoch_factor * epochs`; each phase's
    share of the steps, and so `progress` and the stages of the learning rate; equal numbers of
    steps for the base grids of a stage; the clips of a normalization group. Less growth gives more
    steps, most of them cheaper. In all, the same epochs are then more work, because more of their
    clips are on fine grids. `total_work` says how much; `epoch_factor` sets it.

    The published recipe of Kinetics, 64 x 32 x 224² with `epoch_factor=1.5`:

    | `batch_growth` | clips of the four base grids | steps | work, in steps of the baseline |
    |---|---|---|---|
    | 1 | 512, 256, 128, 64 | 261,764 | 261,156 |
    | 0.5 | 192, 128, 64, 64 | 741,968 | 351,295 |
    | 0 | 64, 64, 64, 64 | 1,344,235 | 467,468 |
    | (baseline) | 64 | 896,157 | 896,157 |

    Example:

    >>> schedule = MultigridSchedule(
    ...     base=Grid(batch_size=64, num_frames=32, crop_size=224),
    ...     num_clips=239_975, epochs=239, boundaries=(94, 154, 196), round_to_epochs=True)
    >>> schedule.grid(0)
    Grid(batch_size=1024, num_frames=8, crop_size=112)
    >>> round(schedule.baseline_steps / schedule.total_steps, 2)
    3.42
    """

    def __post_init__(self):
        super().__post_init__()
        if not self.phases:
            raise ValueError(
                "The schedule has no steps: no phase lasts "
                f"{'half an epoch' if self.round_to_epochs else 'half a step'}. "
                f"Received: num_clips={self.num_clips}, epochs={self.epochs}, "
                f"epoch_factor={self.epoch_factor}. Use more epochs or a larger factor."
            )

    @classmethod
    def published(
        cls, base: Grid, *, num_clips: int, epochs: int, boundaries: tuple[int, ...], **settings
    ) -> "MultigridSchedule":
        """The paper's form: every stage of a stepwise rate goes through the long cycle (3.3).

        Phases end at whole epochs. The other settings are those of the class.

        >>> schedule = MultigridSchedule.published(
        ...     Grid(batch_size=64, num_frames=32, crop_size=224),
        ...     num_clips=239_975, epochs=239, boundaries=(94, 154, 196))
        >>> schedule.total_steps
        261659
        """
        settings = {"round_to_epochs": True, **settings}
        return cls(base, num_clips, epochs, boundaries, **settings)

    @classmethod
    def one_pass(
        cls, base: Grid, *, num_clips: int, epochs: int, **settings
    ) -> "MultigridSchedule":
        """Once from coarse to fine, for a rate without stages, such as half a cosine.

        The settings are those of the class but for `boundaries` and `long_cycles`.

        >>> schedule = MultigridSchedule.one_pass(
        ...     Grid(batch_size=8, num_frames=16, crop_size=112), num_clips=500, epochs=50,
        ...     phase_shares=(1, 1, 1, 2))
        >>> [phase.base.crop_size for phase in schedule.phases]
        [79, 79, 112, 112]
        """
        return cls(base, num_clips, epochs, boundaries=(), long_cycles=1, **settings)

    @classmethod
    def short_only(
        cls, base: Grid, *, num_clips: int, epochs: int, **settings
    ) -> "MultigridSchedule":
        """The short cycle alone: crops change from step to step, frames stay (section 3.2)."""
        return cls(base, num_clips, epochs, long_cycle=(), **settings)

    @classmethod
    def suggest(
        cls, base: Grid, num_clips: int, epochs: int, optimizer: str = "sgd", **settings
    ) -> "MultigridSchedule":
        """One pass that fits a set, by a rule; `schedule.suggest` of the same arguments says why.

        Follow it with half a cosine, and with the `scaling` that it names and
        `warmup_epochs="auto"` for `MultigridLearningRate`.

        Args:
            base, num_clips, epochs: those of the baseline, same as for the class.
            optimizer: "sgd", "adam", "adamw", "lamb", "lion" or "muon".
            **settings: of the class, instead of what the rule says. It chooses the others to go
                with them.

        >>> MultigridSchedule.suggest(
        ...     Grid(batch_size=8, num_frames=16, crop_size=64), num_clips=60, epochs=40).min_crop
        45
        """
        rule = suggest(base, num_clips, epochs, optimizer, **settings)
        return cls(base, num_clips, epochs, **rule.settings, **settings)

    @functools.cached_property
    def phases(self) -> tuple[Phase, ...]:
        """All phases, in order; those too short for a single step are left out."""
        return make_phases(self)

    @property
    def phase_names(self) -> tuple[str, ...]:
        """The base grid of each phase in words; "alone" where `base_share` leaves out short crops.

        >>> schedule.phase_names[-2:]
        ('8 x 16 x 64²', '8 x 16 x 64² alone')
        """
        names = [str(phase.base) for phase in self.phases]
        if self.ends_at_base:
            names[-1] += " alone"
        return tuple(names)

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
    def total_work(self) -> float:
        """Work of the whole schedule, in steps of the baseline."""
        return self.work_before(self.total_steps)

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Every grid that the schedule visits, once each, in order of first use."""
        return tuple(dict.fromkeys(grid for phase in self.phases for grid in phase.short_cycle))

    def steps_by_grid(self) -> dict[Grid, int]:
        """The number of steps at each grid, in order of first use."""
        steps = collections.Counter()
        for phase in self.phases:
            steps.update(phase.steps_by_grid())
        return dict(steps)

    @functools.cached_property
    def _table(self) -> PhaseTable:
        return PhaseTable(self.phases)

    def phase(self, step: float) -> Phase:
        """The phase of a step; beyond the last step the last phase goes on."""
        if step < 0:
            raise ValueError(f"`step` must not be negative. Received: step={step}.")
        return self._table.at(step)

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

    def work_before(self, step: int) -> float:
        """Work of all steps before `step`, in steps of the baseline at `baseline_grid`.

        The work of a step is clips * frames * crop².
        """
        phase = self.phase(step)
        past = self.phases[: self.phases.index(phase)]
        voxels = sum(before.own_voxels_before(before.end_step) for before in past)
        return (voxels + phase.own_voxels_before(step)) / self.baseline_grid.voxels

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
        config = dataclasses.asdict(self)
        # Checkpoints store this config and compare it. Those of earlier versions lack the settings.
        for name in _LATER_SETTINGS:
            if getattr(self, name) == getattr(type(self), name):
                del config[name]
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "MultigridSchedule":
        """The schedule of a `get_config()`."""
        return cls(**{**config, "base": Grid(**config["base"])})
