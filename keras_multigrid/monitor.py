"""What the input pipeline tells the rest of the process: waits, faults, the first clips of steps.

Counters only rise, like `time.process_time`: readers take differences. Clips are kept only of steps
that somebody asked for, until they are taken.
"""

import threading
from collections.abc import Iterable
from typing import Any

# Clips of a batch that a picture shows.
SHOWN_CLIPS = 4

_lock = threading.Lock()
_seconds = 0.0
_replaced_clips = 0
_asked_steps: frozenset[int] = frozenset()
_clips: dict[int, Any] = {}


def add_batch(step: int, waited: float, clips: Any) -> None:
    """Tell of a batch that is handed out.

    Args:
        step: the step it is for.
        waited: seconds that its consumer spent waiting for it.
        clips: array of its first `SHOWN_CLIPS` clips; copied if somebody asked for them.
    """
    global _seconds
    with _lock:
        _seconds += float(waited)
        if int(step) in _asked_steps:
            # Of several data sets that come to this step, the last is the one trained on: others
            # are read between steps, before it.
            _clips[int(step)] = clips.copy()


def add_replaced_clip() -> None:
    """Tell of a clip whose video cannot be read."""
    global _replaced_clips
    with _lock:
        _replaced_clips += 1


def seconds() -> float:
    """Seconds waited since the process began, over all measured data sets."""
    return _seconds


def replaced_clips() -> int:
    """Clips replaced or left out since the process began, as their videos cannot be read."""
    return _replaced_clips


def ask_for_clips(steps: Iterable[int]) -> None:
    """Keep the first clips of these steps' batches; forget everything asked for before."""
    global _asked_steps
    with _lock:
        _asked_steps = frozenset(steps)
        _clips.clear()


def take_clips(step: int) -> Any | None:
    """The first clips of a step that was asked for, once; None if there are none."""
    with _lock:
        return _clips.pop(step, None)
