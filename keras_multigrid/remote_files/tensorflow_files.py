"""TensorFlow's own file systems, and those that tensorflow-io adds for operations in a graph."""

import functools
import re
from typing import Any

from keras_multigrid.machine_faults import is_machine_fault
from keras_multigrid.remote_files.addresses import as_folder
from keras_multigrid.remote_files.file_system import (
    Fault,
    FileSystem,
    Listed,
    Status,
    set_client_defaults,
)

# Bytes of a file that are copied at once.
_BLOCK = 1 << 24
# Fewer bytes than the file has, which another attempt may not meet.
_TOO_SHORT = ("OutOfRangeError", "DataLossError")


@functools.cache
def with_tensorflow_io() -> bool:
    """Register the file systems of tensorflow-io, for operations in graphs; whether it is there."""
    set_client_defaults()
    try:
        # It registers them when it is imported.
        import tensorflow_io  # noqa: F401
    except ImportError:
        return False
    return True


class TensorFlowFiles(FileSystem):
    """The files of every scheme that TensorFlow knows."""

    def __init__(self):
        import tensorflow as tf

        self._tf = tf

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
        found = self._tf.io.gfile.stat(path)
        return Status(size=found.length, modified=found.mtime_nsec, is_folder=found.is_directory)

    def listed(self, folder):
        # `listdir` alone may take a server that is away for a missing folder.
        self._tf.io.gfile.stat(folder)
        names = self._tf.io.gfile.listdir(as_folder(folder))
        return [Listed(name.rstrip("/"), None) for name in names if name.strip("/")]

    def write(self, path, content):
        file = self._tf.io.gfile.GFile(path, "wb")
        file.write(content)
        # Now it appears; not where writing has failed.
        file.close()

    def upload(self, file, path):
        with open(file, "rb") as source:
            target = self._tf.io.gfile.GFile(path, "wb")
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
        is_away = is_machine_fault(error) or type(error).__name__ in _TOO_SHORT
        return Fault.AWAY if is_away else Fault.REFUSED, _reason(error)


def _reason(error: Any) -> str:
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).strip(" :.\n")
    line = text.partition("\n")[0].strip(" :.")
    return line or f"the answer is {type(error).__name__.removesuffix('Error')}"
