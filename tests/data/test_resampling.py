"""What `resample` takes, and what it refuses."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid import ClipSampling, Grid, MultigridSchedule, centre_clips, resample
from keras_multigrid.data.input import evaluation_batches
from keras_multigrid.data.videos.decode import read_video

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=16), num_clips=8, epochs=4, boundaries=(2,)
)


def first_batch(*parts, **settings):
    """Of 8 elements of these parts."""
    videos = tf.data.Dataset.from_tensors(parts).repeat(8)
    return next(iter(videos.apply(resample(SCHEDULE, **settings))))


def of_unknown_shape(shapes):
    """Videos of zeros of these shapes, none of which the data set names."""

    def videos():
        for number in range(8):
            yield np.zeros(shapes.get(number, (6, 20, 24, 3)), np.uint8), 0

    spec = tf.TensorSpec(None, tf.uint8), tf.TensorSpec((), tf.int32)
    return tf.data.Dataset.from_generator(videos, output_signature=spec)


@pytest.mark.parametrize("kept", [5, 11])
def test_another_number_of_videos_is_told_when_it_is_known(kept):
    def videos():
        for number in range(kept):
            yield np.zeros((6, 20, 24, 3), np.uint8), number

    spec = tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)
    data = tf.data.Dataset.from_generator(videos, output_signature=spec)
    message = f"a schedule for 8 videos, and a data set that begins anew after {kept} in.*num_clips"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(data.apply(resample(SCHEDULE)).take(3))
    assert len(list(data.concatenate(data).take(8).apply(resample(SCHEDULE)).take(1))) == 1


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_centre_clips_are_those_of_validations(videos, dtype):
    grid = Grid(batch_size=5, num_frames=4, crop_size=16)
    sampling = ClipSampling(stride=2, min_scale=20, max_scale=24)
    decoded = tf.data.Dataset.from_generator(
        lambda: ((read_video(video), video.label) for video in videos),
        output_signature=(
            tf.TensorSpec((None, None, None, 3), tf.uint8),
            tf.TensorSpec((), tf.int64),
        ),
    )
    if dtype != tf.uint8:
        decoded = decoded.map(
            lambda video, label: ((tf.cast(video, dtype) / 255 - 0.45) / 0.225, label)
        )
    found = list(decoded.apply(centre_clips(grid, sampling=sampling)).as_numpy_iterator())
    expected = list(evaluation_batches(videos, grid, sampling=sampling).as_numpy_iterator())
    assert len(found) == len(expected) == 5
    for (clips, labels), (its_clips, its_labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(labels, its_labels)
        # Those are rounded to whole colours.
        np.testing.assert_allclose(clips, its_clips, atol=0.6 / 255 / 0.225)


def test_channels_must_be_the_last_axis():
    with pytest.raises(ValueError, match=r"1 to 4 channels. Received: \(6, 3, 20, 24\)"):
        first_batch(tf.zeros((6, 3, 20, 24), tf.uint8), 0)
    batches = of_unknown_shape({0: (6, 3, 20, 24)}).apply(resample(SCHEDULE))
    with pytest.raises(tf.errors.InvalidArgumentError, match="channels as the last axis"):
        next(iter(batches))


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.uint16, tf.bool])
def test_colours_must_be_uint8_or_float(dtype):
    with pytest.raises(ValueError, match=rf"Received: {dtype.name}. .*tf.cast\(video, tf.uint8\)"):
        first_batch(tf.zeros((6, 20, 24, 3), dtype), 0)


@pytest.mark.parametrize("shape", [(0, 20, 24, 3), (6, 0, 24, 3), (20, 24, 3)])
def test_a_video_of_nothing_is_named(shape):
    batches = of_unknown_shape({5: shape}).apply(resample(SCHEDULE))
    message = (
        "at least one frame.*at position.*5" if len(shape) == 4 else r"\(20, 24, 3\)|\[20,24,3"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){message}"):
        next(iter(batches))


def test_large_floats_are_warned_of_once():
    with pytest.warns(UserWarning, match="floats up to 200") as warned:
        clips, _ = first_batch(200.0 * tf.ones((6, 20, 24, 3)), 0)
    assert len(warned) == 1
    assert float(tf.reduce_max(clips)) == 200.0


def test_usual_floats_are_not(recwarn):
    first_batch(2.6 * tf.ones((6, 20, 24, 3)), 0)
    assert not recwarn.list


@pytest.mark.parametrize("augment", [None, lambda clips, labels, numbers, work: (clips, labels)])
def test_weights_stay_with_their_clips(augment):
    numbers = tf.data.Dataset.range(8)
    videos = numbers.map(
        lambda n: (tf.zeros((6, 20, 24, 3), tf.uint8), n, tf.cast(n, tf.float32) / 2)
    )
    clips, labels, weights = next(iter(videos.apply(resample(SCHEDULE, augment=augment))))
    assert clips.shape == SCHEDULE.grid(0).shape
    np.testing.assert_array_equal(weights, labels.numpy() / 2)
    assert len(set(labels.numpy())) > 1


def test_autograph_has_nothing_to_warn_of():
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        first_batch(tf.zeros((6, 20, 24, 3), tf.uint8), 0)
    finally:
        tf.get_logger().removeHandler(handler)
    assert not [message for message in messages if "AutoGraph" in message]
