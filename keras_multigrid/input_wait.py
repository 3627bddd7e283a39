"""How long training has waited for its input: a clock of the process, like `time.process_time`.

The pipeline adds to it each time a batch is asked for; callbacks read differences of it.
"""

import threading

_lock = threading.Lock()
_seconds = 0.0


def add(seconds: float) -> None:
    """Add time that a consumer spent waiting for a batch."""
    global _seconds
    with _lock:
        _seconds += float(seconds)


def seconds() -> float:
    """Seconds waited since the process began, over all measured data sets."""
    return _seconds
