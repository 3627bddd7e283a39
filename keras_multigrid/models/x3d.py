"""X3D: small networks of depth-wise convolutions, expanded axis by axis."""

import dataclasses
import math
from collections.abc import Sequence

import keras

from keras_multigrid.layers.depthwise_conv3d import DepthwiseConv3D
from keras_multigrid.models.architecture import Architecture, check_blocks
from keras_multigrid.models.resnet3d import Blocks, he_normal, normalize
from keras_multigrid.models.video_model import VideoModel

# Blocks of stages 2 to 5 at depth 1.
_BLOCKS = (1, 2, 5, 3)
# Share of a block's inner channels that squeeze-and-excitation squeezes them to.
_SQUEEZE = 0.0625


@dataclasses.dataclass(frozen=True, kw_only=True)
class X3DArchitecture(Architecture):
    """Arguments of an `X3D`, which explains them."""

    depth: float = 2.2
    blocks: Sequence[int] | None = None
    width: int = 24
    expansion: float = 2.25
    head_width: int = 2048
    weight_decay: float = 5e-5

    def __post_init__(self):
        for name in ("depth", "width", "expansion", "head_width"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be positive. Received: {name}={getattr(self, name)!r}. "
                    f"The published one is {getattr(X3DArchitecture, name)}."
                )
        blocks = self.blocks
        if blocks is None:
            # Rounded first: 2.2 * 5 is a little more than 11.
            blocks = tuple(math.ceil(round(self.depth * count, 6)) for count in _BLOCKS)
        object.__setattr__(self, "blocks", check_blocks(blocks))

    def inner(self, channels: int) -> int:
        """Channels between the pointwise convolutions of a block."""
        return int(self.expansion * channels)

    def config(self):
        config = super().config()
        del config["depth"]
        return config


@keras.saving.register_keras_serializable(package="keras_multigrid")
class X3D(VideoModel):
    """X3D: depth-wise 3 x 3 x 3 convolutions, few channels, no temporal stride. For any clips.

    Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020. XS, S
    and M are one network for clips of different sizes; L is deeper.

    Args:
        depth: factor on (1, 2, 5, 3), the blocks of stages 2 to 5, rounded up: 2.2 for XS, S and M,
            5.0 for L.
        blocks: number of blocks in each of the four stages, instead of `depth`'s.
        width: channels of the stem and of stage 2 (24). Each later stage has twice as many.
        expansion: inner channels of a block for each outer one (2.25).
        head_width: features that are classified (2048), which are the output without classifier.
        dropout: share of these features that is dropped in training.
        weight_decay: of convolutions, their biases and classifier; normalization has none.
        dtype: policy of all layers, like "mixed_bfloat16"; None for the global one.

    Other arguments: same as for `VideoModel`.

    Example, a small one for small data:

    >>> model = X3D(classes=10, blocks=(1, 1, 2, 1), width=16, head_width=256)
    >>> model(keras.ops.zeros((2, 16, 48, 48, 3))).shape
    (2, 10)
    """

    _architecture_type = X3DArchitecture
    _head_layers = ("head-lin_5", "head-lin_5_relu", "head-projection")

    @classmethod
    def _pathways(cls, clips, architecture):
        blocks = X3DBlocks(architecture.weight_decay)
        x = blocks.stem(clips, width=architecture.width, name="s1-pathway0_stem")
        for stage, count in enumerate(architecture.blocks):
            outer = architecture.width * 2**stage
            for index in range(count):
                x = blocks.block(
                    x,
                    inner=architecture.inner(outer),
                    outer=outer,
                    stride=2 if index == 0 else 1,
                    squeezes=index % 2 == 0,
                    name=f"s{stage + 2}-pathway0_res{index}",
                )
        return [blocks.conv_norm_relu(x, architecture.inner(outer), name="head-conv_5")]

    @classmethod
    def _pooled_features(cls, clips, architecture):
        pooled = super()._pooled_features(clips, architecture)
        blocks = X3DBlocks(architecture.weight_decay)
        x = blocks.dense(pooled, architecture.head_width, use_bias=False, name="head-lin_5")
        return keras.layers.ReLU(name="head-lin_5_relu")(x)


