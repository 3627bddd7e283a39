"""Text lists, read line by line; one error names all their bad lines."""

import codecs
import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

from keras_multigrid import files

Path = str | os.PathLike[str]
Value = TypeVar("Value")

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line of a list, or an entry of a JSON file, that cannot be read.

    Args:
        file: the list.
        place: "line 3", counted from 1, or "entry 3", counted from 0.
        text: the line, or its beginning if it is long.
        reason: what is wrong with it.
    """

    file: str
    place: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.reason}. Received: {self.text!r}"


class BadLinesError(ValueError):
    """Lists with lines that cannot be read: the first ten, and how many more there are."""

    def __init__(self, bad_lines: Sequence[BadLine]):
        texts = [str(bad) for bad in bad_lines[:_SHOWN]]
        if len(bad_lines) > _SHOWN:
            texts.append(f"and {len(bad_lines) - _SHOWN:,} more")
        what = "Correct the line." if len(bad_lines) == 1 else "Correct these lines."
        super().__init__("\n".join(texts) + f". {what}")


# None: nobody collects.
_collected: ContextVar[list[BadLine] | None] = ContextVar("bad_lines", default=None)


@contextlib.contextmanager
def collect_bad_lines() -> Iterator[list[BadLine]]:
    """Let the readers that are called inside skip bad lines, and collect these.

    Example:

    >>> with collect_bad_lines() as bad_lines:
    ...     videos = path_label_lists("train.txt", validation="val.txt")
    """
    bad_lines = []
    token = _collected.set(bad_lines)
    try:
        yield bad_lines
    finally:
        _collected.reset(token)


@contextlib.contextmanager
def refuse_bad_lines() -> Iterator[None]:
    """Raise one error of all the bad lines that were read inside, unless the caller collects them.

    Raises:
        BadLinesError: at the end, if there were any.
    """
    if _collected.get() is not None:
        yield
        return
    with collect_bad_lines() as bad_lines:
        yield
    if bad_lines:
        raise BadLinesError(bad_lines)


def numbered_lines(
    file: Path,
    *,
    setting: str,
    layout: str,
    is_comment: Callable[[str], bool] = lambda line: False,
) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank and no comment.

    Args:
        file, setting, layout: same as for `open_text`, as are the errors.
        is_comment: asked about lines that begin with "#", as some paths do.
    """
    with open_text(file, setting=setting, kind="text file", layout=layout) as lines:
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if line and not (line[0] == "#" and is_comment(line)):
                yield number, line


def open_text(file: Path, *, setting: str, kind: str, layout: str) -> TextIO:
    """A text file opened for reading, wherever it is.

    Raises:
        FileNotFoundError: there is no such file; the error names the setting and the layout.
    """
    try:
        content = files.open_file(os.fspath(file))
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(
            f"`{setting}` must be a {kind}. Received: '{file}', which is not a file. "
            f"Set `{setting}` to where it is. {layout}"
        ) from None
    # A pipe cannot be read again.
    beginning = content.read(2) if content.seekable() else b""
    if beginning:
        content.seek(0)
    # File names may be any bytes: surrogates carry them through to the file system.
    return io.TextIOWrapper(content, encoding=encoding(beginning), errors="surrogateescape")


def encoding(beginning: bytes) -> str:
    """The encoding of a text by its first two bytes: PowerShell and Excel write UTF-16."""
    return "utf-16" if beginning in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def parsed(
    file: Path,
    lines: Iterable[tuple[int, Any]],
    parse: Callable[[Any], Value],
    *,
    kind: str = "line",
) -> Iterator[Value]:
    """What `parse` makes of each line, inside `refuse_bad_lines`.

    Lines for which it raises a `ValueError` are bad lines.
    """
    for number, line in lines:
        try:
            if "\0" in line:
                raise ValueError("no path holds a NUL byte")
            value = parse(line)
        except ValueError as error:
            add_bad_line(bad_line(file, number, line, error, kind=kind))
        else:
            yield value


def add_bad_line(bad: BadLine) -> None:
    """Add to the bad lines, inside `refuse_bad_lines`."""
    _collected.get().append(bad)


def bad_line(
    file: Path, number: int, line: object, reason: object, *, kind: str = "line"
) -> BadLine:
    """The bad line at this number."""
    return BadLine(
        file=os.fspath(file), place=f"{kind} {number}", text=str(line)[:200], reason=str(reason)
    )
