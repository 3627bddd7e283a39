"""Remote file systems, through TensorFlow: which there are, and calls that outlast their failures.

Code that uses files and folders imports `files`, which is for local ones too. TensorFlow's file
systems, rather than a library of Python's, because the operations that read records in a graph, and
in the workers of an input service, use them as well.
"""

import contextlib
import errno
import functools
import os
import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from absl import logging

Value = TypeVar("Value")

# How long a file system that does not answer is asked again.
_VARIABLE = "KERAS_MULTIGRID_RETRY_SECONDS"
_RETRY_SECONDS = "120"
_LONGEST_WAIT = 16.0
# For the S3 client, whose own 5 minutes of silence and 10 attempts would hide an absent server.
_CLIENT = {
    "AWS_MAX_ATTEMPTS": "2",
    # In its default mode it ignores the number.
    "AWS_RETRY_MODE": "standard",
    "S3_CONNECT_TIMEOUT_MSEC": "5000",
    "S3_REQUEST_TIMEOUT_MSEC": "15000",
}
# What curl says of an answer that is larger than what was asked for.
_NO_RANGES = "Unable to perform (23)"
# Errors that another attempt may not meet; the last two mean fewer bytes than the file has.
_TRANSIENT = (
    *("UnknownError", "InternalError", "UnavailableError", "AbortedError"),
    *("DeadlineExceededError", "ResourceExhaustedError", "OutOfRangeError", "DataLossError"),
)
# Waits must not draw from the random numbers of a training.
_jitter = random.Random()


class StorageError(OSError):
    """A file cannot be read or written."""


class StorageUnavailableError(StorageError):
    """A remote file system has not answered in all the time that it was given."""


def is_remote(path: str) -> bool:
    """Whether a path names a file system of TensorFlow's, such as s3://."""
    return "://" in os.fspath(path)


def scheme(path: str) -> str:
    """The part of a remote path before `://`, such as "s3"."""
    return path.split("://")[0]


def is_web(path: str) -> bool:
    """Whether a remote path is on a web server, which has no folders."""
    return scheme(path) in ("http", "https")


def as_folder(path: str) -> str:
    """A remote path with a slash at its end."""
    return path.rstrip("/") + "/"


class UnknownSchemeError(ValueError):
    """TensorFlow has no file system for a path."""


def check_scheme(path: str) -> None:
    """Refuse a path for which TensorFlow has no file system here.

    Raises:
        UnknownSchemeError: with what to install.
    """
    if not is_remote(path):
        return
    tf = load()
    schemes = tf.io.gfile.get_registered_schemes()
    if scheme(path) not in schemes:
        raise UnknownSchemeError(
            f"TensorFlow {tf.__version__} has no file system for {scheme(path)}:// here. Received: "
            f"{path!r}. It has: {', '.join(sorted(filter(None, schemes)))}. s3, http and others "
            "come with tensorflow-io 0.37.1, which works with TensorFlow up to 2.17: "
            "pip install -c constraints.txt '.[cpu,io]'."
        )


def retry_seconds() -> float:
    """For how long to ask a file system that does not answer; an environment variable sets it.

    Raises:
        ValueError: it is not a number.
    """
    text = os.environ.get(_VARIABLE, _RETRY_SECONDS)
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"{_VARIABLE} must be a number of seconds. Received: {text!r}. Use {_RETRY_SECONDS}."
        ) from None


def ask(path: str, action: str, call: Callable[[Any], Value]) -> Value:
    """The result of `call(tensorflow)`, which is repeated while the file system does not answer.

    Args:
        path: the file or folder.
        action: what the call does with it, for errors: "read".
        call: takes the module `tensorflow`.

    Raises:
        FileNotFoundError: there is no such file.
        StorageUnavailableError: there was no answer in all of `retry_seconds()`.
        StorageError: the file system refused.
        ValueError: there is no such file system.

    Example:

    >>> ask(path, "read", lambda tf: tf.io.read_file(path).numpy())
    """
    check_scheme(path)
    tf = load()
    limit, begun, wait = retry_seconds(), time.monotonic(), 1.0
    transient = tuple(getattr(tf.errors, name) for name in _TRANSIENT)
    while True:
        try:
            return call(tf)
        except tf.errors.NotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        except tf.errors.OpError as error:
            what, seconds = f"{action} {path}: {_reason(error)}", time.monotonic() - begun
            if not isinstance(error, transient) or _NO_RANGES in error.message:
                raise StorageError(f"Cannot {what}.") from error
            if seconds >= limit:
                raise StorageUnavailableError(
                    f"Cannot {what}. Tried for {seconds:.0f} s; {_VARIABLE} sets for how long."
                ) from error
        # Many readers wait at once: they must not all come back at the same moment.
        pause = min(wait * _jitter.uniform(0.5, 1.0), limit - seconds)
        logging.warning("Cannot %s. Trying again in %.1f s, for %.0f s in all.", what, pause, limit)
        time.sleep(pause)
        wait = min(2 * wait, _LONGEST_WAIT)


def status(tf: Any, path: str) -> Any:
    """`tf.io.gfile.stat`, whose NotFoundError means that there is no such file or folder.

    tensorflow-io raises it as well where an S3 server is away, except for a bucket: so "not found"
    is believed once the server has answered about the bucket.
    """
    bucket = as_folder("/".join(path.split("/")[:3]))
    # tensorflow-io finds nothing at s3://bucket without a slash.
    path = bucket if path in bucket else path
    try:
        return tf.io.gfile.stat(path)
    except tf.errors.NotFoundError:
        if scheme(path) != "s3":
            raise
    answers = tf.errors.NotFoundError, tf.errors.PermissionDeniedError
    with contextlib.suppress(*answers, tf.errors.FailedPreconditionError):
        tf.io.gfile.stat(bucket)
    return tf.io.gfile.stat(path)


@functools.cache
def load() -> Any:
    """TensorFlow, with all the file systems that are installed."""
    for name, value in _CLIENT.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(ImportError):
        # It registers its file systems when it is imported.
        import tensorflow_io  # noqa: F401
    import tensorflow as tf

    return tf


def _reason(error: Exception) -> str:
    if _NO_RANGES in error.message:
        return "no such file, or a server that sends no ranges of files, which large ones need"
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).strip(" :.\n")
    # Web servers send whole pages. Where there is no text, the kind of error must do.
    line = text.partition("\n")[0].strip(" :.")
    if line in ("", "No response body"):
        return f"the answer is {type(error).__name__.removesuffix('Error')}"
    return line
