"""Sets of videos from text lists with a path and a label per line."""

import functools
import os
from collections.abc import Sequence

from keras_multigrid.data.lists.lines import Path, numbered_lines, parsed
from keras_multigrid.data.lists.parts import Listed, check_root, paths_below, read_parts, video_set
from keras_multigrid.data.lists.split_rules import SplitRule
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

_LIST_LAYOUT = """Expected: a text file with one video and its label per line:
    walk/denis_walk.avi 7
    run/eli run 2.avi 3"""


def path_label_lists(
    train: Path,
    *,
    validation: SplitRule | Path,
    root: Path = "",
    class_names: Sequence[str] | Path | None = None,
) -> VideoSet:
    """Read text lists with `path label` on each line.

        # comments and blank lines are ignored
        walk/denis_walk.avi 7
        run/eli run 2.avi 3           a path may contain spaces, a label may not

    Args:
        train: list of the training videos.
        validation: list of the validation videos; or a split rule such as `by_fraction(0.1)`, which
            takes the paths as they stand in `train`.
        root: folder that the paths are relative to; full paths and remote ones stay as they are.
        class_names: names of the classes, or a text file with one name per line. Labels are then
            names or numbers below their count; None: labels are numbers, and so are the names.

    Raises:
        FileNotFoundError: a list or `root` is missing.
        BadLinesError: lines are wrong.
        ValueError: a part is empty.

    Example:

    >>> videos = path_label_lists("train.txt", validation="val.txt", root="kinetics")
    """
    if isinstance(class_names, (str, os.PathLike)):
        layout = "Expected: a text file with the name of one class per line."
        lines = numbered_lines(class_names, setting="class_names", layout=layout)
        class_names = [name for _, name in lines]
    index_of = None if class_names is None else {name: i for i, name in enumerate(class_names)}
    check_root(root)
    read = functools.partial(_read_labels, root=root, index_of=index_of)
    parts = read_parts(read, train, validation)
    if class_names is None:
        highest = max((record.label for part in parts for record in part), default=-1)
        class_names = [str(label) for label in range(highest + 1)]
    return video_set(*parts, tuple(class_names))


def _read_labels(
    file: Path, *, setting: str, root: Path, index_of: dict[str, int] | None
) -> Listed:
    full_path = paths_below(root)

    def parse(line: str) -> tuple[str, VideoRecord]:
        path, *label = line.rsplit(maxsplit=1)
        return path, VideoRecord(path=full_path(path), label=_label(label, index_of))

    lines = numbered_lines(file, setting=setting, layout=_LIST_LAYOUT, comments=True)
    return list(parsed(file, lines, parse))


def _label(fields: list[str], index_of: dict[str, int] | None) -> int:
    if not fields:
        raise ValueError("it must be a path, a space and a label")
    text = fields[0]
    if index_of is not None and text in index_of:
        return index_of[text]
    if not text.isdecimal():
        kind = "a number" if index_of is None else "a number or one of `class_names`"
        raise ValueError(f"the label '{text}' must be {kind}")
    label = int(text)
    if index_of is not None and label >= len(index_of):
        raise ValueError(f"the label {label} must be below {len(index_of)}, the number of classes")
    return label
