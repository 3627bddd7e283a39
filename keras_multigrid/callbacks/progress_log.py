"""How far training is, as plain lines of a log."""

import time
from collections.abc import Mapping

import keras

from keras_multigrid import compat, replicas
from keras_multigrid.callbacks.lookup import find_schedule, learning_rate_at, steps_trained
from keras_multigrid.progress import LINE_INTERVAL, as_time
from keras_multigrid.schedule import MultigridSchedule


class ProgressLog(keras.callbacks.Callback):
    """Prints a line every so many seconds: step, grid, loss, learning rate, time left.

    For output that is no terminal, in place of the progress bar of `fit` (`verbose=0`), whose
    control characters a log keeps. The end of each Keras epoch has a line of its own, with the
    results of its validation.

    The time left is the time so far, validations included, in proportion to the work: clips x
    frames x crop². Under a strategy of several workers the chief alone prints.

    Args:
        schedule: the `MultigridSchedule`; None takes the one of the optimizer's
            `MultigridLearningRate`.
        seconds: from one line to the next.

    Raises:
        ValueError: when training begins, if there is no schedule.

    Example:

    >>> model.fit(batches, callbacks=[MultigridCallback(), ProgressLog()], verbose=0)
    step 120 of 587: 16 x 16 x 45², loss 1.8310, learning rate 0.2, 4 min left
    """

    def __init__(
        self, schedule: MultigridSchedule | None = None, *, seconds: float = LINE_INTERVAL
    ):
        super().__init__()
        self._given_schedule = schedule
        self._seconds = seconds

    def set_model(self, model):
        super().set_model(model)
        compat.watch_batches(model)

    def on_train_begin(self, logs=None):
        self._schedule = find_schedule(self, self._given_schedule)
        self._is_shown = replicas.is_chief(self.model)
        self._last_line = time.monotonic()
        self._first = None

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        is_due = now - self._last_line >= self._seconds
        if not self._is_shown or not (is_due or self._first is None):
            return
        done = steps_trained(self.model)
        left = self._work_left(done)
        if self._first is None:
            # Tracing the first step may take longer than a hundred others.
            self._first = now, left
        if not is_due:
            return
        self._last_line = now
        parts = [str(self._schedule.grid(done - 1)), _named(logs, "loss")]
        parts.append(f"learning rate {learning_rate_at(self.model, done - 1):.4g}")
        first, left_first = self._first
        if left_first > left:
            seconds = (now - first) * left / (left_first - left)
            parts.append(f"{as_time(seconds)} left")
        self._print(done, parts)

    def on_epoch_end(self, epoch, logs=None):
        if self._is_shown and logs:
            ended = f"Keras epoch {epoch + 1} of {self.params.get('epochs')} ended"
            self._print(steps_trained(self.model), [ended, *(_named(logs, name) for name in logs)])

    def _print(self, done: int, parts: list[str]) -> None:
        print(f"step {done:,} of {self._schedule.total_steps:,}: {', '.join(parts)}", flush=True)

    def _work_left(self, step: int) -> float:
        return self._schedule.total_work - self._schedule.work_before(step)


def _named(logs: Mapping, name: str) -> str:
    return f"{name} {float(keras.ops.convert_to_numpy((logs or {}).get(name, float('nan')))):.4f}"