class X3DBlocks(Blocks):
    """Adds the blocks of an X3D to symbolic features."""

    def stem(self, x, *, width: int, name: str):
        """Convolution 1 x 3 x 3 at spatial stride 2, then depth-wise along time."""
        x = self.conv(x, width, (1, 3, 3), stride=(1, 2, 2), name=f"{name}-conv_xy")
        x = self.depthwise(x, (5, 1, 1), name=f"{name}-conv")
        return keras.layers.ReLU(name=f"{name}-relu")(normalize(x, name=f"{name}-bn"))

    def block(self, x, *, inner: int, outer: int, stride: int, squeezes: bool, name: str):
        """Pointwise, depth-wise 3 x 3 x 3 with the stride, pointwise; and a shortcut."""
        shortcut = x
        if x.shape[-1] != outer or stride > 1:
            strides = (1, stride, stride)
            shortcut = self.conv(x, outer, (1, 1, 1), stride=strides, name=f"{name}-branch1")
            shortcut = normalize(shortcut, name=f"{name}-branch1_bn")
        branch = f"{name}-branch2"
        x = self.conv_norm_relu(x, inner, name=f"{branch}-a")
        x = self.depthwise(x, (3, 3, 3), stride=stride, name=f"{branch}-b")
        x = normalize(x, name=f"{branch}-b_bn")
        if squeezes:
            x = self.squeeze_and_excite(x, name=f"{branch}-se")
        x = keras.layers.Activation("silu", name=f"{branch}-b_silu")(x)
        x = self.conv(x, outer, (1, 1, 1), name=f"{branch}-c")
        # The block starts as the identity, which large learning rates need.
        x = normalize(x, gamma_initializer="zeros", name=f"{branch}-c_bn")
        x = keras.layers.Add(name=f"{name}-add")([x, shortcut])
        return keras.layers.ReLU(name=f"{name}-relu")(x)

    def squeeze_and_excite(self, x, *, name: str):
        """Scales the channels of each clip by what its averages over all positions say.

        Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, section 3.
        """
        channels = x.shape[-1]
        scale = keras.layers.GlobalAveragePooling3D(keepdims=True, name=f"{name}-pool")(x)
        scale = self.dense(scale, squeezed(channels), name=f"{name}-fc1")
        scale = keras.layers.ReLU(name=f"{name}-fc1_relu")(scale)
        scale = self.dense(scale, channels, name=f"{name}-fc2")
        scale = keras.layers.Activation("sigmoid", name=f"{name}-fc2_sigmoid")(scale)
        return keras.layers.Multiply(name=f"{name}-scale")([x, scale])

    def conv_norm_relu(self, x, filters: int, *, name: str):
        """Pointwise convolution, normalization, ReLU."""
        x = normalize(self.conv(x, filters, (1, 1, 1), name=name), name=f"{name}_bn")
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def depthwise(self, x, kernel: Sequence[int], *, stride: int = 1, name: str):
        """Depth-wise convolution. Its filters begin small: the fan out is of all channels."""
        return DepthwiseConv3D(
            kernel,
            spatial_stride=stride,
            kernel_initializer=he_normal(),
            kernel_regularizer=self._regularizer,
            name=name,
        )(x)

    def dense(self, x, units: int, *, use_bias=True, name: str):
        """What the published networks have as a pointwise convolution of pooled features."""
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=he_normal(),
            kernel_regularizer=self._regularizer,
            bias_regularizer=self._regularizer if use_bias else None,
            name=name,
        )(x)


def squeezed(channels: int) -> int:
    """Channels that squeeze-and-excitation squeezes others to: the nearest multiple of 8.

    At least 8, and never below 0.9 of the share that it stands for.

    >>> [squeezed(channels) for channels in (54, 108, 216, 432)]
    [8, 8, 16, 32]
    """
    share = channels * _SQUEEZE
    nearest = max(8, int(share + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * share else nearest
