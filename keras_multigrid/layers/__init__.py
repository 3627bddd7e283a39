"""Layers for any Keras model."""

from keras_multigrid.layers.class_token import ClassToken
from keras_multigrid.layers.conv_lstm import ConvLSTM
from keras_multigrid.layers.depthwise_conv3d import DepthwiseConv3D
from keras_multigrid.layers.drop_path import DropPath
from keras_multigrid.layers.folded_frames import FoldFrames, UnfoldFrames
from keras_multigrid.layers.frame_positions import FramePositions
from keras_multigrid.layers.head_pooling import HeadPooling
from keras_multigrid.layers.pooled_attention import PooledAttention
from keras_multigrid.layers.relative_positions import RelativePositions
from keras_multigrid.layers.resized_positions import ResizedPositions
from keras_multigrid.layers.sinusoidal_positions import SinusoidalPositions
from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization

__all__ = [
    "ClassToken",
    "ConvLSTM",
    "DepthwiseConv3D",
    "DropPath",
    "FoldFrames",
    "FramePositions",
    "HeadPooling",
    "PooledAttention",
    "RelativePositions",
    "ResizedPositions",
    "SinusoidalPositions",
    "SubBatchNormalization",
    "UnfoldFrames",
]
