"""Multi-head attention over the positions of a clip, with pooled queries, keys and values."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_multigrid.layers.head_pooling import HeadPooling, pooled_size
from keras_multigrid.layers.relative_positions import RelativePositions, marks
from keras_multigrid.layers.sizes import sizes_of
from keras_multigrid.layers.transformer_parts import dense, layer_norm

_NAMES = ("q", "k", "v")


@keras.saving.register_keras_serializable(package="keras_multigrid")
class PooledAttention(keras.layers.Layer):
    """Attention of all positions of a clip to all positions, on pooled grids.

    Fan et al., "Multiscale Vision Transformers", ICCV 2021, section 3.1; residual pooling and
    relative positions: Li et al., "MViTv2", CVPR 2022, section 4.1. Pooling keys and values makes
    attention cheap, pooling queries makes the output smaller. Each is pooled by a depth-wise
    convolution and a layer normalization, which all heads share.

    Args:
        units: channels of the output, a multiple of `heads`.
        heads: number of attention heads.
        query_pooling: (frames, height, width, stride) of the kernel that pools queries, such as
            (3, 3, 3, 2), strided in space; None leaves them as they are.
        key_pooling: the same for keys and values.
        positions: (frames, height, width) that `RelativePositions` has its tables made for; None
            for attention without positions.
        residual: add the pooled queries to the output, before the last linear layer.
        kernel_regularizer: of all kernels.

    Call arguments:
        features: (batch, frames, height, width, channels) of any sizes.
        token: optionally, a class token, (batch, 1, channels). It attends and is attended to, but
            has no position, and is neither pooled nor added to.

    Output: (batch, frames, height / stride, width / stride, units), sizes rounded up; with a token,
    this and (batch, 1, units). Softmax and normalization are computed in float32.

    Raises:
        ValueError: if `units` is no multiple of `heads`.

    Example:

    >>> layer = PooledAttention(192, 2, query_pooling=(3, 3, 3, 2), key_pooling=(3, 3, 3, 4))
    >>> layer(keras.ops.zeros((2, 8, 14, 14, 96))).shape
    (2, 8, 7, 7, 192)
    """

    def __init__(
        self,
        units: int,
        heads: int = 1,
        *,
        query_pooling: Sequence[int] | None = None,
        key_pooling: Sequence[int] | None = None,
        positions: Sequence[int] | None = None,
        residual: bool = True,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if units % heads:
            raise ValueError(
                "`units` must be a multiple of `heads`, each of which has as many channels. "
                f"Received: units={units}, heads={heads}."
            )
        self.units, self.heads, self.residual = units, heads, residual
        self.query_pooling = None if query_pooling is None else tuple(query_pooling)
        self.key_pooling = None if key_pooling is None else tuple(key_pooling)
        self.positions = None if positions is None else tuple(positions)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        shared = {"dtype": self.dtype_policy}
        regularized = {"regularizer": self.kernel_regularizer, **shared}
        self.qkv = dense(3 * units, name="qkv", **regularized)
        self.proj = dense(units, name="proj", **regularized)
        for name, pooling in zip(_NAMES, self._poolings, strict=True):
            pool = norm = None
            if pooling is not None:
                *kernel, stride = pooling
                settings = {"kernel_regularizer": self.kernel_regularizer, **shared}
                pool = HeadPooling(kernel, stride, name=f"pool_{name}", **settings)
                norm = layer_norm(name=f"norm_{name}", **shared)
            # Files keep layers under the names of their attributes.
            setattr(self, f"pool_{name}", pool)
            setattr(self, f"norm_{name}", norm)
        self.rel_pos = None
        if self.positions is not None:
            self.rel_pos = RelativePositions(self.positions, name="rel_pos", **shared)

    def build(self, features_shape, token_shape=None):
        channels = self.units // self.heads
        heads_shape = (*features_shape[:-1], self.heads, channels)
        self.qkv.build(features_shape)
        self.proj.build((*features_shape[:-1], self.units))
        for name in _NAMES:
            if getattr(self, f"pool_{name}") is not None:
                getattr(self, f"pool_{name}").build(heads_shape)
                getattr(self, f"norm_{name}").build(heads_shape)
        if self.rel_pos is not None:
            self.rel_pos.build((None, self.heads, None, None, None, channels))

    def call(self, features, token=None):
        # (batch, heads, frames, height, width, channels)
        queries, keys, values = self._by_head(features)
        shape, key_grid = sizes_of(queries), sizes_of(keys)[2:5]
        # There are fewer keys than queries to be scaled.
        scale = (self.units // self.heads) ** -0.5
        inputs = [queries, keys * scale, values]
        if self.rel_pos is not None:
            # Positions are further channels, whose products are the terms to add.
            terms = self.rel_pos(queries, key_grid=key_grid)
            ones = marks(key_grid, keys.dtype)
            ones = ops.broadcast_to(ones, (*shape[:2], *key_grid, sum(key_grid)))
            inputs[0] = ops.concatenate([inputs[0], terms], axis=-1)
            inputs[1] = ops.concatenate([inputs[1], ones], axis=-1)
        inputs = [ops.reshape(x, (*shape[:2], -1, sizes_of(x)[-1])) for x in inputs]
        if token is not None:
            query, key, value = self._by_head(token)
            inputs = map(_with_token, inputs, (query, key * scale, value))
        attended = _attention(*inputs)
        if token is not None:
            token, attended = _without_token(attended)
        patches = ops.reshape(attended, shape)
        if self.residual:
            patches = patches + queries
        patches = ops.transpose(patches, (0, 2, 3, 4, 1, 5))
        patches = self.proj(ops.reshape(patches, (shape[0], *shape[2:5], self.units)))
        if token is None:
            return patches
        return patches, self.proj(ops.reshape(token, (-1, 1, self.units)))

    def compute_output_shape(self, features_shape, token_shape=None):
        batch, frames, *sizes, _ = features_shape
        stride = 1 if self.query_pooling is None else self.query_pooling[-1]
        shape = (batch, frames, *(pooled_size(size, stride) for size in sizes), self.units)
        return shape if token_shape is None else (shape, (batch, 1, self.units))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "heads": self.heads,
            "query_pooling": self.query_pooling,
            "key_pooling": self.key_pooling,
            "positions": self.positions,
            "residual": self.residual,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

    @property
    def _poolings(self) -> tuple:
        return self.query_pooling, self.key_pooling, self.key_pooling

    def _by_head(self, x: Any) -> list[Any]:
        """Queries, keys and values, (batch, heads, ..., channels), pooled unless of a token."""
        is_token = len(x.shape) == 3
        x = self.qkv(x)
        shape = (*sizes_of(x)[:-1], self.heads, self.units // self.heads)
        parts = [ops.reshape(part, shape) for part in ops.split(x, 3, axis=-1)]
        for index, name in enumerate(_NAMES):
            if self._poolings[index] is not None:
                if not is_token:
                    parts[index] = getattr(self, f"pool_{name}")(parts[index])
                parts[index] = getattr(self, f"norm_{name}")(parts[index])
        axes = (0, 2, 1, 3) if is_token else (0, 4, 1, 2, 3, 5)
        return [ops.transpose(part, axes) for part in parts]


def _with_token(x: Any, token: Any) -> Any:
    """A token in front of positions; it has 0 in the channels that stand for positions.

    Args:
        x: (batch, heads, positions, channels and more).
        token: (batch, heads, 1, channels).
    """
    rest = ops.zeros_like(x[:, :, :1, token.shape[-1] :])
    return ops.concatenate([ops.concatenate([token, rest], axis=-1), x], axis=2)


def _without_token(x: Any) -> tuple[Any, Any]:
    """The token, which is the first position, and the others.

    Not by an index, whose gradient would take TensorFlow six times as long.
    """
    batch, heads, count, channels = sizes_of(x)
    token = ops.slice(x, (0, 0, 0, 0), (batch, heads, 1, channels))
    return token, ops.slice(x, (0, 0, 1, 0), (batch, heads, count - 1, channels))


def _attention(queries: Any, keys: Any, values: Any) -> Any:
    """Of each head, (batch, heads, positions, channels); softmax in float32."""
    logits = ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2)))
    weights = ops.softmax(ops.cast(logits, "float32"))
    return ops.matmul(ops.cast(weights, values.dtype), values)
