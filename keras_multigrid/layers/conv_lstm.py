"""A convolutional LSTM over feature maps of any size."""

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class ConvLSTM(keras.layers.Layer):
    """Reads the feature maps of frames in their order, and returns the state after the last.

    Shi et al., "Convolutional LSTM Network", 2015, section 3.1, without peepholes. That of Keras
    (`ConvLSTM2D`) needs a fixed height and width.

    Args:
        filters: channels of the state.
        kernel_size: odd height and width of its convolutions.

    Input: (batch, frames, height, width, channels). Output: (batch, height, width, filters).

    Raises:
        ValueError: for an even kernel.

    Example:

    >>> ConvLSTM(16, 3)(keras.ops.zeros((2, 8, 7, 7, 32))).shape
    (2, 7, 7, 16)
    """

    def __init__(self, filters: int, kernel_size: int = 3, **kwargs):
        super().__init__(**kwargs)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd. Received: kernel_size={kernel_size}. Use 3."
            )
        self.filters, self.kernel_size = filters, kernel_size

    def build(self, input_shape):
        window = (self.kernel_size, self.kernel_size)
        shape = (*window, input_shape[-1], 4 * self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(*window, self.filters, 4 * self.filters),
            initializer="orthogonal",
            name="recurrent_kernel",
        )
        self.bias = self.add_weight(shape=(4 * self.filters,), initializer=_bias, name="bias")

    def call(self, maps):
        batch, frames, *sides = sizes_of(maps)[:-1]
        # What frames bring is no part of the loop: one convolution of all of them.
        folded = ops.reshape(maps, (-1, *sizes_of(maps)[2:]))
        brought = ops.conv(folded, self.kernel, padding="same") + ops.cast(self.bias, maps.dtype)
        brought = ops.reshape(brought, (batch, frames, *sides, 4 * self.filters))
        nothing = ops.zeros((batch, *sides, self.filters), dtype=maps.dtype)

        def read(state, gates):
            output, memory = state
            gates = gates + ops.conv(output, self.recurrent_kernel, padding="same")
            let_in, keep, let_out, new = ops.split(gates, 4, axis=-1)
            memory = ops.sigmoid(keep) * memory + ops.sigmoid(let_in) * ops.tanh(new)
            output = ops.sigmoid(let_out) * ops.tanh(memory)
            return (output, memory), None

        frames_first = ops.moveaxis(brought, 1, 0)
        (output, _), _ = ops.scan(read, (nothing, nothing), frames_first)
        return output

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }


def _bias(shape, dtype=None):
    """1 for the gates that keep, so that what was seen lasts at first; 0 for the others."""
    quarter = shape[0] // 4
    parts = [ops.full((quarter,), value, dtype=dtype) for value in (0, 1, 0, 0)]
    return ops.concatenate(parts)
