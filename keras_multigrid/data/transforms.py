"""From decoded frames to a clip of the grid's size: crop, scale, mirror, normalize."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from keras_multigrid.data.sampling import Clip, ClipSampling


class Window(NamedTuple):
    """A square of a video that becomes a clip, in source pixels: integers or scalar tensors."""

    top: int
    left: int
    side: int


def random_window(height, width, clip: Clip, *, xp=np) -> Window:
    """Where a random crop lies.

    Cut before scaling: pixels outside the crop are never computed.

    Args:
        height, width: of the video, in pixels.
        clip: its random numbers.
        xp: the array library of the arguments, numpy or `tf`.
    """
    side = _side(height, width, clip.crop_size, clip.scale, xp)
    # A share of the free pixels: the same place whatever size an image was decoded at.
    top = clip.top * (height - side + 1) // 2**31
    left = clip.left * (width - side + 1) // 2**31
    return Window(top, left, side)


def centre_window(height: int, width: int, *, crop_size: int, scale: int) -> Window:
    """The square in the middle.

    Args:
        height, width: of the video, in pixels.
        crop_size: height and width of the clip to be, in pixels.
        scale: short side that the video is scaled to.
    """
    side = _side(height, width, crop_size, scale, np)
    return Window((height - side) // 2, (width - side) // 2, side)


def side_windows(
    height: int, width: int, *, crop_size: int, scale: int, count: int
) -> list[Window]:
    """Squares spread evenly along the longer side, from edge to edge; a single one in the middle.

    Args: those of `centre_window`, and how many there are.
    """
    centre = centre_window(height, width, crop_size=crop_size, scale=scale)
    if count == 1:
        return [centre]
    free = max(height, width) - centre.side
    places = [free * number // (count - 1) for number in range(count)]
    if height > width:
        return [centre._replace(top=place) for place in places]
    return [centre._replace(left=place) for place in places]


def scaled_crop(
    frames: Sequence[np.ndarray],
    window: Window,
    *,
    crop_size: int,
    flip: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A part of a video at the grid's size, bilinear between the centres of pixels.

    Args:
        frames: uint8 (height, width, 3) each.
        window: the part.
        crop_size: height and width of the clip, in pixels.
        flip: mirror it.
        out: where to write it.

    Returns:
        uint8 (t, crop_size, crop_size, 3).
    """
    top, left, side = window
    if out is None:
        out = np.empty((len(frames), crop_size, crop_size, 3), np.uint8)
    for frame, scaled in zip(frames, out, strict=True):
        part = frame[top : top + side, left : left + side]
        cv2.resize(part, (crop_size, crop_size), dst=scaled, interpolation=cv2.INTER_LINEAR)
        if flip:
            cv2.flip(scaled, 1, dst=scaled)
    return out


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
    top, left, side = random_window(shape[1], shape[2], clip, xp=tf)
    frames = tf.gather(video, indices)[:, top : top + side, left : left + side]
    frames = frames[:, :, :: 1 - 2 * clip.flip]
    frames.set_shape((None, None, None, video.shape[-1] if video.shape.rank else 3))
    size = tf.cast(tf.stack([clip.crop_size, clip.crop_size]), tf.int32)
    scaled = tf.image.resize(frames, size)
    if video.dtype == tf.uint8:
        scaled = scaled * (1 / (255 * sampling.std)) - sampling.mean / sampling.std
    return _finished(scaled, sampling)


def normalized(clips: tf.Tensor, sampling: ClipSampling) -> tf.Tensor:
    """Clips as the model takes them.

    Args:
        clips: uint8 (..., t, height, width, 3).
        sampling: the settings.

    Returns:
        The same as float32.
    """
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


def _side(height, width, crop_size, scale, xp):
    """Side of the crop, in source pixels."""
    scale = xp.maximum(scale, crop_size)
    # Rounded in integers, so that every library gives the same.
    side = (2 * crop_size * xp.minimum(height, width) + scale) // (2 * scale)
    return xp.maximum(side, 1)
