"""Affine changes of frames beside SciPy's, and boxes."""

import math

import numpy as np
import pytest
from scipy import ndimage

from keras_multigrid.augmentation import RandomErasing, RandomResizedCrop
from keras_multigrid.augmentation.geometry import centred, in_box, warped


def by_scipy(clip, at, mode):
    """A clip whose pixel (row, column) is that at `at(row, column)`, counted from the middle."""
    middle = (clip.shape[1] - 1) / 2
    rows, columns = np.mgrid[: clip.shape[1], : clip.shape[2]] - middle
    places = np.stack(at(rows, columns)) + middle
    planes = [
        [
            ndimage.map_coordinates(frame[..., channel], places, order=1, mode=mode, cval=0.5)
            for channel in range(3)
        ]
        for frame in clip
    ]
    return np.moveaxis(planes, 1, -1)


ANGLE = math.radians(20)


@pytest.mark.parametrize(
    "settings, at",
    [
        ({"x": 2.5, "y": -1.0}, lambda rows, columns: (rows - 1.0, columns + 2.5)),
        ({"xy": 0.3}, lambda rows, columns: (rows, columns + 0.3 * rows)),
        ({"yx": -0.2}, lambda rows, columns: (rows - 0.2 * columns, columns)),
        (
            {
                **{"xx": math.cos(ANGLE), "xy": -math.sin(ANGLE)},
                **{"yx": math.sin(ANGLE), "yy": math.cos(ANGLE)},
            },
            lambda rows, columns: (
                math.sin(ANGLE) * columns + math.cos(ANGLE) * rows,
                math.cos(ANGLE) * columns - math.sin(ANGLE) * rows,
            ),
        ),
    ],
)
def test_affine_changes(clips, settings, at):
    changed = np.asarray(warped(clips[:1], centred(16, **settings)))
    expected = by_scipy(clips[0], at, "grid-constant")
    np.testing.assert_allclose(changed[0], expected, atol=1e-4)
    assert np.abs(changed - clips[:1]).max() > 0.1


def test_resized_crop(clips):
    augment = RandomResizedCrop(scale=(0.25, 1.0), ratio=(0.25, 4.0))
    # The first box has half the area, the ratio 1, and lies in the upper left corner; at half the
    # strength, 3/4 of the area. The second has a quarter of the area and the ratio 2.
    numbers = np.array([[1 / 3, 0.5, 0.0, 0.0], [0.0, 0.75, 0.5, 1.0]], np.float32)
    for strength, area in ((1.0, 0.5), (0.5, 0.75)):
        changed, labels = augment(clips[:2], np.arange(2), numbers, strength)
        side = 16 * math.sqrt(area)
        place = (side - 16) / 2

        def at(rows, columns, side=side, place=place):
            return rows * side / 16 + place, columns * side / 16 + place

        np.testing.assert_allclose(changed[0], by_scipy(clips[0], at, "nearest"), atol=1e-4)
    changed, labels = augment(clips[:2], np.arange(2), numbers, 1.0)
    height, width = 8 / math.sqrt(2), 8 * math.sqrt(2)

    def at_the_bottom(rows, columns):
        return rows * height / 16 + (16 - height) / 2, columns * width / 16

    np.testing.assert_allclose(changed[1], by_scipy(clips[1], at_the_bottom, "nearest"), atol=1e-4)
    np.testing.assert_array_equal(labels, np.arange(2))
    np.testing.assert_allclose(augment(clips[:2], labels, numbers, 0.0)[0], clips[:2], atol=1e-5)


def test_boxes_lie_anywhere_inside():
    numbers = np.linspace(0, 0.999, 50, dtype=np.float32)
    sides = np.full(50, 3.0, np.float32)
    boxes = np.asarray(in_box(numbers, numbers[::-1].copy(), sides, sides, 7))
    assert boxes.shape == (50, 1, 7, 7, 3)
    np.testing.assert_array_equal(boxes.sum(axis=(1, 2, 3, 4)), 9 * 3)
    # A side of three has five places in seven.
    firsts = boxes[:, 0, :, :, 0].any(axis=2).argmax(axis=1)
    assert sorted(set(firsts.tolist())) == [0, 1, 2, 3, 4]


def test_erasing(clips):
    augment = RandomErasing(probability=0.5, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    numbers = np.zeros((4, 8), np.float32)
    # The first two are chosen; the box is 8 pixels a side, and the second one's in the corner.
    numbers[:, 0] = 0.0, 0.4, 0.5, 0.9
    numbers[1, 3:] = 0.999, 0.999, 0.1, 0.2, 0.3
    changed, _ = augment(clips, None, numbers, 1.0)
    expected = clips.copy()
    expected[0, :, :8, :8] = 0
    expected[1, :, 8:, 8:] = 0.1, 0.2, 0.3
    np.testing.assert_allclose(changed, expected, atol=1e-6)
    # A quarter of the strength: a quarter of the area.
    weak, _ = augment(clips, None, numbers, 0.25)
    expected = clips.copy()
    expected[0, :, :4, :4] = 0
    expected[1, :, 12:, 12:] = 0.1, 0.2, 0.3
    np.testing.assert_allclose(weak, expected, atol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RandomErasing(probability=1.5), "`probability` must be a number from 0 to 1"),
        (lambda: RandomErasing(scale=(0.4, 0.2)), "`scale` must be two positive numbers in order"),
        (lambda: RandomResizedCrop(scale=(0.5, 1.2)), "in order, at most 1. Received: scale="),
        (lambda: RandomResizedCrop(ratio=2), "`ratio` must be two positive numbers"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
