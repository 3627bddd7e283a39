"""The stream of training batches: a pure function of (videos, schedule, seed, step).

    positions ─> grids, videos, random numbers ─> decoded frames ─> clips ─> batches

Clips of a step lie side by side in the order of positions. So a parallel map over positions, whose
order is kept, followed by windows of each step's batch size, gives every step its batch, and work
goes on across the borders of batches.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_multigrid import monitor
from keras_multigrid.data import positions as positions_lib
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips import sampling as sampling_lib
from keras_multigrid.data.clips import windows
from keras_multigrid.data.clips.sampling import BLOCK, Clip, ClipSampling
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.positions import Share
from keras_multigrid.data.reading import ClipReader, Cut
from keras_multigrid.data.records.reading import RecordReader
from keras_multigrid.data.records.recorded_videos import RecordedVideos
from keras_multigrid.data.records.serving import served
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid, MultigridSchedule

_NO_END = np.iinfo(np.int64).max


def training_batches(
    videos: Sequence[VideoRecord],
    schedule: MultigridSchedule,
    *,
    seed: int,
    start_step: int = 0,
    sampling: ClipSampling = ClipSampling(),
    num_classes: int | None = None,
    bad_videos: BadVideos | None = None,
    keep_decoded: bool = False,
    workers: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
    service: str | None = None,
) -> tf.data.Dataset:
    """Batches of clips, one a step, without end: the step's grid, whatever the videos' sizes.

    Args:
        videos: the training videos, as many as `schedule.num_clips`.
        schedule: gives every step its grid.
        seed: with the step, decides everything.
        start_step: the step to begin at; nothing before it is computed.
        sampling: how clips are taken from videos.
        num_classes: length of the labels of videos with several classes; None for one class each.
        bad_videos: counts and lists files that cannot be read.
        keep_decoded: keep every decoded video in memory: for sets that fit, in frames x height x
            width x 3 bytes a video.
        workers: clips read at a time; by default the number of cores.
        input_context: of `Strategy.distribute_datasets_from_function`: gives the clips of one
            worker alone, a batch for each of its devices in turn. All workers together give the
            batches that one would, in order, whatever their number.
        service: address of an input service whose workers read the clips, grpc://HOST:PORT
            (tools/serve_data.py); the videos must be records. The batches are the same.

    Returns:
        A data set of (clips, labels): float32 (batch, frames, crop, crop, 3), and int32 (batch,)
        or, with `num_classes`, float32 (batch, num_classes).

    Raises:
        ValueError: if the number of videos is not the schedule's, the devices cannot share its
            batches evenly, or an input service cannot read the videos.

    Example:

    >>> batches = training_batches(videos.train, schedule, seed=0)
    >>> next(iter(batches))[0].shape == schedule.grid(0).shape
    True
    """
    _check_num_videos(len(videos), schedule)
    share = Share.of(input_context)
    reader = _reader(
        videos, sampling, num_classes=num_classes, bad_videos=bad_videos, keep_decoded=keep_decoded
    )

    draw = _draws(schedule, sampling, seed=seed, share=share)
    bounds = positions_lib.batch_bounds(schedule, share)

    def drawn(number):
        first, size = bounds(number)
        return tf.data.Dataset.from_tensor_slices(draw(first + tf.range(size)))

    def batches_of(numbers, **parallel):
        return _bucketed(reader.random_clips(numbers.flat_map(drawn), **parallel))

    def number_of(values):
        return Clip(*values[0]).batch

    parallel = _parallel(workers)
    first = start_step * share.count
    batches = _read(reader, batches_of, number_of, first, _NO_END, workers, service)
    batches = batches.map(reader.repaired, **parallel).map(_normalize(sampling), **parallel)
    return _untuned(_measured(batches.prefetch(2), start_step, share))


def training_clips(
    videos: Sequence[VideoRecord],
    schedule: MultigridSchedule,
    *,
    step: int,
    count: int,
    seed: int,
    sampling: ClipSampling = ClipSampling(),
    num_classes: int | None = None,
    bad_videos: BadVideos | None = None,
) -> Iterator[tuple[Clip, Cut, np.ndarray]]:
    """The first clips of the batch that `training_batches` gives at a step, to look at.

    Args:
        step: the step.
        count: how many clips.
        others: as of `training_batches`.

    Yields:
        What was drawn for the clip; what was read for it, of another video than `Clip.video` where
        that one is unreadable; the clip, float32 (frames, crop, crop, 3), as the model gets it.
    """
    _check_num_videos(len(videos), schedule)
    reader = ClipReader(videos, sampling, num_classes=num_classes, bad_videos=bad_videos)
    for values in drawn_clips(schedule, sampling, seed=seed, start_step=step).take(count):
        clip = Clip(*values.numpy().tolist())
        cut = reader.random_cut(clip)
        frames = windows.scaled(cut.cropped, clip.crop_size, clip.flip)
        yield clip, cut, windows.normalized(frames, sampling).numpy()


def evaluation_batches(
    videos: Sequence[VideoRecord],
    grid: Grid,
    *,
    sampling: ClipSampling = ClipSampling(),
    num_classes: int | None = None,
    bad_videos: BadVideos | None = None,
    keep_decoded: bool = False,
    workers: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
    service: str | None = None,
) -> tf.data.Dataset:
    """Every video once: the clip in its middle, at the fixed stride, cropped in the centre.

    Always at the baseline's grid, so that figures of different phases can be compared. Videos that
    cannot be read are left out and counted: their batches are smaller, and so is the last one.

    Args:
        grid: shape of the batches: the schedule's `base`.
        others: as of `training_batches`. With an `input_context`, a batch may be empty, so that all
            devices get as many: `distribute.prepare` makes models pass over it.

    Returns:
        A finite data set of (clips, labels), as of `training_batches`.
    """
    share = Share.of(input_context)
    reader = _reader(
        videos, sampling, num_classes=num_classes, bad_videos=bad_videos, keep_decoded=keep_decoded
    )
    share.check(grid)
    batch_size = grid.batch_size // share.total
    indices = positions_lib.evaluation_indices(grid, share)

    def batches_of(numbers, **parallel):
        own = numbers.flat_map(lambda n: tf.data.Dataset.from_tensor_slices(indices(n)))
        own = own.filter(lambda index: index < len(videos)) if share.total == 1 else own
        return reader.centre_clips(own, grid, **parallel).batch(batch_size)

    def number_of(own):
        return positions_lib.evaluation_number(int(own[0]), grid, share)

    def readable(*batch):
        is_read, clips, labels = reader.repaired_centres(grid, *batch)
        return tf.boolean_mask(clips, is_read), tf.boolean_mask(labels, is_read)

    parallel = _parallel(workers)
    end = _ceil(len(videos), grid.batch_size) * share.count
    batches = _read(reader, batches_of, number_of, 0, end, workers, service)
    batches = batches.map(readable, **parallel)
    if share.total == 1:
        batches = batches.filter(lambda clips, labels: tf.shape(clips)[0] > 0)
    return _untuned(batches.map(_normalize(sampling), **parallel).prefetch(2))


def view_batches(
    videos: Sequence[VideoRecord],
    grid: Grid,
    *,
    views: Views,
    sampling: ClipSampling = ClipSampling(),
    bad_videos: BadVideos | None = None,
    workers: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """All views of every video for a test, the short side scaled to the crop.

    Args:
        videos: the videos. Those that cannot be read are left out and counted.
        grid: views at a time, their frames and size. The last batch may be smaller.
        views: clips and crops of each video.
        others: as of `training_batches`.

    Returns:
        A finite data set of (clips, numbers): float32 (batch, frames, crop, crop, 3), and int64
        (batch,) positions in `videos`; -1 for what is no view, as of a video that cannot be read.
    """
    reader = ClipReader(videos, sampling, bad_videos=bad_videos)
    share = Share.of(input_context)
    share.check(grid)
    count = len(videos) * views.clips

    def load(position):
        index = tf.where(position < count, position // views.clips, len(videos))
        is_read, crops = reader.views(index, position % views.clips, views, grid)
        return crops, tf.fill(tf.shape(crops)[:1], tf.where(is_read, index, -1))

    batch_size = grid.batch_size // share.total
    num_views = _ceil(count * share.count, share.total) * views.crops
    if share.total > 1:
        # As many batches for each device.
        num_views = _ceil(num_views, share.count * batch_size) * share.count * batch_size
    own = tf.data.Dataset.counter(share.first // share.count, share.total // share.count)
    parallel = _parallel(workers)
    views_ = own.map(load, **parallel).unbatch().take(num_views)
    return _untuned(views_.batch(batch_size).map(_normalize(sampling), **parallel).prefetch(2))


def resample(
    schedule: MultigridSchedule,
    *,
    seed: int = 0,
    start_step: int = 0,
    sampling: ClipSampling = ClipSampling(),
    workers: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """A transformation of any data set of decoded videos to multigrid batches.

    Args:
        schedule: gives every step its grid.
        seed: of the random crops, strides and mirroring.
        start_step: the step to begin at. Exact if the data set has the same order each epoch.
        sampling: how clips are taken from videos. Colours of uint8 videos are normalized; those of
            float videos are left as they are.
        workers: clips resampled at a time; by default the number of cores.
        input_context: as of `training_batches`. Each worker goes through all videos of the data set
            and resamples its own.

    Returns:
        A function for `tf.data.Dataset.apply`. It takes a data set of (video, label), one video an
        element, (frames, height, width, 3) uint8 or float, each of its own length and size, and
        gives one without end of (clips, labels), one batch a step.

    Example:

    >>> batches = videos.apply(resample(schedule))
    >>> model.fit(batches, steps_per_epoch=schedule.total_steps, callbacks=[MultigridCallback()])
    """
    share = Share.of(input_context)
    clips = drawn_clips(schedule, sampling, seed=seed, start_step=start_step, share=share)
    is_own = _by_blocks(positions_lib.is_own(schedule, share), schedule.clips_before(start_step))

    def load(values, video, label):
        clip = Clip(*tf.unstack(values))
        num_frames = tf.shape(video, tf.int64)[0]
        indices = sampling_lib.training_indices(num_frames, clip, sampling, xp=tf)
        return values, windows.random_clip(video, indices, clip, sampling), label

    def transform(videos: tf.data.Dataset) -> tf.data.Dataset:
        _check_decoded_videos(videos, schedule)
        seen = schedule.clips_before(start_step) % schedule.num_clips
        stream = videos.repeat().skip(seen)
        if share.total > 1:
            stream = tf.data.Dataset.zip((is_own, stream)).filter(lambda is_own, _: is_own)
            stream = stream.map(lambda _, video: video)
        resampled = tf.data.Dataset.zip((clips, stream)).map(
            lambda values, video: load(values, *video),
            num_parallel_calls=workers or os.cpu_count(),
            deterministic=True,
        )
        batches = _bucketed(resampled).map(lambda values, clips, labels: (clips, labels))
        return _measured(batches.prefetch(2), start_step, share)

    return transform


def drawn_clips(
    schedule: MultigridSchedule,
    sampling: ClipSampling,
    *,
    seed: int,
    start_step: int,
    share: Share = Share(),
) -> tf.data.Dataset:
    """The values of each `Clip` of a worker from a step on, without end: int64 (len(_fields),)."""
    draw = _draws(schedule, sampling, seed=seed, share=share)
    return _by_blocks(draw, positions_lib.clips_before(schedule, start_step, share))


def _draws(
    schedule: MultigridSchedule, sampling: ClipSampling, *, seed: int, share: Share
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from int64 (n,) numbers of a worker's own clips to the values of their `Clip`s."""
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be an integer in [0, 2**32). Received: seed={seed!r}.")
    places_of = positions_lib.places(schedule, share)
    shortest, _ = sampling.scales(schedule.base.crop_size)

    def clips_of(numbers: tf.Tensor) -> tf.Tensor:
        positions, _, batch, batch_size, num_frames, crop_size = places_of(numbers)
        draws = sampling_lib.draws_at(seed, positions, 6)
        stride, scale, start, top, left, flip = tf.unstack(draws)
        crops = {"crop_size": crop_size, "base_crop_size": schedule.base.crop_size}
        scale, region = sampling_lib.choose_region(scale, sampling, **crops)
        clips = Clip(
            video=sampling_lib.video_indices(positions, schedule.num_clips, seed),
            batch=batch,
            batch_size=batch_size,
            num_frames=num_frames,
            crop_size=crop_size,
            detail=tf.maximum(sampling_lib.scale_at(shortest, **crops), crop_size),
            duration=sampling_lib.choose_duration(
                stride, sampling, num_frames=num_frames, base_frames=schedule.base.num_frames
            ),
            scale=scale,
            region=region,
            start=start,
            top=top,
            left=left,
            flip=flip % 2 if sampling.flip else tf.zeros_like(flip),
        )
        return tf.stack(clips, axis=1)

    return clips_of


