"""Multigrid batches of any data set of decoded videos."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.indices import training_indices
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import normalized, random_clip
from keras_multigrid.data.positions import Share, batches
from keras_multigrid.data.stream import (
    augmented,
    bucketed,
    check_num_videos,
    drawn_clips,
    measured,
)
from keras_multigrid.schedule import MultigridSchedule


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
        A function for `tf.data.Dataset.apply`. It takes a data set of (video, label), with one
        video per element, (frames, height, width, 3) uint8 or float, each of its own length and
        size. It returns an infinite one of (clips, labels), with one batch per step.

    Example:

    >>> batches = videos.apply(resample(schedule))
    >>> model.fit(batches, steps_per_epoch=schedule.total_steps, callbacks=[MultigridCallback()])
    """
    share = Share.of(input_context)
    clips = drawn_clips(schedule, sampling, seed=seed, start_step=start_step, share=share)
    as_they_are = dataclasses.replace(sampling, mean=0.0, std=1.0)
    # What is augmented is normalized afterwards.
    taken = dataclasses.replace(as_they_are, subtract_clip_mean=False) if augment else sampling

    def load(values, video, label):
        clip = Clip.unpacked(values)
        num_frames = tf.shape(video, tf.int64)[0]
        indices = training_indices(num_frames, clip, sampling)
        return values, random_clip(video, indices, clip, taken), label

    def transform(videos: tf.data.Dataset) -> tf.data.Dataset:
        _check_decoded_videos(videos, schedule)
        seen = schedule.clips_before(start_step) % schedule.num_clips
        stream = videos.repeat().skip(seen)
        if share.total > 1:
            stream = _own_videos(stream, schedule, start_step, share)
        resampled = tf.data.Dataset.zip((clips, stream)).map(
            lambda values, video: load(values, *video),
            num_parallel_calls=workers or os.cpu_count(),
            deterministic=True,
        )
        is_uint8 = videos.element_spec[0].dtype == tf.uint8

        def finished(values, clips, labels):
            if augment is None:
                return clips, labels
            clips, labels = augmented(augment, schedule.base, seed, clips, labels, values)
            return normalized(clips, sampling if is_uint8 else as_they_are), labels

        stream = bucketed(resampled).map(finished, num_parallel_calls=workers or os.cpu_count())
        return measured(stream.prefetch(2), start_step, share)

    return transform


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


def _check_decoded_videos(videos: tf.data.Dataset, schedule: MultigridSchedule) -> None:
    spec = videos.element_spec
    is_pair = isinstance(spec, tuple) and len(spec) == 2
    shape = getattr(spec[0], "shape", None) if is_pair else None
    if shape is None or shape.rank not in (4, None):
        raise ValueError(
            "The data set must give (video, label), one video an element, a video being (frames, "
            f"height, width, 3). Received: element_spec={spec}. Take `.batch()` away, and map "
            "other forms: `videos.map(lambda example: (example['video'], example['label']))`."
        )
    num_videos = int(videos.cardinality())
    if num_videos >= 0:
        check_num_videos(num_videos, schedule)
