"""Folders for temporary files, which no other user can read or guess.

A process that is killed leaves its own behind. It holds a lock on it while it lives, so that the
next one can tell and removes it.
"""

import atexit
import contextlib
import fcntl
import functools
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

_PREFIX = "keras_multigrid-"
# Seconds that a new folder may be without its lock.
_NEW = 60.0


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder that is removed at the end."""
    folder = tempfile.mkdtemp(dir=private_folder())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def private_folder() -> str:
    """The folder of this process, which is removed when it ends."""
    return _private_folder(os.getpid(), tempfile.gettempdir())


@functools.cache
def _private_folder(process: int, parent: str) -> str:
    remove_left(parent)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    # Held until the process ends, however it does.
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    atexit.register(_remove, folder, process)
    return folder


def remove_left(parent: str) -> None:
    """Delete what processes of this user that were killed have left."""
    for folder in glob.glob(os.path.join(glob.escape(parent), f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            if not _is_own(folder) or time.time() - os.stat(folder).st_mtime < _NEW:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _is_own(path: str) -> bool:
    return os.lstat(path).st_uid == os.geteuid()


def _remove(folder: str, process: int) -> None:
    # Not in a process that was forked from it.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
