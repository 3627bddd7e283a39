"""Metrics of labels that are shares."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_multigrid")
class SoftAUC(keras.metrics.AUC):
    """`keras.metrics.AUC` that takes labels of at least 0.5 for positive.

    Keras takes every label above 0 for positive, and so all labels that are smoothed.

    Example:

    >>> SoftAUC(curve="PR", multi_label=True, num_labels=157, name="mAP")
    """

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add labels and scores, (batch, classes) each."""
        is_positive = ops.cast(ops.convert_to_tensor(y_true) >= 0.5, "float32")
        return super().update_state(is_positive, y_pred, sample_weight)
