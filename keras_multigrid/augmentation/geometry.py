"""Where pixels are: affine changes of frames, and the boxes of several operations."""

import math

import numpy as np
from keras import ops

# What lies outside a frame, as colours in [0, 1].
GREY = 0.5


def centred(size, xx=1.0, xy=0.0, yx=0.0, yy=1.0, x=0.0, y=0.0):
    """An affine transformation about the middle of frames, as Keras takes it.

    The pixel at (column, row) of the result is that at (xx * column + xy * row + x, yx * column +
    yy * row + y) of the frame, counted from its middle.

    Args:
        size: height and width of the frames, in pixels.
        xx, xy, yx, yy, x, y: scalars; or one for each clip, (b,).

    Returns:
        float32 (b, 8), or (1, 8) of scalars.
    """
    middle = (ops.cast(size, "float32") - 1) / 2
    rows = [
        *(xx, xy, middle * (1 - xx - xy) + x),
        *(yx, yy, middle * (1 - yx - yy) + y),
        *(0.0, 0.0),
    ]
    parts = [ops.reshape(ops.cast(part, "float32"), (-1,)) for part in rows]
    zeros = ops.zeros_like(sum(parts))
    return ops.stack([part + zeros for part in parts], axis=-1)


def warped(clips, transforms, fill_mode="constant"):
    """Clips (b, t, h, w, 3) with all frames changed by the clip's transformation, (b, 8).

    Pixels are interpolated bilinearly. What lies outside of a frame is grey, or with the
    `fill_mode` "nearest" its border.
    """
    batch, num_frames, height, width, channels = ops.shape(clips)
    frames = ops.reshape(clips, (batch * num_frames, height, width, channels))
    # A sum, not `broadcast_to`: Keras writes into the transformations on PyTorch.
    transforms = transforms[:, None] + ops.zeros((1, num_frames, 1))
    changed = ops.image.affine_transform(
        frames,
        ops.reshape(transforms, (batch * num_frames, 8)),
        fill_mode=fill_mode,
        fill_value=GREY,
        data_format="channels_last",
    )
    return ops.reshape(changed, (batch, num_frames, height, width, channels))


def box_sides(area, log_ratio, size):
    """Height and width of boxes in frames of `size` pixels a side: float32 (b,) each, in pixels.

    Args:
        area: their shares of the frame, (b,).
        log_ratio: logarithms of their width / height, (b,).
        size: of the frames, float32 scalar.
    """
    stretch = ops.exp(log_ratio / 2)
    side = ops.sqrt(area) * size
    return ops.minimum(side / stretch, size), ops.minimum(side * stretch, size)


def in_box(vertical, horizontal, height, width, size):
    """Where boxes of whole pixels lie that are placed anywhere inside frames.

    Args:
        vertical, horizontal: where, numbers in [0, 1) of the free pixels, (b,).
        height, width: of the boxes, in pixels, rounded, (b,).
        size: height and width of the frames, an integer.

    Returns:
        bool (b, 1, size, size, 3).
    """
    places = ops.cast(ops.arange(size), "float32")[None]

    def inside(number, side):
        first = ops.floor(number * (ops.cast(size, "float32") - side + 1))[:, None]
        return ops.logical_and(places >= first, places < first + side[:, None])

    rows = inside(vertical, height)[:, None, :, None, None]
    columns = inside(horizontal, width)[:, None, None, :, None]
    # All channels: a mask that is repeated along the last axis is slow to apply.
    return ops.logical_and(ops.logical_and(rows, columns), np.ones(3, bool))


def log_ratio(numbers, ratio, strength):
    """Logarithms of aspect ratios, uniform between those of `ratio`; at strength 0 they are 0."""
    low, high = map(math.log, ratio)
    return strength * (low + numbers * (high - low))
