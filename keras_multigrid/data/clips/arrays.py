"""The functions that code for both NumPy arrays and TensorFlow tensors needs.

Operators work on either. These find out from their arguments which library to use.
"""

import numpy as np
import tensorflow as tf


def arange(count):
    """0, 1, ..., count - 1, in the type of `count`."""
    return tf.range(count) if tf.is_tensor(count) else np.arange(count)


def maximum(a, b):
    """The larger of two values, element by element."""
    return tf.maximum(a, b) if tf.is_tensor(a) or tf.is_tensor(b) else np.maximum(a, b)


def minimum(a, b):
    """The smaller of two values, element by element."""
    return tf.minimum(a, b) if tf.is_tensor(a) or tf.is_tensor(b) else np.minimum(a, b)


def count_nonzero(values):
    """How many values are not 0."""
    return tf.math.count_nonzero(values) if tf.is_tensor(values) else np.count_nonzero(values)


def reshape(values, shape):
    """The same values in another shape."""
    return tf.reshape(values, shape) if tf.is_tensor(values) else np.reshape(values, shape)
