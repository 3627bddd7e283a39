"""Files and folders of a run and of its data, on a local disk or a remote file system.

A path with a scheme, such as s3://bucket/run, names a file system of TensorFlow's; any other one is
local. Callers need not ask which. A remote file system that does not answer is waited for.
"""

import contextlib
import dataclasses
import io
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol

from keras_multigrid import remote_files
from keras_multigrid.remote_files import (
    StorageError,
    StorageUnavailableError,
    check_scheme,
    is_remote,
    retry_seconds,
)

__all__ = [
    "StorageError",
    "StorageUnavailableError",
    "check_scheme",
    "is_remote",
    "retry_seconds",
]

_BLOCK = 1 << 24


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a file system knows of a file or folder.

    Args:
        size: bytes; 0 of a remote folder.
        modified: nanoseconds since 1970 at its last change; 0 where that is not known, as on http.
        is_folder: whether it is a folder.
    """

    size: int
    modified: int
    is_folder: bool


# ---- Reading -------------------------------------------------------------------------------------


def read(path: str) -> bytes | None:
    """The content of a file; None if there is none.

    Raises:
        StorageError: if it cannot be read, as where a remote file system does not answer.

    Example:

    >>> read("s3://bucket/run/report.json")
    """
    with _told(path, "read"):
        try:
            with open_file(path) as file:
                return file.read()
        except FileNotFoundError:
            return None


def open_file(path: str) -> BinaryIO:
    """A file opened for reading; a remote one is read into memory first.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it cannot be read; of remote files a StorageError.
    """
    if not is_remote(path):
        return open(path, "rb")
    return io.BytesIO(remote_files.ask(path, "read", lambda tf: tf.io.read_file(path).numpy()))


def read_range(path: str, *, offset: int, length: int) -> bytes:
    """Bytes of a file from `offset` on: `length` of them, or fewer where the file ends.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read; of remote files a StorageError.

    Example, the first bytes of a file:

    >>> read_range("s3://bucket/videos/1.mp4", offset=0, length=12)
    """

    def call(tf):
        with tf.io.gfile.GFile(path, "rb") as file:
            try:
                file.seek(offset)
                return file.read(length)
            except tf.errors.OutOfRangeError:
                return b""

    if is_remote(path):
        return remote_files.ask(path, "read", call)
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A local path of the same content and name, for libraries that open files by themselves.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if it cannot be read; of remote files a StorageError.

    Example:

    >>> with local_copy("https://host/model.keras") as file:
    ...     model = keras.models.load_model(file)
    """
    if not is_remote(path):
        with open(path, "rb"):
            yield path
        return
    with open_file(path) as content, tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(path))
        write(copy, content.read())
        yield copy


# ---- Looking -------------------------------------------------------------------------------------


def status(path: str) -> Status:
    """Size and time of change. On http, which has no call for it, the whole file is fetched.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        OSError: if it cannot be looked at; of remote ones a StorageError.
    """
    if not is_remote(path):
        found = os.stat(path)
        return Status(
            size=found.st_size,
            modified=found.st_mtime_ns,
            is_folder=stat.S_ISDIR(found.st_mode),
        )
    found = remote_files.ask(path, "look at", lambda tf: remote_files.status(tf, path))
    return Status(size=found.length, modified=found.mtime_nsec, is_folder=found.is_directory)


def exists(path: str) -> bool:
    """Whether there is such a file or folder.

    Raises:
        StorageError: if a remote file system does not answer.
    """
    return os.path.exists(path) if not is_remote(path) else _status_or_none(path) is not None


def is_file(path: str) -> bool:
    """Whether there is such a file.

    Raises:
        StorageError: if a remote file system does not answer.
    """
    if not is_remote(path):
        return os.path.isfile(path)
    found = _status_or_none(path)
    return found is not None and not found.is_folder


def is_folder(path: str) -> bool:
    """Whether there is such a folder; on http, which has none, never.

    Raises:
        StorageError: if a remote file system does not answer.
    """
    if not is_remote(path):
        return os.path.isdir(path)
    if remote_files.is_web(path):
        return False
    found = _status_or_none(path)
    return found is not None and found.is_folder


