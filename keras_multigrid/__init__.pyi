from keras_multigrid import data as data
from keras_multigrid import distribute as distribute
from keras_multigrid import models as models
from keras_multigrid import optimizers as optimizers
from keras_multigrid.callbacks import AveragedWeights as AveragedWeights
from keras_multigrid.callbacks import MultigridCallback as MultigridCallback
from keras_multigrid.callbacks import MultigridCheckpoint as MultigridCheckpoint
from keras_multigrid.callbacks import PreciseBatchStatistics as PreciseBatchStatistics
from keras_multigrid.callbacks import ProgressLog as ProgressLog
from keras_multigrid.callbacks import RaiseOnNotFinite as RaiseOnNotFinite
from keras_multigrid.callbacks import TrainingLog as TrainingLog
from keras_multigrid.callbacks.batch_statistics import (
    PreciseBatchNormalization as PreciseBatchNormalization,
)
from keras_multigrid.data import Input as Input
from keras_multigrid.data import centre_clips as centre_clips
from keras_multigrid.data import resample as resample
from keras_multigrid.data import training_batches as training_batches
from keras_multigrid.data.clips import ClipSampling as ClipSampling
from keras_multigrid.data.videos import VideoRecord as VideoRecord
from keras_multigrid.data.videos import VideoSet as VideoSet
from keras_multigrid.layers import SubBatchNormalization as SubBatchNormalization
from keras_multigrid.learning_rate import MultigridLearningRate as MultigridLearningRate
from keras_multigrid.learning_rate import half_cosine as half_cosine
from keras_multigrid.optimizers import ReferenceSGD as ReferenceSGD
from keras_multigrid.runs.grid_check import check_grids as check_grids
from keras_multigrid.schedule import Grid as Grid
from keras_multigrid.schedule import MultigridSchedule as MultigridSchedule
from keras_multigrid.schedule import Phase as Phase
from keras_multigrid.task import MultiLabel as MultiLabel
from keras_multigrid.task import SingleLabel as SingleLabel
from keras_multigrid.task import Task as Task

__version__: str
