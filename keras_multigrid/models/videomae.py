"""VideoMAE: plain vision transformers over clips, with weights of masked autoencoders."""

import math

import keras
import numpy as np

from keras_multigrid.layers.sinusoidal_positions import SinusoidalPositions
from keras_multigrid.layers.transformer_parts import STDDEV
from keras_multigrid.models.tubelet_embedding import TubeletEmbedding
from keras_multigrid.models.video_transformer import VideoTransformer
from keras_multigrid.models.videomae_architecture import TUBELET, VideoMAEArchitecture, tubelets
from keras_multigrid.models.vision_block import VisionBlock

# Mean and deviation of colours in [0, 1], red, green, blue: of the clips that networks here take,
# and of those that VideoMAE was trained on, which are those of ImageNet.
_MEAN, _STD = 0.45, 0.225
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
_IMAGENET_STD = np.array([0.229, 0.224, 0.225])


@keras.saving.register_keras_serializable(package="keras_multigrid")
class VideoMAE(VideoTransformer):
    """VideoMAE's encoder: tubelets of 2 x 16 x 16 attend to each other. For 2 frames of 32 pixels.

    Tong, Song, Wang and Wang, "VideoMAE: Masked Autoencoders are Data-Efficient Learners for
    Self-Supervised Video Pre-Training", NeurIPS 2022, and Wang et al., "VideoMAE V2: Scaling Video
    Masked Autoencoders with Dual Masking", CVPR 2023: a plain vision transformer, whose weights
    come from a network that learnt to fill in what was masked. From random weights it learns
    poorly on small sets; begin with published ones.

    Clips may have any number of frames and pixels. Numbers of tubelets are rounded up, and what is
    missing at the edges is repeated; positions are interpolated from those of one size, `base`, at
    which they are as published. Clips are normalized as for all networks here, (colour - 0.45) /
    0.225; the network itself turns them into what VideoMAE was trained on, with the mean and
    deviation of ImageNet.

    Layers are named after the stages of other networks, for `AllBut` and `LayerDecay`: "s1" is
    what comes before the blocks, "s2" to "s5" are quarters of the blocks, as in "s4-blocks-7",
    "head" is the last normalization and the classifier.

    Arguments: same as for `VideoModel`; its options are the fields of `VideoMAEArchitecture`:
    blocks, width, heads, base, drop_path, dropout, init_scale, weight_decay, remat, dtype.

    Example, a small one for small data:

    >>> model = VideoMAE(classes=10, blocks=(1, 1, 1, 1), width=64, heads=2, base=(16, 64))
    >>> model(keras.ops.zeros((2, 7, 45, 45, 3))).shape
    (2, 10)
    """

    _architecture_type = VideoMAEArchitecture

    @classmethod
    def _pooled_features(cls, clips, architecture):
        settings = {"kernel_regularizer": architecture.regularizer}
        x = keras.layers.Rescaling(
            scale=(_STD / _IMAGENET_STD).tolist(),
            offset=((_MEAN - _IMAGENET_MEAN) / _IMAGENET_STD).tolist(),
            dtype="float32",
            name="s1-colours",
        )(clips)
        x = TubeletEmbedding(architecture.width, TUBELET, name="s1-patch_embed", **settings)(x)
        x = SinusoidalPositions(architecture.base_grid, name="s1-positions")(x)
        for name, drop_path in architecture.block_plans():
            x = VisionBlock(
                architecture.heads,
                drop_path=drop_path,
                remat=architecture.remat,
                name=name,
                **settings,
            )(x)
        # The head is float32 under every policy: the mean is of a thousand tubelets and more.
        x = keras.layers.GlobalAveragePooling3D(name="head-pool", dtype="float32")(x)
        return keras.layers.LayerNormalization(epsilon=1e-6, name="head-norm", dtype="float32")(x)

    @classmethod
    def _classified(cls, features, architecture, classes, activation):
        x = features
        if architecture.dropout:
            x = keras.layers.Dropout(architecture.dropout, name="head-dropout")(x)
        stddev = STDDEV * architecture.init_scale
        return keras.layers.Dense(
            classes,
            activation=activation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
            kernel_regularizer=architecture.regularizer,
            dtype="float32",
            name="head-projection",
        )(x)

    def multiply_adds(self, num_frames: int, crop_size: int) -> int:
        """Multiplications with an addition that one clip costs, as the paper counts them.

        Those of linear layers and the products of attention. Left out, as they are below half a
        percent: normalization, softmax, interpolation.

        Example:

        >>> VideoMAE().multiply_adds(16, 224) / 1e9
        180.34...
        """
        architecture = self._architecture
        count, width = math.prod(tubelets(num_frames, crop_size)), architecture.width
        embedding = count * math.prod(TUBELET) * self.inputs[0].shape[-1] * width
        # Queries, keys, values and output, and a perceptron of four times the width.
        block = 12 * count * width**2 + 2 * count**2 * width
        total = embedding + sum(architecture.blocks) * block
        if self._config["include_top"]:
            total += math.prod(self.get_layer("head-projection").kernel.shape)
        return total
