"""The positions of the stream of training clips that a worker reads, and the grid of each.

    step         0                  1         ...
    position     0 1 2 3 4 5 6 7    8 9 10 11 ...
    replica      0 0 1 1 2 2 3 3    0 1 2  3  ...      4 replicas

The clips of a step lie side by side, and so do those of each replica. Which they are follows from
the step and the number of replicas: workers need not talk to agree.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_multigrid.schedule import Grid, MultigridSchedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """The replicas that a worker reads clips for: `count` of `total`, neighbours from `first` on.

    Example, the second of two workers with two devices each:

    >>> Share(first=2, count=2, total=4)
    """

    first: int = 0
    count: int = 1
    total: int = 1

    @classmethod
    def of(cls, context: tf.distribute.InputContext | None) -> "Share":
        """The share of the worker that a distribution strategy asks a data set for."""
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
    """Where clips stand: int64 tensors (n,).

    Args:
        position: in the stream of all clips.
        number: in their step, 0, 1, ...
        batch: of all batches of their worker, one a step and device, the number of theirs.
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

    Phases are few: as constants they make this a search, a division and a search.

    Raises:
        ValueError: if the replicas cannot share a batch evenly.
    """
    for grid in schedule.grids:
        share.check(grid)
    phases = schedule.phases
    first_steps = np.asarray([phase.first_step for phase in phases], np.int64)
    first_clips = np.asarray([phase.first_clip for phase in phases], np.int64)
    batches = np.asarray([[g.batch_size for g in p.short_cycle] for p in phases], np.int64)
    # Clips of one turn of the short cycle up to each of its steps, and up to and with it.
    ends = np.cumsum(batches, axis=1)
    starts = ends - batches
    grids = np.asarray([[grid.shape[1:3] for grid in p.short_cycle] for p in phases], np.int64)

    def own(clips):
        return clips * share.count // share.total

    def places_of(numbers: tf.Tensor) -> Places:
        phase = tf.searchsorted(own(first_clips), numbers, side="right") - 1
        own_ends = tf.gather(own(ends), phase)
        turn, rest = _divide(numbers - tf.gather(own(first_clips), phase), own_ends[:, -1])
        place = tf.reduce_sum(tf.cast(rest[:, None] >= own_ends, tf.int32), axis=1)
        index = tf.stack([phase, place], axis=1)
        batch_size = tf.gather_nd(batches // share.total, index)
        first_of_step = (
            tf.gather(first_clips, phase)
            + turn * tf.gather(ends[:, -1], phase)
            + tf.gather_nd(starts, index)
        )
        own_number = rest - tf.gather_nd(own(starts), index)
        number = share.first * batch_size + own_number
        step = tf.gather(first_steps, phase) + turn * ends.shape[1] + tf.cast(place, tf.int64)
        batch = step * share.count + own_number // batch_size
        num_frames, crop_size = tf.unstack(tf.gather_nd(grids, index), axis=1)
        return Places(first_of_step + number, number, batch, batch_size, num_frames, crop_size)

    return places_of


def batch_bounds(
    schedule: MultigridSchedule, share: Share
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function from the number of one of a worker's own batches to where its clips are.

    There is a batch for each of its replicas in turn, in each step. The function takes a scalar
    int64 tensor and gives two: the number of the batch's first own clip, and its clips.
    """
    phases = schedule.phases
    first_steps = np.asarray([phase.first_step for phase in phases], np.int64)
    first_clips = np.asarray([phase.first_clip for phase in phases], np.int64)
    batches = np.asarray([[g.batch_size for g in p.short_cycle] for p in phases], np.int64)
    batches //= share.total
    # Own clips of one turn of the short cycle up to each of its steps, and up to its end.
    starts = np.cumsum(np.c_[np.zeros_like(first_steps), batches], axis=1) * share.count
    own_first_clips = first_clips * share.count // share.total

    def bounds_of(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step, replica = _divide(number, share.count)
        phase = tf.searchsorted(first_steps, step[None], side="right")[0] - 1
        turn, place = _divide(step - tf.gather(first_steps, phase), batches.shape[1])
        own_starts = tf.gather(starts, phase)
        size = tf.gather(batches, phase)[place]
        first = tf.gather(own_first_clips, phase) + turn * own_starts[-1] + own_starts[place]
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
    """A function from the number of one of a worker's own batches to its videos, in a validation.

    There is a batch for each of its replicas in turn, of `grid.batch_size // share.total` videos.
    The function takes a scalar int64 tensor and gives int64 numbers (n,); those from the number of
    videos on stand for no video.
    """
    size = grid.batch_size // share.total

    def indices_of(number: tf.Tensor) -> tf.Tensor:
        step, replica = _divide(number, share.count)
        first = step * grid.batch_size + (share.first + replica) * size
        return first + tf.range(size, dtype=tf.int64)

    return indices_of


def evaluation_number(index: int, grid: Grid, share: Share) -> int:
    """The number of the batch that a video is in; the inverse of `evaluation_indices`."""
    step, place = divmod(index, grid.batch_size)
    return step * share.count + place // (grid.batch_size // share.total) - share.first


def _divide(numbers: tf.Tensor, divisors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return numbers // divisors, numbers % divisors
