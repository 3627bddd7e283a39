"""Stochastic depth: branches of residual blocks that are left out in training."""

from typing import Any

import keras
from keras import ops

from keras_multigrid.checks import check_probability
from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class DropPath(keras.layers.Layer):
    """Sets the whole input of some samples to zero, in training; for branches of residual blocks.

    Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016, for
    each sample of a batch apart. What is kept is divided by the share that is kept.

    Args:
        rate: probability with which a sample is dropped, below 1.
        seed: of the random numbers. Their state is one of the layer's variables, as that of
            `keras.layers.Dropout`, and so in the checkpoints of a run.

    Input: a tensor (batch, ...), or a list or dictionary of them, whose samples are dropped
    together. Output: the same shapes and dtypes.

    Raises:
        ValueError: for a rate that is none.

    Example:

    >>> branch = keras.random.normal((2, 4, 7, 7, 96))
    >>> x = x + DropPath(0.2)(branch, training=True)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        check_probability("rate", rate)
        if rate == 1:
            raise ValueError("`rate` must be below 1. Received: rate=1, which drops every sample.")
        self.rate = rate
        self.seed = seed
        # A state is an entry in every checkpoint: only where numbers are drawn.
        self.seed_generator = keras.random.SeedGenerator(seed) if rate else None
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return inputs
        batch = sizes_of(keras.tree.flatten(inputs)[0])[0]
        numbers = keras.random.uniform((batch,), dtype="float32", seed=self.seed_generator)
        factors = ops.cast(numbers >= self.rate, "float32") / (1 - self.rate)

        def dropped(x):
            return x * ops.cast(ops.reshape(factors, (-1,) + (1,) * (len(x.shape) - 1)), x.dtype)

        return keras.tree.map_structure(dropped, inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
