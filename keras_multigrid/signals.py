"""Signals that are heard even while the main thread is in C, where Python runs no handler."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType


class Watcher:
    """A thread that learns of every signal for which Python has a handler, as it comes.

    Args:
        heard: called in the thread with the signal's number and a function that waits for the next
            one, for a number of seconds, and returns its number or None.

    Must be made and stopped in the main thread.
    """

    def __init__(self, heard: Callable[[int, Callable[[float], int | None]], None]):
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        arguments = {"args": (reading, heard), "name": "signals", "daemon": True}
        threading.Thread(target=self._run, **arguments).start()

    def stop(self) -> None:
        """Let the thread end, and signals go where they went before."""
        try:
            signal.set_wakeup_fd(self._before, warn_on_full_buffer=False)
        except (OSError, ValueError):
            # Who listened before has closed it.
            signal.set_wakeup_fd(-1)
        os.close(self._writing)

    @staticmethod
    def _run(reading: int, heard: Callable) -> None:
        poll = select.poll()
        poll.register(reading, select.POLLIN)

        def next_signal(seconds: float | None) -> int | None:
            is_ready = poll.poll(None if seconds is None else 1000 * seconds)
            content = os.read(reading, 1) if is_ready else b""
            return content[0] if content else None

        with contextlib.closing(os.fdopen(reading, "rb", buffering=0)):
            while (number := next_signal(None)) is not None:
                heard(number, next_signal)


def end_process(code: int) -> None:
    """End the process now, whatever its other threads wait for."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def is_in_fit(frame: FrameType | None) -> bool:
    """Whether Keras's `fit` or `evaluate` is among the callers of a stack frame.

    Keras calls no callback when `fit` ends by an exception, so that a signal handler, which is
    called with the frame that it interrupts, has to look.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_name in ("fit", "evaluate") and "trainer" in os.path.basename(code.co_filename):
            return True
        frame = frame.f_back
    return False


def is_fitting(thread: int) -> bool:
    """Whether `fit` or `evaluate` is under way in a thread, by `threading.get_ident()` there."""
    return is_in_fit(sys._current_frames().get(thread))
