"""Files and folders of a run and of its data, on a local disk or a remote file system.

A path with a scheme, such as s3://bucket/run, is on a remote file system, of fsspec's or, for gs://,
TensorFlow's; any other path is local. A remote file system that does not answer is
asked again (`remote_files.ask`).

Where a function's docstring says nothing else, it raises FileNotFoundError if there is no such file
or folder, StorageUnavailableError if a remote file system does not answer, another StorageError if
it refuses, the OSError of a local disk, and ValueError if there is no file system for the scheme.
"""

import contextlib
import dataclasses
import io
import os
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from keras_multigrid import remote_files
from keras_multigrid.machine_faults import (  # noqa: F401
    RETRY_VARIABLE,
    StorageError,
    StorageUnavailableError,
    is_machine_fault,
    retried,
    retry_seconds,
)
from keras_multigrid.remote_files import (  # noqa: F401
    Status,
    UnknownSchemeError,
    check_scheme,
    is_remote,
    redacted,
)
from keras_multigrid.temporary_files import temporary_folder


def expanded(path: str | None) -> str | None:
    """A path of the user's, in which `~` is his home; as text. None stays None.

    Example:

    >>> expanded("~/runs/first")
    '/home/me/runs/first'
    """
    return None if path is None else os.path.expanduser(os.fspath(path))


# ---- Reading -------------------------------------------------------------------------------------


def read(path: str) -> bytes | None:
    """The content of a file; None if there is none.

    Raises:
        StorageError: if it cannot be read.

    Example:

    >>> read("s3://bucket/run/report.json")
    """
    with storage_errors(path, "read"):
        try:
            with open_file(path) as file:
                return file.read()
        except FileNotFoundError:
            return None


def open_file(path: str) -> BinaryIO:
    """A file opened for reading; a remote one is read into memory first."""
    if not is_remote(path):
        return open(path, "rb")
    return io.BytesIO(remote_files.ask(path, "read", lambda system: system.read(path)))


def read_range(path: str, *, offset: int, length: int) -> bytes:
    """`length` bytes of a file from `offset` on, or fewer where the file ends.

    Example, the first bytes of a file:

    >>> read_range("s3://bucket/videos/1.mp4", offset=0, length=12)
    """

    def call(system):
        return system.read_range(path, offset=offset, length=length)

    if is_remote(path):
        return remote_files.ask(path, "read", call)
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A local path of the same content and name, for libraries that open files by themselves.

    Example:

    >>> with local_copy("https://host/model.keras") as file:
    ...     model = keras.models.load_model(file)
    """
    with open_file(path) as content, contextlib.ExitStack() as stack:
        if is_remote(path):
            folder = stack.enter_context(temporary_folder())
            path = os.path.join(folder, os.path.basename(path))
            write(path, content.read())
        yield path


# ---- Looking -------------------------------------------------------------------------------------


def status(path: str) -> Status:
    """Size and age of a file or folder."""
    if not is_remote(path):
        found = os.stat(path)
        is_folder = stat.S_ISDIR(found.st_mode)
        return Status(size=found.st_size, modified=found.st_mtime_ns, is_folder=is_folder)
    return remote_files.ask(path, "look at", lambda system: system.status(path))


def exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    return os.path.exists(path) if not is_remote(path) else _remote_status(path) is not None


def is_file(path: str) -> bool:
    """Whether there is such a file."""
    if not is_remote(path):
        return os.path.isfile(path)
    found = _remote_status(path)
    return found is not None and not found.is_folder


def is_folder(path: str) -> bool:
    """Whether there is such a folder; on http, which has none, never."""
    if not is_remote(path):
        return os.path.isdir(path)
    found = None if remote_files.is_web(path) else _remote_status(path)
    return found is not None and found.is_folder


def _remote_status(path: str) -> Status | None:
    try:
        return status(path)
    except FileNotFoundError:
        return None


def list_folder(path: str) -> list[str]:
    """Names of the files and folders in a folder, in no order; on http always a StorageError.

    Example:

    >>> list_folder("s3://bucket/frames/46GP8")
    ['46GP8-000001.jpg', '46GP8-000002.jpg']
    """
    return [name for name, _ in _listed(path)] if is_remote(path) else os.listdir(path)


def _listed(folder: str) -> Sequence[remote_files.Listed]:
    check_scheme(folder)
    if remote_files.is_web(folder):
        raise StorageError(
            f"Cannot list {redacted(folder)}: {remote_files.scheme(folder)}:// has no folders. "
            "Name each file in a list, or use a file system that has folders, such as s3://."
        )
    return remote_files.ask(folder, "list", lambda system: system.listed(folder))


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a remote folder, with those parts of `os.DirEntry` that are used."""

    name: str
    path: str
    # None: to be asked.
    is_folder: bool | None

    def is_dir(self) -> bool:
        return is_folder(self.path) if self.is_folder is None else self.is_folder

    def is_file(self) -> bool:
        return is_file(self.path) if self.is_folder is None else not self.is_folder


