import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.sampling import Clip, ClipSampling
from keras_multigrid.data.transforms import centre_crop, random_crop, scaled_and_normalized


def places(height, width, *, num_frames=2, dtype=np.uint8):
    """Pixel (y, x) of frame t is 100 t + 10 y + x, in all three colours."""
    t, y, x, _ = np.ogrid[:num_frames, :height, :width, :3]
    return np.broadcast_to(100 * t + 10 * y + x, (num_frames, height, width, 3)).astype(dtype)


def ramp(size, *, axis=2):
    """One square frame whose value is its column (axis 2) or row (axis 1)."""
    frame = np.indices((1, size, size, 3), np.float32)[axis]
    return frame.astype(np.float32)


LIBRARIES = pytest.mark.parametrize("xp", [np, tf], ids=["numpy", "tensorflow"])


def cut(frames, xp=np, *, crop_size, scale, top=0, left=0, flip=0):
    """The source pixels of a random crop."""
    values = dict.fromkeys(Clip._fields, 0) | dict(
        crop_size=crop_size, scale=scale, top=top, left=left, flip=flip
    )
    if xp is tf:
        frames = tf.constant(frames)
        values = {name: tf.constant(value, tf.int64) for name, value in values.items()}
    return np.asarray(random_crop(frames, Clip(**values), xp=xp))


def finish(frames, *, crop_size, sampling=ClipSampling()):
    return scaled_and_normalized(
        tf.constant(frames), crop_size=tf.constant(crop_size, tf.int64), sampling=sampling
    ).numpy()


def colours(clip):
    """The pixels before they were normalized."""
    return (clip * 0.225 + 0.45) * 255


# Where the crop lies. Short sides of 6 scaled to 6: pixels stay as they are.


@LIBRARIES
@pytest.mark.parametrize(
    ("top", "left", "first_row", "first_column"),
    [(0, 0, 0, 0), (2, 4, 2, 4), (1, 3, 1, 3), (3, 5, 0, 0), (7, 9, 1, 4)],
)
def test_random_crop_lies_where_the_draws_say(xp, top, left, first_row, first_column):
    # 6 x 8 pixels hold 3 x 5 places for 4 x 4.
    clip = cut(places(6, 8), xp, crop_size=4, scale=6, top=top, left=left)
    assert clip.shape == (2, 4, 4, 3)
    assert clip.dtype == np.uint8
    corner = 10 * first_row + first_column
    rows = [[corner + 10 * y + x for x in range(4)] for y in range(4)]
    np.testing.assert_array_equal(clip[0, ..., 1], rows)
    np.testing.assert_array_equal(clip[1, ..., 2], np.add(rows, 100))


@LIBRARIES
@pytest.mark.parametrize("flip", [0, 1])
def test_a_mirrored_clip_runs_from_right_to_left(xp, flip):
    clip = cut(places(6, 8), xp, crop_size=4, scale=6, top=1, left=2, flip=flip)
    row = [12, 13, 14, 15]
    assert clip[0, 0, :, 0].tolist() == (row[::-1] if flip else row)
    assert clip[0, :, 0, 0].tolist() == ([15, 25, 35, 45] if flip else [12, 22, 32, 42])


@pytest.mark.parametrize(
    ("height", "width", "first_row", "first_column"),
    [(6, 8, 1, 2), (8, 6, 2, 1), (7, 9, 1, 2), (6, 6, 1, 1), (6, 20, 1, 8)],
)
def test_centre_crop_lies_in_the_middle(height, width, first_row, first_column):
    side = min(height, width)
    video = places(height, width, dtype=np.float32)
    clip = centre_crop(video, crop_size=4, scale=side)
    corner = 10 * first_row + first_column
    rows = [[corner + 10 * y + x for x in range(4)] for y in range(4)]
    np.testing.assert_array_equal(clip[0, ..., 0], rows)


