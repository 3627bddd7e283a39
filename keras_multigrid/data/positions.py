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

    def positions(self, first_clip, batch_size, replica):
        """Positions of the clips of one of the worker's replicas, int64 (n,).

        Args:
            first_clip: position of the step's first clip.
            batch_size: clips of the step, of all replicas.
            replica: number of the replica among the worker's own, 0, 1, ...
        """
        size = batch_size // self.total
        return first_clip + (self.first + replica) * size + tf.range(size, dtype=tf.int64)


class Batch(NamedTuple):
    """A batch for one replica: int64 tensors, scalars except for `positions`.

    Args:
        positions: of its clips in the stream of all clips, (n,).
        size: clips in it, n.
        num_frames: frames of its grid.
        crop_size: height and width of its grid, in pixels.
    """

    positions: tf.Tensor
    size: tf.Tensor
    num_frames: tf.Tensor
    crop_size: tf.Tensor


def batches(schedule: MultigridSchedule, share: Share) -> Callable[[tf.Tensor], Batch]:
    """A function from the number of one of a worker's own training batches to the `Batch`.

    Each step has one batch for each of the worker's replicas, in order. The number is a scalar
    int64 tensor.

    Raises:
        ValueError: if the replicas cannot share a batch evenly.
    """
    for grid in schedule.grids:
        share.check(grid)
    table = _phase_table(schedule)

    def batch_of(number: tf.Tensor) -> Batch:
        step, replica = number // share.count, number % share.count
        phase = table.at(step)
        grid = phase.grid(step)
        positions = share.positions(phase.clips_before(step), grid.batch_size, replica)
        return Batch(positions, grid.batch_size // share.total, grid.num_frames, grid.crop_size)

    return batch_of


def evaluation_indices(number: tf.Tensor, grid: Grid, share: Share) -> tf.Tensor:
    """The videos of one of a worker's own batches in validation, by its number: int64 (n,).

    Each step has one batch for each of the worker's replicas, in order. Numbers past the last video
    stand for padding.
    """
    step, replica = number // share.count, number % share.count
    return share.positions(step * grid.batch_size, grid.batch_size, replica)


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
