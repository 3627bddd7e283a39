"""Blocks of the published 3-D residual networks, shared by all models.

Layers carry the names of the published checkpoints' keys, with "-" for ".", which PyTorch does not
allow in names: `s2-pathway0_res0-branch2-a`.
"""

from collections.abc import Collection, Sequence

import keras

from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization
from keras_multigrid.models.non_local import NonLocalAttention


class Blocks:
    """Adds the blocks of a network to symbolic features.

    Args:
        weight_decay: of convolutions and classifier: the gradient of their penalty is
            `weight_decay * w`.
    """

    def __init__(self, weight_decay: float = 0.0):
        self._regularizer = keras.regularizers.L2(weight_decay / 2) if weight_decay else None

    def conv(
        self, x, filters: int, kernel: Sequence[int], *, stride=(1, 1, 1), use_bias=False, name: str
    ):
        """3-D convolution, padded by `kernel // 2` on both sides.

        Keras's "same" pads unevenly at stride 2, which the published weights do not expect.
        """
        padding = "same"
        if max(stride) > 1:
            x = pad(x, kernel, name=f"{name}_pad")
            padding = "valid"
        return keras.layers.Conv3D(
            filters,
            tuple(kernel),
            strides=tuple(stride),
            padding=padding,
            use_bias=use_bias,
            kernel_initializer=he_normal(),
            kernel_regularizer=self._regularizer,
            bias_regularizer=self._regularizer if use_bias else None,
            name=name,
        )(x)

    def stem(self, x, *, width: int, temporal_kernel: int, name: str):
        """Convolution k x 7 x 7 at spatial stride 2, then max pooling 1 x 3 x 3 at stride 2."""
        kernel = (temporal_kernel, 7, 7)
        x = self.conv(x, width, kernel, stride=(1, 2, 2), name=f"{name}_stem-conv")
        x = normalize(x, name=f"{name}_stem-bn")
        x = keras.layers.ReLU(name=f"{name}_stem-relu")(x)
        # Zeros serve as padding of the maximum: what comes out of a ReLU is never below.
        x = pad(x, (1, 3, 3), name=f"{name}_stem-pool_pad")
        return keras.layers.MaxPooling3D((1, 3, 3), strides=(1, 2, 2), name=f"{name}_stem-pool")(x)

    def bottleneck(self, x, *, inner: int, temporal_kernel: int, stride: int, name: str):
        """T x 1 x 1, then 1 x 3 x 3 with the stride, then 1 x 1 x 1 convolution, and a shortcut."""
        outer, strides = 4 * inner, (1, stride, stride)
        shortcut = x
        if x.shape[-1] != outer or stride > 1:
            shortcut = self.conv(x, outer, (1, 1, 1), stride=strides, name=f"{name}-branch1")
            shortcut = normalize(shortcut, name=f"{name}-branch1_bn")
        layers = (
            ("a", inner, (temporal_kernel, 1, 1), (1, 1, 1)),
            ("b", inner, (1, 3, 3), strides),
            ("c", outer, (1, 1, 1), (1, 1, 1)),
        )
        for letter, filters, kernel, layer_stride in layers:
            branch = f"{name}-branch2-{letter}"
            x = self.conv(x, filters, kernel, stride=layer_stride, name=branch)
            # The block starts as the identity, which large learning rates need.
            gamma = "zeros" if letter == "c" else "ones"
            x = normalize(x, gamma_initializer=gamma, name=f"{branch}_bn")
            if letter != "c":
                x = keras.layers.ReLU(name=f"{branch}_relu")(x)
        x = keras.layers.Add(name=f"{name}-add")([x, shortcut])
        return keras.layers.ReLU(name=f"{name}-relu")(x)

    def stage(
        self,
        x,
        *,
        inner: int,
        temporal_kernels: Sequence[int],
        stride: int,
        non_local_after: Collection[int],
        attention: str,
        name: str,
    ):
        """Bottleneck blocks, one for each temporal kernel; the first one strides.

        After the blocks whose numbers are in `non_local_after` comes a non-local one.
        """
        for index, kernel in enumerate(temporal_kernels):
            block = {"temporal_kernel": kernel, "stride": stride if index == 0 else 1}
            x = self.bottleneck(x, inner=inner, name=f"{name}_res{index}", **block)
            if index in non_local_after:
                x = self.non_local(x, attention=attention, name=f"{name}_nonlocal{index}")
        return x

    def non_local(self, x, *, attention: str, name: str):
        """Every position attends to all positions, at half the spatial resolution; residual.

        Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018, section 3.
        """

        def pointwise(x, filters, letter):
            return self.conv(x, filters, (1, 1, 1), use_bias=True, name=f"{name}-conv_{letter}")

        inner = x.shape[-1] // 2
        pooled = keras.layers.MaxPooling3D((1, 2, 2), name=f"{name}-pool")(x)
        y = NonLocalAttention(attention, name=f"{name}-attention")(
            pointwise(x, inner, "theta"),
            pointwise(pooled, inner, "phi"),
            pointwise(pooled, inner, "g"),
        )
        y = pointwise(y, x.shape[-1], "out")
        y = normalize(y, gamma_initializer="zeros", name=f"{name}-bn")
        return keras.layers.Add(name=f"{name}-add")([x, y])

    def lateral(self, fast, *, kernel: int, alpha: int, name: str):
        """Features of the fast pathway at the slow one's frames, with twice the channels.

        Feichtenhofer, Fan, Malik and He, "SlowFast Networks", ICCV 2019, section 3.3.
        """
        channels, stride = 2 * fast.shape[-1], (alpha, 1, 1)
        x = self.conv(fast, channels, (kernel, 1, 1), stride=stride, name=f"{name}-conv_f2s")
        return keras.layers.ReLU(name=f"{name}-relu")(normalize(x, name=f"{name}-bn"))

    def head(self, x, *, classes: int, dropout: float, activation: str | None):
        """Dropout and a dense classifier on globally pooled features."""
        if dropout:
            x = keras.layers.Dropout(dropout, name="head-dropout")(x)
        return keras.layers.Dense(
            classes,
            activation=activation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            kernel_regularizer=self._regularizer,
            bias_regularizer=self._regularizer,
            # Scores stay float32 under mixed precision: a softmax over float16 overflows.
            dtype="float32",
            name="head-projection",
        )(x)


def he_normal():
    """The initializer of convolutions."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def pad(x, kernel: Sequence[int], *, name: str):
    """Zeros on both sides of every axis that `kernel` spans."""
    sizes = tuple(size // 2 for size in kernel)
    return keras.layers.ZeroPadding3D(sizes, name=name)(x) if any(sizes) else x


def normalize(x, *, gamma_initializer="ones", name: str):
    """Sub-batch normalization."""
    return SubBatchNormalization(gamma_initializer=gamma_initializer, name=name)(x)
