"""Depth-wise 3-D convolution, which no backend of Keras has."""

from typing import Any

import keras
from keras import ops


def depthwise_convolution(x: Any, kernel: Any, stride: int = 1) -> Any:
    """Convolve each channel by a filter of its own, with `size // 2` zeros around the clip.

    Frames are convolved as pictures, by each of the kernel's frames, and added up at their
    distances. JAX adds up shifted products instead, which it compiles into one loop; its grouped
    convolutions take a hundred times as long on a CPU.

    Args:
        x: (batch, frames, height, width, channels).
        kernel: (frames, height, width, 1, channels), all sizes odd.
        stride: of height and width.

    Returns:
        (batch, frames, height / stride, width / stride, channels), sizes rounded up.
    """
    batch, frames, height, width, channels = ops.shape(x)
    depth, rows, columns = kernel.shape[:3]
    if keras.backend.backend() == "jax":
        x = ops.pad(x, ((0, 0), *((size // 2,) * 2 for size in (depth, rows, columns)), (0, 0)))
        return sum(
            x[:, a : a + frames, b : b + height : stride, c : c + width : stride]
            * kernel[a, b, c, 0]
            for a in range(depth)
            for b in range(rows)
            for c in range(columns)
        )
    x = ops.reshape(x, (-1, height, width, channels))
    # "same" of a stride pads less, and at the end alone.
    padding = "same" if stride == 1 else "valid"
    if stride > 1:
        x = ops.pad(x, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)))
    total = 0
    for index in range(depth):
        taps = ops.reshape(kernel[index], (rows, columns, channels, 1))
        y = ops.depthwise_conv(x, taps, stride, padding, data_format="channels_last")
        y = ops.reshape(y, (batch, frames, *ops.shape(y)[1:3], channels))
        total = total + _later(y, depth // 2 - index)
    return total


def _later(x: Any, by: int) -> Any:
    """Frames moved to later ones, or earlier if negative; zeros come in."""
    if by == 0:
        return x
    rest = x[:, :-by] if by > 0 else x[:, -by:]
    return ops.pad(rest, ((0, 0), (max(by, 0), max(-by, 0)), (0, 0), (0, 0), (0, 0)))
