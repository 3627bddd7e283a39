"""A learned token that takes part in attention and stands for the whole clip."""

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class ClassToken(keras.layers.Layer):
    """The same learned vector for every sample, of as many channels as the input.

    Devlin et al., "BERT", 2019: what the network finds out about a clip is gathered in it.

    Input: (batch, ..., channels), of which the batch and the channels count. Output: (batch, 1,
    channels).

    Example:

    >>> ClassToken()(keras.ops.zeros((2, 8, 7, 7, 96))).shape
    (2, 1, 96)
    """

    def build(self, input_shape):
        self.token = self.add_weight(
            name="token",
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, inputs):
        token = ops.cast(self.token, self.compute_dtype)
        return ops.broadcast_to(token, (sizes_of(inputs)[0], *self.token.shape[1:]))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, input_shape[-1])
