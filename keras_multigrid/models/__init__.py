"""Keras 3-D networks for multigrid training."""

from keras_multigrid.models.i3d import I3D
from keras_multigrid.models.sub_batch_normalization import SubBatchNormalization

__all__ = ["I3D", "SubBatchNormalization"]
