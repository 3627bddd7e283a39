"""The end of a run whose loss is not finite."""

import math
from collections.abc import Mapping

import keras

from keras_multigrid import compat
from keras_multigrid.callbacks.lookup import learning_rate_at, steps_trained
from keras_multigrid.learning_rate import policy_of
from keras_multigrid.schedule import MultigridSchedule


class DivergedError(RuntimeError):
    """The loss is not finite: training cannot go on."""


class RaiseOnNotFinite(keras.callbacks.Callback):
    """Raises `DivergedError` at the first step whose loss is not finite.

    `keras.callbacks.TerminateOnNaN` ends `fit` as if it had been completed: a script then
    evaluates and saves a model of NaNs. The error names the step, its learning rate and its grid.

    `fit` gives callbacks the mean of the loss over the Keras epoch so far: once a loss is not
    finite, the mean stays so.

    Args:
        schedule: the `MultigridSchedule` that the error takes the grid from; None takes the one of
            the optimizer's `MultigridLearningRate`, if it is one.

    Raises:
        DivergedError: when the loss is not finite.

    Example:

    >>> model.fit(batches, callbacks=[RaiseOnNotFinite()])
    """

    def __init__(self, schedule: MultigridSchedule | None = None):
        super().__init__()
        self._schedule = schedule

    def set_model(self, model):
        super().set_model(model)
        compat.watch_batches(model)

    def on_train_batch_end(self, batch, logs=None):
        policy = policy_of(self.model)
        schedule = policy.schedule if self._schedule is None and policy else self._schedule
        check_loss(self.model, schedule, steps_trained(self.model) - 1, logs)


def check_loss(
    model: keras.Model, schedule: MultigridSchedule | None, step: int, logs: Mapping | None
) -> None:
    """Raise `DivergedError` if the loss in the logs of a step is not finite."""
    loss = float(keras.ops.convert_to_numpy((logs or {}).get("loss", 0.0)))
    if not math.isfinite(loss):
        grid = "" if schedule is None else f"grid {schedule.grid(step)}, "
        raise DivergedError(
            f"The loss of step {step} is not finite: {loss} ({grid}learning rate "
            f"{learning_rate_at(model, step):.4g}). Lower the learning rate, or lengthen its "
            "warm-up. Checkpoints from before are kept."
        )
