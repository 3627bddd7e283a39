"""From decoded frames to a clip of the grid's size: crop, flip, scale, normalize."""

import numpy as np
import tensorflow as tf

from keras_multigrid.data.sampling import Clip, ClipSampling


def random_crop(frames, clip: Clip, *, xp=np):
    """The source pixels of a random crop, mirrored or not.

    Cut before scaling: pixels outside the crop are never computed.

    Args:
        frames: (t, height, width, 3).
        clip: where to cut, in integers or scalar tensors.
        xp: the array library of the arguments, numpy or `tf`.

    Returns:
        (t, side, side, 3), of the type of `frames`; with numpy a view.
    """
    height, width, side = _window(frames, clip.crop_size, clip.scale, xp)
    top, left = clip.top % (height - side + 1), clip.left % (width - side + 1)
    return frames[:, top : top + side, left : left + side][:, :, :: 1 - 2 * clip.flip]


def centre_crop(frames: np.ndarray, *, crop_size: int, scale: int) -> np.ndarray:
    """The source pixels of the square in the middle.

    Args:
        frames: (t, height, width, 3).
        crop_size: height and width of the clip to be, in pixels.
        scale: short side that the video is scaled to.

    Returns:
        (t, side, side, 3), a view.
    """
    height, width, side = _window(frames, crop_size, scale, np)
    top, left = (height - side) // 2, (width - side) // 2
    return frames[:, top : top + side, left : left + side]


def side_crops(frames: np.ndarray, *, crop_size: int, scale: int, count: int) -> np.ndarray:
    """Squares spread evenly along the longer side, from edge to edge; a single one in the middle.

    Args:
        frames: (t, height, width, 3).
        crop_size: height and width of the clips to be, in pixels.
        scale: short side that the video is scaled to.
        count: how many.

    Returns:
        (count, t, side, side, 3).
    """
    if count == 1:
        return centre_crop(frames, crop_size=crop_size, scale=scale)[None]
    height, width, side = _window(frames, crop_size, scale, np)
    crops = []
    for number in range(count):
        along = (max(height, width) - side) * number // (count - 1)
        across = (min(height, width) - side) // 2
        top, left = (along, across) if height > width else (across, along)
        crops.append(frames[:, top : top + side, left : left + side])
    return np.stack(crops)


def scaled_and_normalized(
    frames: tf.Tensor, *, crop_size: tf.Tensor, sampling: ClipSampling
) -> tf.Tensor:
    """A cropped clip at the grid's size, its colours as the model takes them.

    Args:
        frames: (t, side, side, 3), uint8 or float. The colours of floats stay as they are.
        crop_size: side of the clip, in pixels.
        sampling: the settings.

    Returns:
        (t, crop_size, crop_size, 3) float32.
    """
    clip = tf.image.resize(frames, tf.cast(tf.stack([crop_size, crop_size]), tf.int32))
    if frames.dtype == tf.uint8:
        # One multiplication and one addition over the pixels instead of three.
        clip = clip * (1 / (255 * sampling.std)) - sampling.mean / sampling.std
    if sampling.subtract_clip_mean:
        clip -= tf.reduce_mean(clip, axis=0, keepdims=True)
    return clip


def _window(frames, crop_size, scale, xp):
    """Height and width of the video, and the side of the crop, in source pixels."""
    shape = tf.shape(frames, tf.int64) if xp is tf else frames.shape
    height, width = shape[1], shape[2]
    scale = xp.maximum(scale, crop_size)
    # Rounded in integers, so that every library gives the same.
    side = (2 * crop_size * xp.minimum(height, width) + scale) // (2 * scale)
    return height, width, xp.maximum(side, 1)
