"""Published weights: reading them, and giving them to a model."""

from keras_multigrid.models.weights.pickles import CheckpointError
from keras_multigrid.models.weights.published import (
    inflate_weights,
    load_published_weights,
    published_arrays,
    published_key,
    published_shapes,
)

__all__ = [
    "CheckpointError",
    "inflate_weights",
    "load_published_weights",
    "published_arrays",
    "published_key",
    "published_shapes",
]
