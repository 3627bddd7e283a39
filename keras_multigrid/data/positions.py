"""Which positions of the stream of training clips a worker reads, and the grid of each.

    step         0                  1         ...
    position     0 1 2 3 4 5 6 7    8 9 10 11 ...
    replica      0 0 1 1 2 2 3 3    0 1 2  3  ...      4 replicas

The clips of a step are consecutive, and so are those of each replica. They follow from the step and
the number of replicas alone: workers agree without talking to each other.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_multigrid.schedule import Grid, MultigridSchedule, PhaseTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """The replicas that a worker reads clips for: `count` of `total`, from `first` on.

    Example, the second of two workers with two devices each:

    >>> Share(first=2, count=2, total=4)
    """

    first: int = 0
    count: int = 1
    total: int = 1

    @classmethod
    def of(cls, context: tf.distribute.InputContext | None) -> "Share":
        """The share of the worker for which a distribution strategy requests a data set."""
        if context is None:
            return cls()
        total = context.num_replicas_in_sync
        count = total // context.num_input_pipelines
        return cls(first=count * context.input_pipeline_id, count=count, total=total)

    def check(self, grid: Grid) -> None:
        """Refuse a grid whose clips the replicas cannot share evenly."""
        if grid.batch_size % self.total:
            raise ValueError(
                f"The clips of every batch must be a multiple of the {self.total} replicas. "
                f"Received: {grid}. Use MultigridSchedule(..., replicas={self.total})."
            )


class Places(NamedTuple):
    """Where clips are in the stream: int64 tensors (n,).

    Args:
        position: in the stream of all clips.
        number: in their step, 0, 1, ...
        batch: number of their batch among those of their worker, one for each step and replica.
        batch_size: clips of their step on one replica.
        num_frames: frames of their step's grid.
        crop_size: height and width of their step's grid.
    """

    position: tf.Tensor
    number: tf.Tensor
    batch: tf.Tensor
    batch_size: tf.Tensor
    num_frames: tf.Tensor
    crop_size: tf.Tensor


def clips_before(schedule: MultigridSchedule, step: int, share: Share) -> int:
    """Clips that a worker has read before a step."""
    return schedule.clips_before(step) * share.count // share.total


def places(schedule: MultigridSchedule, share: Share) -> Callable[[tf.Tensor], Places]:
    """A function from int64 (n,) numbers of a worker's own clips, 0, 1, ..., to their `Places`.

    Raises:
        ValueError: if the replicas cannot share a batch evenly.
    """
    for grid in schedule.grids:
        share.check(grid)
    table = _phase_table(schedule)

    def places_of(numbers: tf.Tensor) -> Places:
        # Of every batch the worker reads the same share. So this clip of the stream, though it may
        # be another worker's, is in the step that the worker's own clip is in.
        clip = numbers * share.total // share.count
        phase = table.at_clip(clip)
        step = phase.step_of(clip)
        first = phase.clips_before(step)
        grid = phase.grid(step)
        batch_size = grid.batch_size // share.total
        own_number = numbers - first * share.count // share.total
        number = share.first * batch_size + own_number
        batch = step * share.count + own_number // batch_size
        return Places(first + number, number, batch, batch_size, grid.num_frames, grid.crop_size)

    return places_of


def batch_bounds(
    schedule: MultigridSchedule, share: Share
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function from the number of one of a worker's own batches to its range of own clips.

    Each step has one batch for each of the worker's replicas, in order. The function takes a scalar
    int64 tensor and returns two: the number of the batch's first own clip, and its size.
    """
    table = _phase_table(schedule)

    def bounds_of(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step, replica = number // share.count, number % share.count
        phase = table.at(step)
        first = phase.clips_before(step) * share.count // share.total
        size = phase.grid(step).batch_size // share.total
        return first + replica * size, size

    return bounds_of


def is_own(schedule: MultigridSchedule, share: Share) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from int64 (n,) positions to whether a worker reads them, bool (n,)."""
    places_of = places(schedule, Share())

    def is_own_of(positions: tf.Tensor) -> tf.Tensor:
        at = places_of(positions)
        first = at.number * share.total // at.batch_size - share.first
        return (first >= 0) & (first < share.count)

    return is_own_of


def evaluation_indices(grid: Grid, share: Share) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from the number of one of a worker's own batches to its videos, for validation.

    Each step has one batch of `grid.batch_size // share.total` videos for each of the worker's
    replicas, in order. The function takes a scalar int64 tensor and returns int64 numbers (n,);
    numbers past the last video stand for padding.
    """
    size = grid.batch_size // share.total

    def indices_of(number: tf.Tensor) -> tf.Tensor:
        step, replica = number // share.count, number % share.count
        first = step * grid.batch_size + (share.first + replica) * size
        return first + tf.range(size, dtype=tf.int64)

    return indices_of


def evaluation_number(index: int, grid: Grid, share: Share) -> int:
    """The number of the batch that a video is in; the inverse of `evaluation_indices`."""
    step, place = divmod(index, grid.batch_size)
    return step * share.count + place // (grid.batch_size // share.total) - share.first


def _phase_table(schedule: MultigridSchedule) -> PhaseTable:
    """The phases for int64 tensors. As constants of a graph they need no search in Python."""

    def count(values, x):
        return tf.reduce_sum(tf.cast(x[..., None] >= _int64(values), tf.int64), axis=-1)

    def take(values, index):
        return tf.gather(_int64(values), index)

    return PhaseTable(schedule.phases, count, take)


def _int64(values) -> tf.Tensor:
    return tf.convert_to_tensor(values, tf.int64)
