"""Validation, and the end of training, with the moving averages of the weights."""

import contextlib
import dataclasses
import warnings
import weakref
from collections.abc import Iterator

import keras
import numpy as np

from keras_multigrid import compat
from keras_multigrid.callbacks.batch_statistics import PreciseBatchStatistics
from keras_multigrid.callbacks.lookup import build_optimizer, inner_optimizer, steps_trained


@dataclasses.dataclass
class _Weights:
    """Copies of a model's weights, in the order of `model.weights`."""

    # What training goes on with, while the model holds averages.
    training: list[np.ndarray] | None = None
    # The averages with their statistics, and the step that they are of.
    averaged: list[np.ndarray] | None = None
    step: int = -1
    # Whether a callback of this file validates with averages.
    is_validated: bool = False


# Not an attribute of the model: Keras would save it.
_weights: "weakref.WeakKeyDictionary[keras.Model, _Weights]" = weakref.WeakKeyDictionary()


class AveragedWeights(keras.callbacks.Callback):
    """Validates with the averages of an optimizer that has `use_ema=True`, and ends with them.

    Averages have no statistics of batch normalization of their own: those of the weights that
    train do not fit them. So for each validation the weights are copied out, the averages take
    their place, `statistics` are computed for them, and afterwards the copies are put back:
    training goes on with the same bits as without a validation. (`keras.callbacks.SwapEMAWeights`
    adds and subtracts, which changes the last bits, and leaves the statistics.)

    `MultigridCheckpoint` saves both: the weights that train, to resume from, and the averages of
    the last validation with their statistics, which `load_checkpoint`, tests and predictions take.
    When `fit` ends, the model holds the averages with their statistics. TensorBoard's
    `validation/averaged_weights` is 1 where a validation saw averages.

    With `gradient_accumulation_steps`, Keras moves the averages at each mini-batch.

    Args:
        statistics: computes the statistics of batch normalization; None for models without.

    Raises:
        ValueError: when training begins, if the optimizer averages no weights, or if the model has
            moving statistics and `statistics` is None.

    Example:

    >>> averaged = AveragedWeights(PreciseBatchStatistics(plain_batches, num_batches=50))
    >>> model.compile(keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.999), loss)
    >>> model.fit(batches, callbacks=[MultigridCallback(), averaged, checkpoint])
    """

    def __init__(self, statistics: PreciseBatchStatistics | None = None):
        super().__init__()
        self._statistics = statistics

    def set_model(self, model):
        super().set_model(model)
        compat.watch_batches(model)
        _weights_of(model).is_validated = True

    def on_train_begin(self, logs=None):
        check_averages(self.model, has_statistics=self._statistics is not None)
        begin_averages(self.model)
        self._is_training = True

    def on_test_begin(self, logs=None):
        # A model that is evaluated outside of `fit` is evaluated as it is.
        if getattr(self, "_is_training", False):
            self._put_in()

    def on_test_end(self, logs=None):
        put_back(self.model)

    def on_epoch_end(self, epoch, logs=None):
        # Where there was no validation: for callbacks behind this one, which save.
        if averaged_at(self.model, steps_trained(self.model)) is None:
            self._put_in()
            put_back(self.model)

    def on_train_end(self, logs=None):
        self._is_training = False
        if _holds_averages(self.model):
            self.apply(self.model)

    def apply(self, model: keras.Model) -> None:
        """Leave a model with its averages and their statistics, outside of training."""
        if _weights_of(model).training is None:
            self.set_model(model)
            self._put_in()
        _weights_of(model).training = None

    def _put_in(self) -> None:
        model, weights = self.model, _weights_of(self.model)
        compat.sync_state(model)
        weights.training = _copies(model)
        step = steps_trained(model)
        averaged = averaged_at(model, step)
        if averaged is not None:
            _assign(model, averaged)
            return
        averages = compat.averages_of(model.optimizer)
        for variable, average in zip(model.trainable_variables, averages, strict=True):
            if average is not None:
                variable.assign(_copy(average))
        if self._statistics is not None:
            self._statistics.update(model)
        weights.averaged, weights.step = _copies(model), step


