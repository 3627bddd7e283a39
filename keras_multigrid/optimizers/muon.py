"""Muon for networks of convolutions."""

import math
import re
from collections.abc import Sequence

import keras
from keras import ops

from keras_multigrid import compat
from keras_multigrid.optimizers.per_variable import PerVariable


class _MatrixMuon(keras.optimizers.Muon):
    """Muon whose matrices are also kernels of more than two dimensions."""

    def update_step(self, gradient, variable, learning_rate):
        index = compat.variable_index(self, variable)
        if self.adam_velocities[index] is not None:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        momentum = self.momentums[index]
        self.assign(momentum, momentum * self.momentum + gradient)
        direction = gradient + momentum * self.momentum if self.nesterov else momentum
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        update = self.lr_adjust(self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        learning_rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, learning_rate * ops.reshape(update, variable.shape))


@keras.saving.register_keras_serializable(package="keras_multigrid")
class Muon(PerVariable, _MatrixMuon):
    """`keras.optimizers.Muon` that also orthogonalizes the updates of convolutions.

    Keras's Muon treats by AdamW all that is not 2-D, which is all of a 3-D convolutional network
    but its classifier. Here, a kernel of shape (frames, height, width, inputs, outputs) is a matrix
    of frames * height * width * inputs rows and `outputs` columns, as in Jordan et al., "Muon"
    (2024). AdamW remains for biases, normalizations, embeddings, depth-wise convolutions, whose
    filters share nothing, and the classifier.

    Args:
        exclude_layers: regular expressions of the paths of variables that AdamW treats: those of
            the classifier. By default that of the networks here.

    Other arguments: those of `keras.optimizers.Muon` and `PerVariable`.

    Raises:
        ValueError: when it is built, if `exclude_layers` names no variable.

    Example:

    >>> Muon(rate, weight_decay=0.1, exclude_layers=["head"])
    """

    def __init__(self, *args, exclude_layers: Sequence[str] = ("head",), **kwargs):
        super().__init__(*args, exclude_layers=list(exclude_layers), **kwargs)
        compat.choose_adamw(self, self._is_for_adamw)

    def build(self, variables):
        if self.exclude_layers and not any(map(self._is_excluded, variables)):
            raise ValueError(
                "`exclude_layers` must name the classifier, which Muon does not train well. "
                f"Received: exclude_layers={self.exclude_layers}, which is in none of the paths "
                f"{[variable.path for variable in variables]}. Use exclude_layers=[NAME], or [] to "
                "leave nothing out."
            )
        super().build(variables)

    def weight_decay_of(self, variable: keras.Variable) -> float | None:
        return self.adam_weight_decay if self._is_for_adamw(variable) else self.weight_decay

    def _is_excluded(self, variable: keras.Variable) -> bool:
        return any(re.search(keyword, variable.path) for keyword in self.exclude_layers)

    def _is_for_adamw(self, variable: keras.Variable) -> bool:
        *rows, columns = variable.shape or (1,)
        is_matrix = columns > 1 and math.prod(rows) > 1
        is_depthwise = len(rows) > 1 and rows[-1] == 1
        is_embedding = self.exclude_embeddings and "embedding" in variable.path.lower()
        return not is_matrix or is_depthwise or is_embedding or self._is_excluded(variable)
