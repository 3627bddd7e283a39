"""Depth-wise convolution over frames, height and width."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_multigrid.layers.depthwise_kernels import depthwise_convolution


@keras.saving.register_keras_serializable(package="keras_multigrid")
class DepthwiseConv3D(keras.layers.Layer):
    """Convolves each channel of clips by a 3-D filter of its own, without bias.

    The clip is padded by `kernel_size // 2` zeros on both sides of each axis, so that an output
    position lies on every `spatial_stride`-th input position, from the first one on. (Keras's
    "same" pads less before an even size at stride 2.) Frames are not strided.

    Args:
        kernel_size: odd (frames, height, width) of the filters.
        spatial_stride: of height and width, at least 1.
        kernel_initializer: of the filters. Fans are those of one filter: fan in is frames * height
            * width, fan out as many times the channels.
        kernel_regularizer: of the filters.

    Input: (batch, frames, height, width, channels).
    Output: (batch, frames, ceil(height / spatial_stride), ceil(width / spatial_stride), channels).

    The kernel is (frames, height, width, 1, channels), that of
    `keras.layers.Conv3D(channels, kernel_size, groups=channels)`, which would give the same where a
    backend has it.

    Raises:
        ValueError: for an even kernel or a stride below 1.

    Example:

    >>> x = keras.random.normal((2, 8, 56, 56, 54))
    >>> DepthwiseConv3D((3, 3, 3), spatial_stride=2)(x).shape
    (2, 8, 28, 28, 54)
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        *,
        spatial_stride: int = 1,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = tuple(kernel_size)
        if len(sizes) != 3 or not all(isinstance(n, int) and n > 0 and n % 2 for n in sizes):
            raise ValueError(
                "`kernel_size` must hold three odd numbers: frames, height and width. "
                f"Received: kernel_size={kernel_size!r}. Use for example (3, 3, 3)."
            )
        if not isinstance(spatial_stride, int) or spatial_stride < 1:
            raise ValueError(
                "`spatial_stride` must be an integer of at least 1. "
                f"Received: spatial_stride={spatial_stride!r}. Use 2 to halve height and width."
            )
        self.kernel_size = sizes
        self.spatial_stride = spatial_stride
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=5)

    def build(self, input_shape):
        if input_shape[-1] is None:
            raise ValueError(
                "The number of channels must be known. "
                f"Received: input_shape={tuple(input_shape)}. Give the input its last dimension."
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, 1, input_shape[-1]),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )

    def call(self, inputs):
        # A value, where `convert_to_tensor` may give TensorFlow's variable.
        kernel = ops.reshape(self.kernel, self.kernel.shape)
        return depthwise_convolution(inputs, kernel, self.spatial_stride)

    def compute_output_shape(self, input_shape):
        batch, frames, *sides, channels = input_shape
        strided = (side if side is None else -(-side // self.spatial_stride) for side in sides)
        return (batch, frames, *strided, channels)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "spatial_stride": self.spatial_stride,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
