"""Requests to end: SIGTERM, which clusters send before they take a machine away, and Ctrl-C."""

import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType

from keras_multigrid import signals

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Seconds for which a signal that comes again counts as the first: launchers often send two.
_REPEATED = 1.0
# Seconds for which SIGTERM is ignored once the run is saved, so that the process ends in peace.
_ENDING = 10.0
# Seconds that the main thread has to act before the other thread looks at what it waits for.
_PATIENCE = 2.0


class Terminated(SystemExit):
    """The process was asked to end, and the run is saved."""

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


class TerminationRequest:
    """Whether SIGTERM or Ctrl-C came while Keras trains; at other times they act as before.

    Both are heard at once, and acted on at the end of the step. Where the main thread waits for
    input inside TensorFlow, which may take for ever, another thread acts.

    Args:
        act: a method, called in that thread every second, from two seconds after the signal on,
            for as long as Keras trains. It ends the process if it can.

    Example, in a callback:

    >>> self.request = TerminationRequest(self.save_and_end)
    >>> self.request.listen()
    >>> self.request.is_made
    False
    """

    def __init__(self, act: Callable[[], None]):
        self.number: int | None = None
        # A model whose training has failed must not be kept by a thread that listens.
        self._act = weakref.WeakMethod(act)
        self._first_time = 0.0
        self._before = {}
        self._watcher = None

    @property
    def is_made(self) -> bool:
        return self.number is not None

    @property
    def name(self) -> str:
        """What the user knows the signal by."""
        return "Ctrl-C" if self.number == signal.SIGINT else "SIGTERM"

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that the signal has ended."""
        return 128 + self.number

    def end(self) -> None:
        """End the process, as the signal would have, from the main thread."""
        self._first_time = time.monotonic()
        raise KeyboardInterrupt if self.number == signal.SIGINT else Terminated

    def listen(self) -> None:
        """Catch both from here on, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.number = None
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        self._watcher = signals.Watcher(self._watch)

    def stop_listening(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, as soon as it runs Python."""
        seconds = time.monotonic() - self._first_time
        is_again = self.is_made and (
            seconds < _ENDING if number == signal.SIGTERM else seconds < _REPEATED
        )
        if is_again:
            return
        if not signals.is_in_fit(frame) or (self.is_made and number == signal.SIGINT):
            # `fit` ended by an exception, which callbacks do not learn of; or the user insists.
            self.stop_listening()
            os.kill(os.getpid(), number)
        else:
            self._make(number)

    def _make(self, number: int) -> None:
        if not self.is_made:
            self._first_time = time.monotonic()
            self.number = number

    def _watch(self, number: int, next_signal: Callable[[float], int | None]) -> None:
        """In the other thread, from a signal on."""
        main = threading.main_thread().ident
        if number not in _SIGNALS or not signals.is_fitting(main):
            return
        self._make(number)
        begun, again = time.monotonic(), None
        while signals.is_fitting(main):
            if next_signal(1.0) == signal.SIGINT and time.monotonic() - begun > _REPEATED:
                again = again or time.monotonic()
            if again is not None and time.monotonic() - again > _PATIENCE:
                signals.end_process(128 + signal.SIGINT)
            act = self._act()
            if act is not None and time.monotonic() - begun > _PATIENCE:
                act()
