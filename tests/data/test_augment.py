"""The seam for augmentations: what they are given, and that it comes from seed and position."""

import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid import (
    ClipSampling,
    Grid,
    Input,
    MultigridSchedule,
    VideoRecord,
    VideoSet,
    resample,
)
from keras_multigrid.data import recorded_videos
from keras_multigrid.data.records import RecordFormat, prepare

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=16), num_clips=6, epochs=8, boundaries=(4, 6)
)


class Recorder:
    """Puts what it is given in the place of labels, and clips upside down."""

    num_numbers = 3

    def __call__(self, clips, labels, numbers, work):
        seen = [tf.cast(labels, tf.float32)[:, None], numbers, tf.fill((len(labels), 1), work)]
        return tf.reverse(clips, [2]), tf.concat(seen, axis=1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("frames")
    records = []
    for number in range(6):
        generator = np.random.default_rng(number)
        for frame in range(9):
            picture = generator.integers(0, 255, (20, 24, 3), np.uint8)
            path = root / str(number) / f"{frame}.jpg"
            tf.io.write_file(str(path), tf.io.encode_jpeg(picture))
        records.append(VideoRecord(path=str(root / str(number)), label=number))
    return VideoSet(train=records, validation=records, class_names=tuple("abcdef"))


def take(videos, *, augment=None, start_step=0, seed=0, **settings):
    source = Input(videos=videos, augment=augment, **settings)
    stream = source.training(SCHEDULE, seed=seed, start_step=start_step)
    return list(stream.take(SCHEDULE.total_steps - start_step).as_numpy_iterator())


def test_what_an_augmentation_is_given(videos):
    plain, augmented = take(videos), take(videos, augment=Recorder())
    numbers = []
    for step, ((clips, labels), (changed, seen)) in enumerate(zip(plain, augmented, strict=True)):
        # In the pipeline of colours, a clip upside down is the same pixels.
        np.testing.assert_allclose(changed[:, :, ::-1], clips, atol=1e-5)
        assert seen[:, 0].tolist() == labels.tolist()
        grid = SCHEDULE.grid(step)
        work = grid.num_frames * grid.crop_size**2 / (4 * 16**2)
        np.testing.assert_allclose(seen[:, 4], work)
        numbers.append(seen[:, 1:4])
    numbers = np.concatenate(numbers)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.1
    assert len(np.unique(numbers)) == numbers.size


def test_a_later_start_and_other_workers_get_the_same_numbers(videos):
    whole = take(videos, augment=Recorder(), workers=1)
    for (clips, seen), (other, others_seen) in zip(
        whole[5:], take(videos, augment=Recorder(), start_step=5, workers=4), strict=True
    ):
        np.testing.assert_array_equal(seen, others_seen)
        np.testing.assert_array_equal(clips, other)
    assert not np.array_equal(whole[0][1], take(videos, augment=Recorder(), seed=1)[0][1])


def test_records_get_the_same_numbers(videos, tmp_path):
    root = str(tmp_path / "records")
    prepare(videos, root=root, form=RecordFormat(short_sides=(None,)), workers=1)
    recorded = take(recorded_videos(root), augment=Recorder())
    for (clips, seen), (other, others_seen) in zip(
        take(videos, augment=Recorder()), recorded, strict=True
    ):
        np.testing.assert_array_equal(seen, others_seen)
        np.testing.assert_array_equal(clips, other)


def test_validation_is_not_augmented(videos):
    def refuse(*_):
        raise AssertionError

    batches = Input(videos=videos, augment=refuse).validation(SCHEDULE.base)
    assert sum(len(labels) for _, labels in batches) == 6


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_resampled_batches_are_augmented_by_the_same_numbers(videos, dtype):
    decoded = tf.data.Dataset.from_tensor_slices(
        (tf.cast(tf.random.uniform((6, 9, 20, 24, 3), maxval=255, seed=1), dtype), tf.range(6))
    ).cache()
    sampling = ClipSampling(subtract_clip_mean=True)

    def resampled(**settings):
        stream = decoded.apply(resample(SCHEDULE, sampling=sampling, **settings))
        return list(stream.take(SCHEDULE.total_steps).as_numpy_iterator())

    plain, augmented = resampled(), resampled(augment=Recorder())
    from_files = take(videos, augment=Recorder())
    for (clips, labels), (changed, seen), (_, expected) in zip(
        plain, augmented, from_files, strict=True
    ):
        np.testing.assert_allclose(changed[:, :, ::-1], clips, rtol=1e-5, atol=1e-4)
        assert seen[:, 0].tolist() == labels.tolist()
        np.testing.assert_array_equal(seen[:, 1:], expected[:, 1:])
