"""A phase of a schedule: its fields, and what follows from them at any of its steps."""

import bisect
import collections
import dataclasses
import functools

from keras_multigrid.schedule.grid import Grid


class PhaseArithmetic:
    """What follows from the fields of a phase.

    Plain operators alone: the fields are numbers in a `Phase`, arrays in what a `PhaseTable` finds
    for an array of steps. Steps and clips may lie beyond the end of the phase.
    """

    @property
    def num_steps(self) -> int:
        return self.end_step - self.first_step

    def grid(self, step: int) -> Grid:
        """The grid of a step."""
        return self._at_place("short_cycle", (step - self.first_step) % self.cycle_length)

    def clips_before(self, step: int) -> int:
        """Clips consumed by all steps before `step`: the position of its first clip."""
        steps = step - self.first_step
        turns, place = steps // self.cycle_length, steps % self.cycle_length
        in_turn = self._at_place("clips_ahead", place)
        return self.first_clip + turns * self.clips_per_cycle + in_turn

    def step_of(self, clip: int) -> int:
        """The step that consumes the clip at a position."""
        clips = clip - self.first_clip
        turns, rest = clips // self.clips_per_cycle, clips % self.clips_per_cycle
        place = self._count(self.clips_ahead, rest) - 1
        return self.first_step + turns * self.cycle_length + place

    def epoch(self, step: float) -> float:
        """Passes over the training videos before `step`, linear within the phase."""
        share = (step - self.first_step) / self.num_steps
        return self.first_epoch + share * (self.end_epoch - self.first_epoch)

    def progress(self, step: float) -> float:
        """Share of the baseline's training that `step` stands for, linear within the phase."""
        share = (step - self.first_step) / self.num_steps
        return self.first_progress + share * (self.end_progress - self.first_progress)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase(PhaseArithmetic):
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
        relative_learning_rate: `decay ** lr_stage * relative_batch_size`, linear scaling.
        first_progress: share of the baseline's training that the phase starts at, in [0, 1].
        end_progress: share of the baseline's training that it ends at, in [0, 1].
        clips_per_group: clips that share batch-normalization statistics.

    Example:

    >>> phase = schedule.phases[0]
    >>> [grid.batch_size for grid in phase.short_cycle]
    [1024, 512, 512]
    >>> [phase.clips_before(step) for step in range(5)]
    [0, 1024, 1536, 2048, 3072]
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
    clips_per_group: int

    @property
    def cycle_length(self) -> int:
        """Steps of one turn of the short cycle."""
        return len(self.short_cycle)

    @property
    def has_short_crops(self) -> bool:
        """Whether some steps have smaller crops than the base grid."""
        return any(grid != self.base for grid in self.short_cycle)

    @functools.cached_property
    def clips_per_cycle(self) -> int:
        """Clips of one turn of the short cycle."""
        return sum(grid.batch_size for grid in self.short_cycle)

    @functools.cached_property
    def clips_ahead(self) -> tuple[int, ...]:
        """Clips of one turn of the short cycle before each of its steps: (0, 1024, 1536)."""
        sizes = [grid.batch_size for grid in self.short_cycle]
        return tuple(sum(sizes[:place]) for place in range(len(sizes)))

    def steps_by_grid(self) -> dict[Grid, int]:
        """How many of the steps train on each grid, in order of first use."""
        steps = collections.Counter()
        for place, grid in enumerate(self.short_cycle):
            # The phase may end within a turn: the first grids then have a step more.
            steps[grid] += len(range(place, self.num_steps, self.cycle_length))
        # A phase of one step never reaches the rest of its short cycle.
        return {grid: count for grid, count in steps.items() if count}

    def own_voxels_before(self, step: int) -> int:
        """Voxels of the phase's own steps before `step`."""
        voxels = [grid.voxels for grid in self.short_cycle]
        turns, place = divmod(step - self.first_step, self.cycle_length)
        return turns * sum(voxels) + sum(voxels[:place])

    def groups(self, replicas: int = 1, clips_per_group: int | None = None) -> int:
        """Normalization groups on each replica: they follow the long cycle alone (section 3.4)."""
        clips = self.clips_per_group if clips_per_group is None else clips_per_group
        return max(1, round(self.base.batch_size / replicas / clips))

    def synchronized_replicas(self, replicas: int = 1, clips_per_group: int | None = None) -> int:
        """Neighbouring replicas that share statistics, where one has too few clips for a group.

        >>> # 16 clips on 8 replicas: 4 replicas of 2 clips make a group of 8.
        """
        clips = self.clips_per_group if clips_per_group is None else clips_per_group
        return max(1, min(replicas, round(clips * replicas / self.base.batch_size)))

    def _at_place(self, name: str, place: int):
        """What a field with one value for each step of the short cycle holds at one of them."""
        return getattr(self, name)[place]

    _count = staticmethod(bisect.bisect_right)
