"""C2D: a residual network over single frames."""

import keras

from keras_multigrid.models.single_pathway import SinglePathway


@keras.saving.register_keras_serializable(package="keras_multigrid")
class C2D(SinglePathway):
    """C2D: frames meet in a pooling after stage 2 and at the end. For at least 2 frames.

    Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018, section 4.1.

    Arguments: same as for `VideoModel`. Non-local blocks attend by softmax.

    Example, with weights of a network for pictures to start from:

    >>> model = C2D(classes=10)
    >>> inflate_weights(model, keras.applications.ResNet50(weights="imagenet"))
    """

    min_frames = 2
    _stem_kernel = 1
    _temporal_kernels = ((1,), (1,), (1,), (1,))
    _pools_time = True
    _attention = "softmax"
