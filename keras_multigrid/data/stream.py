"""The stream of batches: a pure function of (videos, schedule, seed, step).

    positions ─> grids, videos, random numbers ─> decoded frames ─> clips ─> batches

Clips of a step lie side by side in the order of positions. So a parallel map over positions, whose
order is kept, followed by windows of each step's batch size, gives every step its batch, and work
continues across the borders of batches.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_multigrid import monitor
from keras_multigrid.checks import check_integer
from keras_multigrid.data.augmenting import augmented
from keras_multigrid.data.class_balance import ClassBalance
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.draws import draws_at, video_indices
from keras_multigrid.data.clips.sampling import (
    ClipSampling,
    choose_duration,
    choose_region,
    scale_at,
)
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.clips.windows import normalized
from keras_multigrid.data.positions import Share, batches, evaluation_indices, evaluation_number
from keras_multigrid.data.reading import BatchNumbers, ClipReader
from keras_multigrid.schedule import Grid, MultigridSchedule

_NO_END = np.iinfo(np.int64).max
# For functions that make streams: nothing in them branches on a tensor, and AutoGraph would take a
# second of each start to rewrite them.
without_autograph = tf.autograph.experimental.do_not_convert


def may_need_autograph(augment: Callable | None) -> bool:
    """Whether an augmentation is the user's, wholly or in part: it may branch on a tensor."""
    if augment is None:
        return False
    is_ours = type(augment).__module__.startswith("keras_multigrid.")
    return not is_ours or any(map(may_need_autograph, getattr(augment, "augmentations", ())))


def training_stream(
    reader: ClipReader,
    schedule: MultigridSchedule,
    sampling: ClipSampling,
    *,
    seed: int,
    start_step: int,
    share: Share,
    augment: Callable | None = None,
    balance: ClassBalance | None = None,
) -> tf.data.Dataset:
    """An infinite data set with one batch per step and device, of the step's grid.

    Arguments and result: same as for `Input.training`. `share` names the devices; `balance` says
    how often classes are drawn, None takes every video once an epoch.
    """
    numbers = BatchNumbers(
        first=start_step * share.count,
        end=_NO_END,
        number_of=lambda values: Clip.unpacked(values[0].tolist()).batch,
    )

    def finished(values, clips, labels):
        if augment is not None:
            colours = tf.cast(clips, tf.float32) / 255
            clips, labels = augmented(
                augment, schedule.base, seed, colours, labels, values, repeats=sampling.repeats
            )
        return normalized(clips, sampling), labels

    drawn_of = _draws(schedule, sampling, seed=seed, share=share, balance=balance)
    stream = without_autograph(reader.training)(drawn_of, bucketed, numbers)
    finish = finished if may_need_autograph(augment) else without_autograph(finished)
    stream = stream.map(finish, num_parallel_calls=reader.workers)
    return untuned(measured(stream.prefetch(2), start_step, share))


