"""TensorFlow's file systems, with those that tensorflow-io adds to TensorFlow up to 2.17.

The operations that read records in a graph, and the workers of an input service, use them as well.
"""

import contextlib
import functools
import os
import re
import threading
from typing import Any

from keras_multigrid.machine_faults import is_machine_fault
from keras_multigrid.remote_files.addresses import as_folder, scheme
from keras_multigrid.remote_files.file_system import (
    Fault,
    FileSystem,
    Listed,
    Status,
    set_client_defaults,
)

# Bytes of a file that are copied at once.
_BLOCK = 1 << 24
# What curl says of an answer that is larger than what was asked for.
_NO_RANGES = "Unable to perform (23)"
# Fewer bytes than the file has, which another attempt may not meet.
_TOO_SHORT = ("OutOfRangeError", "DataLossError")
# Of the process, not of a thread.
_umask_lock = threading.Lock()


@functools.cache
def load() -> Any:
    """TensorFlow, with all the file systems that are installed."""
    set_client_defaults()
    with contextlib.suppress(ImportError):
        # It registers its file systems when it is imported.
        import tensorflow_io  # noqa: F401
    import tensorflow as tf

    return tf


class TensorFlowFiles(FileSystem):
    """The files of every scheme that TensorFlow knows."""

    def __init__(self):
        self._tf = load()

    def read(self, path):
        return self._tf.io.read_file(path).numpy()

    def read_range(self, path, *, offset, length):
        with self._tf.io.gfile.GFile(path, "rb") as file:
            try:
                file.seek(offset)
                return file.read(length)
            except self._tf.errors.OutOfRangeError:
                return b""

    def status(self, path):
        found = self._found(path)
        return Status(size=found.length, modified=found.mtime_nsec, is_folder=found.is_directory)

    def listed(self, folder):
        # `listdir` alone takes a server that is away for a missing folder.
        self._found(folder)
        names = self._tf.io.gfile.listdir(as_folder(folder))
        return [Listed(name.rstrip("/"), None) for name in names if name.strip("/")]

    def write(self, path, content):
        file = self._open_to_write(path)
        file.write(content)
        # Now it appears; not where writing has failed.
        file.close()

    def upload(self, file, path):
        with open(file, "rb") as source:
            target = self._open_to_write(path)
            while block := source.read(_BLOCK):
                target.write(block)
            target.close()

    def remove(self, path):
        self._tf.io.gfile.remove(path)

    def fault(self, error):
        if isinstance(error, self._tf.errors.NotFoundError):
            return Fault.MISSING, ""
        if not isinstance(error, self._tf.errors.OpError):
            return None
        is_transient = is_machine_fault(error) or type(error).__name__ in _TOO_SHORT
        is_away = is_transient and _NO_RANGES not in error.message
        return Fault.AWAY if is_away else Fault.REFUSED, _reason(error)

    def _found(self, path: str) -> Any:
        """`tf.io.gfile.stat`, whose NotFoundError means that there is no such file or folder.

        tensorflow-io raises it as well where an S3 server is away, except for a bucket: so "not
        found" is believed once the server has answered about the bucket.
        """
        stat, errors = self._tf.io.gfile.stat, self._tf.errors
        bucket = as_folder("/".join(path.split("/")[:3]))
        # tensorflow-io finds nothing at s3://bucket without a slash.
        path = bucket if path in bucket else path
        try:
            return stat(path)
        except errors.NotFoundError:
            if scheme(path) != "s3":
                raise
        answers = errors.NotFoundError, errors.PermissionDeniedError, errors.FailedPreconditionError
        with contextlib.suppress(*answers):
            stat(bucket)
        return stat(path)

    def _open_to_write(self, path: str) -> Any:
        """A remote file, which appears there when it is closed.

        tensorflow-io keeps what is written to s3:// in a file in /tmp until then: for this user
        alone.
        """
        file = self._tf.io.gfile.GFile(path, "wb")
        with _umask_lock:
            before = os.umask(0o077)
            try:
                # It is made now.
                file.write(b"")
            finally:
                os.umask(before)
        return file


def _reason(error: Any) -> str:
    if _NO_RANGES in error.message:
        return "no such file, or a server that sends no ranges of files, which large ones need"
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).strip(" :.\n")
    # Web servers send whole pages. Where there is no text, the kind of error must do.
    line = text.partition("\n")[0].strip(" :.")
    if line in ("", "No response body"):
        return f"the answer is {type(error).__name__.removesuffix('Error')}"
    return line
