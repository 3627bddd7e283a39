"""Stochastic gradient descent as the published recipes have it."""

import keras
from keras import ops

from keras_multigrid import compat
from keras_multigrid.optimizers.per_variable import PerVariable


class _ReferenceStep(keras.optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        if self.momentum == 0:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self.momentums[compat.variable_index(self, variable)]
        self.assign(velocity, velocity * self.momentum + gradient)
        direction = gradient + velocity * self.momentum if self.nesterov else velocity
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * direction)


@keras.saving.register_keras_serializable(package="keras_multigrid")
class ReferenceSGD(PerVariable, _ReferenceStep):
    """SGD whose velocity does not contain the learning rate.

    Keras: `v = momentum * v - lr * g; w += v`. Here, as in the reference implementation and
    PyTorch: `v = momentum * v + g; w -= lr * v`. As long as the learning rate stays, they are the
    same. When it jumps, as at each border of multigrid phases, Keras's velocity still moves at the
    old rate for some `1 / (1 - momentum)` steps; this one follows at once.

    Args: those of `keras.optimizers.SGD` and `PerVariable`.

    Example:

    >>> ReferenceSGD(0.1, momentum=0.9, nesterov=True)
    """
