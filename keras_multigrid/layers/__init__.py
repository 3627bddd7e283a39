"""Layers for any Keras model."""

from keras_multigrid.layers.conv_lstm import ConvLSTM
from keras_multigrid.layers.folded_frames import FoldFrames, UnfoldFrames
from keras_multigrid.layers.frame_positions import FramePositions
from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization

__all__ = ["ConvLSTM", "FoldFrames", "FramePositions", "SubBatchNormalization", "UnfoldFrames"]
