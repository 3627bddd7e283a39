"""The parts of transformer blocks, as the published multiscale networks begin with them."""

import keras

# Cut at -2 and 2 in the published code, which no number of this spread reaches.
STDDEV = 0.02


def dense(units: int, *, regularizer=None, name: str, dtype, activation=None) -> keras.layers.Dense:
    """A linear layer with small weights and a small positive bias."""
    return keras.layers.Dense(
        units,
        activation=activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=STDDEV),
        bias_initializer=keras.initializers.Constant(STDDEV),
        kernel_regularizer=regularizer,
        name=name,
        dtype=dtype,
    )


def layer_norm(*, name: str, dtype) -> keras.layers.LayerNormalization:
    """Layer normalization over channels; statistics are taken in float32 under every policy."""
    return keras.layers.LayerNormalization(
        epsilon=1e-6,
        beta_initializer=keras.initializers.Constant(STDDEV),
        name=name,
        dtype=dtype,
    )
