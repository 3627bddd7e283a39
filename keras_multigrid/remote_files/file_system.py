"""What is asked of a remote file system: one interface, which two libraries implement."""

import abc
import dataclasses
import enum
import os
from collections.abc import Sequence
from typing import NamedTuple

# Environment variables of S3 clients, for both libraries. The clients' own 5 minutes of silence and
# 10 attempts would hide an absent server.
_CLIENT = {
    "AWS_MAX_ATTEMPTS": "2",
    # In its default mode TensorFlow's client ignores the number.
    "AWS_RETRY_MODE": "standard",
    "S3_CONNECT_TIMEOUT_MSEC": "5000",
    "S3_REQUEST_TIMEOUT_MSEC": "15000",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Size and age of a file or folder.

    Args:
        size: bytes; 0 for a remote folder, and where a server does not tell.
        modified: nanoseconds from 1970 to its last change; 0 where that is not known, as on http.
        is_folder: whether it is a folder.
    """

    size: int
    modified: int
    is_folder: bool


class Listed(NamedTuple):
    """A file or folder in a folder: its name, and whether it is a folder; None: not known."""

    name: str
    is_folder: bool | None


class Fault(enum.Enum):
    """What an error of a file system means."""

    MISSING = "There is no such file or folder."
    REFUSED = "The answer is no, and would be again."
    LOCKED_OUT = "The answer is no for every file: the credentials have expired or are wrong."
    AWAY = "There is no answer, or not all of it: another attempt may get it."


class FileSystem(abc.ABC):
    """Files by their whole addresses. Each call is one attempt, and raises errors of the library's.

    `remote_files.ask` repeats calls, and raises one kind of errors whatever the library.
    """

    @abc.abstractmethod
    def read(self, path: str) -> bytes:
        """The content of a file."""

    @abc.abstractmethod
    def read_range(self, path: str, *, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, fewer where the file ends; -1: all that follow."""

    @abc.abstractmethod
    def status(self, path: str) -> Status:
        """Size and age of a file or folder."""

    @abc.abstractmethod
    def listed(self, folder: str) -> Sequence[Listed]:
        """What is in a folder, in no order."""

    @abc.abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Write a file, which appears when it is whole."""

    @abc.abstractmethod
    def upload(self, file: str, path: str) -> None:
        """Copy a local file, which need not fit in memory; it appears when it is whole."""

    @abc.abstractmethod
    def remove(self, path: str) -> None:
        """Delete a file."""

    @abc.abstractmethod
    def fault(self, error: Exception) -> tuple[Fault, str] | None:
        """What an error of the other methods means, and its reason; None: it is no answer."""


def set_client_defaults() -> None:
    """Set the environment variables of S3 clients that the user has not set."""
    for name, value in _CLIENT.items():
        os.environ.setdefault(name, value)
