"""Changes of colours, beside those of Pillow and OpenCV."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from keras_multigrid.augmentation import colours


def tall(clip):
    """All frames of a clip as one high picture of bytes: what holds for it holds for all frames."""
    return Image.fromarray((clip * 255).round().astype(np.uint8).reshape(-1, clip.shape[2], 3))


def by_pillow(change, clips):
    """Clips changed by a function of a picture."""
    changed = [np.asarray(change(tall(clip)), np.float32) / 255 for clip in clips]
    return np.reshape(changed, clips.shape)


def assert_alike(changed, expected, steps):
    """Equal up to so many steps of a byte, and not merely unchanged."""
    np.testing.assert_allclose(changed, expected, atol=steps / 255 + 1e-6)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize(
    "change, enhance",
    [
        (colours.brightness, ImageEnhance.Brightness),
        (colours.saturation, ImageEnhance.Color),
        (colours.contrast, ImageEnhance.Contrast),
    ],
)
def test_enhancements(clips, change, enhance, factor):
    expected = by_pillow(lambda picture: enhance(picture).enhance(factor), clips)
    assert_alike(change(clips, factor), expected, steps=2)
    assert factor == 1 or np.abs(expected - clips).max() > 0.1


def test_factors_of_each_clip(clips):
    factors = np.array([0.2, 0.5, 1.5, 1.0], np.float32).reshape(4, 1, 1, 1, 1)
    changed = colours.brightness(clips, factors)
    np.testing.assert_allclose(changed, np.clip(clips * factors, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(changed[3], clips[3])


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.8])
def test_sharpness(clips, factor):
    changed = colours.sharpness(clips, factor)
    for clip, own in zip(clips, np.asarray(changed), strict=True):
        for frame, result in zip(clip, own, strict=True):
            picture = Image.fromarray((frame * 255).round().astype(np.uint8))
            expected = np.asarray(ImageEnhance.Sharpness(picture).enhance(factor)) / 255
            assert_alike(result, expected, steps=2)


@pytest.mark.parametrize("bits", [2, 4, 7, 8])
def test_posterize(clips, bits):
    expected = by_pillow(lambda picture: ImageOps.posterize(picture, bits), clips)
    assert_alike(colours.posterize(clips, float(bits)), expected, steps=0)


@pytest.mark.parametrize("threshold", [0, 100, 256])
def test_solarize(clips, threshold):
    expected = by_pillow(lambda picture: ImageOps.solarize(picture, threshold), clips)
    # Between two bytes.
    assert_alike(colours.solarize(clips, (threshold - 0.5) / 255), expected, steps=0)


def test_autocontrast(clips):
    expected = by_pillow(ImageOps.autocontrast, clips)
    assert_alike(colours.autocontrast(clips, 1.0), expected, steps=1)
    half = colours.autocontrast(clips, 0.5)
    assert_alike(half, (clips + expected) / 2, steps=1)
    plain = np.full((1, 2, 4, 4, 3), 0.3, np.float32)
    np.testing.assert_array_equal(colours.autocontrast(plain, 1.0), plain)


def test_equalize(clips):
    def spread(picture):
        return np.stack([cv2.equalizeHist(c) for c in np.moveaxis(np.asarray(picture), 2, 0)], 2)

    expected = by_pillow(spread, clips)
    for clip, its_expected in zip(clips, expected, strict=True):
        assert_alike(colours.equalize(clip[None], 1.0)[0], its_expected, steps=0)
        assert_alike(colours.equalize(clip[None], 0.0)[0], clip, steps=0)


@pytest.mark.parametrize("turn", [-0.3, 0.0, 0.1, 0.5])
def test_hue(clips, turn):
    changed = colours.hue(clips, np.full((4, 1, 1, 1, 1), turn, np.float32))
    for clip, own in zip(clips, np.asarray(changed), strict=True):
        hsv = cv2.cvtColor(clip.reshape(-1, 16, 3), cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 360 * turn) % 360
        expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(clip.shape)
        np.testing.assert_allclose(own, expected, atol=1e-4)
