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

from keras_multigrid import files

# Imported once, by the server from which the workers are forked: TensorFlow alone takes seconds.
_PRELOADED = ["av", "numpy", "tensorflow"]


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands for the result of an item that has none, and says why."""

    reason: str


def isolated_map(
    function: Callable[[Any], Any], items: Iterable[Any], *, workers: int, time_limit: float
) -> Iterator[tuple[Any, Any]]:
    """Call a function with each item in worker processes; a crash or a hang loses its item only.

    Args:
        function: takes an item; it is imported by the workers, as in `multiprocessing`.
        items: taken one by one, as workers become free.
        workers: number of processes; no more than there are items.
        time_limit: seconds for one item.

    Yields:
        (item, result) in the order in which they are finished. The result is `Lost` where the
        function raised, ended its process, or took longer than `time_limit`.

    Raises:
        StorageUnavailableError: a fault of the machine has lasted, see `files.is_machine_fault`.

    Example:

    >>> for path, size in isolated_map(os.path.getsize, paths, workers=2, time_limit=10.0):
    ...     print(path, "is lost" if isinstance(size, Lost) else size)
    """
    items, end = iter(items), object()
    pool = []
    try:
        for item in islice(items, workers):
            pool.append(_Worker(function, time_limit))
            pool[-1].give(item)
        while pool:
            seconds = min(worker.deadline for worker in pool) - time.monotonic()
            connection.wait([worker.connection for worker in pool], max(0.0, seconds))
            for worker in [worker for worker in pool if worker.is_done]:
                result = worker.result()
                if isinstance(result, files.StorageUnavailableError):
                    raise result
                yield worker.item, result
                item = next(items, end)
                if item is not end:
                    worker.give(item)
                else:
                    pool.remove(worker)
                    worker.kill()
    finally:
        for worker in pool:
            worker.kill()


class _Worker:
    """A process that calls a function with one item at a time, and another one when it is gone."""

    def __init__(self, function: Callable, time_limit: float):
        self._function, self._time_limit = function, time_limit
        self._process = None

    def give(self, item: Any) -> None:
        if self._process is None:
            self._start()
        self.item = item
        self.deadline = time.monotonic() + self._time_limit
        # `result` reports a process that is gone.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(item)

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self.connection, end = context.Pipe()
        # An item still needs time when a fault of the machine is over.
        retry_seconds = min(files.retry_seconds(), self._time_limit / 2)
        arguments = self._function, end, retry_seconds
        process = context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        self._process = process
        # Once the process alone has this end, the pipe closes with the process.
        end.close()
        try:
            self.connection.recv()
        except EOFError:
            raise RuntimeError(
                "A worker process ended while it started. A script that starts some must do so "
                "below `if __name__ == '__main__':`, as each imports it."
            ) from None

    @property
    def is_done(self) -> bool:
        return self.connection.poll() or time.monotonic() > self.deadline

    def result(self) -> Any:
        """The item's result, or `Lost`."""
        if not self.connection.poll():
            self.kill()
            return Lost(f"it took longer than {self._time_limit:g} seconds")
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code, self._process = self._process.exitcode, None
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Lost(f"it ended the process that read it ({how})")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            # Not without end: a process that waits for a broken network disk does not even die.
            self._process.join(5.0)
            self._process = None


def _serve(function: Callable, end: connection.Connection, retry_seconds: float) -> None:
    """Answer item by item until the parent is gone."""
    # Of the parent, and not of the process from which this one was forked.
    os.environ[files.RETRY_VARIABLE] = f"{retry_seconds:g}"
    # Ctrl-C reaches all processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        end.send(None)
        while True:
            item = end.recv()
            try:
                result = function(item)
            except files.StorageUnavailableError as error:
                # For the parent to raise: no fault of the item.
                result = error
            except Exception as error:
                result = Lost(f"{type(error).__name__}: {error}")
            end.send(result)
    except (EOFError, OSError):
        # Without cleaning up what is the parent's.
        os._exit(0)
