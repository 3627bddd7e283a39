"""Depth-wise 3-D convolution, made of depth-wise 2-D ones."""

from typing import Any

from keras import ops


def depthwise_convolution(x: Any, kernel: Any, stride: int = 1) -> Any:
    """Each channel convolved with a kernel of its own, padded by half a kernel on all sides.

    No backend of Keras has it for three dimensions. So frames are convolved as pictures, by each of
    the kernel's frames, and added up at their distances.

    Args:
        x: (batch, frames, height, width, channels).
        kernel: (frames, height, width, channels, 1), all sizes odd.
        stride: along height and width.

    Returns:
        (batch, frames, height / stride, width / stride, channels), sizes rounded up.
    """
    batch, frames, height, width, channels = ops.shape(x)
    x = ops.reshape(x, (-1, height, width, channels))
    padding = "same"
    if stride > 1:
        # "same" of a stride pads less, and by sizes at the end alone.
        rows, columns = (size // 2 for size in kernel.shape[1:3])
        x = ops.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
        padding = "valid"
    reach = kernel.shape[0] // 2
    total = None
    for index in range(kernel.shape[0]):
        y = ops.depthwise_conv(
            x, kernel[index], strides=stride, padding=padding, data_format="channels_last"
        )
        y = ops.reshape(y, (batch, frames, *ops.shape(y)[1:3], channels))
        y = _moved(y, reach - index)
        total = y if total is None else total + y
    return total


def _moved(x: Any, by: int) -> Any:
    """Frames moved to later ones, or earlier if negative; zeros come in."""
    if by == 0:
        return x
    rest = x[:, :-by] if by > 0 else x[:, -by:]
    return ops.pad(rest, ((0, 0), (max(by, 0), max(-by, 0)), (0, 0), (0, 0), (0, 0)))
