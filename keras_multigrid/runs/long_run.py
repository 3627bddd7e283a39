"""Notice early that a training takes long."""

import time
from collections.abc import Callable

import keras

from keras_multigrid import replicas
from keras_multigrid.callbacks.lookup import find_schedule, steps_trained


class LongRun(keras.callbacks.Callback):
    """Calls a function once, early in a training that takes more than `limit` seconds.

    Under a strategy of several workers, on the chief alone.

    Args:
        call: takes the seconds that are left.
        after: seconds of training that tell how long the whole takes.
        limit: seconds.

    Example:

    >>> Logging(callbacks=[LongRun(lambda seconds: print(f"{seconds / 3600:.0f} hours"))])
    """

    def __init__(self, call: Callable[[float], None], *, after: float = 60, limit: float = 3600):
        super().__init__()
        self._call, self._after, self._limit = call, after, limit

    def on_train_begin(self, logs=None):
        self._schedule = find_schedule(self, None)
        self._is_due = replicas.is_chief(self.model)
        self._begun, self._work_at_start = time.monotonic(), self._work()

    def on_train_batch_end(self, batch, logs=None):
        seconds = time.monotonic() - self._begun
        if not self._is_due or seconds < self._after:
            return
        self._is_due = False
        work = self._work()
        left = (self._schedule.total_work - work) * seconds / (work - self._work_at_start)
        if left > self._limit:
            self._call(left)

    def _work(self) -> float:
        return self._schedule.work_before(steps_trained(self.model))
