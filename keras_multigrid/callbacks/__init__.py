"""Keras callbacks, each usable with stock `fit`."""

from keras_multigrid.callbacks.batch_statistics import PreciseBatchNormalization
from keras_multigrid.callbacks.checkpoint import (
    ChangedSettingsError,
    MultigridCheckpoint,
    NotFiniteError,
)
from keras_multigrid.callbacks.multigrid import DivergedError, MultigridCallback

__all__ = [
    "ChangedSettingsError",
    "DivergedError",
    "MultigridCallback",
    "MultigridCheckpoint",
    "NotFiniteError",
    "PreciseBatchNormalization",
]
