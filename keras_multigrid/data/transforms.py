"""From decoded frames to a clip of the grid's size: scale, crop, flip, normalize."""

import tensorflow as tf

from keras_multigrid.data.sampling import DRAWS, ClipSampling


def random_crop(
    frames: tf.Tensor,
    *,
    crop_size: tf.Tensor,
    base_crop_size: int,
    sampling: ClipSampling,
    draws: tf.Tensor,
) -> tf.Tensor:
    """A random crop at a random scale, mirrored half of the time.

    The short side is scaled to a length between `round(min_scale * crop_size / base_crop_size)` and
    `max_scale`; then a square of `crop_size` is cut out anywhere.

    Args:
        frames: (t, height, width, 3), uint8 or float.
        crop_size: side of the clip, in pixels.
        base_crop_size: side of the baseline's clips.
        sampling: the settings.
        draws: random numbers of the clip, from `sampling.draws`.

    Returns:
        (t, crop_size, crop_size, 3) float32.
    """
    draw = dict(zip(DRAWS, tf.unstack(draws, len(DRAWS)), strict=True))
    crop_size = tf.cast(crop_size, tf.int64)
    shortest, longest = sampling.scales(base_crop_size)
    shortest = tf.cast(
        tf.round(shortest * tf.cast(crop_size, tf.float64) / base_crop_size), tf.int64
    )
    scale = shortest + draw["scale"] % tf.maximum(longest - shortest + 1, 1)
    height, width, window = _window(frames, crop_size, scale)
    top = draw["top"] % (height - window + 1)
    left = draw["left"] % (width - window + 1)
    clip = _cut(frames, top, left, window, crop_size, sampling)
    if sampling.flip:
        clip = tf.cond(draw["flip"] % 2 == 1, lambda: tf.reverse(clip, [2]), lambda: clip)
    return clip


def centre_crop(frames: tf.Tensor, *, crop_size: int, sampling: ClipSampling) -> tf.Tensor:
    """The square in the middle at the baseline's crop, the short side scaled to `min_scale`."""
    scale = tf.constant(sampling.scales(crop_size)[0], tf.int64)
    crop_size = tf.constant(crop_size, tf.int64)
    height, width, window = _window(frames, crop_size, scale)
    return _cut(frames, (height - window) // 2, (width - window) // 2, window, crop_size, sampling)


def _window(frames, crop_size, scale):
    """Height and width of the video, and the side of the crop, in source pixels."""
    shape = tf.shape(frames, tf.int64)
    short_side = tf.minimum(shape[1], shape[2])
    scale = tf.maximum(scale, crop_size)
    # Cut before scaling: pixels outside the crop are never computed.
    window = tf.cast(tf.round(crop_size * short_side / scale), tf.int64)
    return shape[1], shape[2], tf.maximum(window, 1)


def _cut(frames, top, left, window, crop_size, sampling: ClipSampling):
    frames = frames[:, top : top + window, left : left + window]
    size = tf.cast(tf.stack([crop_size, crop_size]), tf.int32)
    clip = tf.image.resize(frames, size)
    if frames.dtype == tf.uint8:
        # One multiplication and one addition over the pixels instead of three.
        clip = clip * (1 / (255 * sampling.std)) - sampling.mean / sampling.std
    if sampling.subtract_clip_mean:
        clip -= tf.reduce_mean(clip, axis=0, keepdims=True)
    return clip
