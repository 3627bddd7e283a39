"""The functions that code for both NumPy arrays and TensorFlow tensors needs.

Operators work on either. These find out from their arguments which library to use.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def _of_either(of_arrays: Callable, of_tensors: Callable) -> Callable:
    # AutoGraph warns of functions that it cannot read, as NumPy's.
    @tf.autograph.experimental.do_not_convert
    def function(*arguments):
        # Not tf.is_tensor, which takes as long as a small array function.
        has_tensors = any(isinstance(argument, tf.Tensor) for argument in arguments)
        return (of_tensors if has_tensors else of_arrays)(*arguments)

    return function


arange = _of_either(np.arange, tf.range)
maximum = _of_either(np.maximum, tf.maximum)
minimum = _of_either(np.minimum, tf.minimum)
count_nonzero = _of_either(np.count_nonzero, tf.math.count_nonzero)
reshape = _of_either(np.reshape, tf.reshape)
