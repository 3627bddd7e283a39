"""The end of a run whose loss is not finite."""

import math

import keras

from keras_multigrid import replicas
from keras_multigrid.callbacks.lookup import learning_rate_at
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

    def on_train_begin(self, logs=None):
        self._step = replicas.steps_trained(self.model)

    def on_train_batch_end(self, batch, logs=None):
        loss = float(keras.ops.convert_to_numpy((logs or {}).get("loss", 0.0)))
        if not math.isfinite(loss):
            policy = policy_of(self.model)
            schedule = policy.schedule if self._schedule is None and policy else self._schedule
            grid = "" if schedule is None else f"grid {schedule.grid(self._step)}, "
            raise DivergedError(
                f"The loss of step {self._step} is not finite: {loss} ({grid}learning rate "
                f"{learning_rate_at(self.model, self._step):.4g}). Lower the learning rate, or "
                "lengthen its warm-up. Checkpoints from before are kept."
            )
        self._step += 1
