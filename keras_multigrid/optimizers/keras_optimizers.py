"""Optimizers of Keras with learning rate and weight decay by variable."""

import keras

from keras_multigrid.optimizers.per_variable import PerVariable


@keras.saving.register_keras_serializable(package="keras_multigrid")
class AdamW(PerVariable, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` with the settings of `PerVariable`.

    Example:

    >>> AdamW(rate, weight_decay=0.05, decays=not_bias_or_normalization, global_clipnorm=1.0)
    """


@keras.saving.register_keras_serializable(package="keras_multigrid")
class Lamb(PerVariable, keras.optimizers.Lamb):
    """`keras.optimizers.Lamb` with the settings of `PerVariable`.

    Example:

    >>> Lamb(rate, weight_decay=0.02, decays=not_bias_or_normalization)
    """


@keras.saving.register_keras_serializable(package="keras_multigrid")
class Lion(PerVariable, keras.optimizers.Lion):
    """`keras.optimizers.Lion` with the settings of `PerVariable`.

    Example:

    >>> Lion(rate, weight_decay=0.5, decays=not_bias_or_normalization)
    """


@keras.saving.register_keras_serializable(package="keras_multigrid")
class SGD(PerVariable, keras.optimizers.SGD):
    """`keras.optimizers.SGD` with the settings of `PerVariable`.

    Example:

    >>> SGD(rate, momentum=0.9, rate_multiplier=LayerDecay(0.75))
    """
