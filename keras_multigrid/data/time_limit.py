"""Calls that are given up when they take too long."""

import itertools
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from keras_multigrid.data.python_calls import closing
from keras_multigrid.data.videos import limits

Value = TypeVar("Value")

# How often a thread that waits looks whether the process ends.
_LOOK_SECONDS = 1.0


def within(seconds: float, function: Callable[[], Value], path: str) -> Value:
    """The result of `function()`, which another thread calls.

    A read of a network disk that is gone, or a decoder in an endless loop, cannot be ended. So its
    thread is left behind, and ends when it can.

    Args:
        seconds: how long to wait.
        function: takes no argument. In it, `limits.check_time` raises in time.
        path: of the video that it reads, for errors.

    Raises:
        TooSlowError: it takes longer. Other errors: those of `function`.
        InterruptedError: the process ends.

    Example:

    >>> within(10.0, lambda: decode_frames(record, np.arange), record.path)
    """
    try:
        caller = _idle.pop()
    except IndexError:
        caller = _Caller()
    try:
        return caller.call(seconds, function, path)
    finally:
        if not caller.is_left:
            _idle.append(caller)


class _Caller:
    """A thread that makes one call at a time, for another one."""

    def __init__(self):
        self.is_left = False
        self._calls, self._results = SimpleQueue(), SimpleQueue()
        name = f"reader-{next(_numbers)}"
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def call(self, seconds: float, function: Callable[[], Value], path: str) -> Value:
        self._calls.put((seconds, function, path))
        # The function has the time to end by itself.
        end = time.monotonic() + seconds + _LOOK_SECONDS
        while True:
            try:
                value, error = self._results.get(timeout=_LOOK_SECONDS)
                break
            except Empty:
                self.is_left = closing.is_set() or time.monotonic() > end
            if self.is_left:
                self._calls.put(None)
                if closing.is_set():
                    raise InterruptedError("The process ends.")
                raise limits.TooSlowError(path)
        if error is not None:
            raise error
        return value

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            seconds, function, path = call
            try:
                with limits.time_limit(seconds, path):
                    result = function(), None
            except BaseException as error:
                result = None, error
            self._results.put(result)
            # Frames of a clip must not stay until the next one is read.
            del result, call, function


_numbers = itertools.count()
_idle: list[_Caller] = []
