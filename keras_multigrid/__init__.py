"""Multigrid training of video models for Keras 3 and TensorFlow.

The public names, imported when they are first used: the schedule alone needs no TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "Grid": "schedule",
    "MultigridCallback": "callbacks",
    "MultigridCheckpoint": "checkpoint",
    "MultigridLearningRate": "learning_rate",
    "MultigridSchedule": "schedule",
    "Phase": "schedule",
    "PreciseBatchNormalization": "precise_batch_normalization",
    "ReferenceSGD": "sgd",
    "SubBatchNormalization": "models.sub_batch_normalization",
    "resample": "data.pipeline",
}
_MODULES = ("data", "distribute", "models")

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
