"""Charades, from its official frame lists."""

import functools
import os

from keras_multigrid.data.lists.frame_lists import read_frame_list
from keras_multigrid.data.lists.lines import Path
from keras_multigrid.data.lists.parts import Listed, check_root, paths_below, read_parts, video_set
from keras_multigrid.data.lists.split_rules import SplitRule
from keras_multigrid.data.videos.video import VideoRecord, VideoSet


def charades_frame_lists(
    train: Path, *, validation: SplitRule | Path, root: Path = "", num_classes: int = 157
) -> VideoSet:
    """Read the official frame lists of Charades, one frame a line.

        original_vido_id video_id frame_id path labels
        46GP8 0 0 46GP8/46GP8-000001.jpg "23,154"
        46GP8 0 1 46GP8/46GP8-000002.jpg ""

    A video's label is the union of its frames' labels.

    Args:
        train: list of the training frames.
        validation: list of the validation frames; or a split rule such as `by_fraction(0.1)`, which
            takes the folder of each video's first frame as it stands in `train`.
        root: folder that the paths are relative to; full paths and remote ones stay as they are.
        num_classes: number of classes; labels lie below it.

    Raises:
        FileNotFoundError: a list or `root` is missing.
        BadLinesError: lines are wrong.
        ValueError: a part is empty.

    Example:

    >>> videos = charades_frame_lists("train.csv", validation="val.csv", root="charades/frames")
    """
    check_root(root)
    read = functools.partial(_read_frames, root=root, num_classes=num_classes)
    class_names = tuple(map(str, range(num_classes)))
    return video_set(*read_parts(read, train, validation), class_names, multi_label=True)


def _read_frames(file: Path, *, setting: str, root: Path, num_classes: int) -> Listed:
    parse_labels = functools.partial(_frame_labels, num_classes=num_classes)
    frames = read_frame_list(file, setting=setting, parse_labels=parse_labels)
    full_path = paths_below(root)
    return [
        (os.path.dirname(paths[0]), _frame_record(list(map(full_path, paths)), labels))
        for paths, labels in frames.values()
    ]


def _frame_labels(text: str, num_classes: int) -> tuple[int, ...]:
    labels = [part for part in text.split(",") if part]
    for label in labels:
        if not label.isdecimal() or int(label) >= num_classes:
            raise ValueError(f"the label '{label}' must be a number below {num_classes}")
    return tuple(map(int, labels))


def _frame_record(paths: list[str], labels: list[tuple[int, ...]]) -> VideoRecord:
    return VideoRecord(
        path=os.path.dirname(paths[0]),
        label=tuple(sorted(set().union(*set(labels)))),
        frame_paths=tuple(paths),
        frame_labels=tuple(labels),
    )
