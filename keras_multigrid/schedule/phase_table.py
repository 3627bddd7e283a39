"""The phases of a schedule as a table, in which the phase of any step is found."""

import bisect
from collections.abc import Callable, Sequence

from keras_multigrid.schedule.phase import Phase, PhaseArithmetic


class PhaseTable:
    """The phases of a schedule as columns, looked up by step, by clip or by epoch.

    For a Python number, the answer is the `Phase` itself. For an array, it has the attributes and
    methods of a `Phase`, each an array with a value for every number that was asked for: gathered
    when first used, so that only what is used becomes part of a graph. Beyond the last step the
    last phase goes on.

    The table imports no array library. Two functions stand for it:

    Args:
        phases: `schedule.phases`.
        count: `count(values, x)`: how many of the ascending `values`, a sequence or an array
            (..., n), are at or below each `x` (...): an integer array (...). The default,
            `bisect.bisect_right`, is for Python numbers.
        take: `take(values, index)`: the items of a sequence at an integer array of indices. Not
            needed for Python numbers.

    Example:

    >>> PhaseTable(schedule.phases).at(30_000).base
    Grid(batch_size=256, num_frames=16, crop_size=158)
    >>> table = PhaseTable(
    ...     schedule.phases,
    ...     count=lambda values, x: np.sum(x[..., None] >= np.asarray(values), axis=-1),
    ...     take=lambda values, index: np.asarray(values)[index])
    >>> steps = np.array([0, 1, 30_001])
    >>> table.at(steps).grid(steps).batch_size
    array([1024,  512,  256])
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        count: Callable = bisect.bisect_right,
        take: Callable | None = None,
    ):
        self._phases, self._count, self._take = phases, count, take
        # Where the second phase begins, the third, ...: so many that are passed give the index.
        self._steps, self._clips, self._epochs = (
            [getattr(phase, name) for phase in phases[1:]]
            for name in ("first_step", "first_clip", "first_epoch")
        )

    def at(self, step) -> Phase:
        """The phase of a step."""
        return self._phase(self._count(self._steps, step))

    def at_clip(self, clip) -> Phase:
        """The phase that consumes the clip at a position of the stream of clips."""
        return self._phase(self._count(self._clips, clip))

    def at_epoch(self, epoch) -> Phase:
        """The phase in progress after `epoch` passes over the training videos."""
        return self._phase(self._count(self._epochs, epoch))

    def _phase(self, index) -> Phase:
        if isinstance(index, int):
            return self._phases[index]
        return _PhaseRows(self._phases, index, self._count, self._take)


class _Rows:
    """The attributes of the items at an array of indices, as arrays."""

    def __init__(self, items: Sequence, index, take: Callable):
        self._items, self._index, self._take = items, index, take

    def __getattr__(self, name: str):
        column = self._take([getattr(item, name) for item in self._items], self._index)
        # Kept: a column that two formulas use is gathered once.
        setattr(self, name, column)
        return column


class _PhaseRows(_Rows, PhaseArithmetic):
    """The phases at an array of indices."""

    def __init__(self, phases: Sequence[Phase], index, count: Callable, take: Callable):
        super().__init__(phases, index, take)
        self._count = count
        # The same for all phases.
        self.cycle_length = phases[0].cycle_length

    def _at_place(self, name: str, place):
        # One list for all phases, whose turns lie side by side in it: a plain index is enough.
        values = [value for phase in self._items for value in getattr(phase, name)]
        index = self._index * self.cycle_length + place
        if isinstance(values[0], int):
            return self._take(values, index)
        return _Rows(values, index, self._take)
