"""Faults of the machine: which errors they are, and trying again until they are over.

A full table of open files or a network disk that stumbles says nothing about a video. If its clip
were replaced, what is trained would depend on the machine. So such a call is repeated, and at last
the run ends; only the content of a file, or that there is none, replaces a clip.
"""

import errno
import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from absl import logging

Value = TypeVar("Value")

# How long a call that meets such a fault is repeated.
RETRY_VARIABLE = "KERAS_MULTIGRID_RETRY_SECONDS"
_RETRY_SECONDS = "120"
_LONGEST_WAIT = 16.0
# Waits must not draw from the random numbers of a training.
_jitter = random.Random()

# By name, as not every system has all of them.
_NAMES = (
    # Out of files, memory or patience.
    *("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN", "EINTR", "EBUSY", "ENOLCK"),
    # Disks, and the servers of network disks.
    *(
        "EIO",
        "ESTALE",
        "ETIMEDOUT",
        "EREMOTEIO",
        "EREMCHG",
        "ENOLINK",
        "ECOMM",
        "EPROTO",
        "EUCLEAN",
    ),
    *("ENOMEDIUM", "ENOTCONN", "ESHUTDOWN", "ENONET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN"),
    *("ENETUNREACH", "ENETRESET", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED"),
    # The tickets of network disks.
    *("ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED"),
)
_ERRNOS = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
# The errors of TensorFlow that stand for these, by name: it may not be installed.
_TENSORFLOW = (
    *("UnknownError", "InternalError", "UnavailableError", "AbortedError"),
    *("DeadlineExceededError", "ResourceExhaustedError"),
)


class StorageError(OSError):
    """A file cannot be read or written."""


class StorageUnavailableError(StorageError):
    """A disk, a remote file system or the machine has failed in all the time that it was given."""


def is_machine_fault(error: BaseException) -> bool:
    """Whether an error is a fault of the machine, its disks or a server, not of what a file holds.

    That a file is not there, is no file or may not be read counts as the file's. FFmpeg's EIO and
    ENOMEM may be either: `data.videos.decode` asks the disk.

    Example:

    >>> is_machine_fault(OSError(errno.EMFILE, "Too many open files", "video.mp4"))
    True
    >>> is_machine_fault(FileNotFoundError(errno.ENOENT, "No such file", "video.mp4"))
    False
    """
    if isinstance(error, (StorageUnavailableError, MemoryError)):
        return True
    if isinstance(error, StorageError):
        return error.__cause__ is not None and is_machine_fault(error.__cause__)
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    return type(error).__name__ in _TENSORFLOW


def retry_seconds() -> float:
    """For how long to repeat a call that a fault of the machine ends; an environment variable.

    Raises:
        ValueError: it is not a number.
    """
    text = os.environ.get(RETRY_VARIABLE, _RETRY_SECONDS)
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"{RETRY_VARIABLE} must be a number of seconds. Received: {text!r}. "
            f"Use {_RETRY_SECONDS}."
        ) from None


def retried(action: str, call: Callable[[], Value]) -> Value:
    """The result of `call()`, which is repeated while faults of the machine end it.

    Args:
        action: what the call does, for errors: "read video.mp4".
        call: takes no argument.

    Raises:
        StorageUnavailableError: the fault has lasted for `retry_seconds()`. Other errors: those of
            the call.

    Example:

    >>> retried("read video.mp4", lambda: read_video(record))
    """
    limit, begun, wait = retry_seconds(), time.monotonic(), 1.0
    while True:
        try:
            return call()
        except StorageUnavailableError:
            # Repeated already.
            raise
        except Exception as error:
            if not is_machine_fault(error):
                raise
            what, waited = f"{action}: {_reason(error, action)}", time.monotonic() - begun
            if waited >= limit:
                raise StorageUnavailableError(
                    f"Cannot {what}. Tried for {waited:.0f} s; {RETRY_VARIABLE} sets for how long. "
                    "It is a fault of the machine, a disk or a server, not of a file: mend it and "
                    "run the same command again."
                ) from error
        # Many readers wait at once: they must not all come back at the same moment.
        pause = min(wait * _jitter.uniform(0.5, 1.0), limit - waited)
        logging.warning("Cannot %s. Trying again in %.1f s, for %.0f s in all.", what, pause, limit)
        time.sleep(pause)
        wait = min(2 * wait, _LONGEST_WAIT)


def _reason(error: Exception, action: str) -> str:
    text = (getattr(error, "strerror", None) or str(error)).strip(" .") or type(error).__name__
    # Of a video in several files, the one that is meant.
    path = getattr(error, "filename", None)
    is_told = path is None or str(path).removeprefix("file:") in action
    return text if is_told else f"{text} ({path})"
