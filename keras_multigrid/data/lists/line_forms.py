"""The forms in which tools write a video and its label as a line of text."""

import csv
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from keras_multigrid.data.videos.video import VIDEO_SUFFIXES

# Names of the columns in the first line of a list.
_COLUMNS = {
    "path": ("path", "video", "video_path", "file", "file_path", "filename", "file_name", "name"),
    "label": (
        "label",
        "labels",
        "class",
        "class_id",
        "label_id",
        "class_name",
        "category",
        "target",
    ),
    "frames": ("frames", "num_frames", "total_frames"),
    "start": ("start", "start_frame", "start_time", "start_seconds", "t_start", "time_start"),
    "end": ("end", "end_frame", "end_time", "end_seconds", "t_end", "time_end"),
}
# Names of columns that hold paths.
PATH_COLUMNS = _COLUMNS["path"]
_COLUMN_OF = {name: column for column, names in _COLUMNS.items() for name in names}
# The number of a class, of frames, or a time.
NUMBER = re.compile(r"\d+(\.\d+)?")
_NUMBERS_BEHIND = re.compile(r"(.*?)([\s,]+\d+(\.\d+)?)+", re.DOTALL)
_QUOTED = re.compile(r"""(["'])(.+)\1\s*[,\s]\s*(.+)""", re.DOTALL)
# Lines of a list for which the disk is asked what they mean.
_MOST_ASKED = 20


class Entry(NamedTuple):
    """What a line says.

    Args:
        path: of the video, as it stands in the line.
        labels: numbers or names of classes.
        span: where the labelled part begins and ends; None: the label is for the whole video.
        form: the line's form, such as "path frames label".
    """

    path: str
    labels: Sequence[str]
    span: tuple[str, str] | None
    form: str


