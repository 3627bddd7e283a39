"""Slow: the slow pathway of SlowFast alone."""

import keras

from keras_multigrid.models.single_pathway import SinglePathway


@keras.saving.register_keras_serializable(package="keras_multigrid")
class Slow(SinglePathway):
    """Slow: the last two stages look along time; frames are never pooled. For any clips.

    Feichtenhofer, Fan, Malik and He, "SlowFast Networks", ICCV 2019, section 4.1.

    Arguments: same as for `VideoModel`. Non-local blocks attend by dot product.

    Example:

    >>> Slow(classes=10)(keras.ops.zeros((2, 8, 224, 224, 3))).shape
    (2, 10)
    """

    _stem_kernel = 1
    _temporal_kernels = ((1,), (1,), (3,), (3,))
    _pools_time = False
    _attention = "dot_product"
