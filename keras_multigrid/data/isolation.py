"""A parallel map whose items may crash or hang their process."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection
from typing import Any

# Imported once, by the server that the workers are forked from: TensorFlow alone takes seconds.
_PRELOADED = ["av", "numpy", "tensorflow"]


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands for the result of an item that has none, and says why."""

    reason: str


def isolated_map(
    function: Callable[[Any], Any], items: Iterable[Any], *, workers: int, time_limit: float
) -> Iterator[tuple[Any, Any]]:
    """Call a function with each item in worker processes; an item can only take its own with it.

    Args:
        function: takes an item; it is imported by the workers, as in `multiprocessing`.
        items: taken one by one, as workers get free.
        workers: number of processes; no more than there are items.
        time_limit: seconds for one item.

    Yields:
        (item, result) in the order in which they are finished. The result is `Lost` where the
        function raised, ended its process, or took longer than `time_limit`.

    Example:

    >>> for path, size in isolated_map(os.path.getsize, paths, workers=2, time_limit=10.0):
    ...     print(path, "is lost" if isinstance(size, Lost) else size)
    """
    items = iter(items)
    pool = [_Worker(function, item, time_limit) for item in islice(items, workers)]
    try:
        while pool:
            seconds = min(worker.deadline for worker in pool) - time.monotonic()
            connection.wait([worker.connection for worker in pool], max(0.0, seconds))
            for worker in [worker for worker in pool if worker.is_done]:
                yield worker.item, worker.result()
                pool.remove(worker)
                pool += [
                    _with_next(worker, function, item, time_limit) for item in islice(items, 1)
                ]
                if worker not in pool:
                    worker.kill()
    finally:
        for worker in pool:
            worker.kill()


class _Worker:
    """A process and the item that it works on."""

    def __init__(self, function: Callable, item: Any, time_limit: float):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self.is_lost = False
        self._time_limit = time_limit
        self.connection, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(function, end), daemon=True)
        self._process.start()
        # With no end of it here, the pipe closes when the process ends.
        end.close()
        try:
            self.connection.recv()
        except EOFError:
            raise RuntimeError(
                "A worker process ended while it started. A script that starts some must do so "
                "below `if __name__ == '__main__':`, as each imports it."
            ) from None
        self.give(item)

    def give(self, item: Any) -> None:
        self.item = item
        self.deadline = time.monotonic() + self._time_limit
        # Of a process that is gone `result` tells.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(item)

    @property
    def is_done(self) -> bool:
        return self.connection.poll() or time.monotonic() > self.deadline

    def result(self) -> Any:
        """The item's result, or `Lost`; where its process is gone, `is_lost` is set."""
        if not self.connection.poll():
            self.is_lost = True
            self.kill()
            return Lost(f"it took longer than {self._time_limit:g} seconds")
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.is_lost = True
            self._process.join()
            return Lost(f"it ended the process that read it ({_how(self._process.exitcode)})")

    def kill(self) -> None:
        self._process.kill()
        # Not for ever: a process that waits for a broken network disk does not even die.
        self._process.join(5.0)


def _with_next(worker: _Worker, function: Callable, item: Any, time_limit: float) -> _Worker:
    if worker.is_lost:
        return _Worker(function, item, time_limit)
    worker.give(item)
    return worker


def _how(exitcode: int) -> str:
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit code {exitcode}"


def _serve(function: Callable, end: connection.Connection) -> None:
    """Answer item by item until the parent is gone."""
    # Ctrl-C reaches all processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        end.send(None)
        while True:
            end.send(_result(function, end.recv()))
    except (EOFError, OSError):
        # Without cleaning up: tensorflow-io aborts when it is unloaded after s3 was used.
        os._exit(0)


def _result(function: Callable, item: Any) -> Any:
    try:
        return function(item)
    except Exception as error:
        return Lost(f"{type(error).__name__}: {error}")
