"""Changes of colours, the same for all frames of a clip.

Each function takes clips, (b, t, h, w, 3) in [0, 1], and returns as much. Its other argument is a
number, or one for each clip, (b, 1, 1, 1, 1).
"""

import numpy as np
from keras import ops

from keras_multigrid.augmentation.augmentation import per_clip, select

# ITU-R BT.601, as in Pillow's conversion to grey.
_GREY = np.array([[0.299], [0.587], [0.114]], np.float32)


def brightness(clips, factor):
    """Colours times a factor; 0 is black."""
    return ops.clip(clips * factor, 0, 1)


def contrast(clips, factor):
    """Differences from the clip's mean grey times a factor; 0 is grey all over."""
    mean = per_clip(_mean_grey(clips))
    return ops.clip(clips * factor + (mean - mean * factor), 0, 1)


def saturation(clips, factor):
    """Differences from each pixel's grey times a factor; 0 is a black-and-white clip."""
    matrix = _saturated(ops.reshape(factor, (-1, 1, 1)))
    return ops.clip(_mixed(clips, matrix), 0, 1)


def jitter(clips, brightness, contrast, saturation):
    """The three in this order in one pass over the pixels: colours beyond [0, 1] are cut off once.

    Factors are (b, 1, 1) each.
    """
    added = per_clip((1 - contrast) * brightness * _mean_grey(clips))
    changed = _mixed(clips, _saturated(saturation) * (brightness * contrast))
    return ops.clip(changed + added, 0, 1)


def hue(clips, turn):
    """Hues turned by a part of the circle of colours; 0.5 gives the opposite ones."""
    hsv = ops.image.rgb_to_hsv(_tall(clips), data_format="channels_last")
    turned = ops.mod(hsv[..., :1] + ops.reshape(turn, (-1, 1, 1, 1)), 1.0)
    hsv = ops.concatenate([turned, hsv[..., 1:]], axis=-1)
    rgb = ops.image.hsv_to_rgb(hsv, data_format="channels_last")
    return ops.clip(ops.reshape(rgb, ops.shape(clips)), 0, 1)


def posterize(clips, bits):
    """Colours rounded down to this many bits, from 0 to 8; fractions are rounded up."""
    step = 2.0 ** (8 - ops.ceil(bits))
    # What is stored as 255ths must not fall below its own value.
    return ops.floor(ops.round(clips * 255) / step) * step / 255


def solarize(clips, threshold):
    """Colours of at least a threshold inverted; above 1 none are."""
    return select(clips >= threshold, 1 - clips, clips)


def autocontrast(clips, strength):
    """Each channel stretched until its least value is 0 and its greatest 1.

    `strength` 1 does so in full, 0 leaves clips as they are. A channel of one value stays.
    """
    rows = _rows(clips)
    width = ops.shape(clips)[3]
    least = _of_channels(ops.min, rows, width)
    extent = _of_channels(ops.max, rows, width) - least
    is_plain = extent < 1 / 255
    # One factor and one difference for each channel: no more than two passes over the pixels.
    extent = ops.where(is_plain, 1.0, extent)
    scale = 1 + strength * (1 / extent - 1)
    taken = strength * ops.where(is_plain, 0.0, least / extent)
    changed = ops.clip(rows * _repeated(scale, width) - _repeated(taken, width), 0, 1)
    return ops.reshape(changed, ops.shape(clips))


def equalize(clips, strength):
    """Each channel's values spread so that all are equally frequent, as OpenCV does.

    `strength` 1 does so in full, 0 leaves clips as they are. For one clip, b = 1.
    """
    # The channels in one table of 256 values each. Keras' own layer becomes a loop of 256 turns on
    # JAX, which takes minutes to compile.
    firsts = _repeated(np.array([[[0, 256, 512]]], np.float32), ops.shape(clips)[3])
    levels = ops.reshape(ops.cast(ops.round(_rows(clips) * 255) + firsts, "int32"), (-1,))
    counts = ops.segment_sum(ops.ones_like(levels), levels, num_segments=3 * 256)
    counts = ops.cast(ops.reshape(counts, (3, 256)), "float32")
    reached = ops.cumsum(counts, axis=1)
    total = reached[:, -1:]
    first = ops.min(ops.where(counts > 0, reached, total), axis=1, keepdims=True)
    spread = ops.round((reached - first) * 255 / ops.maximum(total - first, 1.0))
    # A channel of one value has nothing to spread.
    table = ops.where(first == total, np.arange(256, dtype=np.float32), spread) / 255
    spread = ops.reshape(ops.take(ops.reshape(table, (-1,)), levels), ops.shape(clips))
    return ops.clip(clips + (spread - clips) * strength, 0, 1)


def sharpness(clips, factor):
    """Differences from the smoothed frame times a factor; 0 is blurred, 2 sharpened.

    Pixels at the border stay, as in Pillow.
    """
    shape = ops.shape(clips)
    frames = ops.reshape(clips, (-1, *shape[2:]))
    kernel = np.ones((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 5
    kernel = np.tile(kernel / 13, (1, 1, 3, 1))
    inner = ops.depthwise_conv(frames, kernel, padding="valid", data_format="channels_last")
    difference = ops.pad(frames[:, 1:-1, 1:-1] - inner, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return ops.clip(clips + ops.reshape(difference, shape) * (factor - 1), 0, 1)


# Whole rows of pixels are changed at once: TensorFlow takes three times as long for the values of
# each pixel by themselves.


def _rows(clips):
    """Clips as (b, t * h, w * 3)."""
    batch, _, _, width, channels = ops.shape(clips)
    return ops.reshape(clips, (batch, -1, width * channels))


def _of_channels(reduce, rows, width):
    """The least, greatest or mean value of each channel: (b, 1, 3)."""
    of_columns = reduce(rows, axis=1)
    of_pixels = ops.reshape(of_columns, (ops.shape(rows)[0], width, 3))
    return reduce(of_pixels, axis=1, keepdims=True)


def _repeated(values, width):
    """Values of channels, (b, 1, 3), for each pixel of rows: (b, 1, w * 3)."""
    values = ops.convert_to_tensor(values)
    return ops.reshape(values + ops.zeros((width, 1), "float32"), (-1, 1, width * 3))


def _mean_grey(clips):
    """The mean grey of all frames: (b, 1, 1)."""
    return ops.matmul(_of_channels(ops.mean, _rows(clips), ops.shape(clips)[3]), _GREY)


def _saturated(factor):
    """factor * x + (1 - factor) * grey of x, as a matrix (b, 3, 3) that x is multiplied by."""
    return factor * np.eye(3, dtype=np.float32) + (1 - factor) * np.tile(_GREY, 3)


def _mixed(clips, matrix):
    """Colours multiplied by a matrix (b, 3, 3)."""
    pixels = ops.reshape(clips, (ops.shape(clips)[0], -1, 3))
    return ops.reshape(ops.matmul(pixels, matrix), ops.shape(clips))


def _tall(clips):
    """All frames of a clip as one high picture: (b, t * h, w, 3)."""
    batch, frames, height, width, channels = ops.shape(clips)
    return ops.reshape(clips, (batch, frames * height, width, channels))
