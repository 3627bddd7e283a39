"""Remote file systems, through TensorFlow: which there are, and calls that outlast their failures.

Code that uses files and folders imports `files`, which is for local ones too. TensorFlow's file
systems, rather than a library of Python's, because the operations that read records in a graph, and
in the workers of an input service, use them as well.
"""

import contextlib
import errno
import functools
import hashlib
import os
import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from absl import logging

from keras_multigrid.machine_faults import (  # noqa: F401
    StorageError,
    is_machine_fault,
    retried,
    retry_seconds,
)

Value = TypeVar("Value")

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
# Fewer bytes than the file has, which another attempt may not meet.
_TOO_SHORT = ("OutOfRangeError", "DataLossError")
# An address, and what of it may be secret. Passwords may hold a slash, ports are numbers. What
# stands between apostrophes may hold one itself, in front of a letter.
_ADDRESS = re.compile(
    r"""(?P<scheme>\b[A-Za-z][\w+.-]*://)(?:[^\s/'"@:?#]*(?::(?!\d*/)(?:[^\s'"@]|'(?=\w))*)?@)*"""
    r"""(?P<place>(?:[^\s'"?]|'(?=\w))*)"""
    r"""(?P<query>\?(?!hidden-[\da-f]{8}(?![\w=]))(?:[^\s'"]|'(?=\w))*[^\s'":;,.)])?"""
)
# What is secret wherever it stands: an address with a blank in it is not known to go on behind it.
_SECRET = re.compile(
    r"""([?&;](?:x-(?:amz|goog)-[\w-]+|sig(?:nature)?|(?:\w+_)?token|(?:\w+_)?key|password|secret)=)"""
    r"""[^\s&'"]+""",
    re.IGNORECASE,
)
# Of the process, not of a thread.
_umask_lock = threading.Lock()


def is_remote(path: str) -> bool:
    """Whether a path names a file system of TensorFlow's, such as s3://."""
    return "://" in os.fspath(path)


def scheme(path: str) -> str:
    """The part of a remote path before `://`, such as "s3"."""
    return path.split("://")[0]


def redacted(text: str) -> str:
    """A text without the secrets of the addresses in it: for logs, lists and saved settings.

    User names and passwords go, and the query of a signed address gives way to a short digest of
    it, by which addresses can still be told apart.

    Example:

    >>> redacted("Cannot read https://me:word@host/1.mp4?X-Amz-Signature=3f2a: denied.")
    'Cannot read https://host/1.mp4?hidden-0a828c54: denied.'
    """
    return _SECRET.sub(r"\1hidden", _ADDRESS.sub(_without_secrets, text))


def _without_secrets(address: re.Match) -> str:
    query = address["query"]
    # For other file systems than web servers a question mark is part of a name.
    if query and (is_web(address["scheme"]) or re.match(r"\?[^=?]+=", query)):
        query = f"?hidden-{hashlib.sha256(query.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{address['scheme']}{address['place']}{query or ''}"


def _redact_record(record) -> bool:
    record.msg, record.args = redacted(record.getMessage()), None
    return True


# Whatever this package logs.
logging.get_absl_logger().addFilter(_redact_record)


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
            f"{redacted(path)!r}. It has: {', '.join(sorted(filter(None, schemes)))}. s3, http and "
            "others come with tensorflow-io 0.37.1, which works with TensorFlow up to 2.17: "
            "pip install -c constraints.txt '.[cpu,io]'."
        )


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
    what = redacted(f"{action} {path}")

    def answered() -> Value:
        try:
            return call(tf)
        except tf.errors.NotFoundError:
            missing = os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, missing, redacted(path)) from None
        except tf.errors.OpError as error:
            reason = redacted(_reason(error))
            is_transient = is_machine_fault(error) or type(error).__name__ in _TOO_SHORT
            if not is_transient or _NO_RANGES in error.message:
                raise StorageError(f"Cannot {what}: {reason}.") from None
            raise OSError(errno.EIO, reason) from error

    return retried(what, answered)


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


def open_to_write(tf: Any, path: str) -> Any:
    """A remote file, which appears there when it is closed.

    tensorflow-io keeps what is written to s3:// in a file in /tmp until then: for this user alone.
    """
    file = tf.io.gfile.GFile(path, "wb")
    with _umask_lock:
        before = os.umask(0o077)
        try:
            # It is made now.
            file.write(b"")
        finally:
            os.umask(before)
    return file


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
