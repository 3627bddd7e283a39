"""Keras 3-D networks for multigrid training."""

from keras_multigrid.models.c2d import C2D
from keras_multigrid.models.i3d import I3D
from keras_multigrid.models.slow import Slow
from keras_multigrid.models.slowfast import SlowFast
from keras_multigrid.models.sub_batch_normalization import SubBatchNormalization
from keras_multigrid.models.zoo import create, names

__all__ = ["C2D", "I3D", "Slow", "SlowFast", "SubBatchNormalization", "create", "names"]