@without_autograph
def validation_stream(
    reader: ClipReader, grid: Grid, sampling: ClipSampling, share: Share
) -> tf.data.Dataset:
    """Every video once: the clip in its middle, cropped in the centre.

    Arguments and result: same as for `Input.validation`. `share` names the devices.
    """
    share.check(grid)
    num_videos, batch_size = reader.num_videos, grid.batch_size // share.total

    def indices_of(number):
        own = tf.data.Dataset.from_tensor_slices(evaluation_indices(number, grid, share))
        return own.filter(lambda index: index < num_videos) if share.total == 1 else own

    numbers = BatchNumbers(
        first=0,
        end=-(-num_videos // grid.batch_size) * share.count,
        number_of=lambda own: evaluation_number(int(own[0]), grid, share),
    )
    stream = reader.centres(indices_of, lambda clips: clips.batch(batch_size), grid, numbers)
    stream = stream.map(
        lambda is_read, *batch: tuple(tf.boolean_mask(tensor, is_read) for tensor in batch),
        num_parallel_calls=reader.workers,
    )
    if share.total == 1:
        stream = stream.filter(lambda clips, labels: tf.shape(clips)[0] > 0)
    return untuned(_normalized(stream, reader, sampling).prefetch(2))


@without_autograph
def views_stream(
    reader: ClipReader, grid: Grid, views: Views, sampling: ClipSampling, share: Share
) -> tf.data.Dataset:
    """All views of every video for a test, the short side scaled to the crop.

    Arguments and result: same as for `Input.views`. `share` names the devices.
    """
    share.check(grid)
    count = reader.num_videos * views.clips

    def load(position):
        index = tf.where(position < count, position // views.clips, reader.num_videos)
        is_read, crops = reader.views(index, position % views.clips, views, grid)
        return crops, tf.fill(tf.shape(crops)[:1], tf.where(is_read, index, -1))

    batch_size = grid.batch_size // share.total
    num_views = -(-count * share.count // share.total) * views.crops
    if share.total > 1:
        # As many batches for each device.
        num_views = -(-num_views // (share.count * batch_size)) * share.count * batch_size
    own = tf.data.Dataset.counter(share.first // share.count, share.total // share.count)
    crops = own.map(load, num_parallel_calls=reader.workers).unbatch().take(num_views)
    return untuned(_normalized(crops.batch(batch_size), reader, sampling).prefetch(2))


@without_autograph
def drawn_clips(
    schedule: MultigridSchedule,
    sampling: ClipSampling,
    *,
    seed: int,
    start_step: int,
    share: Share = Share(),
    balance: ClassBalance | None = None,
) -> tf.data.Dataset:
    """The packed `Clip`s of a worker from a step on, without end: int64 (fields,) each."""
    drawn_of = _draws(schedule, sampling, seed=seed, share=share, balance=balance)
    return tf.data.Dataset.range(start_step * share.count, _NO_END).flat_map(drawn_of)


def _draws(
    schedule: MultigridSchedule,
    sampling: ClipSampling,
    *,
    seed: int,
    share: Share,
    balance: ClassBalance | None,
) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """A function from the number of one of a worker's own batches to its packed `Clip`s."""
    check_integer("seed", seed, least=0, most=2**32 - 1)
    batch_of = batches(schedule, share)
    _check_repeats(sampling.repeats, schedule, share)
    shortest, _ = sampling.scales(schedule.base.crop_size)

    repeats = sampling.repeats

    def videos_at(positions):
        # Neighbouring positions, of one batch and device, share a video.
        places = positions // repeats
        if balance is None:
            return video_indices(places, schedule.num_clips // repeats, seed)
        return balance.video_indices(places, seed)

    def drawn_of(number: tf.Tensor) -> tf.data.Dataset:
        positions, size, num_frames, crop_size = batch_of(number)
        stride, scale, start, top, left, flip = tf.unstack(draws_at(seed, positions, 6))
        crops = {"crop_size": crop_size, "base_crop_size": schedule.base.crop_size}
        frames = {"num_frames": num_frames, "base_frames": schedule.base.num_frames}
        scale, region = choose_region(scale, sampling, **crops)
        clips = Clip(
            video=videos_at(positions),
            batch=number,
            batch_size=size,
            num_frames=num_frames,
            crop_size=crop_size,
            detail=tf.maximum(scale_at(shortest, **crops), crop_size),
            duration=choose_duration(stride, sampling, **frames),
            scale=scale,
            region=region,
            start=start,
            top=top,
            left=left,
            flip=flip % 2 if sampling.flip else tf.zeros_like(flip),
            position=positions,
        )
        return tf.data.Dataset.from_tensor_slices(clips.packed())

    return drawn_of


def bucketed(clips: tf.data.Dataset) -> tf.data.Dataset:
    """Batches of (packed `Clip`, ...) elements, each batch of its own size.

    Steps come one after the other, so the batch size is key enough: a window is full before the
    next step's first clip arrives.
    """
    return clips.group_by_window(
        key_func=lambda values, *_: Clip.unpacked(values).batch_size,
        reduce_func=lambda batch_size, window: window.batch(batch_size),
        window_size_func=lambda batch_size: batch_size,
    )


@without_autograph
def measured(batches: tf.data.Dataset, start_step: int, share: Share) -> tf.data.Dataset:
    """The same batches; the wait for each, and the first clips of some, go to a `StreamMonitor`."""
    stream = monitor.open_monitor()
    add_batch = stream.weak_add_batch()

    def report(number, requested, batch):
        waited = tf.timestamp() - requested
        # Of a step's batches, one per device, the first is shown.
        step = tf.where(number % share.count == 0, start_step + number // share.count, -1)
        # The slice is a view: clips that were not requested are not copied.
        shown = batch[0][: monitor.SHOWN_CLIPS]
        tf.numpy_function(add_batch, [step, waited, shown], [])
        return batch

    # zip reads its inputs in turn: the clock is read when a batch is requested.
    clock = tf.data.Dataset.counter().map(lambda number: (number, tf.timestamp()))
    reported = tf.data.Dataset.zip((clock, batches)).map(lambda clock, batch: report(*clock, batch))
    options = tf.data.Options()
    # A prefetch put in behind the clock would hide the wait.
    options.experimental_optimization.inject_prefetch = False
    reported = reported.with_options(options)
    # Data sets keep a reference to their inputs, and so this one to the monitor.
    reported.monitor = stream
    return reported


def check_num_videos(num_videos: int, schedule: MultigridSchedule, repeats: int = 1) -> None:
    """Refuse a schedule that was made for another number of videos, or of clips of each."""
    if num_videos * repeats == schedule.num_clips:
        return
    if repeats == 1:
        raise ValueError(
            "The schedule must be made for the number of training videos. "
            f"Received: {num_videos} videos, schedule.num_clips={schedule.num_clips}. "
            f"Set MultigridSchedule.num_clips = {num_videos} (NUM_CLIPS in gin files)."
        )
    raise ValueError(
        "The schedule must be made for the number of training videos times `repeats`, the clips of "
        f"an epoch. Received: {num_videos} videos, repeats={repeats}, "
        f"schedule.num_clips={schedule.num_clips}. Set MultigridSchedule.num_clips = "
        f"{num_videos * repeats} (NUM_CLIPS in gin files); to train for as many clips as without "
        f"repeats, divide its epochs by {repeats}."
    )


def _check_repeats(repeats: int, schedule: MultigridSchedule, share: Share) -> None:
    """Refuse grids in which the clips of one video would not come to one device."""
    for grid in schedule.grids:
        if grid.batch_size // share.total % repeats:
            raise ValueError(
                f"Each device's part of a batch must be a multiple of `repeats`. Received: "
                f"repeats={repeats}, {grid} over {share.total} devices. Use a batch_size of the "
                f"base grid that is a multiple of {repeats * share.total}, or another "
                "ClipSampling.repeats."
            )


def _normalized(batches, reader: ClipReader, sampling: ClipSampling) -> tf.data.Dataset:
    return batches.map(
        lambda clips, others: (normalized(clips, sampling), others),
        num_parallel_calls=reader.workers,
    )


def untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches without TensorFlow's tuning thread, for which every size here is set.

    An iterator that ends waits for that thread, whose wake-up call can get lost: for as long again
    as the iterator was there, up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
