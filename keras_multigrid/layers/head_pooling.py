"""The pooling of queries, keys and values."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_multigrid.layers.depthwise_kernels import depthwise_convolution
from keras_multigrid.layers.sizes import sizes_of
from keras_multigrid.layers.transformer_parts import STDDEV


@keras.saving.register_keras_serializable(package="keras_multigrid")
class HeadPooling(keras.layers.Layer):
    """Depth-wise convolution with a stride in space, with the same kernel for each attention head.

    Fan et al., "Multiscale Vision Transformers", ICCV 2021, section 3.1. Padded by half a kernel.

    Args:
        kernel: (frames, height, width), odd.
        stride: along height and width.
        kernel_regularizer: of the kernel.

    Input: (batch, frames, height, width, heads, channels). Output: the same with sizes / stride,
    rounded up.

    Example:

    >>> HeadPooling((3, 3, 3), stride=2)(keras.ops.zeros((2, 4, 7, 7, 2, 96))).shape
    (2, 4, 4, 4, 2, 96)
    """

    def __init__(self, kernel: Sequence[int], stride: int = 1, kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = tuple(kernel)
        self.stride = stride
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, 1, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=STDDEV),
            regularizer=self.kernel_regularizer,
        )

    def call(self, x):
        *grid, heads, channels = sizes_of(x)
        kernel = ops.tile(self.kernel, (1, 1, 1, 1, heads))
        x = ops.reshape(x, (*grid, heads * channels))
        x = depthwise_convolution(x, kernel, self.stride)
        return ops.reshape(x, (*sizes_of(x)[:-1], heads, channels))

    def compute_output_shape(self, input_shape):
        batch, frames, *sizes, heads, channels = input_shape
        return (batch, frames, *(pooled_size(n, self.stride) for n in sizes), heads, channels)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel": self.kernel_size,
            "stride": self.stride,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def pooled_size(size: int | None, stride: int) -> int | None:
    """A size divided by a stride, rounded up; None for one that is not known."""
    return None if size is None else -(-size // stride)
