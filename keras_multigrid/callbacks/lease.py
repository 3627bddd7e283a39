"""The lease of a folder: one process at a time trains there, on a local disk or a remote store.

    lease.json      who holds it, since when, and a number that changes while that process lives

On the holder's machine one sees whether its process lives. From elsewhere one waits whether the
number changes: clocks need not agree.
"""

import contextlib
import dataclasses
import functools
import json
import os
import socket
import threading
import time
from collections.abc import Callable

from absl import logging

from keras_multigrid import files

_FILE = "lease.json"
# Seconds between renewals, and those after which a lease that is not renewed is free. A store may
# be away for the difference.
_RENEWAL = 25.0
_DURATION = 110.0
# Seconds from writing to reading again, for others who found the folder free at the same moment.
_SETTLING = {False: 0.05, True: 1.0}


class FolderInUseError(RuntimeError):
    """Another process trains in the folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that holds a lease.

    Args:
        host: name of its machine.
        process: its number there.
        since: when it took the lease.
        machine: where its number counts: another one for each machine, start of it, and container.
        started: when it began, on that machine's clock; numbers are given again.
    """

    host: str
    process: int
    since: str
    machine: str
    started: str

    @classmethod
    def here(cls) -> "Holder":
        """This process, from now on."""
        return cls(
            host=socket.gethostname(),
            process=os.getpid(),
            since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
            machine=_machine(),
            started=_start_of(os.getpid()) or "",
        )

    def is_same_process(self, other: "Holder") -> bool:
        """Whether both are one process."""
        return dataclasses.replace(self, since=other.since) == other

    def has_ended(self) -> bool | None:
        """Whether the process has ended; None if that cannot be seen from here."""
        return _start_of(self.process) != self.started if self.machine == _machine() else None


class Lease:
    """The right to train in a folder, which one process has at a time.

    A thread renews it. A process that ends without giving it back loses it: at once for others on
    its machine, for all others within two minutes.

    Args:
        folder: local or remote.
        is_needed: asked before each renewal; once it is not, the lease is given back.

    Example:

    >>> with Lease("runs/mine"):
    ...     train()
    """

    def __init__(self, folder: str, is_needed: Callable[[], bool] = lambda: True):
        self._folder, self._is_needed = folder, is_needed
        self._path = os.path.join(folder, _FILE)
        self._holder: Holder | None = None
        self._renewals = 0
        self._end = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> "Lease":
        self.take()
        return self

    def __exit__(self, *error) -> None:
        self.give_back()

    def take(self) -> None:
        """Hold the lease from here on.

        Raises:
            FolderInUseError: another process holds it. From another machine, this takes up to 25
                seconds to see; and two minutes that it has ended.
            StorageError: the folder cannot be read or written.
        """
        self._holder = Holder.here()
        try:
            self._wait_until_free()
            self._renew()
            time.sleep(_SETTLING[files.is_remote(self._path)])
            self.check()
        except BaseException:
            self._holder = None
            raise
        self._end = threading.Event()
        threading.Thread(target=self._keep, args=[self._end], name="lease", daemon=True).start()

    def check(self) -> None:
        """Read whether it is still held: a process may have been stopped for minutes.

        Raises:
            FolderInUseError: another process has it now.
            StorageError: the folder cannot be read.
        """
        content = files.read(self._path)
        other = None if content is None else _parse(content)
        if self._holder and other and not other.is_same_process(self._holder):
            raise FolderInUseError(self._in_use(other))

    def give_back(self) -> None:
        """Let others have it."""
        self._end.set()
        with self._lock, contextlib.suppress(OSError, FolderInUseError):
            if self._holder is not None:
                self.check()
                files.remove(self._path)
        self._holder = None

    def _wait_until_free(self) -> None:
        first, begun = None, time.monotonic()
        while (content := files.read(self._path)) is not None:
            other = _parse(content)
            has_ended = other and (other.is_same_process(self._holder) or other.has_ended())
            if has_ended or time.monotonic() - begun > _DURATION:
                return
            if other and (has_ended is False or content != (first or content)):
                raise FolderInUseError(self._in_use(other))
            if first is None:
                first = content
                logging.warning(
                    "Waiting up to %.0f s to see whether another process still trains in %s: %s",
                    *(_DURATION, self._folder, other or "its lease cannot be read"),
                )
            time.sleep(2.0)

    def _keep(self, end: threading.Event) -> None:
        """Renew the lease until it is given back or another process has it."""
        while not end.wait(_RENEWAL):
            if not self._is_needed():
                self.give_back()
                return
            try:
                with self._lock:
                    if end.is_set():
                        return
                    self.check()
                    self._renew()
            except FolderInUseError:
                # Training learns of it when it saves.
                return
            except OSError as error:
                logging.warning("The lease of %s is not renewed: %s", self._folder, error)

    def _renew(self) -> None:
        self._renewals += 1
        content = {**dataclasses.asdict(self._holder), "renewals": self._renewals}
        files.write(self._path, json.dumps(content, indent=1))

    def _in_use(self, other: Holder) -> str:
        return (
            f"Another process trains in {self._folder}: process {other.process} on "
            f"{other.host}, since {other.since}. Stop it first, or give another folder. (If it was "
            f"lost with its machine, its lease, {self._path}, ends within two minutes.)"
        )


def _parse(content: bytes) -> Holder | None:
    """The holder that the content of a lease names; None if it names none."""
    try:
        values = json.loads(content)
        return Holder(**{field.name: values[field.name] for field in dataclasses.fields(Holder)})
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


@functools.cache
def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _start_of(process: int) -> str | None:
    """When a process of this machine began; None if there is none, or nobody has buried it yet."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            # Behind the name, which may hold anything: the state, and 19 fields on the start.
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in b"ZX" else fields[19].decode()
    except OSError:
        pass
    if os.path.exists("/proc/self/stat"):
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""
