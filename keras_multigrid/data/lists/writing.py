"""Writes a set of videos as lists that the package reads back."""

import csv
import functools
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keras_multigrid import files
from keras_multigrid.data.lists.frame_lists import HEADER
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

# What reads as the number of frames, or as a comma before the label.
_DOUBTFUL_END = re.compile(r",$|[\s,]\d+(\.\d+)?$")


@dataclass(frozen=True, kw_only=True)
class ListFiles:
    """Files of a set: lists of paths and labels, or frame lists if the videos are lists of frames.

    Args:
        train: list of the training videos.
        validation: list of the validation videos.
        class_names: one class name per line, in the order of the classes.
        are_frame_lists: the lists name frames.
    """

    train: str
    validation: str
    class_names: str
    are_frame_lists: bool


def write_lists(videos: VideoSet, folder: str) -> ListFiles:
    """Write a set as lists with full paths.

    Args:
        videos: the set. Its videos are all files and folders, or all lists of frames.
        folder: created if it is missing; lists in it are overwritten.

    Returns:
        The files. `path_label_lists(train, validation=validation, class_names=class_names)` reads
        them back, with `multi_label` where the set has it; frame lists are read by
        `charades_frame_lists`, or, with the official files of the data set, by
        `something_something`.

    Example:

    >>> files = write_lists(videos, "check/cleaned")
    """
    os.makedirs(folder, exist_ok=True)
    are_frame_lists = any(r.frame_paths for r in (*videos.train, *videos.validation))
    suffix = "csv" if are_frame_lists else "txt"
    label_lines = functools.partial(_label_lines, class_names=videos.class_names)
    lines_of = _frame_lines if are_frame_lists else label_lines

    def write(name: str, lines: Iterable[str]) -> str:
        path = os.path.abspath(os.path.join(folder, name))
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{line}\n" for line in lines)
        return path

    return ListFiles(
        train=write(f"train.{suffix}", lines_of(videos.train)),
        validation=write(f"validation.{suffix}", lines_of(videos.validation)),
        class_names=write("class_names.txt", videos.class_names),
        are_frame_lists=are_frame_lists,
    )


def _label_lines(records: Sequence[VideoRecord], *, class_names: Sequence[str]) -> Iterable[str]:
    # Where classes have numbers for names, "2" is read as the class of this name.
    texts = [name if len(name.split()) == 1 else str(i) for i, name in enumerate(class_names)]
    if any(record.span is not None or isinstance(record.label, tuple) for record in records):
        return _rows(records, texts)
    return (f"{_in_quotes(_full(record.path))} {texts[record.label]}" for record in records)


def _in_quotes(path: str) -> str:
    """A path, in quotes if its end could be taken for something else."""
    return f'"{path}"' if _DOUBTFUL_END.search(path) else path


def _rows(records: Sequence[VideoRecord], texts: Sequence[str]) -> Iterable[str]:
    """Lines with commas, the first of which names the columns."""
    spans = [record.span for record in records if record.span is not None]
    unit = spans[0].unit if spans else ""
    places = {"seconds": ("start_seconds", "end_seconds"), "frames": ("start_frame", "end_frame")}
    header = ["path", *places.get(unit, ()), "label"]
    # Commas part labels: a name with one in it is given by its number.
    texts = [str(i) if re.search("[,;]", text) else text for i, text in enumerate(texts)]
    for row in (header, *(_row(record, unit, texts) for record in records)):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(row)
        yield line.getvalue()


def _row(record: VideoRecord, unit: str, texts: Sequence[str]) -> list[str]:
    labels = record.label if isinstance(record.label, tuple) else (record.label,)
    span = record.span
    if (span.unit if span is not None else "") != unit:
        raise ValueError(
            "A list has a start and an end, of one unit, on all of its lines or on none. "
            f"Received: '{record.path}' with span={span}, others in {unit or 'no unit'}."
        )
    places = () if span is None else (f"{span.start:.15g}", f"{span.end:.15g}")
    return [_full(record.path), *places, ",".join(texts[label] for label in labels)]


def _frame_lines(records: Sequence[VideoRecord]) -> Iterable[str]:
    yield HEADER
    names = _distinct_names([record.path for record in records])
    for number, (name, record) in enumerate(zip(names, records, strict=True)):
        frames = zip(record.frame_paths, _frame_labels(record), strict=True)
        for index, (path, labels) in enumerate(frames):
            yield f'{name} {number} {index} {_full(path)} "{labels}"'


def _distinct_names(folders: Sequence[str]) -> list[str]:
    """A name for each video, of its folder or of one above: 5 and 6 for `5/rgb` and `6/rgb`."""
    above = list(folders)
    for _ in range(3):
        names = [os.path.basename(folder) for folder in above]
        if all(names) and len(set(names)) == len(names):
            return names
        above = [os.path.dirname(folder) for folder in above]
    return [f"video{number}" for number in range(len(folders))]


def _frame_labels(record: VideoRecord) -> Iterable[str]:
    if record.frame_labels:
        return (",".join(map(str, labels)) for labels in record.frame_labels)
    return [str(record.label)] * len(record.frame_paths)


def _full(path: str) -> str:
    return path if files.is_remote(path) else os.path.abspath(path)
