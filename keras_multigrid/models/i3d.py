"""I3D: a residual network inflated along time."""

import keras

from keras_multigrid.models.single_pathway import SinglePathway


@keras.saving.register_keras_serializable(package="keras_multigrid")
class I3D(SinglePathway):
    """I3D: every other block looks along time. For clips of at least 2 frames.

    Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, in the residual form of
    Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018.

    Arguments: same as for `VideoModel`. Non-local blocks attend by softmax.

    Example, a small one for small data:

    >>> model = I3D(classes=10, blocks=(1, 1, 1, 1), width=16)
    >>> model(keras.ops.zeros((2, 16, 48, 48, 3))).shape
    (2, 10)
    """

    min_frames = 2
    _stem_kernel = 5
    _temporal_kernels = ((3,), (3, 1), (3, 1), (1, 3))
    _pools_time = True
    _attention = "softmax"
