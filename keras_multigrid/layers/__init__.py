"""Layers for any Keras model."""

from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization

__all__ = ["SubBatchNormalization"]
