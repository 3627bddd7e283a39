"""Augmented batches: the same for any number of workers, after a resume, and from records."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid import ClipSampling, Grid, Input, MultigridSchedule, VideoSet, resample
from keras_multigrid.augmentation import (
    ColorJitter,
    Compose,
    CutMix,
    HorizontalFlip,
    LabelSmoothing,
    MixUp,
    OneOf,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
)
from keras_multigrid.data import recorded_videos
from keras_multigrid.data.positions import Share
from keras_multigrid.data.records import RecordFormat, prepare
from keras_multigrid.data.stream import may_need_autograph, training_stream

NAMES = tuple("abcdef")
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=8, num_frames=4, crop_size=16),
    num_clips=6,
    epochs=90,
    boundaries=(30, 60),
    replicas=4,
)
SAMPLING = ClipSampling(stride=1, flip=False)
MIXED = Compose([OneOf([MixUp(), CutMix()]), LabelSmoothing()])
AUGMENT = Compose(
    [
        HorizontalFlip(swapped_classes=[(0, 1)]),
        RandomResizedCrop(),
        ColorJitter(),
        RandomErasing(probability=0.5),
        MIXED,
    ]
)


@pytest.fixture(scope="module")
def videos(clip_videos):
    return VideoSet(train=clip_videos, validation=clip_videos[:3], class_names=NAMES)


@pytest.fixture(scope="module")
def whole(videos):
    """All batches, read by one worker for one device."""
    return take(videos, SCHEDULE.total_steps)


def take(videos, count, *, augment=AUGMENT, start_step=0, workers=None):
    source = Input(videos=videos, sampling=SAMPLING, augment=augment, workers=workers)
    stream = source.training(SCHEDULE, seed=3, start_step=start_step)
    return list(stream.take(count).as_numpy_iterator())


@pytest.mark.slow
def test_batches_are_augmented_and_their_labels_soft(videos, whole):
    plain = take(videos, SCHEDULE.total_steps, augment=None)
    for step, ((clips, labels), (unchanged, classes)) in enumerate(zip(whole, plain, strict=True)):
        assert clips.shape == unchanged.shape == SCHEDULE.grid(step).shape
        assert np.abs(clips - unchanged).mean() > 0.01
        assert labels.dtype == np.float32 and labels.shape == (len(classes), 6)
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)


def test_coarse_grids_are_changed_less(videos):
    shares = {}
    mixed = take(videos, SCHEDULE.total_steps, augment=Compose([MixUp()]))
    for step, (_, labels) in enumerate(mixed):
        grid = SCHEDULE.grid(step)
        shares.setdefault((grid.num_frames, grid.crop_size), []).append(1 - labels.max(axis=1))
    means = {size: np.concatenate(values).mean() for size, values in shares.items()}
    # The strengths are 1/4 and 1.
    assert 0.18 < means[1, 8] / means[4, 16] < 0.35


def test_clips_of_two_videos_are_mixed_where_a_video_gives_several(videos):
    sampling = dataclasses.replace(SAMPLING, repeats=2)
    schedule = dataclasses.replace(SCHEDULE, num_clips=12, epochs=45, boundaries=(15, 30))
    settings = {"videos": videos, "sampling": sampling, "workers": 1}
    mixed = Input(augment=Compose([MixUp()]), **settings).training(schedule, seed=3)
    plain = Input(**settings).training(schedule, seed=3)
    for (_, labels), (_, classes) in zip(mixed.take(4), plain.take(4), strict=True):
        pairs = labels.numpy().reshape(-1, 2, 2, 6)
        its_classes = classes.numpy().reshape(-1, 2, 2)
        # Videos 0 0 1 1: each clip of the first with one of the second.
        for (own, others), (first, second) in zip(pairs, its_classes, strict=True):
            for one, other in zip(own, others, strict=True):
                assert {*np.flatnonzero(one)} <= {first[0], second[0]}
                assert one[first[0]] + one[second[0]] == pytest.approx(1)
                assert one[first[0]] == pytest.approx(other[second[0]])
        assert labels.numpy().max(axis=1).min() < 1
    few = dataclasses.replace(
        schedule, base=Grid(batch_size=6, num_frames=4, crop_size=16), replicas=1
    )
    with pytest.raises(ValueError, match=r"an even number of videos, 2 of each.*multiple of 4"):
        Input(augment=MIXED, **settings).training(few, seed=3)
    source = Input(augment=Compose([MixUp()]), **settings)
    (expected, _), *_ = mixed.take(1)
    for number, (_, _, clip) in enumerate(source.training_clips(schedule, step=0, count=5, seed=3)):
        np.testing.assert_allclose(clip, expected[number], atol=1e-5)


@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_all_workers_together_get_the_same_clips(videos, whole, replicas):
    source = Input(videos=videos, sampling=SAMPLING, augment=AUGMENT, workers=1)
    parts = []
    for worker in range(replicas):
        stream = training_stream(
            source._reader(videos.train),
            SCHEDULE,
            SAMPLING,
            seed=3,
            start_step=0,
            share=Share(first=worker, total=replicas),
            augment=AUGMENT,
        )
        parts.append(list(stream.take(6).as_numpy_iterator()))
    for (clips, labels), *shares in zip(whole[:6], *parts, strict=True):
        own_clips, own_labels = map(np.concatenate, zip(*shares, strict=True))
        np.testing.assert_array_equal(own_labels, labels)
        np.testing.assert_array_equal(own_clips, clips)


@pytest.mark.slow
def test_a_later_start_gets_the_same_clips(videos):
    augment = Compose([RandAugment(), AUGMENT])
    expected = take(videos, 9, augment=augment, workers=1)[5:]
    later = take(videos, 4, augment=augment, start_step=5, workers=4)
    for (clips, labels), (its_clips, its_labels) in zip(later, expected, strict=True):
        np.testing.assert_array_equal(labels, its_labels)
        np.testing.assert_array_equal(clips, its_clips)


def test_records_get_the_same_clips(videos, tmp_path):
    root = str(tmp_path / "records")
    prepare(videos, root=root, form=RecordFormat(short_sides=(None,), quality=100), workers=1)
    recorded = take(recorded_videos(root), 3, augment=MIXED)
    for (clips, labels), (expected, its_labels) in zip(
        recorded, take(videos, 3, augment=MIXED), strict=True
    ):
        np.testing.assert_array_equal(labels, its_labels)
        # In units of the normalization. The records are JPEGs of what the videos decode to.
        assert np.median(np.abs(clips - expected)) < 0.2
        assert np.corrcoef(clips.ravel(), expected.ravel())[0, 1] > 0.9


def test_validation_has_soft_labels_and_no_changes(videos):
    source = Input(videos=videos, sampling=SAMPLING, augment=AUGMENT)
    plain = dataclasses.replace(source, augment=None)
    clips, labels = next(iter(source.validation(SCHEDULE.base)))
    expected, classes = next(iter(plain.validation(SCHEDULE.base)))
    np.testing.assert_array_equal(clips, expected)
    np.testing.assert_array_equal(labels, np.eye(6)[classes])


def test_clips_to_look_at_are_those_of_training(videos, whole):
    source = Input(videos=videos, sampling=SAMPLING, augment=AUGMENT)
    shown = list(source.training_clips(SCHEDULE, step=1, count=3, seed=3))
    assert len(shown) == 3
    for number, (_, cut, frames) in enumerate(shown):
        np.testing.assert_allclose(frames, whole[1][0][number], atol=1e-4)
        np.testing.assert_allclose(cut.label, whole[1][1][number], atol=1e-6)


def test_resampled_videos_are_mixed_with_one_hot_labels():
    decoded = tf.data.Dataset.from_tensor_slices(
        (tf.cast(tf.random.uniform((6, 9, 20, 24, 3), maxval=255, seed=1), tf.uint8), tf.range(6))
    )
    one_hot = decoded.map(lambda video, label: (video, tf.one_hot(label, 6)))
    settings = {"seed": 3, "sampling": SAMPLING, "augment": MIXED}
    clips, labels = next(iter(one_hot.apply(resample(SCHEDULE, **settings))))
    assert clips.shape == SCHEDULE.grid(0).shape
    np.testing.assert_allclose(tf.reduce_sum(labels, axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match=r"mixes labels.*Received: int32 of shape \(None,\)"):
        decoded.apply(resample(SCHEDULE, **settings))
    # Shares of integers would be 0.
    integers = one_hot.map(lambda video, label: (video, tf.cast(label, tf.int32)))
    with pytest.raises(ValueError, match=r"one float tensor.*Received: int32 of shape \(None, 6\)"):
        integers.apply(resample(SCHEDULE, **settings))
    several = one_hot.map(lambda video, label: (video, {"action": label}))
    with pytest.raises(ValueError, match=r"one float tensor.*Received: dict"):
        several.apply(resample(SCHEDULE, **settings))


def test_several_labels_are_mixed(clip_videos):
    several = [dataclasses.replace(video, label=(video.label, 5)) for video in clip_videos]
    videos = VideoSet(train=several, validation=several, class_names=NAMES, multi_label=True)
    augment = Compose([MixUp(), LabelSmoothing(smoothing=0.1, multi_label=True)], growth=0)
    _, labels = take(videos, 1, augment=augment)[0]
    # All have class 5.
    np.testing.assert_allclose(labels[:, 5], 0.95, atol=1e-5)
    assert labels.min() > 0.049


class BrightsTurned:
    """An augmentation of one's own, which branches on a tensor."""

    num_numbers = 0

    def __call__(self, clips, labels, numbers, work):
        if tf.reduce_mean(clips) > 0.9:
            clips = 1 - clips
        return clips, labels


def test_one_of_ones_own_may_branch_on_a_tensor(videos):
    own = BrightsTurned()
    for augment in (own, Compose([LabelSmoothing(), own])):
        assert may_need_autograph(augment)
        clips, _ = take(videos, 1, augment=augment)[0]
        assert clips.shape == SCHEDULE.grid(0).shape
    # Those of the package do not: rewriting them would take seconds of each start.
    assert not may_need_autograph(AUGMENT)
