"""Layers for any Keras model."""

from keras_multigrid.layers.depthwise_conv3d import DepthwiseConv3D
from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization

__all__ = ["DepthwiseConv3D", "SubBatchNormalization"]
