"""Fixed sinusoidal positions for features of any grid."""

import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_multigrid.layers.resizing import resizing_matrix
from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class SinusoidalPositions(keras.layers.Layer):
    """Adds sines and cosines of the place in the clip, which are not learned.

    Vaswani et al., "Attention Is All You Need", 2017, section 3.5, over all places of a clip, one
    after the other, as VideoMAE has them:

        place (frame, row, column) of (8, 14, 14)     n = (14 frame + row) 14 + column
        channels 2i, 2i + 1 of C                      sin, cos of n / 10000^(2i / C)

    They are made for one grid. On others they are interpolated linearly along each axis
    (half-pixel centres), since a network that was trained on one grid has seen no other numbers.

    Args:
        grid: (frames, height, width) of the features that the positions are made for.

    Input: features (batch, frames, height, width, channels). Output: the same.

    Example:

    >>> layer = SinusoidalPositions((8, 14, 14))
    >>> layer(keras.ops.zeros((2, 4, 7, 7, 384))).shape
    (2, 4, 7, 7, 384)
    """

    def __init__(self, grid: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.built = True

    def call(self, features):
        _, *sizes, channels = sizes_of(features)
        positions = sinusoids(self.grid, channels)
        for axis, size in enumerate(sizes):
            # Nothing to compute where both are known and alike.
            if not isinstance(size, int) or size != self.grid[axis]:
                matrix = resizing_matrix(size, self.grid[axis])
                positions = ops.moveaxis(ops.tensordot(matrix, positions, (1, axis)), 0, axis)
        return features + ops.cast(positions, features.dtype)

    def compute_output_shape(self, features_shape):
        return features_shape

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}


@functools.lru_cache(maxsize=8)
def sinusoids(grid: tuple[int, int, int], channels: int) -> np.ndarray:
    """(frames, height, width, channels) float32; see `SinusoidalPositions`."""
    # In float64: angles go to thousands, where float32 keeps four digits of a sine.
    places = np.arange(math.prod(grid), dtype="float64")[:, None]
    angles = places / 10000 ** (np.arange(channels) // 2 * 2 / channels)
    table = np.where(np.arange(channels) % 2, np.cos(angles), np.sin(angles))
    table = table.reshape(*grid, channels).astype("float32")
    table.flags.writeable = False
    return table
