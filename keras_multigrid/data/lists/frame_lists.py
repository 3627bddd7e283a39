"""Lists with one frame per line, as those of Charades and of the reference implementation.

original_vido_id video_id frame_id path labels
46GP8 0 0 46GP8/46GP8-000001.jpg "23,154"
46GP8 0 1 46GP8/46GP8-000002.jpg ""
"""

import functools
import os
from collections.abc import Callable
from typing import TypeVar

from keras_multigrid import files
from keras_multigrid.data.lists.lines import BadLinesError, Path, bad_line, numbered_lines, parsed
from keras_multigrid.data.lists.parts import Listed, check_root, paths_below, read_parts, video_set
from keras_multigrid.data.lists.split_rules import SplitRule
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

Labels = TypeVar("Labels")

HEADER = "original_vido_id video_id frame_id path labels"
_LAYOUT = f"""Expected: a text file, with one frame per line:
    {HEADER}
    46GP8 0 0 46GP8/46GP8-000001.jpg "23,154"
    46GP8 0 1 46GP8/46GP8-000002.jpg \"\""""


def charades_frame_lists(
    train: Path, *, validation: SplitRule | Path, root: Path = "", num_classes: int = 157
) -> VideoSet:
    """Read the official frame lists of Charades, with one frame per line.

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

    Errors: same as for `path_label_lists`.

    Example:

    >>> videos = charades_frame_lists("train.csv", validation="val.csv", root="charades/frames")
    """
    check_root(root)
    read = functools.partial(_read_frames, root=root, num_classes=num_classes)
    class_names = tuple(map(str, range(num_classes)))
    return video_set(*read_parts(read, train, validation), class_names, multi_label=True)


def _read_frames(file: Path, *, setting: str, root: Path, num_classes: int) -> Listed:
    parse_labels = functools.partial(_frame_labels, num_classes=num_classes)
    frames = read_frame_list(file, setting=setting, root=root, parse_labels=parse_labels)
    full_path = paths_below(root)
    listed = []
    for paths, labels in frames.values():
        frame_paths = tuple(map(full_path, paths))
        record = VideoRecord(
            path=os.path.dirname(frame_paths[0]),
            label=tuple(sorted(set().union(*set(labels)))),
            frame_paths=frame_paths,
            frame_labels=tuple(labels),
        )
        listed.append((os.path.dirname(paths[0]), record))
    return listed


def _frame_labels(text: str, num_classes: int) -> tuple[int, ...]:
    labels = [part for part in text.split(",") if part]
    for label in labels:
        if not label.isdecimal() or int(label) >= num_classes:
            raise ValueError(f"the label '{label}' must be a number below {num_classes}")
    return tuple(map(int, labels))


def read_frame_list(
    file: Path, *, setting: str, root: Path, parse_labels: Callable[[str], Labels]
) -> dict[str, tuple[list[str], list[Labels]]]:
    """Paths and labels of each video's frames, by the video's original id.

    Args:
        file: the list. Paths may contain spaces.
        setting: name of the argument that it comes from, for errors.
        root: folder that the paths are relative to.
        parse_labels: from the text of a frame's labels, without quotes, to the labels.

    Raises:
        FileNotFoundError: there is no such file.
        BadLinesError: its first line is not the header, or lines are wrong.
    """
    # Millions of frames share some thousand sets of labels: each is kept once.
    known: dict[str, Labels] = {}

    def parse(line: str) -> tuple[str, str, Labels]:
        try:
            video, _, _, rest = line.split(maxsplit=3)
            path, text = rest.rsplit(maxsplit=1)
        except ValueError:
            raise ValueError(f"expected the five fields `{HEADER}`") from None
        if text not in known:
            known[text] = parse_labels(text.strip('"'))
        return video, path, known[text]

    def is_comment(line: str) -> bool:
        fields = line.split(maxsplit=3)
        path = fields[-1].rsplit(maxsplit=1)[0]
        return len(fields) < 4 or not files.exists(paths_below(root)(path))

    lines = numbered_lines(file, setting=setting, layout=_LAYOUT, is_comment=is_comment)
    number, line = next(lines, (1, ""))
    # The official lists misspell "video"; lists made by others may not.
    if line.replace("vido", "video") != HEADER.replace("vido", "video"):
        reason = f"the first line must be `{HEADER}`"
        raise BadLinesError([bad_line(file, number, line, reason)])
    frames: dict[str, tuple[list[str], list[Labels]]] = {}
    for video, path, labels in parsed(file, lines, parse):
        paths, all_labels = frames.setdefault(video, ([], []))
        paths.append(path)
        all_labels.append(labels)
    return frames
