"""What training minimizes, where Keras has no loss for it."""

from collections.abc import Sequence

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_multigrid")
class ClassWeightedCrossentropy(keras.losses.Loss):
    """Binary cross-entropy in which a class that is there counts by its weight.

    For labels of several classes a clip, of which some are rare: with y in [0, 1] for a class of
    weight w, and the prediction p,

        -w y log(p) - (1 - y) log(1 - p)

    and the mean over the classes. Classes that are not there count 1, so that a rare class need not
    be predicted for all clips.

    Args:
        class_weights: weight of each class, such as those of `class_weights`.
        from_logits: whether predictions are logits instead of probabilities.
        kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Inputs: labels and predictions, (batch, classes).

    Example:

    >>> loss = ClassWeightedCrossentropy([0.5, 2.0])
    >>> model.compile("adam", loss=loss)
    """

    def __init__(
        self,
        class_weights: Sequence[float],
        from_logits: bool = False,
        name: str = "class_weighted_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.class_weights = tuple(float(weight) for weight in class_weights)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        if y_pred.shape[-1] != len(self.class_weights):
            raise ValueError(
                f"`class_weights` must have a weight for each of the {y_pred.shape[-1]} classes. "
                f"Received: {len(self.class_weights)} weights."
            )
        weights = ops.convert_to_tensor(self.class_weights, dtype=y_pred.dtype)
        logits = self.from_logits
        there = ops.binary_crossentropy(ops.ones_like(y_pred), y_pred, from_logits=logits)
        not_there = ops.binary_crossentropy(ops.zeros_like(y_pred), y_pred, from_logits=logits)
        return ops.mean(weights * y_true * there + (1 - y_true) * not_there, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "class_weights": list(self.class_weights),
            "from_logits": self.from_logits,
        }
