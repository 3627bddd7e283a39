"""Which operations RandAugment applies, and how far they go."""

import numpy as np
import pytest
from PIL import Image

from keras_multigrid.augmentation import ColorJitter, RandAugment, RandomErasing, colours
from keras_multigrid.augmentation.rand_augment import OPERATIONS

NAMES = list(OPERATIONS)


def number_of(name):
    """A random number that chooses an operation."""
    return (NAMES.index(name) + 0.5) / len(NAMES)


def augmented(clips, choices, *, num_ops=1, strength=1.0, magnitude=15):
    augment = RandAugment(num_ops=num_ops, magnitude=magnitude)
    numbers = np.array(choices, np.float32)
    assert numbers.shape == (len(clips), augment.num_numbers)
    return np.asarray(augment(clips, None, numbers, strength)[0])


@pytest.mark.parametrize("augment", [RandAugment(), ColorJitter(hue=0.1), RandomErasing()])
@pytest.mark.parametrize("channels", [1, 4])
def test_clips_without_three_colours_are_refused(augment, channels):
    clips = np.zeros((2, 3, 9, 9, channels), np.float32)
    numbers = np.zeros((2, augment.num_numbers), np.float32)
    expected = rf"`{type(augment).__name__}` changes colours.* Received: {channels} channels"
    with pytest.raises(ValueError, match=expected):
        augment(clips, None, numbers, 1.0)


def test_the_operations_are_those_of_the_paper():
    assert len(NAMES) == 14


@pytest.mark.parametrize(
    "name, expected",
    [
        ("identity", lambda clips: clips),
        ("brightness", lambda clips: np.clip(clips * 0.55, 0, 1)),
        ("color", lambda clips: colours.saturation(clips, 0.55)),
        ("contrast", lambda clips: colours.contrast(clips, 0.55)),
        ("sharpness", lambda clips: colours.sharpness(clips, 0.55)),
        # Half of torchvision's four bits; half of all thresholds.
        ("posterize", lambda clips: np.round(clips * 255) // 4 * 4 / 255),
        ("solarize", lambda clips: np.where(clips >= 0.504, 1 - clips, clips)),
        ("autocontrast", lambda clips: colours.autocontrast(clips, 1.0)),
        ("equalize", lambda clips: colours.equalize(clips, 1.0)),
    ],
)
def test_changes_of_colours(clips, name, expected):
    # A number below a half is a minus.
    changed = augmented(clips[:1], [[number_of(name), 0.1]])
    np.testing.assert_allclose(changed, expected(clips[:1]), atol=1e-5)


@pytest.mark.parametrize(
    "name, coefficients",
    [
        # Of Pillow's transformation about the middle: the place in the clip of each pixel.
        ("shear_x", (1, 0.15, -0.15 * 8, 0, 1, 0)),
        ("shear_y", (1, 0, 0, 0.15, 1, -0.15 * 8)),
        ("translate_x", (1, 0, 16 * 150 / 331 / 2, 0, 1, 0)),
        ("translate_y", (1, 0, 0, 0, 1, 16 * 150 / 331 / 2)),
    ],
)
def test_affine_changes(clips, name, coefficients):
    changed = augmented(clips[:1], [[number_of(name), 0.9]])[0, 2, :, :, 1]
    picture = Image.fromarray(clips[0, 2, :, :, 1], "F")
    kinds = (Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    expected = np.asarray(picture.transform((16, 16), *kinds, fillcolor=-9))
    # Where Pillow takes no pixel beyond the border.
    inside = np.asarray(Image.new("F", (16, 16), 1).transform((16, 16), *kinds, fillcolor=0)) == 1
    inside[[0, -1]] = inside[:, [0, -1]] = False
    inside &= np.roll(inside, 1, 1) & np.roll(inside, -1, 1) & np.roll(inside, 1, 0)
    inside &= np.roll(inside, -1, 0)
    assert inside.sum() > 30
    np.testing.assert_allclose(changed[inside], expected[inside], atol=1e-3)
    assert changed.max() <= 1 and (np.abs(changed - 0.5) < 1e-6).any()


def test_rotation(clips):
    # 15 degrees, as Pillow turns: counter-clockwise for positive angles.
    changed = augmented(clips[:1], [[number_of("rotate"), 0.1]])[0, 0, 4:12, 4:12, 0]
    picture = Image.fromarray(clips[0, 0, :, :, 0], "F")
    either = [np.asarray(picture.rotate(a, Image.Resampling.BILINEAR)) for a in (-15, 15)]
    errors = [np.abs(changed - other[4:12, 4:12]).max() for other in either]
    assert min(errors) < 1e-3 < 0.05 < max(errors)


def test_each_clip_has_its_own_operations_in_order(clips):
    solarize, brightness = number_of("solarize"), number_of("brightness")
    changed = augmented(
        clips[:2],
        [[solarize, 0, brightness, 0], [brightness, 0, solarize, 0]],
        num_ops=2,
    )
    first = np.where(clips[0] >= 0.504, 1 - clips[0], clips[0]) * 0.55
    second = clips[1] * 0.55
    second = np.where(second >= 0.504, 1 - second, second)
    np.testing.assert_allclose(changed, [first, second], atol=1e-5)


@pytest.mark.parametrize("name", NAMES[1:])
def test_coarse_grids_change_less(clips, name):
    changes = [
        np.abs(augmented(clips[:1], [[number_of(name), 0.1]], strength=strength) - clips[:1]).mean()
        for strength in (0.0, 0.25, 1.0)
    ]
    assert changes[0] < 1e-3
    assert changes[0] <= changes[1] < changes[2]


def test_all_frames_are_changed_alike(clips):
    still = np.repeat(clips[:, :1], 4, axis=1)
    numbers = np.random.default_rng(0).random((4, 4), np.float32)
    changed = augmented(still, numbers, num_ops=2)
    np.testing.assert_array_equal(changed, np.repeat(changed[:, :1], 4, axis=1))


def test_color_jitter(clips):
    augment = ColorJitter(brightness=0.4, contrast=0.2, saturation=0.6, hue=0.1)
    numbers = np.array([[0, 0.5, 0.5, 0.5], [0.75, 0.25, 1, 0.5]] * 2, np.float32)
    changed, _ = augment(clips, None, numbers, 0.5)
    np.testing.assert_allclose(changed[0], clips[0] * 0.8, atol=1e-5)
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    expected = clips[1] * 1.1
    expected = expected * 0.95 + 0.05 * (expected @ grey).mean()
    expected = expected * 1.3 - 0.3 * (expected @ grey)[..., None]
    np.testing.assert_allclose(changed[1], np.clip(expected, 0, 1), atol=1e-5)
    turned, _ = augment(clips, None, np.array([[0.5, 0.5, 0.5, 1]] * 4, np.float32), 1.0)
    expected = colours.hue(clips, np.full((4, 1, 1, 1, 1), 0.1, np.float32))
    np.testing.assert_allclose(turned, expected, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RandAugment(num_ops=0), "`num_ops` must be a positive integer"),
        (lambda: RandAugment(magnitude=31), "`magnitude` must be at most 30"),
        (lambda: ColorJitter(hue=0.6), "`hue` must be at most 0.5"),
        (lambda: ColorJitter(brightness=-1), "`brightness` must be a number, not negative"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
