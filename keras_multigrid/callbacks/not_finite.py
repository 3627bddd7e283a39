"""The end of a run whose loss is not finite."""

import math
from collections.abc import Mapping

import keras
import numpy as np

from keras_multigrid import compat
from keras_multigrid.callbacks.lookup import learning_rate_at, steps_trained
from keras_multigrid.learning_rate import policy_of
from keras_multigrid.schedule import MultigridSchedule


class NotFiniteError(RuntimeError):
    """The weights hold NaN or infinity: nothing is saved."""


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
        step = steps_trained(self.model) - 1
        check_loss(self.model, schedule, step, logs)
        check_updates(self.model, step)


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


# A gradient that overflows float16 at this loss scale is larger than 2^30.
_LEAST_SCALE = 2.0**-14


def check_updates(model: keras.Model, step: int, *, is_last: bool = False) -> None:
    """Raise `DivergedError` if float16 training skips all its updates.

    A skipped update halves the loss scale, which tells how many were skipped in a row.

    Args:
        step: the step just made.
        is_last: whether it is the last of the run: one of a few steps may skip them all before the
            loss scale is small.
    """
    scale = compat.loss_scale(model)
    if scale is None:
        return
    initial_scale = model.optimizer.initial_scale
    is_none = scale <= initial_scale * 2.0 ** -(step + 1)
    if scale < _LEAST_SCALE * min(1.0, initial_scale) or (is_last and is_none):
        which = f"None of the {step + 1} updates" if is_none else f"No update of step {step}"
        raise DivergedError(
            f"{which} was applied: the gradients are not finite even at a loss scale of "
            f"{scale:.3g}. Lower the learning rate, train in bfloat16 or float32, or begin with a "
            "smaller LossScaleOptimizer(initial_scale=...) if the run is short."
        )


def check_finite(model: keras.Model, step: int) -> None:
    """Raise `NotFiniteError` if a weight is not finite after a step."""
    for variable in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable).astype("float32")).all():
            raise NotFiniteError(
                f"After step {step} {variable.path} holds values that are not finite: training "
                "diverged. The checkpoint before it is kept. Lower the learning rate, or lengthen "
                "its warm-up."
            )
