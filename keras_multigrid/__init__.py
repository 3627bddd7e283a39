"""Multigrid training of video models for Keras 3 and TensorFlow.

The public names, imported when they are first used: the schedule alone needs no TensorFlow.
"""

from keras_multigrid.lazy import public_names
from keras_multigrid.moved import find_moved_modules

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "AveragedWeights": "callbacks",
        "ClipSampling": "data.clips",
        "Grid": "schedule",
        "Input": "data",
        "MultigridCallback": "callbacks",
        "MultigridCheckpoint": "callbacks",
        "MultigridLearningRate": "learning_rate",
        "MultiLabel": "task",
        "MultigridSchedule": "schedule",
        "Phase": "schedule",
        "PreciseBatchNormalization": "callbacks.batch_statistics",
        "PreciseBatchStatistics": "callbacks",
        "ProgressLog": "callbacks",
        "RaiseOnNotFinite": "callbacks",
        "ReferenceSGD": "optimizers",
        "SingleLabel": "task",
        "SubBatchNormalization": "layers",
        "Task": "task",
        "TrainingLog": "callbacks",
        "VideoRecord": "data.videos",
        "VideoSet": "data.videos",
        "check_grids": "runs.grid_check",
        "half_cosine": "learning_rate",
        "resample": "data",
        "centre_clips": "data",
        "training_batches": "data",
    },
    modules=("data", "distribute", "models", "optimizers"),
)

find_moved_modules()
