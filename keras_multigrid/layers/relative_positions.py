"""Learned relative positions of queries and keys on grids of any size."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_multigrid.layers.resizing import as_float, library, resized_places, shares
from keras_multigrid.layers.sizes import sizes_of

_AXES = ("t", "h", "w")


@keras.saving.register_keras_serializable(package="keras_multigrid")
class RelativePositions(keras.layers.Layer):
    """What attention adds for the distances of a query and a key along time, height and width.

    Li et al., "MViTv2", CVPR 2022, equation 4: for a query q at (t, h, w) and a key at (t', h',
    w'), the sum of q R_t[t - t'] + q R_h[h - h'] + q R_w[w - w'], with one table of learned vectors
    for each axis, shared by all heads.

    Where there are fewer keys than queries, or the other way round, distances are those of the
    finer grid. The tables are made for one size; for another, they are interpolated linearly
    (half-pixel centres).

    Args:
        grid: (frames, height, width) that the tables are made for, along each axis the larger of
            the numbers of queries and of keys. A table has 2 * size - 1 rows.

    Call arguments:
        queries: (batch, heads, frames, height, width, channels).
        key_grid: (frames, height, width) of the keys.

    Output: (batch, heads, frames, height, width, n), where n is the sum of the three sizes of
    `key_grid`: what is added for each frame of the keys, then for each row, then for each column.

    Example:

    >>> layer = RelativePositions((8, 14, 14))
    >>> layer(keras.ops.zeros((2, 4, 8, 14, 14, 96)), key_grid=(8, 7, 7)).shape
    (2, 4, 8, 14, 14, 22)
    """

    def __init__(self, grid: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)

    def build(self, queries_shape):
        self.tables = [
            self.add_weight(
                name=axis,
                shape=(2 * size - 1, queries_shape[-1]),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                # Interpolated in full precision.
                autocast=False,
            )
            for axis, size in zip(_AXES, self.grid, strict=True)
        ]

    def call(self, queries, key_grid):
        query_grid = sizes_of(queries)[2:5]
        terms = [
            # Along height: bnthwc,hkc->bnthwk.
            ops.einsum(
                f"bnthwc,{axis}kc->bnthwk",
                queries,
                ops.cast(vectors(table, size, keys), queries.dtype),
            )
            for axis, table, size, keys in zip(
                _AXES, self.tables, query_grid, key_grid, strict=True
            )
        ]
        return ops.concatenate(terms, axis=-1)

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}


def marks(key_grid: Sequence[Any], dtype: str) -> Any:
    """Which frame, row and column each key is of: ones among zeros, (t, h, w, t + h + w).

    The product of a query's terms, as `RelativePositions` returns them, with the marks of a key is
    the sum of its three terms. So they are part of the product of queries and keys, and nothing of
    the size of all pairs is made for them.
    """
    ones = []
    for axis, size in enumerate(key_grid):
        numbers = ops.arange(size, dtype="int32")
        shape = [1, 1, 1, size]
        shape[axis] = size
        one = ops.reshape(ops.cast(numbers[:, None] == numbers[None], dtype), shape)
        ones.append(ops.broadcast_to(one, (*key_grid, size)))
    return ops.concatenate(ones, axis=-1)


def vectors(table: Any, queries: Any, keys: Any) -> Any:
    """Along one axis, the vector of each query and key: (queries, keys, channels)."""
    finer = library(queries, keys).maximum(as_float(queries), as_float(keys))
    rows = table.shape[0]
    places = resized_places(table_rows(queries, keys), 2 * finer - 1, rows)
    return ops.matmul(shares(places, rows), table)


def table_rows(queries: Any, keys: Any) -> Any:
    """Rows of a table of 2 max(queries, keys) - 1 for each query and key: (queries, keys) float32.

        4 queries, 2 keys    query 0   2 0
                             query 1   3 1
                             query 2   4 2
                             query 3   5 3

    Whole numbers: query i and key j have row i * max(keys / queries, 1) + (keys - 1 - j) *
    max(queries / keys, 1), cut. It is computed in float32 in the order of the published code,
    whose rounding decides what is cut where the sizes do not divide each other.
    """
    xp = library(queries, keys)
    n, k = as_float(queries), as_float(keys)
    finer = xp.maximum(n, k)
    rows = (
        xp.arange(queries, dtype="float32")[:, None] * xp.maximum(k / n, 1.0)
        - xp.arange(keys, dtype="float32")[None] * xp.maximum(n / k, 1.0)
        # Rounded once, as the published product of Python's numbers.
        + (k - 1) * finer / k
    )
    return xp.floor(xp.maximum(rows, 0.0))
