"""Multigrid batches of any data set of decoded videos."""

import dataclasses
import os
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_multigrid.data.augmenting import augmented, check_augment, check_pairs
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.indices import training_indices
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import normalized, random_clip
from keras_multigrid.data.positions import Share, batches
from keras_multigrid.data.stream import (
    bucketed,
    check_num_videos,
    drawn_clips,
    measured,
    untuned,
    without_autograph,
)
from keras_multigrid.schedule import MultigridSchedule
from keras_multigrid.task import SingleLabel

_CHANNELS = (1, 2, 3, 4)
# Above what any usual normalization makes of a colour.
_LARGE = 16.0


def resample(
    schedule: MultigridSchedule,
    *,
    seed: int = 0,
    start_step: int = 0,
    sampling: ClipSampling = ClipSampling(),
    augment: Callable | None = None,
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
        augment: same as for `Input`. Clips of float videos are given as they are.
        workers: clips resampled at a time; by default the number of cores.
        input_context: same as for `training_batches`. Each worker reads all videos of the data set
            and resamples its own.

    Returns:
        A function for `tf.data.Dataset.apply`. It takes a data set of (video, label) or (video,
        label, weight), with one video per element, (frames, height, width, 3) uint8 or float, each
        of its own length and size. It returns an infinite one of (clips, labels) or (clips, labels,
        weights), with one batch per step. In it `tf.data.AUTOTUNE` stands for all cores: an
        iterator that TensorFlow tunes takes up to a minute to end.

    Raises:
        ValueError: when applied, if the data set has other elements or another number of them.
        tf.errors.InvalidArgumentError: when read, at a video without frames or of other axes.

    Example:

    >>> batches = videos.apply(resample(schedule))
    >>> model.fit(batches, steps_per_epoch=schedule.total_steps, callbacks=[MultigridCallback()])
    """
    share = Share.of(input_context)
    check_augment(augment, sampling, SingleLabel(()))
    check_pairs(augment, schedule, share.total, sampling.repeats)
    clips = drawn_clips(schedule, sampling, seed=seed, start_step=start_step, share=share)
    as_they_are = dataclasses.replace(sampling, mean=0.0, std=1.0)
    # What is augmented is normalized afterwards.
    taken = dataclasses.replace(as_they_are, subtract_clip_mean=False) if augment else sampling

    first_position, repeats = schedule.clips_before(start_step), sampling.repeats

    def load(values, video, *others):
        clip = Clip.unpacked(values)
        video = _checked(video, clip.position % schedule.num_clips // repeats)
        if video.dtype.is_floating:
            video = _warned_of_colours(video, clip.position == first_position)
        num_frames = tf.shape(video, tf.int64)[0]
        indices = training_indices(num_frames, clip, sampling)
        return values, random_clip(video, indices, clip, taken), *others

    def transform(videos: tf.data.Dataset) -> tf.data.Dataset:
        _check_decoded_videos(videos, schedule, repeats)
        stream = videos.repeat().skip(first_position % schedule.num_clips // repeats)
        if repeats > 1:
            repeat = without_autograph(
                lambda *video: tf.data.Dataset.from_tensors(video).repeat(repeats)
            )
            stream = stream.flat_map(repeat)
        if share.total > 1:
            stream = _own_videos(stream, schedule, start_step, share)
        resampled = tf.data.Dataset.zip((clips, stream)).map(
            without_autograph(lambda values, video: load(values, *video)),
            num_parallel_calls=workers or os.cpu_count(),
            deterministic=True,
        )
        is_uint8 = videos.element_spec[0].dtype == tf.uint8

        def finished(values, clips, labels, *weights):
            if augment is None:
                return clips, labels, *weights
            clips, labels = augmented(
                augment, schedule.base, seed, clips, labels, values, repeats=repeats
            )
            return normalized(clips, sampling if is_uint8 else as_they_are), labels, *weights

        finish = finished if augment else without_autograph(finished)
        stream = without_autograph(bucketed)(resampled)
        stream = stream.map(finish, num_parallel_calls=workers or os.cpu_count())
        return untuned(measured(stream.prefetch(2), start_step, share))

    return transform


@without_autograph
def _own_videos(
    stream: tf.data.Dataset, schedule: MultigridSchedule, start_step: int, share: Share
) -> tf.data.Dataset:
    """Of the videos of all clips from a step on, those of the clips that a worker reads."""
    batch_of = batches(schedule, Share(count=share.total, total=share.total))

    def flags(number):
        replica = number % share.total - share.first
        is_own = (replica >= 0) & (replica < share.count)
        return tf.data.Dataset.from_tensors(is_own).repeat(batch_of(number).size)

    numbers = tf.data.Dataset.range(start_step * share.total, np.iinfo(np.int64).max)
    stream = tf.data.Dataset.zip((numbers.flat_map(flags), stream))
    return stream.filter(lambda is_own, _: is_own).map(lambda _, video: video)


def _check_decoded_videos(
    videos: tf.data.Dataset, schedule: MultigridSchedule, repeats: int
) -> None:
    spec = videos.element_spec
    is_known = isinstance(spec, tuple) and len(spec) in (2, 3)
    shape = getattr(spec[0], "shape", None) if is_known else None
    if shape is None or shape.rank not in (4, None):
        raise ValueError(
            "The data set must give (video, label) or (video, label, weight), one video per "
            f"element, (frames, height, width, 3). Received: element_spec={spec}. Take `.batch()` "
            "away, and map other forms: "
            "`videos.map(lambda example: (example['video'], example['label']))`."
        )
    if shape.rank and shape[-1] not in (None, *_CHANNELS):
        raise ValueError(
            f"Videos must be (frames, height, width, channels), of 1 to {_CHANNELS[-1]} channels. "
            f"Received: {shape}. Move the axis of channels to the end: "
            "`videos.map(lambda video, label: (tf.transpose(video, (0, 2, 3, 1)), label))`."
        )
    dtype = spec[0].dtype
    if dtype != tf.uint8 and not dtype.is_floating:
        raise ValueError(
            "Videos must be uint8, which are normalized, or float, which are left as they are. "
            f"Received: {dtype.name}. Convert colours of 0 to 255: "
            "`videos.map(lambda video, label: (tf.cast(video, tf.uint8), label))`."
        )
    num_videos = int(videos.cardinality())
    if num_videos >= 0:
        check_num_videos(num_videos, schedule, repeats)


def _checked(video: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """A video, if it is one: what the specification of a data set leaves open."""
    video = tf.ensure_shape(video, (None, None, None, None))
    shape = tf.shape(video)
    is_video = tf.reduce_all(shape > 0) & (shape[3] <= _CHANNELS[-1])
    parts = (
        f"A video must have at least one frame, and 1 to {_CHANNELS[-1]} channels as the last "
        "axis. Received: the shape",
        shape,
        "of the element at position",
        number,
    )
    with tf.control_dependencies([tf.debugging.Assert(is_video, parts, summarize=4)]):
        return tf.identity(video)


def _warned_of_colours(video: tf.Tensor, is_first: tf.Tensor) -> tf.Tensor:
    """A video of floats, with a warning at the first one if it looks as if never normalized."""

    def warn(most):
        warnings.warn(
            f"The first video holds floats up to {most:g}. Floats are left as they are. To have "
            "colours of 0 to 255 normalized, convert them: "
            "`videos.map(lambda video, label: (tf.cast(video, tf.uint8), label))`.",
            stacklevel=2,
        )
        return most

    def warned():
        most = tf.cast(tf.reduce_max(video), tf.float32)
        return tf.cond(
            most > _LARGE, lambda: tf.numpy_function(warn, [most], tf.float32), lambda: most
        )

    with tf.control_dependencies([tf.cond(is_first, warned, lambda: 0.0)]):
        return tf.identity(video)
