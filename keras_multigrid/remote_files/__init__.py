"""Remote file systems: which there are, and calls that outlast their failures.

Code that uses files and folders imports `files`, which is for local ones too.
"""

from keras_multigrid.machine_faults import StorageError, retried, retry_seconds
from keras_multigrid.remote_files.addresses import as_folder, is_remote, is_web, redacted, scheme
from keras_multigrid.remote_files.asking import (
    UnknownSchemeError,
    ask,
    check_scheme,
    file_system,
    is_of_tensorflow,
    is_read_in_graphs,
)
from keras_multigrid.remote_files.file_system import FileSystem, Listed, Status
from keras_multigrid.remote_files.tensorflow_files import with_tensorflow_io

__all__ = [
    "FileSystem",
    "Listed",
    "Status",
    "StorageError",
    "UnknownSchemeError",
    "as_folder",
    "ask",
    "check_scheme",
    "file_system",
    "is_of_tensorflow",
    "is_read_in_graphs",
    "is_remote",
    "is_web",
    "redacted",
    "retried",
    "retry_seconds",
    "scheme",
    "with_tensorflow_io",
]
