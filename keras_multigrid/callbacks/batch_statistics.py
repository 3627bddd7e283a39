"""Batch-normalization statistics for evaluation that are those of many batches together."""

import itertools
import warnings
from typing import Any

import keras
import numpy as np

from keras_multigrid import compat, replicas
from keras_multigrid.callbacks.groups import set_groups
from keras_multigrid.checks import check_integer
from keras_multigrid.learning_rate import policy_of
from keras_multigrid.schedule import MultigridSchedule


class PreciseBatchStatistics(keras.callbacks.Callback):
    """Recomputes the statistics that batch normalization evaluates with (precise BN).

    Moving statistics lag behind the weights, most of all at a large learning rate, and come from
    the grids of the last steps. This callback replaces them by those of `num_batches` batches of
    the base grid: before each validation, and at the end of each Keras epoch, before callbacks
    behind it in the list save the model. Training itself does not depend on them.

    Means and variances are those of all batches together: batch means are averaged, and so are
    batch variances, to which the variance of the means is added (Wu and Johnson, "Rethinking Batch
    in BatchNorm", 2021, section 3). Under a strategy, batches of `distribute.batches` are those of
    all replicas, for layers whose statistics are (`SubBatchNormalization`, or Keras's with
    `synchronized=True`). Frozen layers keep their statistics.

    Args:
        batches: data set of (clips, labels) or clips at the base grid, of at least `num_batches`:
            `training_batches` with a schedule without cycles. It is read from its start each time.
        num_batches: number of batches to take.
        clips_per_group: clips that share normalization statistics; None takes the number of the
            optimizer's schedule.

    Raises:
        ValueError: if there are no batches, or no layer has moving statistics.

    Example:

    >>> plain = dataclasses.replace(schedule, long_cycle=(), short_cycle=())
    >>> precise = PreciseBatchStatistics(training_batches(videos, plain, seed=1))
    >>> model.fit(batches, callbacks=[MultigridCallback(), precise, ModelCheckpoint(path)])
    """

    def __init__(self, batches, num_batches: int = 200, *, clips_per_group: int | None = None):
        super().__init__()
        check_integer("num_batches", num_batches)
        self._batches = batches
        self._num_batches = num_batches
        self._clips_per_group = clips_per_group
        self._network = None

    def on_train_begin(self, logs=None):
        self._steps = 0
        self._updated_at = None

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1

    def on_test_begin(self, logs=None):
        self._update_once()

    def on_epoch_end(self, epoch, logs=None):
        self._update_once()

    def update(self, model: keras.Model) -> None:
        """Compute the statistics of a model now, outside of training."""
        layers = [x for x in compat.flatten_layers(model) if hasattr(x, "moving_variance")]
        if not layers:
            raise ValueError(f"{model.name} has no layer with moving statistics: nothing to do.")
        # A frozen layer keeps its own, with which it also trained.
        layers = [layer for layer in layers if layer.trainable]
        if not layers:
            return
        if self._network is not model:
            with replicas.scope(model):
                self._network, self._in_training_mode = model, _InTrainingMode(model)
        compat.sync_state(model)
        statistics = [v for x in layers for v in (x.moving_mean, x.moving_variance)]
        others = [v for v in model.non_trainable_variables if not any(v is s for s in statistics)]
        # On PyTorch an array shares the memory of its variable.
        before = [keras.ops.convert_to_numpy(variable).copy() for variable in others]
        totals = self._totals(layers, statistics)
        # Groups and the states of random generators.
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
        for layer, (mean, variance, square) in zip(layers, totals, strict=True):
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance + square - mean**2)

    def _update_once(self) -> None:
        """Update, unless it was done after this step: a validation comes before its epoch's end."""
        if self._updated_at != self._steps:
            self.update(self.model)
            self._updated_at = self._steps

    def _totals(self, layers, statistics) -> list[list]:
        """For each layer the averages of batch means, batch variances and squared batch means."""
        totals = [[0.0, 0.0, 0.0] for _ in layers]
        count = 0
        for batch in itertools.islice(iter(self._batches), self._num_batches):
            clips = batch[0] if isinstance(batch, (tuple, list)) else batch
            local_clips = len(replicas.local_values(self._network, clips)[0])
            set_groups(layers, *self._groups(local_clips))
            # From zero, one step moves the average to (1 - momentum) times the batch's statistic.
            for variable in statistics:
                variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
            self._in_training_mode.run(clips)
            for layer, total in zip(layers, totals, strict=True):
                mean, variance = (
                    keras.ops.convert_to_numpy(v).astype("float64") / (1 - layer.momentum)
                    for v in (layer.moving_mean, layer.moving_variance)
                )
                for place, value in enumerate((mean, variance, mean**2)):
                    total[place] += value
            count += 1
        if not count:
            raise ValueError("`batches` holds no batch.")
        return [[value / count for value in total] for total in totals]

    def _groups(self, local_clips: int) -> tuple[int, int]:
        """Groups on each replica of its `local_clips` clips, and replicas that share them."""
        clips_per_group = self._clips_per_group
        if clips_per_group is None:
            policy = policy_of(self._network)
            schedule = MultigridSchedule if policy is None else policy.schedule
            clips_per_group = schedule.clips_per_group
        groups = local_clips / clips_per_group
        count = replicas.count(self._network)
        return max(1, round(groups)), max(1, min(count, round(1 / groups)))


class _InTrainingMode(keras.Model):
    """Predicts as a model does in training."""

    def __init__(self, model: keras.Model):
        super().__init__(name=f"{model.name}_in_training_mode")
        self.model = model
        # Compiled as the model is.
        self.jit_compile = model.jit_compile
        self.run_eagerly = model.run_eagerly

    def call(self, clips):
        return self.model(clips, training=True)

    def run(self, clips) -> None:
        if replicas.count(self) == 1:
            # Tensors of TensorFlow are nothing to JAX.
            is_own = keras.backend.backend() == "tensorflow"
            self.predict_on_batch(clips if is_own else np.asarray(clips))
        else:
            compat.predict_on_replicas(self, clips)


def __getattr__(name: str) -> Any:
    if name == "PreciseBatchNormalization":
        warnings.warn(
            "PreciseBatchNormalization is a callback, not a layer, and is now named "
            "PreciseBatchStatistics; the former name will be gone in the next release.",
            DeprecationWarning,
            stacklevel=3,
        )
        return PreciseBatchStatistics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