def scan_folder(path: str) -> Iterator[Entry | os.DirEntry]:
    """The files and folders in a folder, in no order; errors as in `list_folder`.

    Example:

    >>> sorted(entry.name for entry in scan_folder("s3://bucket/videos") if entry.is_dir())
    ['run', 'walk']
    """
    if is_remote(path):
        for name, is_dir in _listed(path):
            yield Entry(name, remote_files.as_folder(path) + name, is_dir)
        return
    # Unlike `list_folder`, it gets the kind of each entry without a further call.
    with os.scandir(path) as entries:
        yield from entries


def holds(folder: str, prefix: str) -> bool:
    """Whether a folder, if there is one, has a file whose name begins so."""
    try:
        return any(name.startswith(prefix) for name in list_folder(folder))
    except FileNotFoundError:
        return False


# ---- Writing -------------------------------------------------------------------------------------


@contextlib.contextmanager
def appearing(path: str, unfinished: str | None = None) -> Iterator[str]:
    """A local file to write, which then appears at `path`: whole, or not at all.

    Args:
        path: where it appears.
        unfinished: its local name until then; by default, which needs a local `path`, the same name
            and ".unfinished". A rename must be able to move it to a local `path`.

    Raises:
        StorageError: if it cannot be written. The file that was at `path` before is still there.
    """
    unfinished = f"{path}.unfinished" if unfinished is None else unfinished
    with storage_errors(path, "write"):
        os.makedirs(os.path.dirname(unfinished) or ".", exist_ok=True)
        try:
            yield unfinished
            if is_remote(path):
                upload(unfinished, path)
            else:
                with open(unfinished, "rb+") as file:
                    # Before the renaming: a machine may lose its power, too.
                    os.fsync(file.fileno())
                os.replace(unfinished, path)
        finally:
            with contextlib.suppress(OSError):
                os.remove(unfinished)


def write(path: str, content: bytes | str) -> None:
    """Write a file whole, or leave the one before it.

    Raises:
        StorageError: if it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    if not is_remote(path):
        with appearing(path) as unfinished, open(unfinished, "wb") as file:
            file.write(content)
        return
    with storage_errors(path, "write"):
        remote_files.ask(path, "write", lambda system: system.write(path, content))


def upload(file: str, path: str) -> None:
    """Copy a local file to a remote path block by block, without loading it whole.

    Raises:
        StorageError: if it cannot be written.
    """
    with storage_errors(path, "write"):
        remote_files.ask(path, "write", lambda system: system.upload(file, path))


def remove(path: str) -> None:
    """Delete a file, if it is there and can be deleted."""
    with contextlib.suppress(OSError):
        if is_remote(path):
            remote_files.ask(path, "delete", lambda system: system.remove(path))
        else:
            os.remove(path)


@contextlib.contextmanager
def storage_errors(path: str, action: str) -> Iterator[None]:
    """Raise every OSError as a StorageError that names the path."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(redacted(f"Cannot {action} {path}: {reason}.")) from error
