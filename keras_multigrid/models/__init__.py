"""Keras 3-D networks for multigrid training."""

from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization
from keras_multigrid.models.c2d import C2D
from keras_multigrid.models.frame_model import FrameModel
from keras_multigrid.models.i3d import I3D
from keras_multigrid.models.mvit import MViT
from keras_multigrid.models.preset import (
    Origin,
    Preprocessing,
    Preset,
    published_origin,
    published_preset,
)
from keras_multigrid.models.preset_folder import from_preset, read_preset, save_preset
from keras_multigrid.models.slow import Slow
from keras_multigrid.models.slowfast import SlowFast
from keras_multigrid.models.videomae import VideoMAE
from keras_multigrid.models.weights.pickles import CheckpointError
from keras_multigrid.models.weights.pretrained import (
    WeightsUnavailable,
    find_weights,
    load_weights,
)
from keras_multigrid.models.weights.published import (
    inflate_weights,
    load_published_weights,
    published_shapes,
)
from keras_multigrid.models.weights.published_files import (
    PublishedFile,
    published_file,
    published_files,
    published_tags,
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
    "Origin",
    "Preprocessing",
    "Preset",
    "PublishedFile",
    "Slow",
    "SlowFast",
    "SubBatchNormalization",
    "VideoMAE",
    "WeightsUnavailable",
    "create",
    "find_weights",
    "from_preset",
    "inflate_weights",
    "load_published_weights",
    "load_weights",
    "names",
    "published_file",
    "published_files",
    "published_origin",
    "published_preset",
    "published_shapes",
    "published_tags",
    "read_preset",
    "save_preset",
]
