"""The sizes of a tensor, for graphs in which some are open."""

from typing import Any

import keras
from keras import ops


def sizes_of(x: Any) -> tuple[Any, ...]:
    """Of each axis the size: a number where it is known, else a scalar tensor.

    The same as `keras.ops.shape`, which on TensorFlow takes four operations for each open axis: a
    quarter of all that a transformer traces.
    """
    if keras.backend.backend() != "tensorflow" or isinstance(x, keras.KerasTensor):
        return tuple(ops.shape(x))
    import tensorflow as tf

    known = tuple(x.shape)
    if None not in known:
        return known
    found = tf.unstack(tf.shape(x), num=len(known))
    return tuple(place if size is None else size for size, place in zip(known, found, strict=True))