def _status_or_none(path: str) -> Status | None:
    try:
        return status(path)
    except FileNotFoundError:
        return None


def list_folder(path: str) -> list[str]:
    """Names of the files and folders in a folder, in no order.

    Raises:
        FileNotFoundError: if there is no such folder.
        OSError: if it cannot be listed; of remote ones, and on http always, a StorageError.

    Example:

    >>> list_folder("s3://bucket/frames/46GP8")
    ['46GP8-000001.jpg', '46GP8-000002.jpg']
    """
    if not is_remote(path):
        return os.listdir(path)
    check_scheme(path)
    if remote_files.is_web(path):
        raise StorageError(
            f"Cannot list {path}: {remote_files.scheme(path)}:// has no folders. Name each file "
            "in a list, or use a file system that has folders, such as s3://."
        )

    def call(tf):
        # `listdir` alone takes a server that is away for a folder that is missing.
        remote_files.status(tf, path)
        return tf.io.gfile.listdir(remote_files.as_folder(path))

    return [name.rstrip("/") for name in remote_files.ask(path, "list", call) if name.strip("/")]


class Entry(Protocol):
    """A file or folder in a folder, as `os.DirEntry` has it; of a remote one each call asks."""

    name: str
    path: str

    def is_dir(self) -> bool: ...

    def is_file(self) -> bool: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _RemoteEntry:
    name: str
    path: str

    def is_dir(self) -> bool:
        return is_folder(self.path)

    def is_file(self) -> bool:
        return is_file(self.path)


def scan_folder(path: str) -> Iterator[Entry]:
    """The files and folders in a folder, in no order; errors as of `list_folder`.

    Example:

    >>> sorted(entry.name for entry in scan_folder("s3://bucket/videos") if entry.is_dir())
    ['run', 'walk']
    """
    if is_remote(path):
        for name in list_folder(path):
            yield _RemoteEntry(name, remote_files.as_folder(path) + name)
        return
    # Unlike `list_folder`, it knows what is a folder without asking again.
    with os.scandir(path) as entries:
        yield from entries


def holds(folder: str, prefix: str) -> bool:
    """Whether a folder has a file whose name begins so."""
    try:
        return any(name.startswith(prefix) for name in list_folder(folder))
    except FileNotFoundError:
        return False


# ---- Writing -------------------------------------------------------------------------------------


def write(path: str, content: bytes | str) -> None:
    """Write a file whole, or leave the one before it.

    A local file is written under another name and renamed; remote ones appear when they are whole.

    Raises:
        StorageError: if it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    with _told(path, "write"):
        if is_remote(path):
            remote_files.ask(path, "write", lambda tf: _write_remote(tf, path, [content]))
        else:
            _write_local(path, content)


def upload(file: str, path: str) -> None:
    """Copy a local file to a remote path block by block, without loading it whole.

    Raises:
        StorageError: if it cannot be written.
    """

    def call(tf):
        with open(file, "rb") as blocks:
            _write_remote(tf, path, iter(lambda: blocks.read(_BLOCK), b""))

    with _told(path, "write"):
        remote_files.ask(path, "write", call)


def remove(path: str) -> None:
    """Delete a file, if it is there and can be deleted."""
    with contextlib.suppress(StorageError), _told(path, "delete"):
        if is_remote(path):
            remote_files.ask(path, "delete", lambda tf: tf.io.gfile.remove(path))
        else:
            os.remove(path)


def _write_local(path: str, content: bytes) -> None:
    unfinished = f"{path}.unfinished"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            # A machine may lose its power, too.
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        raise
    os.replace(unfinished, path)


def _write_remote(tf, path: str, blocks: Iterable[bytes]) -> None:
    with tf.io.gfile.GFile(path, "wb") as file:
        for block in blocks:
            file.write(block)


@contextlib.contextmanager
def _told(path: str, action: str):
    """Errors of the system in our words, with the path."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"Cannot {action} {path}: {error.strerror or error}.") from error
