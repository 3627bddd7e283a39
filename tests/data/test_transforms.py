import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.sampling import DRAWS, ClipSampling
from keras_multigrid.data.transforms import centre_crop, random_crop


def places(height, width, *, num_frames=2, dtype=np.uint8):
    """Pixel (y, x) of frame t is 100 t + 10 y + x, in all three colours."""
    t, y, x, _ = np.ogrid[:num_frames, :height, :width, :3]
    return np.broadcast_to(100 * t + 10 * y + x, (num_frames, height, width, 3)).astype(dtype)


def ramp(size, *, axis=2):
    """One square frame whose value is its column (axis 2) or row (axis 1)."""
    frame = np.indices((1, size, size, 3), np.float32)[axis]
    return frame.astype(np.float32)


def crop(frames, *, crop_size, base_crop_size=None, sampling=None, **draw):
    numbers = tf.constant([draw.get(name, 0) for name in DRAWS], tf.int64)
    return random_crop(
        tf.constant(frames),
        crop_size=tf.constant(crop_size, tf.int64),
        base_crop_size=base_crop_size or crop_size,
        sampling=sampling or ClipSampling(flip=False),
        draws=numbers,
    ).numpy()


def scale_of(side):
    return ClipSampling(min_scale=side, max_scale=side, flip=False)


def colours(clip):
    """The pixels before they were normalized."""
    return (clip * 0.225 + 0.45) * 255


# Short sides of 6 scaled to 6: pixels stay as they are.


@pytest.mark.parametrize(
    ("top", "left", "first_row", "first_column"),
    [(0, 0, 0, 0), (2, 4, 2, 4), (1, 3, 1, 3), (3, 5, 0, 0), (7, 9, 1, 4)],
)
def test_random_crop_lies_where_the_draws_say(top, left, first_row, first_column):
    # 6 x 8 pixels hold 3 x 5 places for 4 x 4.
    clip = crop(places(6, 8), crop_size=4, sampling=scale_of(6), top=top, left=left)
    assert clip.shape == (2, 4, 4, 3)
    assert clip.dtype == np.float32
    corner = 10 * first_row + first_column
    rows = [[corner + 10 * y + x for x in range(4)] for y in range(4)]
    np.testing.assert_allclose(colours(clip[0, ..., 1]), rows, atol=1e-3)
    np.testing.assert_allclose(colours(clip[1, ..., 2]), np.add(rows, 100), atol=1e-3)


@pytest.mark.parametrize(("flip", "is_mirrored"), [(0, False), (1, True), (6, False), (7, True)])
def test_half_of_the_draws_mirror_the_width(flip, is_mirrored):
    flipping = ClipSampling(min_scale=6, max_scale=6)
    clip = crop(places(6, 8), crop_size=4, sampling=flipping, top=1, left=2, flip=flip)
    row = [12, 13, 14, 15]
    np.testing.assert_allclose(
        colours(clip[0, 0, :, 0]), row[::-1] if is_mirrored else row, atol=1e-3
    )
    left_edge = [15, 25, 35, 45] if is_mirrored else [12, 22, 32, 42]
    np.testing.assert_allclose(colours(clip[0, :, 0, 0]), left_edge, atol=1e-3)
    still = crop(places(6, 8), crop_size=4, sampling=scale_of(6), top=1, left=2, flip=flip)
    np.testing.assert_allclose(colours(still[0, 0, :, 0]), row, atol=1e-3)


@pytest.mark.parametrize(
    ("height", "width", "first_row", "first_column"),
    [(6, 8, 1, 2), (8, 6, 2, 1), (7, 9, 1, 2), (6, 6, 1, 1), (6, 20, 1, 8)],
)
def test_centre_crop_lies_in_the_middle(height, width, first_row, first_column):
    side = min(height, width)
    clip = centre_crop(
        tf.constant(places(height, width, dtype=np.float32)), crop_size=4, sampling=scale_of(side)
    ).numpy()
    corner = 10 * first_row + first_column
    rows = [[corner + 10 * y + x for x in range(4)] for y in range(4)]
    np.testing.assert_allclose(clip[0, ..., 0], rows, atol=1e-4)


def test_centre_crop_takes_the_smallest_scale():
    # 448 pixels scaled to 256 (not to 320): 224 of 256 are 392 of 448, of which 28 are left out.
    clip = centre_crop(tf.constant(ramp(448)), crop_size=224, sampling=ClipSampling()).numpy()
    # Bilinear: pixel i lies at (i + 0.5) * 1.75 - 0.5.
    np.testing.assert_allclose(clip[0, 0, :4, 0], [28.375, 30.125, 31.875, 33.625], atol=1e-3)
    np.testing.assert_allclose(clip[0, 0, -1, 0], 447 - 28.375, atol=1e-3)


# Scales: 640 pixels, so that the step from pixel to pixel tells the scale.


