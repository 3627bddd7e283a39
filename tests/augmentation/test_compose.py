"""Several augmentations as one, mirrored clips, and what is refused."""

import numpy as np
import pytest

from keras_multigrid import ClipSampling, Grid, Input, MultigridSchedule, VideoSet, resample
from keras_multigrid.augmentation import (
    ColorJitter,
    Compose,
    CutMix,
    HorizontalFlip,
    MixUp,
    OneOf,
    RandAugment,
)

NAMES = tuple("abcdef")


def test_each_gets_its_own_numbers_and_the_strength_of_the_grid(clips, numbers):
    seen = []

    def record(clips, labels, numbers, work):
        seen.append((np.asarray(numbers), float(work)))
        return clips, labels

    record.num_numbers = 3
    augment = Compose([ColorJitter(), record, RandAugment()])
    assert augment.num_numbers == 4 + 3 + 4
    given = numbers(4, 11)
    # A quarter of the frames, half the crop.
    changed, _ = augment(clips, None, given, 1 / 16)
    np.testing.assert_array_equal(seen[0][0], given[:, 4:7])
    assert seen[0][1] == 0.25
    expected, _ = ColorJitter()(clips, None, given[:, :4], 0.25)
    expected, _ = RandAugment()(expected, None, given[:, 7:], 0.25)
    np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("growth, expected", [(0, 1.0), (0.5, 0.25), (1, 0.0625)])
def test_strength_at_the_coarsest_grid_and_at_the_base(growth, expected):
    schedule = MultigridSchedule(
        base=Grid(batch_size=4, num_frames=16, crop_size=64),
        num_clips=64,
        epochs=12,
        boundaries=(4, 8),
    )
    coarsest = schedule.grid(0)
    assert (coarsest.num_frames, coarsest.crop_size) == (4, 32)
    augment = Compose([], growth=growth)
    assert float(augment.strength(4 * 32**2 / (16 * 64**2))) == expected
    assert float(augment.strength(1.0)) == 1.0


@pytest.mark.parametrize(
    "labels", [np.array([0, 1, 2, 5]), np.eye(6, dtype=np.float32)[[0, 1, 2, 5]]]
)
def test_mirrored_clips_swap_their_classes(clips, labels):
    augment = HorizontalFlip(swapped_classes=[(0, 1), (2, 4)])
    numbers = np.array([[0.1], [0.6], [0.2], [0.4]], np.float32)
    changed, swapped = augment(clips, labels, numbers, 0.1)
    expected = clips[:, :, :, ::-1].copy()
    expected[1] = clips[1]
    np.testing.assert_array_equal(changed, expected)
    swapped = np.asarray(swapped)
    assert swapped.dtype == labels.dtype
    assert (swapped if labels.ndim == 1 else swapped.argmax(axis=1)).tolist() == [1, 1, 4, 5]


def test_one_of(clips, numbers):
    labels = np.eye(6, dtype=np.float32)[:4]
    mix_up, cut_mix = MixUp(), CutMix()
    augment = OneOf([mix_up, cut_mix])
    assert augment.num_numbers == 1 + 2 + 4
    given = numbers(4, 7)
    # Of a pair, the first chooses.
    given[:, 0] = 0.2, 0.9, 0.7, 0.1
    changed, mixed = augment(clips, labels, given, 1.0)
    for rows, own in ((slice(0, 2), mix_up), (slice(2, 4), cut_mix)):
        columns = slice(1, 3) if own is mix_up else slice(3, 7)
        expected = own(clips, labels, given[:, columns], 1.0)
        np.testing.assert_array_equal(changed[rows], expected[0][rows])
        np.testing.assert_array_equal(mixed[rows], expected[1][rows])


def test_what_a_run_compares_when_it_resumes():
    def mine(clips, labels, numbers, work):
        return clips, labels

    mine.num_numbers = 0
    text = repr(Compose([OneOf([MixUp(alpha=0.2), CutMix()]), mine], growth=1))
    assert text == (
        "Compose([OneOf([MixUp(alpha=0.2, probability=1.0), CutMix(alpha=1.0, probability=1.0)]), "
        "test_what_a_run_compares_when_it_resumes.<locals>.mine], growth=1)"
    )


def test_what_is_needed_is_passed_on():
    augment = Compose([OneOf([MixUp()]), HorizontalFlip(swapped_classes=[(0, 7)])])
    assert augment.mixes_labels and augment.pairs_clips and augment.flips
    assert augment.least_classes == 8
    plain = Compose([RandAugment()])
    assert not (plain.mixes_labels or plain.pairs_clips or plain.flips or plain.least_classes)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Compose([lambda *batch: batch]), "must have an attribute `num_numbers`"),
        (lambda: Compose([], growth=-1), "`growth` must be a number, not negative"),
        (lambda: HorizontalFlip(swapped_classes=[(0, 1), (1, 2)]), "each class in one pair"),
        (lambda: HorizontalFlip(swapped_classes=[(0, "left")]), "`swapped_classes` must be"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_does_not_fit_the_set_is_refused(clip_videos):
    videos = VideoSet(train=clip_videos, validation=clip_videos, class_names=NAMES)
    plain = ClipSampling(flip=False)
    with pytest.raises(ValueError, match=r"mirrors clips.*Use ClipSampling\(flip=False\)"):
        Input(videos=videos, augment=HorizontalFlip())
    with pytest.raises(ValueError, match="names class 6: there must be at least 7 classes"):
        Input(videos=videos, sampling=plain, augment=HorizontalFlip(swapped_classes=[(0, 6)]))
    without_names = VideoSet(train=clip_videos, validation=())
    with pytest.raises(ValueError, match="no class names"):
        _ = Input(videos=without_names, augment=MixUp()).task
    odd = MultigridSchedule(
        base=Grid(batch_size=3, num_frames=4, crop_size=16),
        num_clips=6,
        epochs=2,
        long_cycle=(),
        short_cycle=(),
    )
    message = "an even number of clips.*Use a base grid whose batch_size is a multiple of 2"
    with pytest.raises(ValueError, match=message):
        Input(videos=videos, augment=MixUp()).training(odd, seed=0)
    with pytest.raises(ValueError, match=message):
        resample(odd, augment=MixUp())
