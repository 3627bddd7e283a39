"""The block of multiscale vision transformers."""

from typing import Any

import keras
from keras import ops

from keras_multigrid.layers.drop_path import DropPath
from keras_multigrid.layers.pooled_attention import PooledAttention
from keras_multigrid.layers.sizes import sizes_of
from keras_multigrid.layers.transformer_parts import dense, layer_norm


@keras.saving.register_keras_serializable(package="keras_multigrid")
class MultiscaleBlock(keras.layers.Layer):
    """Pooled attention, then a multilayer perceptron of one hidden layer, each with a shortcut.

    Li et al., "MViTv2", CVPR 2022, figure 2. Where queries are strided, the shortcut is max pooled.
    Where the width changes, it is a linear layer of the *normalized* input.

    Args:
        units: channels of the output.
        attention: arguments of `PooledAttention`. Its `units` are those of the output, or those of
            the input, where the perceptron changes the width.
        drop_path: rate of `DropPath` of both branches.
        remat: compute the activations of a branch anew for its gradients, instead of keeping them.
        kernel_regularizer: of all kernels.

    Input and output: same as for `PooledAttention`.
    """

    def __init__(
        self,
        units: int,
        attention: dict[str, Any],
        drop_path: float = 0.0,
        remat: bool = False,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.attention, self.remat = units, dict(attention), remat
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        shared = {"dtype": self.dtype_policy}
        self.norm1 = layer_norm(name="norm1", **shared)
        self.attn = PooledAttention(
            **self.attention, kernel_regularizer=self.kernel_regularizer, name="attn", **shared
        )
        self.norm2 = layer_norm(name="norm2", **shared)
        self.drop_path = DropPath(drop_path, name="drop_path", **shared)
        shared["regularizer"] = self.kernel_regularizer
        self.fc1 = dense(4 * self.attn.units, activation="gelu", name="mlp-fc1", **shared)
        self.fc2 = dense(units, name="mlp-fc2", **shared)
        self.proj = None
        self._shared = shared

    def build(self, features_shape, token_shape=None):
        width, inner = features_shape[-1], self.attn.units
        if width != inner and inner != self.units:
            raise ValueError(
                "The width may change in attention or in the perceptron, not in both. Received: "
                f"{width} channels, {inner} in attention, {self.units} in the output."
            )
        if width != self.units:
            self.proj = dense(self.units, name="proj", **self._shared)
            self.proj.build(features_shape)
        attended_shape = (*features_shape[:-1], inner)
        self.norm1.build(features_shape)
        self.attn.build(features_shape)
        self.norm2.build(attended_shape)
        self.fc1.build(attended_shape)
        self.fc2.build((*features_shape[:-1], 4 * inner))

    def call(self, features, token=None, training=False):
        xs = [features] if token is None else [features, token]
        # Random numbers are drawn outside of what is computed twice.
        for branch in (self._attend, self._perceive):
            branch = keras.remat(branch) if self.remat and training else branch
            shortcuts, changes = branch(*xs)
            changes = self.drop_path(changes, training=training)
            xs = [x + change for x, change in zip(shortcuts, changes, strict=True)]
        return xs[0] if token is None else tuple(xs)

    def compute_output_shape(self, features_shape, token_shape=None):
        shapes = self.attn.compute_output_shape(features_shape, token_shape)
        if token_shape is None:
            return (*shapes[:-1], self.units)
        return tuple((*shape[:-1], self.units) for shape in shapes)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "attention": self.attention,
            "drop_path": self.drop_path.rate,
            "remat": self.remat,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

    def _attend(self, *xs) -> tuple[list, list]:
        """Shortcuts and attention, of features and token."""
        normed = [self.norm1(x) for x in xs]
        attended = self.attn(*normed)
        widens = xs[0].shape[-1] != self.attn.units
        shortcuts = [self.proj(x) for x in normed] if widens else list(xs)
        stride = self._stride
        if stride > 1:
            shortcuts[0] = max_pooled(shortcuts[0], stride)
        return shortcuts, [attended] if len(xs) == 1 else list(attended)

    def _perceive(self, *xs) -> tuple[list, list]:
        """Shortcuts and perceptron, of features and token."""
        normed = [self.norm2(x) for x in xs]
        changes = [self.fc2(self.fc1(x)) for x in normed]
        widens = self.attn.units != self.units
        return [self.proj(x) for x in normed] if widens else list(xs), changes

    @property
    def _stride(self) -> int:
        return 1 if self.attn.query_pooling is None else self.attn.query_pooling[-1]


def max_pooled(x: Any, stride: int) -> Any:
    """Largest values around each `stride`-th position: (batch, frames, height, width, channels).

    Over windows of stride + 1, padded on all sides; Keras's "same" pads at the end alone.
    """
    batch, frames, height, width, channels = sizes_of(x)
    size = stride + 1
    around = (size // 2, size // 2)
    # Frames are pictures: half precision is pooled on every device.
    x = ops.reshape(x, (-1, height, width, channels))
    x = ops.pad(x, ((0, 0), around, around, (0, 0)), constant_values=float("-inf"))
    x = ops.max_pool(x, size, stride, padding="valid", data_format="channels_last")
    return ops.reshape(x, (batch, frames, *sizes_of(x)[1:3], channels))