@pytest.mark.parametrize(
    ("crop_size", "scale", "window"),
    [
        # The smallest, 128, 181 and 256 for crops of 112, 158 and 224.
        (112, 0, 560),
        (158, 0, 559),  # 158 / 181 * 640 = 558.7
        (224, 0, 560),
        # The largest is 320 for all.
        (112, 192, 224),
        (158, 139, 316),
        (224, 64, 448),
        # One more starts again.
        (112, 193, 560),
        (158, 140, 559),
        (224, 65, 560),
        # In between: 112 / 129 * 640 = 555.7.
        (112, 1, 556),
    ],
)
def test_random_crop_scales_within_the_range(crop_size, scale, window):
    left = 640 - window
    clip = crop(ramp(640), crop_size=crop_size, base_crop_size=224, scale=scale, left=left)
    assert clip.shape == (1, crop_size, crop_size, 3)
    step = window / crop_size
    expected = left + (np.arange(crop_size) + 0.5) * step - 0.5
    np.testing.assert_allclose(clip[0, 3, :, 1], np.clip(expected, left, 639), atol=1e-2)


def test_random_crop_scales_rows_as_columns():
    clip = crop(ramp(640, axis=1), crop_size=112, base_crop_size=224, top=80)
    np.testing.assert_allclose(clip[0, :3, 9, 0], [82, 87, 92], atol=1e-3)


@pytest.mark.parametrize("scale", [0, 1])
def test_video_smaller_than_the_crop_is_enlarged(scale):
    # 4 pixels become 8 or 9: a window of 4, or of 8 / 9 * 4 = 3.6.
    sampling = ClipSampling(min_scale=8, max_scale=9, flip=False)
    clip = crop(ramp(4), crop_size=8, sampling=sampling, scale=scale)
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(clip[0, 0, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (5, 7), (37, 23)])
@pytest.mark.parametrize("crop_size", [1, 5, 16])
def test_any_size_gives_the_crop(height, width, crop_size):
    video = places(height, width, num_frames=3)
    big = 2**31 - 2
    for draw in (0, big):
        draws = dict.fromkeys(DRAWS, draw)
        clip = crop(video, crop_size=crop_size, base_crop_size=16, sampling=ClipSampling(), **draws)
        assert clip.shape == (3, crop_size, crop_size, 3)
        assert colours(clip).min() > -1e-3
    clip = centre_crop(tf.constant(video), crop_size=crop_size, sampling=ClipSampling())
    assert clip.shape == (3, crop_size, crop_size, 3)
    assert clip.dtype == tf.float32


def test_a_scale_below_the_crop_is_raised_to_it():
    clip = centre_crop(tf.constant(ramp(8)), crop_size=4, sampling=scale_of(2)).numpy()
    np.testing.assert_allclose(clip[0, 0, :, 0], [0.5, 2.5, 4.5, 6.5], atol=1e-4)


# Colours.


def test_colours_of_uint8_videos_are_normalized():
    video = np.zeros((1, 6, 6, 3), np.uint8)
    video[..., 1], video[..., 2] = 51, 255
    clip = crop(video, crop_size=4, sampling=scale_of(6))
    # 0, 0.2 and 1: (x - 0.45) / 0.225.
    np.testing.assert_allclose(clip[0, 2, 2], [-2.0, -1.111111, 2.444444], atol=1e-5)
    other = ClipSampling(min_scale=6, max_scale=6, mean=0.5, std=0.5, flip=False)
    clip = crop(video, crop_size=4, sampling=other)
    np.testing.assert_allclose(clip[0, 2, 2], [-1.0, -0.6, 1.0], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_videos_are_left_as_they_are(dtype):
    video = places(6, 6, num_frames=1, dtype=dtype)
    clip = crop(video, crop_size=4, sampling=scale_of(6), top=1, left=1)
    assert clip.dtype == np.float32
    np.testing.assert_allclose(clip[0, 0, :, 0], [11, 12, 13, 14], atol=1e-4)


def test_subtract_clip_mean_leaves_what_changes():
    video = places(6, 6, num_frames=3, dtype=np.float32)  # brighter by 100 each frame
    sampling = ClipSampling(min_scale=6, max_scale=6, subtract_clip_mean=True)
    for clip in (
        crop(video, crop_size=4, sampling=sampling),
        centre_crop(tf.constant(video), crop_size=4, sampling=sampling).numpy(),
    ):
        np.testing.assert_allclose(clip[..., 0].min(axis=(1, 2)), [-100, 0, 100], atol=1e-3)
        np.testing.assert_allclose(clip[..., 0].max(axis=(1, 2)), [-100, 0, 100], atol=1e-3)
    assert centre_crop(tf.constant(video[:0]), crop_size=4, sampling=sampling).shape[0] == 0


def test_graph_with_unknown_sizes_gives_the_same_pixels():
    video = places(7, 9)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    def in_graph(frames):
        return centre_crop(frames, crop_size=4, sampling=scale_of(6))

    eager = centre_crop(tf.constant(video), crop_size=4, sampling=scale_of(6))
    np.testing.assert_array_equal(in_graph(video), eager)
