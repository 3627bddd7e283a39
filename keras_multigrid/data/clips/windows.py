"""From decoded frames to a clip of the grid's size: crop, scale, mirror, normalize."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_multigrid.data.clips.arrays import maximum, minimum
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.sampling import ClipSampling


class Window(NamedTuple):
    """A square of a video that becomes a clip, in source pixels: integers or scalar tensors."""

    top: int
    left: int
    side: int


def random_window(height, width, clip: Clip) -> Window:
    """Where a training clip lies in a video of this height and width, in pixels.

    The video is cropped before it is scaled: pixels outside the crop are never computed.
    """
    side = _side(height, width, clip.region, clip.scale)
    # A share of the free pixels: the same place whatever size an image was decoded at.
    top = clip.top * (height - side + 1) // 2**31
    left = clip.left * (width - side + 1) // 2**31
    return Window(top, left, side)


def centre_window(height, width, *, crop_size, scale) -> Window:
    """The square in the middle that a crop of `crop_size` shows at a short side of `scale`."""
    side = _side(height, width, crop_size, scale)
    return Window((height - side) // 2, (width - side) // 2, side)


def side_windows(
    height: int, width: int, *, crop_size: int, scale: int, count: int
) -> list[Window]:
    """`count` squares spread evenly along the longer side, edge to edge; one is in the middle.

    Other arguments: same as for `centre_window`.
    """
    centre = centre_window(height, width, crop_size=crop_size, scale=scale)
    if count == 1:
        return [centre]
    free = max(height, width) - centre.side
    places = [free * number // (count - 1) for number in range(count)]
    if height > width:
        return [centre._replace(top=place) for place in places]
    return [centre._replace(left=place) for place in places]


def cropped(frames: Sequence[np.ndarray], window: Window) -> np.ndarray:
    """The part of frames, uint8 (height, width, 3) each, in a window: uint8 (t, side, side, 3)."""
    top, left, side = window
    return np.stack([frame[top : top + side, left : left + side] for frame in frames])


def scaled(frames: tf.Tensor, crop_size, flip=0) -> tf.Tensor:
    """A cropped clip at the grid's size, bilinear between the centres of pixels.

    Args:
        frames: uint8 (t, side, side, 3).
        crop_size: height and width of the clip, in pixels.
        flip: 1 to mirror it, else 0.

    Returns:
        uint8 (t, crop_size, crop_size, 3), rounded.
    """
    return _mirrored(tf.cast(_resized(frames, crop_size) + 0.5, tf.uint8), flip)


def _resized(frames: tf.Tensor, crop_size) -> tf.Tensor:
    size = tf.fill([2], tf.cast(crop_size, tf.int32))
    # Without the checks and casts of tf.image.resize, which small clips cost more than the scaling.
    return tf.raw_ops.ResizeBilinear(images=frames, size=size, half_pixel_centers=True)


def centre_views(frames: tf.Tensor, *, crop_size: int, sampling: ClipSampling) -> tf.Tensor:
    """The middle crop of a test, of the frames of clips as a decoder gives them.

    Args:
        frames: uint8 (batch, t, height, width, 3), any of which may be open.
        crop_size: height and width of the clips, in pixels, and the short side.
        sampling: gives mean and deviation.

    Returns:
        float32 (batch, t, crop_size, crop_size, 3), as the network takes them. Only operations that
        other programs than TensorFlow have, too.
    """
    num_frames, height, width = (
        tf.shape(frames)[axis] if frames.shape[axis] is None else frames.shape[axis]
        for axis in (1, 2, 3)
    )
    top, left, side = centre_window(height, width, crop_size=crop_size, scale=crop_size)
    parts = frames[:, :, top : top + side, left : left + side]
    # Floats: ONNX would scale integers to integers.
    pictures = tf.cast(tf.reshape(parts, (-1, side, side, 3)), tf.float32)
    clips = tf.cast(scaled(pictures, crop_size), tf.float32) / 255
    return normalized(tf.reshape(clips, (-1, num_frames, crop_size, crop_size, 3)), sampling)


def _mirrored(frames: tf.Tensor, flip) -> tf.Tensor:
    def mirror():
        shape = tf.shape(frames)
        # As one high picture: TensorFlow mirrors these many times as fast.
        rows = tf.reshape(frames, (-1, shape[-2], shape[-1]))
        return tf.reshape(tf.reverse(rows, [1]), shape)

    if isinstance(flip, int):
        return mirror() if flip else frames
    return tf.cond(tf.cast(flip, tf.bool), mirror, lambda: frames)


def random_clip(video: tf.Tensor, indices: tf.Tensor, clip: Clip, sampling: ClipSampling):
    """A random crop of some frames of a video that is a tensor.

    Args:
        video: (frames, height, width, 3), uint8 or float. The colours of floats stay as they are.
        indices: int64 (t,), the frames.
        clip: its random numbers and size, scalar tensors.
        sampling: the settings.

    Returns:
        (t, crop_size, crop_size, 3) float32.
    """
    shape = tf.shape(video, tf.int64)
    window = random_window(shape[1], shape[2], clip)
    return tensor_clip(video, indices, window, clip.crop_size, clip.flip, sampling)


def tensor_clip(video, indices, window: Window, crop_size, flip, sampling: ClipSampling):
    """A crop of some frames of a video that is a tensor, at the grid's size.

    Args:
        video, indices: same as for `random_clip`.
        window: what the clip shows.
        crop_size: height and width of the clip, in pixels.
        flip: 1 to mirror it, else 0.
        sampling: mean and deviation of uint8 videos.

    Returns:
        (t, crop_size, crop_size, channels) float32.
    """
    top, left, side = window
    frames = tf.gather(video, indices)[:, top : top + side, left : left + side]
    frames.set_shape((None, None, None, video.shape[-1] if video.shape.rank else 3))
    clips = _mirrored(_resized(frames, crop_size), flip)
    if video.dtype == tf.uint8:
        clips = clips * (1 / (255 * sampling.std)) - sampling.mean / sampling.std
    return _finished(clips, sampling)


def normalized(clips: tf.Tensor, sampling: ClipSampling) -> tf.Tensor:
    """Clips as the model takes them, float32.

    Args:
        clips: (..., t, height, width, 3), uint8, or float32 in [0, 1].
        sampling: gives mean and deviation.
    """
    if clips.dtype != tf.uint8:
        return _finished(clips * (1 / sampling.std) - sampling.mean / sampling.std, sampling)
    black, white = ((colour - sampling.mean) / sampling.std for colour in (0, 1))
    # One pass over the pixels: a cast, a product and a difference would be three, and take longer
    # than all the scaling.
    clips = tf.quantization.dequantize(
        tf.bitcast(clips, tf.quint8), black, white, mode="MIN_COMBINED"
    )
    return _finished(clips, sampling)


def _finished(clips: tf.Tensor, sampling: ClipSampling) -> tf.Tensor:
    if sampling.subtract_clip_mean:
        clips -= tf.reduce_mean(clips, axis=-4, keepdims=True)
    return clips


def _side(height, width, region, scale):
    """Side of a region of `region` pixels at a short side of `scale`, in source pixels."""
    scale = maximum(scale, region)
    # Rounded in integers, so that every library gives the same.
    side = (2 * region * minimum(height, width) + scale) // (2 * scale)
    return maximum(side, 1)
