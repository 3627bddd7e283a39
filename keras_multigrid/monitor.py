"""What streams of training batches report: input wait, replaced clips, the first clips of steps.

    stream ──add_batch──> StreamMonitor <──reads── TrainingLog

Keras shows callbacks neither the batches nor their data set. So whoever makes a stream hands its
monitor on, or the log takes the open stream that `fit` is seen to read.
"""

import contextlib
import contextvars
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Clips of a batch that a picture shows.
SHOWN_CLIPS = 4

_open: "weakref.WeakSet[StreamMonitor]" = weakref.WeakSet()
_attached: contextvars.ContextVar["StreamMonitor | None"] = contextvars.ContextVar(
    "attached", default=None
)
# Numbers the batches of all streams, in the order in which they are read.
_reads = itertools.count(1)


class StreamMonitor:
    """What one stream of training batches reports while it is read.

    Counters only rise, like `time.process_time`: take differences. Clips are kept only of
    requested steps, until they are taken.

    Example:

    >>> monitor = StreamMonitor()
    >>> with monitor.attached():
    ...     batches = training_batches(videos, schedule, seed=0)
    >>> model.fit(batches, callbacks=[MultigridCallback(monitor=monitor)])
    >>> monitor.seconds_waited
    12.5
    """

    def __init__(self):
        self.seconds_waited = 0.0
        self.replaced_clips = 0
        # Number of the last batch read, among those of all streams; 0 before the first.
        self.last_read = 0
        # The step that the last batch is for; -1 before the first.
        self.last_step = -1
        self._asked_steps: frozenset[int] = frozenset()
        self._clips: dict[int, Any] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Streams made inside, in this thread, report to this monitor.

        Also those that `strategy.distribute_datasets_from_function` makes, whatever transformations
        follow.
        """
        token = _attached.set(self)
        try:
            yield
        finally:
            _attached.reset(token)

    def add_batch(self, step: int, waited: float, clips: Any) -> None:
        """Report a batch that is handed out.

        Args:
            step: the step it is for; -1 if its clips cannot be shown.
            waited: seconds that its consumer waited for it.
            clips: array of its first `SHOWN_CLIPS` clips; copied if the step was requested.
        """
        with self._lock:
            self.last_read = next(_reads)
            self.last_step = int(step) if step >= 0 else self.last_step
            self.seconds_waited += float(waited)
            if int(step) in self._asked_steps:
                # Of a step that comes twice (fit looks at a batch, then starts anew) the last.
                self._clips[int(step)] = clips.copy()

    def add_replaced_clip(self) -> None:
        """Report a clip that was replaced or left out because its video cannot be read."""
        with self._lock:
            self.replaced_clips += 1

    def ask_for_clips(self, steps: Iterable[int]) -> None:
        """Keep the first clips of these steps' batches; forget earlier requests."""
        with self._lock:
            self._asked_steps = frozenset(steps)
            self._clips.clear()

    def take_clips(self, step: int) -> Any | None:
        """The first clips of a requested step, once; None if there are none."""
        with self._lock:
            return self._clips.pop(step, None)

    def weak_add_batch(self) -> Callable[[int, float, Any], None]:
        """`add_batch` for TensorFlow graphs, which never release the functions they call."""
        reference = weakref.ref(self)

        def add_batch(step, waited, clips):
            monitor = reference()
            if monitor is not None:
                monitor.add_batch(step, waited, clips)

        return add_batch


def open_monitor() -> StreamMonitor:
    """The monitor of a stream that is made now: the attached one, or one of its own.

    The stream must keep it: it counts as open for as long as something refers to it.
    """
    monitor = _attached.get()
    if monitor is None:
        monitor = StreamMonitor()
    _open.add(monitor)
    return monitor


def open_monitors() -> list[StreamMonitor]:
    """Monitors of the streams that exist in this process, the one read last first."""
    return sorted(_open, key=lambda monitor: monitor.last_read, reverse=True)


def add_replaced_clip() -> None:
    """Report a replaced clip to every open stream: where a file fails, its reader is not known."""
    for monitor in open_monitors():
        monitor.add_replaced_clip()