def check_averages(model: keras.Model, *, has_statistics: bool) -> None:
    """Raise ValueError if a model has no averages, or none can be evaluated."""
    if not inner_optimizer(model).use_ema:
        raise ValueError(
            "AveragedWeights needs an optimizer that averages them. Received: "
            f"{type(inner_optimizer(model)).__name__} with use_ema=False. Use use_ema=True."
        )
    moving = [x for x in compat.flatten_layers(model) if hasattr(x, "moving_variance")]
    if not has_statistics and any(layer.trainable for layer in moving):
        raise ValueError(
            f"Averaged weights need statistics of batch normalization of their own: {model.name} "
            f"has {len(moving)} such layers. Use AveragedWeights(PreciseBatchStatistics(...)); in "
            "a run, set Optimization(precise_batches=50)."
        )


def warn_of_averages(model: keras.Model) -> None:
    """Warn if an optimizer averages weights, and nothing computes statistics for the averages."""
    moving = any(hasattr(layer, "moving_variance") for layer in compat.flatten_layers(model))
    if inner_optimizer(model).use_ema and moving and not _weights_of(model).is_validated:
        warnings.warn(
            "The optimizer averages weights (use_ema=True). Without AveragedWeights, validations "
            "see the weights that train, and when fit ends Keras puts the averages beside batch "
            "normalization statistics of other weights. Add "
            "AveragedWeights(PreciseBatchStatistics(...)) to the callbacks.",
            stacklevel=2,
        )


def begin_averages(model: keras.Model) -> None:
    """Let averages begin with the weights, before the first step.

    Keras lets them begin with those after step 0. If float16 training skips that one, they would
    begin with zeros.
    """
    if inner_optimizer(model).use_ema and steps_trained(model) == 0:
        build_optimizer(model)
        averages = compat.averages_of(model.optimizer)
        for variable, average in zip(model.trainable_variables, averages, strict=True):
            if average is not None:
                average.assign(_copy(variable))


def is_averaged(model: keras.Model) -> bool:
    """Whether a model holds averages now, during a validation."""
    return _weights_of(model).training is not None


def averaged_at(model: keras.Model, step: int) -> list[np.ndarray] | None:
    """All weights with which the validation after `step` steps was done; None if with none."""
    weights = _weights_of(model)
    return weights.averaged if weights.step == step else None


def keep_averaged(model: keras.Model, step: int, values: list[np.ndarray]) -> None:
    """Take averages with their statistics from a checkpoint: they are not computed again."""
    weights = _weights_of(model)
    weights.averaged, weights.step = values, step


def put_back(model: keras.Model) -> None:
    """Give a model that holds averages the weights that train."""
    weights = _weights_of(model)
    if weights.training is not None:
        compat.sync_state(model)
        _assign(model, weights.training)
        weights.training = None


@contextlib.contextmanager
def training_weights(model: keras.Model) -> Iterator[None]:
    """Inside, a model holds the weights that train, to be saved in a validation, too."""
    weights = _weights_of(model)
    if weights.training is None:
        yield
        return
    compat.sync_state(model)
    averaged = _copies(model)
    _assign(model, weights.training)
    try:
        yield
    finally:
        _assign(model, averaged)


def _holds_averages(model: keras.Model) -> bool:
    """Whether the weights are their averages: `fit` makes them so at its end."""
    averages = compat.averages_of(model.optimizer)
    return all(
        average is None or np.array_equal(_copy(variable), _copy(average))
        for variable, average in zip(model.trainable_variables, averages, strict=True)
    )


def _weights_of(model: keras.Model) -> _Weights:
    return _weights.setdefault(model, _Weights())


def _copy(variable: keras.Variable) -> np.ndarray:
    # An array may share the variable's memory. On JAX two variables must not share one either.
    return np.array(keras.ops.convert_to_numpy(variable))


def _copies(model: keras.Model) -> list[np.ndarray]:
    return [_copy(variable) for variable in model.weights]


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    for variable, value in zip(model.weights, values, strict=True):
        variable.assign(value)
