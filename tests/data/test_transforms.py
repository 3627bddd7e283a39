import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import (
    Window,
    centre_window,
    cropped,
    normalized,
    random_clip,
    random_window,
    scaled,
    side_windows,
)


def places(height, width, *, num_frames=2, dtype=np.uint8):
    """Pixel (y, x) of frame t is 100 t + 10 y + x, in all three colours."""
    t, y, x, _ = np.ogrid[:num_frames, :height, :width, :3]
    return np.broadcast_to(100 * t + 10 * y + x, (num_frames, height, width, 3)).astype(dtype)


def ramp(size, *, axis=1):
    """One square frame whose value is its column (axis 1) or row (axis 0)."""
    return np.indices((size, size, 3), np.uint8)[axis][None]


LIBRARIES = pytest.mark.parametrize("xp", [np, tf], ids=["numpy", "tensorflow"])


def clip_values(xp=np, **given):
    """A clip that shows `crop_size` pixels at `scale`."""
    values = dict.fromkeys(Clip._fields, 0) | {"region": given["crop_size"]} | given
    if xp is tf:
        values = {name: tf.constant(value, tf.int64) for name, value in values.items()}
    return Clip(**values)


def window(height, width, xp=np, **given):
    """A random window, in integers."""
    if xp is tf:
        height, width = (tf.constant(n, tf.int64) for n in (height, width))
    return tuple(map(int, random_window(height, width, clip_values(xp, **given))))


def whole(frames):
    return Window(0, 0, frames.shape[1])


def scaled_crop(video, window, *, crop_size, flip=0):
    return scaled(tf.constant(cropped(video, window)), crop_size, int(flip)).numpy()


def clip_of_tensor(video, *, sampling=ClipSampling(), crop_size, scale, flip=0, **draws):
    """All frames of a video that is a tensor."""
    clip = clip_values(tf, crop_size=crop_size, scale=scale, flip=flip, **draws)
    return random_clip(tf.constant(video), tf.range(len(video)), clip, sampling).numpy()


def colours(clip):
    """The pixels before they were normalized."""
    return (clip * 0.225 + 0.45) * 255


# Where the crop lies. Short sides of 6 scaled to 6: pixels stay as they are.


HIGHEST = 2**31 - 2


def draw_of(place, places):
    """A random number that chooses one of so many places."""
    return place * 2**31 // places + 1


@LIBRARIES
@pytest.mark.parametrize(
    ("top", "left", "row", "column"),
    [
        (0, 0, 0, 0),
        (draw_of(2, 3), draw_of(4, 5), 2, 4),
        (draw_of(1, 3), draw_of(3, 5), 1, 3),
        (HIGHEST, HIGHEST, 2, 4),
    ],
)
def test_a_random_window_lies_where_the_draws_say(xp, top, left, row, column):
    # 6 x 8 pixels hold 3 x 5 places for 4 x 4.
    assert window(6, 8, xp, crop_size=4, scale=6, top=top, left=left) == (row, column, 4)


@pytest.mark.parametrize("draw", [0, 10**8, 2**30, HIGHEST])
def test_a_random_window_shows_the_same_of_a_smaller_decoding(draw):
    given = {"crop_size": 112, "scale": 128, "top": draw, "left": draw}
    whole_size, quarter = window(1080, 1920, **given), window(270, 480, **given)
    np.testing.assert_allclose(whole_size, 4 * np.array(quarter), atol=4)


@LIBRARIES
def test_a_coarse_clip_has_the_window_of_its_region(xp):
    # 2 pixels for the 4 x 4 that the clip of the test above shows as they are.
    draws = {"top": draw_of(1, 3), "left": draw_of(3, 5)}
    assert window(6, 8, xp, crop_size=2, region=4, scale=6, **draws) == (1, 3, 4)


def test_a_crop_holds_the_pixels_of_its_window():
    rows = np.add.outer([10, 20, 30, 40], [2, 3, 4, 5])
    clip = scaled_crop(places(6, 8), Window(1, 2, 4), crop_size=4)
    assert (clip.shape, clip.dtype) == ((2, 4, 4, 3), np.uint8)
    np.testing.assert_array_equal(clip[0, ..., 1], rows)
    np.testing.assert_array_equal(clip[1, ..., 2], rows + 100)
    floats = places(6, 8, dtype=np.float32)
    draws = {"top": draw_of(1, 3), "left": draw_of(2, 5)}
    tensor = clip_of_tensor(floats, crop_size=4, scale=6, **draws)
    np.testing.assert_allclose(tensor, clip, atol=1e-4)


def test_a_mirrored_clip_runs_from_right_to_left():
    video = places(6, 8)
    clip = scaled_crop(video, Window(1, 2, 4), crop_size=4, flip=True)
    assert clip[0, 0, :, 0].tolist() == [15, 14, 13, 12]
    assert clip[0, :, 0, 0].tolist() == [15, 25, 35, 45]
    draws = {"top": draw_of(1, 3), "left": draw_of(2, 5)}
    tensor = clip_of_tensor(video.astype(np.float32), crop_size=4, scale=6, flip=1, **draws)
    np.testing.assert_allclose(tensor, clip, atol=1e-4)


@pytest.mark.parametrize(
    ("height", "width", "top", "left"),
    [(6, 8, 1, 2), (8, 6, 2, 1), (7, 9, 1, 2), (6, 6, 1, 1), (6, 20, 1, 8)],
)
def test_the_centre_lies_in_the_middle(height, width, top, left):
    found = centre_window(height, width, crop_size=4, scale=min(height, width))
    assert found == side_windows(height, width, crop_size=4, scale=min(height, width), count=1)[0]
    assert found == (top, left, 4)


