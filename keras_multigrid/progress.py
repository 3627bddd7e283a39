"""How far a long task is: a bar on a terminal, plain lines in a log."""

import sys
import time

# Seconds from one line of a log to the next.
LINE_INTERVAL = 30.0


def is_terminal() -> bool:
    """Whether people watch the output: a log must hold no control characters."""
    return sys.stdout.isatty()


def as_time(seconds: float) -> str:
    """A duration as people say it: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """A bar on a terminal; in a log, a line every half a minute and one at the end.

    Args:
        unit_name: of what is counted, such as "video".

    Example:

    >>> progress = Progress("video")
    >>> for number, video in enumerate(videos, 1):
    ...     check(video)
    ...     progress(number, len(videos))
    """

    def __init__(self, unit_name: str):
        self._unit_name = unit_name
        self._bar = None
        self._begun = self._last_line = time.monotonic()
        # Count and time of the first call: processes start before it, and of a task that is resumed
        # some is done at once.
        self._first = None

    def __call__(self, done: int, total: int, *, is_end: bool | None = None) -> None:
        """Show that so many of the total are done.

        Args:
            done, total: counts.
            is_end: whether no more are to come; None if `done` reaches `total`.
        """
        is_end = done >= total if is_end is None else is_end
        if is_terminal():
            self._draw(done, total, is_end)
            return
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        if is_end or now - self._last_line >= LINE_INTERVAL:
            self._last_line = now
            done_first, first = self._first
            parts = [f"{done:,} of {total:,} {self._unit_name}s"]
            if is_end:
                parts.append(as_time(now - self._begun))
            elif done > done_first:
                left = (now - first) / (done - done_first) * (total - done)
                parts.append(f"{as_time(left)} left")
            print(", ".join(parts), flush=True)

    def _draw(self, done: int, total: int, is_end: bool) -> None:
        import keras

        if self._bar is None:
            self._bar = keras.utils.Progbar(total, interval=0.5, unit_name=self._unit_name)
        self._bar.update(done, finalize=is_end)