class LineForms:
    """Reads lines of any form that says plainly what it means.

        walk/eli walk.avi 7           path label
        "walk/eli walk.avi", 7        in quotes or not, with a comma or a blank
        walk/eli 120 7                path frames label; the number of frames is not used
        match.mp4,12.5,20.0,7         path start end label
        walk/eli.avi 7,3              path labels, with `several_labels`

    A line of two meanings, as the third one if there may be a folder "eli 120", is read as the one
    whose path is there, and so are the lines behind it.

    Args:
        is_label: whether a text is the number or the name of a class.
        why_no_label: takes a text that is none, returns what is wrong with it.
        is_there: whether a path, as it stands in a line, is that of a file or folder.
        several_labels: whether a line may have several labels.
        has_spans: whether every line has a start and an end.
    """

    def __init__(
        self,
        *,
        is_label: Callable[[str], bool],
        why_no_label: Callable[[str], str],
        is_there: Callable[[str], bool],
        several_labels: bool = False,
        has_spans: bool = False,
    ):
        self._is_label, self._why_no_label, self._is_there = is_label, why_no_label, is_there
        self._several_labels, self._has_spans = several_labels, has_spans
        self._columns: list[str | None] | None = None
        self._chosen_form: str | None = None
        self._num_asked = 0
        # All forms but `path label` that lines were found to have.
        self.forms: set[str] = set()

    def begin(self, line: str) -> bool:
        """Whether the first line of a list names its columns, which hold for the lines behind."""
        self._columns, self._chosen_form, self._num_asked = None, None, 0
        try:
            names = fields_of(line) if "," in line else line.split()
        except ValueError:
            return False
        if label_column(names) is None or self._is_label(names[-1]):
            return False
        if "," in line:
            self._columns = _columns_in(names)
        return True

    def is_comment(self, line: str) -> bool:
        """Whether a line that begins with "#" names no video."""
        return not any(self._is_there(entry.path) for entry in self._meanings(line))

    def read(self, line: str) -> Entry:
        """What a line says.

        Raises:
            ValueError: it has no meaning, or several and the disk does not tell which.
        """
        if self._columns is not None:
            return self._by_columns(line)
        path, *label = line.rsplit(maxsplit=1)
        is_plain = label and self._is_label(label[0]) and not self._is_doubtful(path)
        if is_plain and not self._has_spans:
            return Entry(path, label, None, "path label")
        entry = self._quoted(line) or self._chosen(line, self._meanings(line))
        if entry.form != "path label":
            self.forms.add(entry.form)
        return entry

    def _by_columns(self, line: str) -> Entry:
        fields = fields_of(line)
        if len(fields) != len(self._columns):
            raise ValueError(f"expected {len(self._columns)} fields, found {len(fields)}")
        row = dict(zip(self._columns, fields, strict=True))
        labels, span = self._labels_in(row["label"]), None
        if self._several_labels and not row["label"]:
            labels = []
        if ("start" in row) != ("end" in row):
            raise ValueError("a part of a video needs columns of both its start and its end")
        if "start" in row:
            span = row["start"], row["end"]
            self.forms.add("path start end label")
        is_right = self._several_labels or len(labels) == 1
        if not row["path"] or not is_right or not all(map(self._is_label, labels)):
            raise ValueError(self._reason(row["path"], row["label"]))
        if (span is None and self._has_spans) or (span is not None and not _is_span(*span)):
            raise ValueError("it needs a start, and an end that lies behind it")
        return Entry(row["path"], labels, span, "columns")

    def _labels_in(self, field: str) -> list[str]:
        """The labels in one field: 7,3"""
        if self._is_label(field) or not self._several_labels:
            return [field]
        return [part for part in re.split(r"[,;\s]+", field) if part]

    def _quoted(self, line: str) -> Entry | None:
        """The meaning of a line with its path in quotes, which end it for certain."""
        found = _QUOTED.fullmatch(line)
        if found is None:
            return None
        path, rest = found[2].replace('""', '"'), found[3].strip("\"'")
        tails = self._labels_in(rest), re.split(r"[,\s]+", rest)
        entries = [self._entry(path, tail) for tail in tails]
        return entries[0] or entries[1]

    def _meanings(self, line: str) -> list[Entry]:
        """Every way in which a line without quotes can be read, shortest end first."""
        entries = []
        for separator in (None, ","):
            parts = [part.strip() for part in line.split(separator)]
            for count in range(1, len(parts)):
                tail = parts[-count:]
                if count == 1:
                    tail = self._labels_in(tail[0])
                elif not all(map(self._is_value, tail)):
                    break
                path = line.rsplit(separator, count)[0].rstrip()
                entry = self._entry(path, tail)
                if entry is not None and path[-1] != ",":
                    entries.append(entry)
        return entries

    def _is_value(self, text: str) -> bool:
        return NUMBER.fullmatch(text) is not None or self._is_label(text)

    def _entry(self, path: str, tail: Sequence[str]) -> Entry | None:
        """The meaning of a path with these values behind it, if they have one."""
        span, labels, form = None, tail, "path label" if len(tail) == 1 else "path labels"
        if self._has_spans or (len(tail) == 3 and not self._several_labels):
            span, labels, form = tuple(tail[:2]), tail[2:], "path start end label"
        elif len(tail) == 2 and not self._several_labels:
            if not tail[0].isdecimal() or not tail[0].strip("0"):
                return None
            labels, form = tail[1:], "path frames label"
        is_right = len(labels) == 1 or (self._several_labels and labels)
        if not path or not is_right or not all(map(self._is_label, labels)):
            return None
        if span is not None and not _is_span(*span):
            return None
        return Entry(path, labels, span, form)

    def _chosen(self, line: str, entries: list[Entry]) -> Entry:
        """The meaning of a line that is plain, or that the disk tells."""
        # No file is called "a.mp4 120".
        entries = [entry for entry in entries if not _is_name_and_numbers(entry.path)]
        plain = [entry for entry in entries if not self._is_doubtful(entry.path)]
        by_name = [entry for entry in plain if entry.path.lower().endswith(VIDEO_SUFFIXES)]
        for found in (by_name, plain if len(entries) == 1 else []):
            if len(found) == 1:
                return found[0]
        for entry in reversed(entries):
            if entry.form == self._chosen_form:
                return entry
        if entries and self._num_asked < _MOST_ASKED:
            self._num_asked += 1
            there = [entry for entry in entries if self._is_there(entry.path)]
            if len(there) == 1:
                self._chosen_form = there[0].form
                return there[0]
        if not entries:
            raise ValueError(self._reason(*[*line.rsplit(maxsplit=1), ""][:2]))
        meanings = " or ".join(f"`{entry.form}` of the video '{entry.path}'" for entry in entries)
        raise ValueError(
            f"it can be read as {meanings}, and the disk does not tell which: put the path in "
            "quotes, or correct `root`"
        )

    def _is_doubtful(self, path: str) -> bool:
        """Whether a path may hold more than a path: a comma, a quote, a number, a label."""
        if path[-1] == "," or path[0] in "\"'":
            return True
        if not path[-1].isdigit() and not self._several_labels:
            return False
        parts = path.replace(",", " ").split()
        return len(parts) > 1 and self._is_value(parts[-1])

    def _reason(self, path: str, label: str) -> str:
        """What is wrong with a line that has no meaning."""
        if not label:
            ways = "a path, a space or comma, and a label"
            if "," in path:
                ways += ", or `path,start,end,label` with an end that lies behind the start"
            return f"it must be {ways}"
        if not path.strip(",\"' "):
            return "it needs a path"
        if self._has_spans:
            return "it must be `path,start,end,label`, with an end that lies behind the start"
        values = [part for part in re.split(r"[,;]", label) if part]
        if len(values) > 1 and all(map(self._is_label, values)):
            return "it has several labels: set multi_label=True, or give one of them"
        if self._is_label(label) and self._is_doubtful(path):
            return (
                "it is neither `path label` nor `path frames label` nor `path start end label`; "
                "for several labels set multi_label=True"
            )
        return self._why_no_label(label)


def label_column(names: Sequence[str]) -> int | None:
    """The place of the labels among the names of columns; None if these are none."""
    columns = _columns_in(names)
    known = [column for column in columns if column is not None]
    if len(set(known)) < len(known) or not {"path", "label"} <= set(known):
        return None
    return columns.index("label")


def _columns_in(names: Sequence[str]) -> list[str | None]:
    return [_COLUMN_OF.get(name.lower()) for name in names]


def fields_of(line: str, delimiter: str = ",") -> list[str]:
    """The fields between commas or another delimiter, some of them perhaps in quotes.

    Raises:
        ValueError: its quotes are wrong.
    """
    # Between blanks, quotes are part of a name.
    form = {"delimiter": delimiter, "strict": delimiter != " ", "skipinitialspace": True}
    try:
        fields = next(csv.reader([line], **form), [""])
    except csv.Error as error:
        raise ValueError(f"its quotes are wrong: {error}") from None
    return [field.strip() for field in fields]


def _is_name_and_numbers(path: str) -> bool:
    found = _NUMBERS_BEHIND.fullmatch(path)
    return found is not None and found[1].lower().endswith(VIDEO_SUFFIXES)


def _is_span(start: str = "", end: str = "") -> bool:
    try:
        return 0 <= float(start) < float(end) < math.inf
    except ValueError:
        return False
