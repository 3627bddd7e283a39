"""Keras 3-D networks for multigrid training."""

from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization
from keras_multigrid.models.c2d import C2D
from keras_multigrid.models.frame_model import FrameModel
from keras_multigrid.models.i3d import I3D
from keras_multigrid.models.mvit import MViT
from keras_multigrid.models.slow import Slow
from keras_multigrid.models.slowfast import SlowFast
from keras_multigrid.models.weights.pickles import CheckpointError
from keras_multigrid.models.weights.published import (
    inflate_weights,
    load_published_weights,
    published_shapes,
)
from keras_multigrid.models.x3d import X3D
from keras_multigrid.models.zoo import create, names

__all__ = [
    "C2D",
    "I3D",
    "X3D",
    "CheckpointError",
    "FrameModel",
    "MViT",
    "Slow",
    "SlowFast",
    "SubBatchNormalization",
    "create",
    "inflate_weights",
    "load_published_weights",
    "names",
    "published_shapes",
]
