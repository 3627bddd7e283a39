"""Multigrid batches of any data set of decoded videos."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_multigrid.data.augmenting import augmented, check_augment, check_pairs
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.excerpt import centre_excerpt
from keras_multigrid.data.clips.indices import training_indices
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import normalized, random_clip, tensor_clip
from keras_multigrid.data.decoded_videos import check_decoded_videos, checked, warned_of_colours
from keras_multigrid.data.positions import Share, batches
from keras_multigrid.data.stream import (
    bucketed,
    check_num_videos,
    drawn_clips,
    may_need_autograph,
    measured,
    untuned,
    without_autograph,
)
from keras_multigrid.schedule import Grid, MultigridSchedule
from keras_multigrid.task import SingleLabel


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
        video = checked(video, clip.position % schedule.num_clips // repeats)
        if video.dtype.is_floating:
            video = warned_of_colours(video, clip.position == first_position)
        num_frames = tf.shape(video, tf.int64)[0]
        indices = training_indices(num_frames, clip, sampling)
        return values, random_clip(video, indices, clip, taken), *others

    def transform(videos: tf.data.Dataset) -> tf.data.Dataset:
        check_decoded_videos(videos)
        stream = _endless(videos, schedule, repeats)
        stream = stream.skip(first_position % schedule.num_clips // repeats)
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

        finish = finished if may_need_autograph(augment) else without_autograph(finished)
        stream = without_autograph(bucketed)(resampled)
        stream = stream.map(finish, num_parallel_calls=workers or os.cpu_count())
        return untuned(measured(stream.prefetch(2), start_step, share))

    return transform


def centre_clips(
    grid: Grid, *, sampling: ClipSampling = ClipSampling(), workers: int | None = None
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """A transformation of any data set of decoded videos to one clip from the middle of each.

    For validation and tests: the clips are those that validations of a run take, at the shortest
    scale, neither mirrored nor augmented, and normalized as `resample` does.

    Args:
        grid: the baseline's grid, `schedule.base`: size of the batches and of their clips.
        sampling: same as for the training.
        workers: clips taken at a time; by default the number of cores.

    Returns:
        A function for `tf.data.Dataset.apply`. It takes a data set as `resample` does, and returns
        one of (clips, labels) or (clips, labels, weights), once through the videos. The last batch
        may be smaller.

    Raises:
        ValueError: when applied, if the data set has other elements.
        tf.errors.InvalidArgumentError: when read, at a video without frames or of other axes.

    Example:

    >>> validation = validation_videos.apply(centre_clips(schedule.base))
    >>> model.fit(batches, ..., validation_data=validation)
    """
    excerpt = centre_excerpt(grid, sampling)

    def load(number, video, *others):
        video = checked(video, number)
        if video.dtype.is_floating:
            video = warned_of_colours(video, number == 0)
        shape = tf.shape(video, tf.int64)
        window = excerpt.window(shape[1], shape[2])
        clip = tensor_clip(video, excerpt.indices(shape[0]), window, grid.crop_size, 0, sampling)
        channels = video.shape[-1] if video.shape.rank else None
        return tf.ensure_shape(clip, (*grid.shape[1:4], channels)), *others

    def transform(videos: tf.data.Dataset) -> tf.data.Dataset:
        check_decoded_videos(videos)
        clips = videos.enumerate().map(
            without_autograph(lambda number, video: load(number, *video)),
            num_parallel_calls=workers or os.cpu_count(),
            deterministic=True,
        )
        return untuned(clips.batch(grid.batch_size).prefetch(2))

    return transform


def _endless(videos: tf.data.Dataset, schedule: MultigridSchedule, repeats: int) -> tf.data.Dataset:
    """The videos again and again, if they are as many as the schedule is for."""
    num_videos = int(videos.cardinality())
    if num_videos >= 0:
        check_num_videos(num_videos, schedule, repeats)
        return videos.repeat()
    expected = schedule.num_clips // repeats

    def counted(position, numbered):
        number, video = numbered
        told = tf.strings.format(
            "The data set must hold as many videos as the schedule is for, num_clips / repeats. "
            f"Received: a schedule for {expected} videos, and a data set that begins anew after "
            "{} in all. Set MultigridSchedule.num_clips to their number times repeats.",
            [position],
        )
        # One that repeats itself is endless.
        is_right = (number > 0) | tf.equal(position % expected, 0)
        with tf.control_dependencies([tf.debugging.Assert(is_right, [told])]):
            return tf.nest.map_structure(tf.identity, video)

    numbers = tf.data.Dataset.range(np.iinfo(np.int64).max)
    numbered = tf.data.Dataset.zip((numbers, videos.enumerate().repeat()))
    return numbered.map(without_autograph(counted))


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
