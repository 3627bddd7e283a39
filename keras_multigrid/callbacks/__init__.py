"""Keras callbacks, each usable with stock `fit`."""

from keras_multigrid.callbacks.averaged_weights import AveragedWeights
from keras_multigrid.callbacks.batch_statistics import PreciseBatchStatistics
from keras_multigrid.callbacks.checkpoint import ChangedSettingsError, MultigridCheckpoint
from keras_multigrid.callbacks.multigrid import MultigridCallback
from keras_multigrid.callbacks.not_finite import DivergedError, NotFiniteError, RaiseOnNotFinite
from keras_multigrid.callbacks.progress_log import ProgressLog
from keras_multigrid.callbacks.training_log import TrainingLog

__all__ = [
    "AveragedWeights",
    "ChangedSettingsError",
    "DivergedError",
    "MultigridCallback",
    "MultigridCheckpoint",
    "NotFiniteError",
    "PreciseBatchStatistics",
    "ProgressLog",
    "RaiseOnNotFinite",
    "TrainingLog",
]
