"""MViT: transformers whose resolution falls and whose width grows from stage to stage."""

import math
from typing import Any

import keras

from keras_multigrid.layers.class_token import ClassToken
from keras_multigrid.layers.resized_positions import ResizedPositions
from keras_multigrid.layers.transformer_parts import STDDEV, dense, layer_norm
from keras_multigrid.models.multiscale_block import MultiscaleBlock
from keras_multigrid.models.mvit_architecture import MViTArchitecture
from keras_multigrid.models.resnet3d import pad
from keras_multigrid.models.video_transformer import VideoTransformer

_KERNEL, _STRIDES = (3, 7, 7), (2, 4, 4)


@keras.saving.register_keras_serializable(package="keras_multigrid")
class MViT(VideoTransformer):
    """MViT: patches of 2 x 4 x 4 attend to each other. For 2 frames of 32 pixels a side or more.

    Fan et al., "Multiscale Vision Transformers", ICCV 2021, and by default Li et al., "MViTv2:
    Improved Multiscale Vision Transformers for Classification and Detection", CVPR 2022.

    Clips may have any number of frames and pixels: numbers of patches are rounded up, and positions
    are interpolated from tables that are made for one size, `base`. The tables are all that is
    learned and all that is saved; what a clip sees is computed from them in each step.

    Layers are named after the stages of other networks, for `AllBut` and `LayerDecay`: "s1" is what
    comes before the blocks, "s2" to "s5" are the stages, as in "s4-blocks-3", "head" is the last
    normalization and the classifier.

    Arguments: same as for `VideoModel`; its options are the fields of `MViTArchitecture`: blocks,
    width, heads, kernel, pools_all_queries, residual_pooling, positions, widens_in, class_token,
    base, drop_path, dropout, weight_decay, remat, dtype.

    Example, a small one for small data:

    >>> model = MViT(classes=10, blocks=(1, 1, 1, 1), width=16, base=(16, 64))
    >>> model(keras.ops.zeros((2, 7, 45, 45, 3))).shape
    (2, 10)
    """

    _architecture_type = MViTArchitecture

    @classmethod
    def _pooled_features(cls, clips, architecture):
        regularizer = _regularizer(architecture)
        bias = 1 / math.sqrt(math.prod(_KERNEL) * clips.shape[-1])
        x = pad(clips, _KERNEL, name="s1-patch_embed-pad")
        x = keras.layers.Conv3D(
            architecture.width,
            _KERNEL,
            strides=_STRIDES,
            kernel_initializer=keras.initializers.RandomNormal(stddev=STDDEV),
            kernel_regularizer=regularizer,
            bias_initializer=keras.initializers.RandomUniform(-bias, bias),
            name="s1-patch_embed-proj",
        )(x)
        state = (x, ClassToken(name="s1-cls_token")(x)) if architecture.class_token else (x,)
        if architecture.positions == "absolute":
            state = _tuple(ResizedPositions(architecture.base_grid, name="s1-pos_embed")(*state))
        for plan in architecture.block_plans():
            block = MultiscaleBlock(
                plan.units,
                {
                    "units": plan.inner,
                    "heads": plan.heads,
                    "query_pooling": plan.query_pooling,
                    "key_pooling": plan.key_pooling,
                    "positions": plan.positions,
                    "residual": architecture.residual_pooling,
                },
                drop_path=plan.drop_path,
                remat=architecture.remat,
                kernel_regularizer=regularizer,
                name=plan.name,
            )
            state = _tuple(block(*state))
        # Of the class token, if there is one.
        x = layer_norm(name="head-norm", dtype=None)(state[-1])
        if architecture.class_token:
            return keras.layers.Flatten(name="head-pool")(x)
        return keras.layers.GlobalAveragePooling3D(name="head-pool")(x)

    @classmethod
    def _classified(cls, features, architecture, classes, activation):
        x = features
        if architecture.dropout:
            x = keras.layers.Dropout(architecture.dropout, name="head-dropout")(x)
        return dense(
            classes,
            activation=activation,
            regularizer=_regularizer(architecture),
            # Scores stay float32 under mixed precision: a softmax over float16 overflows.
            dtype="float32",
            name="head-projection",
        )(x)

    def multiply_adds(self, num_frames: int, crop_size: int) -> int:
        """Multiplications with an addition that one clip costs, as the papers count them.

        Those of convolutions, linear layers and the products of attention, with those of relative
        positions along time. Left out, as they are below half a percent: relative positions along
        height and width, normalization, softmax, interpolation.

        Example:

        >>> MViT().multiply_adds(16, 224) / 1e9
        64.02...
        """
        architecture = self._architecture
        grid = tuple(
            -(-size // stride)
            for size, stride in zip((num_frames, crop_size, crop_size), _STRIDES, strict=True)
        )
        tokens = int(architecture.class_token)
        patch = self.get_layer("s1-patch_embed-proj").kernel
        total = math.prod(grid) * math.prod(patch.shape)
        for plan in architecture.block_plans():
            total += plan.multiply_adds(grid, tokens)
            grid = plan.output_grid(grid)
        if self._config["include_top"]:
            total += math.prod(self.get_layer("head-projection").kernel.shape)
        return total


def _regularizer(architecture: MViTArchitecture):
    decay = architecture.weight_decay
    return keras.regularizers.L2(decay / 2) if decay else None


def _tuple(outputs: Any) -> tuple:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
