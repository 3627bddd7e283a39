"""Learned absolute positions for features of any grid."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_multigrid.layers.resizing import resizing_matrix
from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class ResizedPositions(keras.layers.Layer):
    """Adds a learned vector for the frame and one for the place in it, resized to the input's grid.

    Fan et al., "Multiscale Vision Transformers", ICCV 2021, section 3.2: positions of space and
    time are separate tables. Both are made for one grid. On others they are interpolated linearly
    along each axis (half-pixel centres), which is trilinear interpolation of their sum.

    Args:
        grid: (frames, height, width) of the features that the tables are made for.

    Input: features (batch, frames, height, width, channels), and optionally a class token (batch,
    1, channels), which has a position of its own. Output: the same.

    Example:

    >>> layer = ResizedPositions((8, 56, 56))
    >>> layer(keras.ops.zeros((2, 4, 28, 28, 96))).shape
    (2, 4, 28, 28, 96)
    """

    def __init__(self, grid: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)

    def build(self, features_shape, token_shape=None):
        frames, height, width = self.grid
        channels = features_shape[-1]
        self.spatial = self._table("spatial", height * width, channels)
        self.temporal = self._table("temporal", frames, channels)
        self.token_position = None
        if token_shape is not None:
            self.token_position = self._table("class", 1, channels)

    def call(self, features, token=None):
        _, frames, height, width, channels = sizes_of(features)
        temporal = ops.matmul(resizing_matrix(frames, self.grid[0]), self.temporal[0])
        spatial = ops.reshape(self.spatial, (*self.grid[1:], channels))
        spatial = ops.einsum("hr,rwc->hwc", resizing_matrix(height, self.grid[1]), spatial)
        spatial = ops.einsum("wr,hrc->hwc", resizing_matrix(width, self.grid[2]), spatial)
        positions = temporal[:, None, None] + spatial
        features = features + ops.cast(positions, features.dtype)
        if token is None:
            return features
        return features, token + ops.cast(self.token_position, token.dtype)

    def compute_output_shape(self, features_shape, token_shape=None):
        return features_shape if token_shape is None else (features_shape, token_shape)

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}

    def _table(self, name, rows, channels):
        return self.add_weight(
            name=name,
            shape=(1, rows, channels),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            # Interpolated in full precision.
            autocast=False,
        )
