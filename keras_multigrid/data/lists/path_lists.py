"""Sets of videos from text lists with a path and a label per line."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from keras_multigrid import files
from keras_multigrid.checks import check_choice
from keras_multigrid.data.lists.line_forms import LineForms
from keras_multigrid.data.lists.lines import (
    Path,
    add_bad_line,
    bad_line,
    numbered_lines,
    parsed,
    refuse_bad_lines,
)
from keras_multigrid.data.lists.parts import (
    Listed,
    check_class_names,
    check_root,
    most_classes,
    paths_below,
    split,
    video_set,
    videos_of,
)
from keras_multigrid.data.lists.split_rules import SplitRule
from keras_multigrid.data.videos.video import Span, VideoRecord, VideoSet

_LIST_LAYOUT = """Expected: a text file with one video and its label per line:
    walk/denis_walk.avi 7
    run/eli run 2.avi 3"""


def path_label_lists(
    train: Path,
    *,
    validation: SplitRule | Path,
    root: Path = "",
    class_names: Sequence[str] | Path | None = None,
    multi_label: bool = False,
    spans: str | None = None,
) -> VideoSet:
    """Read text lists with `path label` on each line, or of a form that says as much.

        # comments and blank lines are ignored
        walk/denis_walk.avi 7
        run/eli run 2.avi 3           a path may contain spaces, a label may not
        "run/eli run 2.avi", 3        quotes, commas and a first line `path,label` may be there
        run/frames of ida 120 3       the number of frames is not used
        match.mp4,12.5,20.0,3         the label is for 12.5 to 20.0 seconds: clips lie in them
        dance.mp4 3,7                 several labels, with `multi_label`

    Args:
        train: list of the training videos.
        validation: list of the validation videos; or a split rule such as `by_fraction(0.1)`, which
            takes the paths as they stand in `train`.
        root: folder that the paths are relative to; full paths and remote ones stay as they are.
        class_names: names of the classes, or a text file with one name per line. Labels are then
            names or numbers below their count; None: labels are numbers, and so are the names.
        multi_label: a video may have any number of labels.
        spans: every line has a start and an end, in "seconds" or in "frames" counted from 0. None:
            lines may have them if they or the names of the columns tell the unit.

    Raises:
        FileNotFoundError: a list or `root` is missing.
        BadLinesError: lines are wrong.
        ValueError: a part is empty, or class names are doubled.

    Example:

    >>> videos = path_label_lists("train.txt", validation="val.txt", root="kinetics")
    """
    if spans is not None:
        check_choice("spans", spans, ("seconds", "frames"))
    if isinstance(class_names, (str, os.PathLike)):
        layout = "Expected: a text file with the name of one class per line."
        lines = numbered_lines(class_names, setting="class_names", layout=layout)
        class_names = [name for _, name in lines]
    if class_names is not None:
        check_class_names(class_names)
    check_root(root)
    lists = _Lists(root, class_names, multi_label=multi_label, unit=spans)
    with refuse_bad_lines():
        listed = [lists.read(train, setting="train")]
        if not callable(validation):
            listed.append(lists.read(validation, setting="validation"))
        listed = lists.finished(listed)
    parts = split(*listed, validation) if callable(validation) else videos_of(*listed)
    names = lists.class_names(parts) if class_names is None else tuple(class_names)
    notes = lists.notes()
    return video_set(*parts, names, multi_label=multi_label, notes=notes, layout=_LIST_LAYOUT)


class _Lists:
    """Reads the lists of one set.

    Args:
        root, class_names, multi_label: same as for `path_label_lists`.
        unit: of spans; None: not known.
    """

    def __init__(
        self,
        root: Path,
        class_names: Sequence[str] | None,
        *,
        multi_label: bool,
        unit: str | None,
    ):
        self._full_path = paths_below(root)
        self._index_of = None
        if class_names is not None:
            self._index_of = {name: index for index, name in enumerate(class_names)}
        self._multi_label, self._unit = multi_label, unit
        # Whether a start or an end has a decimal point, as seconds do.
        self._has_decimals = False
        # The first line with a span, and each list's line with its highest label.
        self._first_span: _Place | None = None
        self._highest: list[tuple[int, _Place]] = []
        self._forms = LineForms(
            is_label=self._is_label,
            why_no_label=self._why_no_label,
            is_there=lambda path: files.exists(self._full_path(path)),
            several_labels=multi_label,
            has_spans=unit is not None,
        )

    def read(self, file: Path, *, setting: str) -> Listed:
        """The videos of a list."""
        number, highest, highest_place = 0, -1, None
        settings = {"setting": setting, "layout": _LIST_LAYOUT}
        lines = numbered_lines(file, is_comment=self._forms.is_comment, **settings)

        def lines_of_videos() -> Iterator[tuple[int, str]]:
            nonlocal number
            is_first = True
            for number, line in lines:
                if is_first and self._forms.begin(line):
                    self._unit = self._unit or _unit_in(line)
                else:
                    yield number, line
                is_first = False

        def parse(line: str) -> tuple[str, VideoRecord]:
            nonlocal highest, highest_place
            path, texts, span, _ = self._forms.read(line)
            labels = tuple([self._label(text) for text in texts])
            if labels and max(labels) > highest:
                highest, highest_place = max(labels), _Place(file, number, line)
            if span is not None:
                span = self._span(span, _Place(file, number, line))
            label = tuple(sorted(set(labels))) if self._multi_label else labels[0]
            return path, VideoRecord(path=self._full_path(path), label=label, span=span)

        listed = list(parsed(file, lines_of_videos(), parse))
        self._highest.append((highest, highest_place))
        return listed

    def finished(self, lists: Sequence[Listed]) -> list[Listed]:
        """The lists, of whose lines those are bad that no other line explains."""
        if self._first_span is not None and self._unit is None:
            if self._has_decimals:
                self._unit = "seconds"
            else:
                self._first_span.refuse(
                    "its numbers may be seconds or frames: set `spans` to one of them "
                    "(for several labels set multi_label=True)"
                )
        most = most_classes(sum(map(len, lists)))
        if self._index_of is None:
            for label, place in self._highest:
                if label >= most:
                    place.refuse(
                        f"the label {label} would make {label + 1:,} classes, of "
                        f"{sum(map(len, lists)):,} lines; name the classes with `class_names` "
                        "if there are as many"
                    )
        if self._first_span is None and not any(label >= most for label, _ in self._highest):
            return lists
        return [
            [(path, known) for path, record in listed if (known := self._known(record, most))]
            for listed in lists
        ]

    def _known(self, record: VideoRecord, most: int) -> VideoRecord | None:
        """The video with the unit of its span; None if its line is bad."""
        labels = record.label if self._multi_label else (record.label,)
        if self._index_of is None and max(labels, default=0) >= most:
            return None
        if record.span is None or record.span.unit:
            return record
        return replace(record, span=replace(record.span, unit=self._unit)) if self._unit else None

    def class_names(self, parts: Sequence[Sequence[VideoRecord]]) -> tuple[str, ...]:
        """The numbers of the classes, from 0 to the highest label."""
        labels = (record.label for part in parts for record in part)
        if self._multi_label:
            labels = itertools.chain.from_iterable(labels)
        return tuple(map(str, range(max(labels, default=-1) + 1)))

    def notes(self) -> tuple[str, ...]:
        """What is to be said of the forms of the lines."""
        notes = [f"lines were read as `{form}`" for form in sorted(self._forms.forms)]
        if self._first_span is not None:
            notes.append(f"starts and ends were read as {self._unit}")
        return tuple(notes)

    def _is_label(self, text: str) -> bool:
        if self._index_of is None:
            return text.isdecimal()
        return text in self._index_of or (text.isdecimal() and int(text) < len(self._index_of))

    def _label(self, text: str) -> int:
        if self._index_of is not None and text in self._index_of:
            return self._index_of[text]
        return int(text)

    def _why_no_label(self, text: str) -> str:
        if not text.isdecimal():
            kind = "a number" if self._index_of is None else "a number or one of `class_names`"
            return f"the label '{text}' must be {kind}"
        count = len(self._index_of)
        return f"the label {text} must be below {count}, the number of classes"

    def _span(self, texts: tuple[str, str], place: "_Place") -> Span:
        self._first_span = self._first_span or place
        self._has_decimals |= any("." in text for text in texts)
        start, end = map(float, texts)
        if self._unit == "frames" and not (start.is_integer() and end.is_integer()):
            raise ValueError("its start and end must be whole numbers of frames")
        # The unit of all is known when all are read.
        return Span(start=start, end=end, unit=self._unit or "")


class _Place(NamedTuple):
    """A line of a list."""

    file: Path
    number: int
    line: str

    def refuse(self, reason: str) -> None:
        """Add it to the bad lines."""
        add_bad_line(bad_line(self.file, self.number, self.line, reason))


def _unit_in(header: str) -> str | None:
    """The unit of spans by the names of the columns."""
    header = header.lower()
    if "_frame" in header.replace("num_frames", ""):
        return "frames"
    return "seconds" if re.search(r"\b(t_|time_)|_(time|seconds)\b", header) else None
