"""Where pixels are: affine changes of frames, and the boxes of several operations."""

import math

import numpy as np
from keras import ops

# What lies outside a frame, as colours in [0, 1].
GREY = 0.5


def centred(size, xx=1.0, xy=0.0, yx=0.0, yy=1.0, x=0.0, y=0.0):
    """Where the pixels of changed frames lie in those before, by an affine change about the middle.

    The pixel at (column, row) of the result is that at (xx * column + xy * row + x, yx * column +
    yy * row + y) of the frame, counted from its middle.

    Args:
        size: height and width of the frames, in pixels.
        xx, xy, yx, yy, x, y: scalars; or one for each clip, (b,).

    Returns:
        Rows and columns, float32 (b, size, size) each, or (1, size, size) of scalars.
    """
    middle = (ops.cast(size, "float32") - 1) / 2
    column = ops.cast(ops.arange(size), "float32")[None, None] - middle
    row = ops.transpose(column, (0, 2, 1))
    xx, xy, yx, yy, x, y = (
        ops.reshape(ops.cast(part, "float32"), (-1, 1, 1)) for part in (xx, xy, yx, yy, x, y)
    )
    return yx * column + yy * row + (y + middle), xx * column + xy * row + (x + middle)


def warped(clips, places, outside=GREY):
    """Clips (b, t, h, w, 3) whose pixels are those at other places, the same in all frames.

    Pixels are interpolated bilinearly, as `ops.image.affine_transform` does, but each place is
    computed once for all frames, which are copied together: a third of the time on a CPU.

    Args:
        clips: float32 (b, t, s, s, 3).
        places: rows and columns of each clip, (b, s, s) each, as of `centred`.
        outside: the colour of what lies outside of a frame; None is that of its border.
    """
    batch, frames, size, _, channels = ops.shape(clips)
    pixels = ops.transpose(clips, (0, 2, 3, 1, 4))
    if outside is not None:
        border = ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0))
        pixels = ops.pad(pixels, border, constant_values=outside)
        places, width = [place + 1 for place in places], size + 2
    else:
        width = size
    pixels = ops.reshape(pixels, (-1, frames * channels))
    (row, row_share), (column, column_share) = (_between(place, width) for place in places)
    first = (width * width * ops.arange(batch, dtype="int32"))[:, None, None]
    upper_left = first + row * width + column

    def at(step):
        return ops.take(pixels, ops.reshape(upper_left + step, (-1,)), axis=0)

    def blended(one, other, share):
        # Stays between the two whatever is rounded, as a sum of shares does not.
        return one + (other - one) * share

    upper = blended(at(0), at(1), column_share)
    lower = blended(at(width), at(width + 1), column_share)
    changed = blended(upper, lower, row_share)
    changed = ops.reshape(changed, (batch, size, size, frames, channels))
    return ops.transpose(changed, (0, 3, 1, 2, 4))


def _between(places, width):
    """The last pixel before each place, int32, and the next one's share in it, (number, 1)."""
    places = ops.clip(places, 0, ops.cast(width - 1, "float32"))
    before = ops.minimum(ops.cast(places, "int32"), width - 2)
    return before, ops.reshape(places - ops.cast(before, "float32"), (-1, 1))


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
