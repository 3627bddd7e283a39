"""The attention of non-local blocks."""

import keras
from keras import ops

from keras_multigrid.checks import check_choice
from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class NonLocalAttention(keras.layers.Layer):
    """Attention of all positions of a clip to all positions, without weights of its own.

    Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018, equation 1, with
    `softmax(theta phi / sqrt(channels))` or `theta phi / positions` for the pairwise function.

    Args:
        attention: "softmax" or "dot_product".

    Input: theta (batch, frames, height, width, channels), phi and g of the same rank and channels,
    with as many positions as each other. Output: the shape of theta.

    Example:

    >>> x = keras.random.normal((2, 4, 6, 6, 8))
    >>> NonLocalAttention("softmax")(x, x, x).shape
    (2, 4, 6, 6, 8)
    """

    def __init__(self, attention: str, **kwargs):
        super().__init__(**kwargs)
        check_choice("attention", attention, ("softmax", "dot_product"))
        self.attention = attention

    def build(self, theta_shape, phi_shape, g_shape):
        pass

    def call(self, theta, phi, g):
        shape = sizes_of(theta)
        batch, channels = shape[0], theta.shape[-1]
        theta, phi, g = (ops.reshape(x, (batch, -1, channels)) for x in (theta, phi, g))
        if self.attention == "softmax":
            scores = ops.matmul(theta * channels**-0.5, ops.transpose(phi, (0, 2, 1)))
            y = ops.matmul(ops.softmax(scores), g)
        else:
            # Associative: (theta phi) g costs positions / channels times as much as theta (phi g).
            positions = ops.cast(sizes_of(phi)[1], self.compute_dtype)
            y = ops.matmul(theta, ops.matmul(ops.transpose(phi / positions, (0, 2, 1)), g))
        return ops.reshape(y, shape)

    def compute_output_shape(self, theta_shape, phi_shape, g_shape):
        return theta_shape

    def get_config(self):
        return {**super().get_config(), "attention": self.attention}