def _by_blocks(values_of: Callable, first: int) -> tf.data.Dataset:
    """Values of the numbers from `first` on, without end, by a function of many numbers."""
    # A block at a time: the arithmetic of one costs as much as that of one clip.
    blocks = tf.data.Dataset.range(first // BLOCK, _NO_END // BLOCK)
    numbers = blocks.map(lambda block: BLOCK * block + tf.range(BLOCK, dtype=tf.int64))
    return numbers.map(values_of).unbatch().skip(first % BLOCK)


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _normalize(sampling: ClipSampling) -> Callable:
    return lambda clips, others: (windows.normalized(clips, sampling), others)


def _bucketed(clips: tf.data.Dataset) -> tf.data.Dataset:
    """Batches of (values of a `Clip`, ...) elements, each batch of its own size.

    Steps come one after the other, so the batch size is key enough: a window is full before the
    next step's first clip arrives.
    """
    return clips.group_by_window(
        key_func=lambda values, *_: Clip(*tf.unstack(values)).batch_size,
        reduce_func=lambda batch_size, window: window.batch(batch_size),
        window_size_func=lambda batch_size: batch_size,
    )


def _measured(batches: tf.data.Dataset, start_step: int, share: Share) -> tf.data.Dataset:
    """The same batches; the wait for each and the first clips of some go to `input_monitor`."""

    def tell(number, asked, batch):
        waited = tf.timestamp() - asked
        # Of a step's batches, one a device, the first is shown.
        step = tf.where(number % share.count == 0, start_step + number // share.count, -1)
        # The slice is a view: clips that nobody asked for are not copied.
        shown = batch[0][: monitor.SHOWN_CLIPS]
        tf.numpy_function(monitor.add_batch, [step, waited, shown], [])
        return batch

    # zip asks its inputs in turn: the clock is read when a batch is asked for.
    clock = tf.data.Dataset.counter().map(lambda number: (number, tf.timestamp()))
    measured = tf.data.Dataset.zip((clock, batches)).map(lambda clock, batch: tell(*clock, batch))
    options = tf.data.Options()
    # A prefetch put in behind the clock would hide the wait.
    options.experimental_optimization.inject_prefetch = False
    return measured.with_options(options)


def _untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches without TensorFlow's tuning thread, for which every size here is set.

    A finished iterator waits for that thread, whose wake-up call can get lost: a validation then
    ends up to 4 s late.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def _parallel(workers: int | None) -> dict[str, Any]:
    """Settings of a map."""
    return {"num_parallel_calls": workers or os.cpu_count()}


def _read(
    reader: ClipReader | RecordReader,
    batches_of: Callable[..., tf.data.Dataset],
    number_of: Callable[[np.ndarray], int],
    first: int,
    end: int,
    workers: int | None,
    service: str | None,
) -> tf.data.Dataset:
    """The batches from a number on up to another one, read here or by an input service."""
    if service is None:
        return batches_of(tf.data.Dataset.range(first, end), **_parallel(workers))
    if not isinstance(reader, RecordReader):
        raise ValueError(
            "An input service reads records alone, and keeps nothing in memory. Received: "
            f"service={service!r} and other videos, or keep_decoded=True. Make records: "
            "tools/prepare.py, and set keep_decoded=False; or read the videos here: service=None."
        )
    # Its workers know their cores.
    parallel = _parallel(workers or tf.data.AUTOTUNE)
    return served(
        functools.partial(batches_of, **parallel), number_of, service, first=first, end=end
    )


def _reader(
    videos: Sequence[VideoRecord],
    sampling: ClipSampling,
    *,
    num_classes: int | None,
    bad_videos: BadVideos | None,
    keep_decoded: bool,
) -> ClipReader | RecordReader:
    """What reads clips of these videos."""
    reader = ClipReader(
        videos, sampling, num_classes=num_classes, bad_videos=bad_videos, keep_decoded=keep_decoded
    )
    if isinstance(videos, RecordedVideos) and not keep_decoded:
        return RecordReader(videos, sampling, reader)
    return reader


def _check_num_videos(num_videos: int, schedule: MultigridSchedule) -> None:
    if num_videos != schedule.num_clips:
        raise ValueError(
            "The schedule must be made for the number of training videos. "
            f"Received: {num_videos} videos, schedule.num_clips={schedule.num_clips}. "
            f"Set MultigridSchedule.num_clips = {num_videos} (NUM_CLIPS in gin files)."
        )


def _check_decoded_videos(videos: tf.data.Dataset, schedule: MultigridSchedule) -> None:
    spec = videos.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or _rank(spec[0]) not in (4, None):
        raise ValueError(
            "The data set must give (video, label), one video an element, a video being (frames, "
            f"height, width, 3). Received: element_spec={spec}. Take `.batch()` away, and map "
            "other forms: `videos.map(lambda example: (example['video'], example['label']))`."
        )
    num_videos = int(videos.cardinality())
    if num_videos >= 0:
        _check_num_videos(num_videos, schedule)


def _rank(spec: object) -> int | None:
    """Number of axes of an element's part; 0 for what is no tensor."""
    return spec.shape.rank if isinstance(spec, (tf.TensorSpec, tf.RaggedTensorSpec)) else 0