def test_side_windows_run_from_edge_to_edge_of_the_longer_side():
    wide = side_windows(6, 20, crop_size=6, scale=6, count=3)
    assert wide == [(0, 0, 6), (0, 7, 6), (0, 14, 6)]
    high = side_windows(20, 6, crop_size=4, scale=6, count=2)
    assert high == [(0, 1, 4), (16, 1, 4)]


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
    given = {"crop_size": crop_size, "scale": scale}
    assert window(short_side, short_side + 3, xp, **given)[2] == side
    assert centre_window(short_side, short_side + 3, **given).side == side


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (5, 7), (37, 23)])
@pytest.mark.parametrize("crop_size", [1, 5, 16])
def test_any_size_gives_the_crop(height, width, crop_size):
    video = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    for draw in (0, HIGHEST):
        draws = {"crop_size": crop_size, "scale": 18, "top": draw, "left": draw}
        clip = scaled_crop(
            video, window(height, width, **draws), crop_size=crop_size, flip=draw > 0
        )
        assert clip.shape == (3, crop_size, crop_size, 3)
        # Both libraries scale alike; one rounds to whole numbers.
        tensor = clip_of_tensor(video, flip=int(draw > 0), **draws)
        assert tensor.shape == clip.shape
        np.testing.assert_allclose(colours(tensor), clip, atol=1.01)


# Scaling.


def test_pixels_are_interpolated_between_their_centres():
    # 200 pixels to 80: pixel i lies at (i + 0.5) * 2.5 - 0.5.
    clip = scaled_crop(ramp(200), whole(ramp(200)), crop_size=80)
    np.testing.assert_allclose(clip[0, 0, :4, 0], [0.75, 3.25, 5.75, 8.25], atol=0.51)
    np.testing.assert_allclose(clip[0, 9, -1, 0], 199 - 0.75, atol=0.51)
    video = ramp(200).astype(np.float32)
    clip = clip_of_tensor(video, crop_size=80, scale=80)
    np.testing.assert_allclose(clip[0, 0, :4, 0], [0.75, 3.25, 5.75, 8.25], atol=1e-3)


def test_rows_are_scaled_as_columns():
    # 250 to 50: pixel i lies on 5 i + 2.
    rows = scaled_crop(ramp(250, axis=0), whole(ramp(250)), crop_size=50)
    assert rows[0, :3, 9, 0].tolist() == [2, 7, 12]


def test_small_videos_are_enlarged():
    video = 40 * ramp(4)
    clip = scaled_crop(video, whole(video), crop_size=8)
    assert clip[0, 0, :, 0].tolist() == [0, 10, 30, 50, 70, 90, 110, 120]


# Colours.


def test_colours_of_uint8_videos_are_normalized():
    video = np.zeros((1, 4, 4, 3), np.uint8)
    video[..., 1], video[..., 2] = 51, 255
    for sampling, expected in (
        # 0, 0.2 and 1: (x - 0.45) / 0.225.
        (ClipSampling(), [-2.0, -1.111111, 2.444444]),
        (ClipSampling(mean=0.5, std=0.5), [-1.0, -0.6, 1.0]),
    ):
        clip = normalized(tf.constant(video), sampling)
        assert clip.dtype == tf.float32
        np.testing.assert_allclose(clip[0, 2, 2], expected, atol=1e-5)
        clip = clip_of_tensor(video, crop_size=4, scale=4, sampling=sampling)
        np.testing.assert_allclose(clip[0, 2, 2], expected, atol=1e-5)


def test_every_colour_is_normalized_as_by_division():
    colours = np.arange(256, dtype=np.uint8)
    clip = normalized(tf.constant(colours.reshape(1, 16, 16, 1)), ClipSampling())
    np.testing.assert_allclose(np.ravel(clip), (colours / 255 - 0.45) / 0.225, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_videos_are_left_as_they_are(dtype):
    clip = clip_of_tensor(places(4, 4, num_frames=1, dtype=dtype), crop_size=4, scale=4)
    assert clip.dtype == np.float32
    np.testing.assert_allclose(clip[0, 1, :, 0], [10, 11, 12, 13], atol=1e-4)


def test_subtract_clip_mean_leaves_what_changes():
    sampling = ClipSampling(mean=0.0, std=1 / 255, subtract_clip_mean=True)
    video = places(4, 4, num_frames=3)  # brighter by 100 each frame
    two_clips = np.stack([video, 255 - video])
    for clips in (
        normalized(tf.constant(two_clips), sampling).numpy(),
        np.stack([clip_of_tensor(v, crop_size=4, scale=4, sampling=sampling) for v in two_clips]),
    ):
        np.testing.assert_allclose(clips[0, :, 1, 2, 0], [-100, 0, 100], atol=1e-3)
        np.testing.assert_allclose(clips[1, :, 3, 0, 1], [100, 0, -100], atol=1e-3)
    assert normalized(tf.constant(two_clips[:, :0]), sampling).shape == (2, 0, 4, 4, 3)


def test_graph_with_unknown_sizes_gives_the_same_pixels():
    video, given = places(7, 9), {"crop_size": 4, "scale": 6, "top": 5, "left": 7, "flip": 1}

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    def in_graph(frames):
        indices = tf.range(tf.shape(frames)[0])
        return random_clip(frames, indices, clip_values(tf, **given), ClipSampling())

    np.testing.assert_array_equal(in_graph(video), clip_of_tensor(video, **given))
