"""Which file system a path is on, and calls that outlast its failures."""

import errno
import functools
import os
from collections.abc import Callable
from typing import TypeVar

from keras_multigrid.machine_faults import StorageError, StorageUnavailableError, retried
from keras_multigrid.remote_files import fsspec_files
from keras_multigrid.remote_files.addresses import is_remote, redacted, scheme
from keras_multigrid.remote_files.file_system import Fault, FileSystem
from keras_multigrid.remote_files.tensorflow_files import TensorFlowFiles, with_tensorflow_io

Value = TypeVar("Value")

# TensorFlow's own file systems, where it is built with them. Not those of tensorflow-io: where an
# answer of an S3 server breaks off, it may return other bytes than the file has, without an error.
_OF_TENSORFLOW = ("file", "gs", "ram")


class UnknownSchemeError(ValueError):
    """Neither TensorFlow nor fsspec has a file system for a path."""


def is_of_tensorflow(path: str) -> bool:
    """Whether a path is local, or on one of TensorFlow's own file systems."""
    if not is_remote(path):
        return True
    return scheme(path) in _OF_TENSORFLOW and _is_registered(path)


def is_read_in_graphs(path: str) -> bool:
    """Whether operations of TensorFlow read a path, by tensorflow-io if need be.

    Only for content whose checksums are compared.
    """
    return is_of_tensorflow(path) or (with_tensorflow_io() and _is_registered(path))


def _is_registered(path: str) -> bool:
    import tensorflow as tf

    return scheme(path) in tf.io.gfile.get_registered_schemes()


def file_system(path: str) -> FileSystem:
    """TensorFlow's own file system for a remote path; where it has none, fsspec's.

    Raises:
        UnknownSchemeError: there is neither, with what to install.
    """
    if is_of_tensorflow(path):
        return _of_tensorflow()
    reason = fsspec_files.why_not(path)
    if reason is None:
        return _of_fsspec()
    raise UnknownSchemeError(
        f"There is no file system for {scheme(path)}:// here: TensorFlow has none, and fsspec "
        f"neither ({reason}). Received: {redacted(path)!r}. For s3, http and https, install this "
        "package with its extra `remote` (in a clone: pip install '.[remote]'); for other schemes, "
        "install what fsspec needs for them, too. Schemes are lower case."
    )


_of_tensorflow = functools.cache(TensorFlowFiles)
_of_fsspec = functools.cache(fsspec_files.FsspecFiles)


def check_scheme(path: str) -> None:
    """Refuse a path for which there is no file system here.

    Raises:
        UnknownSchemeError: with what to install.
    """
    if is_remote(path):
        file_system(path)


def ask(path: str, action: str, call: Callable[[FileSystem], Value]) -> Value:
    """The result of `call(file_system)`, which is repeated while there is no answer.

    Args:
        path: the file or folder.
        action: what the call does with it, for errors: "read".
        call: takes the file system.

    Raises:
        FileNotFoundError: there is no such file.
        StorageUnavailableError: there was no answer in all of `retry_seconds()`, or the credentials
            were refused.
        StorageError: the file system refused.
        UnknownSchemeError: there is no such file system.

    Example:

    >>> ask(path, "read", lambda file_system: file_system.read(path))
    """
    system, what = file_system(path), redacted(f"{action} {path}")

    def answered() -> Value:
        try:
            return call(system)
        except Exception as error:
            found = system.fault(error)
            if found is None:
                raise
            fault, reason = found[0], redacted(found[1])
            if fault is Fault.AWAY:
                raise OSError(errno.EIO, reason) from error
        if fault is Fault.LOCKED_OUT:
            # No fault of the file, so that none is taken for a bad video.
            raise StorageUnavailableError(
                f"Cannot {what}: {reason}. The credentials are refused, not the file: renew them "
                "and run the same command again."
            )
        if fault is Fault.MISSING:
            reason = reason or os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, reason, redacted(path))
        raise StorageError(f"Cannot {what}: {reason}.")

    return retried(what, answered)
