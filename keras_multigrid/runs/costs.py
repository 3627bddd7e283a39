"""What a run costs on a machine, by grid and as a whole."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from keras_multigrid.schedule import Grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridCost:
    """What steps of a grid cost on this machine.

    Args:
        grid: the grid.
        steps: of the whole run.
        seconds: of a step, input included.
        first_seconds: what the first step takes beyond that: tracing or compiling.
        wait_share: share of `seconds` that is spent waiting for input.
        clips_read_per_second: what reading alone gives, with nothing else to do.
        memory: most bytes in use during a step.
    """

    grid: Grid
    steps: int
    seconds: float
    first_seconds: float
    wait_share: float
    clips_read_per_second: float
    memory: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run will take on this machine.

    Args:
        grids: of each grid, in order of its first step; the baseline's even if no step has it.
        decoding_seconds: of all videos once, where `keep_decoded` keeps them.
        kept_memory: bytes of the videos that validations and precise statistics then keep, beside
            those of the training.
        validation_seconds: of one validation.
        validations: how many there are.
        statistics_seconds: of the precise statistics of one validation.
        statistics: how often they are computed.
        first_validation_seconds: what the first validation and statistics take beyond that.
        base: the baseline's grid.
        baseline_steps: steps that the baseline would take.
        is_device_memory: whether `memory` is the accelerator's instead of the process's.
        too_large: the first grid whose clips did not fit in memory; None if all do. The rest then
            holds for `base`, whose batch was halved until all grids fitted.

    Example:

    >>> print(measure(settings))
    """

    grids: Sequence[GridCost]
    decoding_seconds: float
    kept_memory: int
    validation_seconds: float
    validations: int
    statistics_seconds: float
    statistics: int
    first_validation_seconds: float
    base: Grid
    baseline_steps: int
    is_device_memory: bool
    too_large: Grid | None = None

    @property
    def seconds(self) -> float:
        """Of the whole run, from its first step to its last validation."""
        return (
            self.step_seconds
            + self.first_seconds
            + self.decoding_seconds
            + self.all_validation_seconds
        )

    @property
    def first_seconds(self) -> float:
        """What the first steps of all grids take beyond the others."""
        return sum(cost.first_seconds for cost in self.grids if cost.steps)

    @property
    def step_seconds(self) -> float:
        return sum(cost.steps * cost.seconds for cost in self.grids)

    @property
    def all_validation_seconds(self) -> float:
        """Of all validations, with their precise statistics."""
        validations = self.validations * self.validation_seconds
        statistics = self.statistics * self.statistics_seconds
        return validations + statistics + self.first_validation_seconds

    @property
    def baseline_seconds(self) -> float:
        """Of the baseline's run, with as many validations."""
        base = next(cost for cost in self.grids if cost.grid == self.base)
        steps = self.baseline_steps * base.seconds + base.first_seconds
        return steps + self.decoding_seconds + self.all_validation_seconds

    @property
    def memory(self) -> int:
        """Most bytes in use: at any grid, with what is kept beside if that is the same memory."""
        most = max(cost.memory for cost in self.grids)
        return most if self.is_device_memory else most + self.kept_memory

    @property
    def wait_share(self) -> float:
        """Share of all steps' time that is spent waiting for input."""
        waited = sum(cost.steps * cost.seconds * cost.wait_share for cost in self.grids)
        return waited / self.step_seconds

    def values(self) -> dict[str, Any]:
        """Everything, totals too, as values that `json.dumps` accepts."""
        totals = ("seconds", "baseline_seconds", "memory", "wait_share")
        return {**dataclasses.asdict(self), **{name: getattr(self, name) for name in totals}}
