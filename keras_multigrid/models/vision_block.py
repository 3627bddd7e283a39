"""The block of plain vision transformers."""

from typing import Any

import keras
from keras import ops

from keras_multigrid.layers.drop_path import DropPath
from keras_multigrid.layers.sizes import sizes_of
from keras_multigrid.layers.transformer_parts import STDDEV


@keras.saving.register_keras_serializable(package="keras_multigrid")
class VisionBlock(keras.layers.Layer):
    """Attention of all positions to all, then a multilayer perceptron, each with a shortcut.

    Dosovitskiy et al., "An Image Is Worth 16x16 Words", ICLR 2021, equations 2 and 3: normalization
    comes first. Queries and values have a bias, keys have none, as in VideoMAE: it would add the
    same number to all logits of a query.

    Args:
        heads: attention heads; the channels of the input must be a multiple.
        drop_path: rate of `DropPath` of both branches.
        remat: compute the activations of a branch anew for its gradients, instead of keeping them.
        kernel_regularizer: of all kernels.

    Input and output: (batch, frames, height, width, channels). Attention is Keras's own, with
    kernels such as FlashAttention where a backend has them for the device and precision; softmax
    and normalization are computed in float32.
    """

    def __init__(
        self,
        heads: int,
        drop_path: float = 0.0,
        remat: bool = False,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.heads, self.remat = heads, remat
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        shared = {"dtype": self.dtype_policy}
        self.norm1 = keras.layers.LayerNormalization(epsilon=1e-6, name="norm1", **shared)
        self.attn = VisionAttention(
            heads, kernel_regularizer=self.kernel_regularizer, name="attn", **shared
        )
        self.norm2 = keras.layers.LayerNormalization(epsilon=1e-6, name="norm2", **shared)
        self.drop_path = DropPath(drop_path, name="drop_path", **shared)

    def build(self, features_shape):
        channels = features_shape[-1]
        self.fc1 = self._dense(4 * channels, "mlp-fc1")
        self.fc2 = self._dense(channels, "mlp-fc2")
        self.norm1.build(features_shape)
        self.attn.build(features_shape)
        self.norm2.build(features_shape)
        self.fc1.build(features_shape)
        self.fc2.build((*features_shape[:-1], 4 * channels))

    def call(self, features, training=False):
        # Random numbers are drawn outside of what is computed twice.
        for branch in (self._attend, self._perceive):
            branch = keras.remat(branch) if self.remat and training else branch
            features = features + self.drop_path(branch(features), training=training)
        return features

    def compute_output_shape(self, features_shape):
        return features_shape

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "drop_path": self.drop_path.rate,
            "remat": self.remat,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

    def _attend(self, features: Any) -> Any:
        return self.attn(self.norm1(features))

    def _perceive(self, features: Any) -> Any:
        hidden = self.fc1(self.norm2(features))
        # The exact one; that of `activation="gelu"` may be an approximation.
        return self.fc2(ops.gelu(hidden, approximate=False))

    def _dense(self, units: int, name: str) -> keras.layers.Dense:
        return vision_dense(units, name, self.kernel_regularizer, dtype=self.dtype_policy)


@keras.saving.register_keras_serializable(package="keras_multigrid")
class VisionAttention(keras.layers.Layer):
    """Multi-head attention of all positions to all; see `VisionBlock`."""

    def __init__(self, heads: int, kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, features_shape):
        channels = features_shape[-1]
        settings = {"dtype": self.dtype_policy}
        self.qkv = vision_dense(
            3 * channels, "qkv", self.kernel_regularizer, use_bias=False, **settings
        )
        self.proj = vision_dense(channels, "proj", self.kernel_regularizer, **settings)
        self.qkv.build(features_shape)
        self.proj.build(features_shape)
        self.q_bias = self.add_weight(name="q_bias", shape=(channels,), initializer="zeros")
        self.v_bias = self.add_weight(name="v_bias", shape=(channels,), initializer="zeros")

    def call(self, features):
        shape = sizes_of(features)
        by_head = (shape[0], -1, self.heads, shape[-1] // self.heads)
        queries, keys, values = ops.split(self.qkv(features), 3, axis=-1)
        queries, values = queries + self.q_bias, values + self.v_bias
        attended = ops.dot_product_attention(
            *(ops.reshape(x, by_head) for x in (queries, keys, values))
        )
        return self.proj(ops.reshape(attended, shape))

    def compute_output_shape(self, features_shape):
        return features_shape

    def get_config(self):
        regularizer = keras.regularizers.serialize(self.kernel_regularizer)
        return {**super().get_config(), "heads": self.heads, "kernel_regularizer": regularizer}


def vision_dense(units: int, name: str, regularizer=None, **settings) -> keras.layers.Dense:
    """A linear layer as plain vision transformers begin with it: small weights, no bias yet."""
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomNormal(stddev=STDDEV),
        kernel_regularizer=regularizer,
        name=name,
        **settings,
    )
