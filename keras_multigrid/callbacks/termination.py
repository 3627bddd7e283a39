"""Requests to end, which clusters send before they take a machine away."""

import os
import signal
import threading
from types import FrameType

from keras_multigrid import compat


class Terminated(SystemExit):
    """The process was asked to end, and the run is saved."""

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


class TerminationRequest:
    """Whether SIGTERM came while Keras trains; else, and the second time, it acts as before.

    Example:

    >>> request = TerminationRequest()
    >>> request.listen()
    >>> request.is_made
    False
    """

    def __init__(self):
        self.is_made = False
        self._before = None

    def listen(self) -> None:
        """Catch SIGTERM from here on, if this is the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._handle)

    def stop_listening(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.stop_listening()
        if compat.is_in_fit(frame):
            self.is_made = True
        else:
            # `fit` ended by an exception, which callbacks do not learn of.
            os.kill(os.getpid(), number)