@LIBRARIES
@pytest.mark.parametrize(
    ("short_side", "crop_size", "scale", "side"),
    [
        # The smallest scales, 128, 181 and 256, of crops of 112, 158 and 224.
        (640, 112, 128, 560),
        (640, 158, 181, 559),  # 158 / 181 * 640 = 558.7
        (640, 224, 256, 560),
        # The largest is 320 for all.
        (640, 112, 320, 224),
        (640, 158, 320, 316),
        (640, 224, 320, 448),
        (640, 112, 129, 556),  # 555.7
        # Half a pixel is rounded up.
        (5, 4, 8, 3),
        (7, 4, 8, 4),
        # A video smaller than the crop is enlarged.
        (4, 8, 8, 4),
        (4, 8, 9, 4),  # 3.6
        # A scale below the crop is raised to it.
        (8, 4, 2, 8),
        (1, 1, 9, 1),
    ],
)
def test_the_window_is_the_crops_share_of_the_scale(xp, short_side, crop_size, scale, side):
    video = np.zeros((1, short_side, short_side + 3, 3), np.uint8)
    assert cut(video, xp, crop_size=crop_size, scale=scale).shape == (1, side, side, 3)
    assert centre_crop(video, crop_size=crop_size, scale=scale).shape == (1, side, side, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (5, 7), (37, 23)])
@pytest.mark.parametrize("crop_size", [1, 5, 16])
def test_any_size_gives_the_crop(height, width, crop_size):
    video = places(height, width, num_frames=3)
    big = 2**31 - 2
    for draw in (0, big):
        draws = {"scale": 18, "top": draw, "left": draw, "flip": draw % 2}
        clip = cut(video, crop_size=crop_size, **draws)
        np.testing.assert_array_equal(clip, cut(video, tf, crop_size=crop_size, **draws))
        clip = finish(clip, crop_size=crop_size)
        assert clip.shape == (3, crop_size, crop_size, 3)
        assert clip.dtype == np.float32
        assert colours(clip).min() > -1e-3


# Scaling.


def test_pixels_are_interpolated_between_their_centres():
    # 448 pixels scaled to 256: 224 of 256 are 392 of 448, of which 28 are left out.
    clip = centre_crop(ramp(448), crop_size=224, scale=256)
    # Bilinear: pixel i lies at (i + 0.5) * 1.75 - 0.5.
    clip = finish(clip, crop_size=224)
    np.testing.assert_allclose(clip[0, 0, :4, 0], [28.375, 30.125, 31.875, 33.625], atol=1e-3)
    np.testing.assert_allclose(clip[0, 0, -1, 0], 447 - 28.375, atol=1e-3)


def test_rows_are_scaled_as_columns():
    rows = finish(ramp(560, axis=1), crop_size=112)
    np.testing.assert_allclose(rows[0, :3, 9, 0], [2, 7, 12], atol=1e-3)


def test_small_videos_are_enlarged():
    clip = finish(ramp(4), crop_size=8)
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(clip[0, 0, :, 0], expected, atol=1e-4)


# Colours.


def test_colours_of_uint8_videos_are_normalized():
    video = np.zeros((1, 4, 4, 3), np.uint8)
    video[..., 1], video[..., 2] = 51, 255
    # 0, 0.2 and 1: (x - 0.45) / 0.225.
    clip = finish(video, crop_size=4)
    np.testing.assert_allclose(clip[0, 2, 2], [-2.0, -1.111111, 2.444444], atol=1e-5)
    clip = finish(video, crop_size=4, sampling=ClipSampling(mean=0.5, std=0.5))
    np.testing.assert_allclose(clip[0, 2, 2], [-1.0, -0.6, 1.0], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_videos_are_left_as_they_are(dtype):
    clip = finish(places(4, 4, num_frames=1, dtype=dtype), crop_size=4)
    assert clip.dtype == np.float32
    np.testing.assert_allclose(clip[0, 1, :, 0], [10, 11, 12, 13], atol=1e-4)


def test_subtract_clip_mean_leaves_what_changes():
    video = places(4, 4, num_frames=3, dtype=np.float32)  # brighter by 100 each frame
    sampling = ClipSampling(subtract_clip_mean=True)
    clip = finish(video, crop_size=4, sampling=sampling)
    np.testing.assert_allclose(clip[..., 0].min(axis=(1, 2)), [-100, 0, 100], atol=1e-3)
    np.testing.assert_allclose(clip[..., 0].max(axis=(1, 2)), [-100, 0, 100], atol=1e-3)
    assert finish(video[:0], crop_size=4, sampling=sampling).shape[0] == 0


def test_graph_with_unknown_sizes_gives_the_same_pixels():
    video, place = places(7, 9), {"crop_size": 4, "scale": 6, "top": 5, "left": 7, "flip": 1}

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    def in_graph(frames):
        clip = Clip(*(tf.constant(place.get(name, 0), tf.int64) for name in Clip._fields))
        return random_crop(frames, clip, xp=tf)

    np.testing.assert_array_equal(in_graph(video), cut(video, **place))
