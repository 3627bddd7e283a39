"""Lists of videos and their labels, from folders and from text files."""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

from keras_multigrid import storage
from keras_multigrid.data.frame_lists import read_frame_list
from keras_multigrid.data.lines import Path, numbered_lines, parsed, refuse_bad_lines
from keras_multigrid.data.split_rules import SplitRule

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"
)  # fmt: skip
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# Asked of a remote file system at once.
_QUESTIONS = 32


class Images(Protocol):
    """Encoded frames of a video, read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> bytes: ...

    def name(self, index: int) -> str:
        """What to call a frame in errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """One video and its label; nothing is read before it is needed.

    Args:
        path: video file, or folder of frame images.
        label: class index; a tuple of class indices where a video may show several classes.
        frame_paths: frame images in order; empty: `path` is decoded.
        frame_labels: class indices of each frame, as many as `frame_paths`; empty: not known.

    Example:

    >>> VideoRecord(path="walk/denis_walk.avi", label=7).label
    7
    """

    path: str
    label: int | tuple[int, ...]
    frame_paths: tuple[str, ...] = ()
    frame_labels: tuple[tuple[int, ...], ...] = ()

    def images(self, detail: int | None) -> Images | None:
        """Encoded frames, if they are neither in files of their own nor in a video file.

        Args:
            detail: short side of the smallest copy that will do, in pixels; None takes the largest.
        """
        return None

    def classes(self, first: int, last: int) -> tuple[int, ...]:
        """All that goes on in these frames; in the whole video, if that is not known."""
        if not self.frame_labels:
            return self.label
        return tuple(sorted(set().union(*self.frame_labels[first : last + 1])))


@dataclass(frozen=True, kw_only=True)
class VideoSet:
    """Training and validation videos over one list of classes.

    Args:
        train: training videos.
        validation: validation videos.
        class_names: name of each class; a label is a position in it.
        multi_label: labels are tuples of classes.

    Example:

    >>> walk = VideoRecord(path="walk.mp4", label=1)
    >>> VideoSet(train=[walk], validation=[walk], class_names=("run", "walk")).num_classes
    2
    """

    train: Sequence[VideoRecord]
    validation: Sequence[VideoRecord]
    class_names: tuple[str, ...]
    multi_label: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


# The path as it stands in the list or folder, which split rules take, and the video itself.
_Listed = list[tuple[str, VideoRecord]]

_FOLDER_LAYOUT = """Expected layout:
    root/
      run/                 one folder for each class
        denis_run.avi      a video file,
        eli_run/           or a folder of frames: 000001.jpg, 000002.jpg, ...
      walk/
        ..."""


def class_folders(root: Path, *, validation: SplitRule | Path) -> VideoSet:
    """Read a folder that holds one folder of videos for each class.

        root/walk/denis_walk.avi     a video file,
        root/walk/eli_walk/          or a folder of frame images

    The classes are the sorted folder names. Hidden files and files of other kinds are ignored.

    Args:
        root: the folder.
        validation: a split rule such as `by_group(...)`, which takes the videos' paths relative to
            `root`; or a second folder of the same layout and classes.

    Raises:
        FileNotFoundError: a folder is missing or holds no folders.
        ValueError: the two folders' classes differ, or a part is empty.

    Example:

    >>> videos = class_folders("weizmann", validation=by_group(r"/(\\w+)_", fold=0, folds=3))
    """
    class_names = _class_names(root, setting="root")
    if callable(validation):
        return video_set(*_split(_scan_classes(root, class_names), validation), class_names)
    _check_same_classes(class_names, _class_names(validation, setting="validation"))
    parts = [
        [video for _, video in _scan_classes(part, class_names)] for part in (root, validation)
    ]
    return video_set(*parts, class_names)


def _class_names(root: Path, *, setting: str) -> tuple[str, ...]:
    try:
        names = _chosen(os.fspath(root), lambda entry: entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        names = []
    if not names:
        raise FileNotFoundError(
            f"`{setting}` must be a folder of class folders. Received: '{root}', which is missing "
            f"or holds no folders. Set `{setting}` to where the videos are. {_FOLDER_LAYOUT}"
        )
    return tuple(names)


def _scan_classes(root: Path, class_names: tuple[str, ...]) -> _Listed:
    listed = []
    for label, class_name in enumerate(class_names):
        for name in _chosen(os.path.join(root, class_name), _is_video):
            path = f"{class_name}/{name}"
            listed.append((path, VideoRecord(path=os.path.join(root, path), label=label)))
    return listed


def _chosen(folder: str, is_chosen: Callable[[storage.Entry], bool]) -> list[str]:
    """Sorted names of the entries of a folder that are chosen; hidden ones never are."""
    entries = [entry for entry in storage.scan_folder(folder) if entry.name[0] != "."]
    # Each question to a remote file system travels to a server and back.
    with ThreadPoolExecutor(_QUESTIONS) if storage.is_remote(folder) else nullcontext() as threads:
        answers = list(threads.map(is_chosen, entries) if threads else map(is_chosen, entries))
    return sorted(e.name for e, answer in zip(entries, answers, strict=True) if answer)


def _is_video(entry: storage.Entry) -> bool:
    # The name is asked first: it costs no call to the file system.
    if entry.name.lower().endswith(VIDEO_SUFFIXES):
        return storage.is_remote(entry.path) or entry.is_file()
    if not entry.is_dir():
        return False
    frames = storage.scan_folder(entry.path)
    return any(frame.name.lower().endswith(IMAGE_SUFFIXES) for frame in frames)


def _check_same_classes(train: tuple[str, ...], validation: tuple[str, ...]) -> None:
    if train != validation:
        raise ValueError(
            "`root` and `validation` must hold the same classes. "
            f"Only in `root`: {sorted(set(train) - set(validation))}. "
            f"Only in `validation`: {sorted(set(validation) - set(train))}. "
            "Add or remove these folders (an empty one counts)."
        )


def _split(listed: _Listed, rule: SplitRule) -> tuple[list[VideoRecord], list[VideoRecord]]:
    parts = [], []
    is_validation = rule([path for path, _ in listed])
    for (_, record), chosen in zip(listed, is_validation, strict=True):
        parts[bool(chosen)].append(record)
    return parts


def video_set(
    train: Sequence[VideoRecord],
    validation: Sequence[VideoRecord],
    class_names: tuple[str, ...],
    *,
    multi_label: bool = False,
) -> VideoSet:
    """The set, if neither part is empty."""
    if not train or not validation:
        raise ValueError(
            "There must be videos to train and to validate on. "
            f"Received: {len(train)} training and {len(validation)} validation videos. "
            "Check the data's layout and what `validation` chooses."
        )
    return VideoSet(
        train=tuple(train),
        validation=tuple(validation),
        class_names=class_names,
        multi_label=multi_label,
    )


_LIST_LAYOUT = """Expected: a text file, one video and its label a line:
    walk/denis_walk.avi 7
    run/eli run 2.avi 3"""


def path_label_lists(
    train: Path,
    *,
    validation: SplitRule | Path,
    root: Path = "",
    class_names: Sequence[str] | Path | None = None,
) -> VideoSet:
    """Read text lists of one `path label` a line.

        # comments and blank lines are ignored
        walk/denis_walk.avi 7
        run/eli run 2.avi 3           a path may contain spaces, a label may not

    Args:
        train: list of the training videos.
        validation: list of the validation videos; or a split rule such as `by_fraction(0.1)`, which
            takes the paths as they stand in `train`.
        root: folder that the paths are relative to; full paths and remote ones stay as they are.
        class_names: names of the classes, or a text file of one name a line. Labels are then names
            or numbers below their count; None: labels are numbers, and so are the names.

    Raises:
        FileNotFoundError: a list or `root` is missing.
        BadLinesError: lines are wrong.
        ValueError: a part is empty.

    Example:

    >>> videos = path_label_lists("train.txt", validation="val.txt", root="kinetics")
    """
    if isinstance(class_names, (str, os.PathLike)):
        layout = "Expected: a text file, the name of one class a line."
        lines = numbered_lines(class_names, setting="class_names", layout=layout, comments=False)
        class_names = [name for _, name in lines]
    index_of = None if class_names is None else {name: i for i, name in enumerate(class_names)}
    check_root(root)
    read = functools.partial(_read_labels, root=root, index_of=index_of)
    parts = _parts(read, train, validation)
    if class_names is None:
        highest = max((record.label for part in parts for record in part), default=-1)
        class_names = [str(label) for label in range(highest + 1)]
    return video_set(*parts, tuple(class_names))


def _parts(
    read: Callable[..., _Listed], train: Path, validation: SplitRule | Path
) -> tuple[list[VideoRecord], list[VideoRecord]]:
    with refuse_bad_lines():
        listed = read(train, setting="train")
        others = None if callable(validation) else read(validation, setting="validation")
    if others is None:
        return _split(listed, validation)
    return [record for _, record in listed], [record for _, record in others]


def _read_labels(
    file: Path, *, setting: str, root: Path, index_of: dict[str, int] | None
) -> _Listed:
    full_path = paths_below(root)

    def parse(line: str) -> tuple[str, VideoRecord]:
        path, *label = line.rsplit(maxsplit=1)
        return path, VideoRecord(path=full_path(path), label=_label(label, index_of))

    lines = numbered_lines(file, setting=setting, layout=_LIST_LAYOUT)
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
    return video_set(*_parts(read, train, validation), class_names, multi_label=True)


def _read_frames(file: Path, *, setting: str, root: Path, num_classes: int) -> _Listed:
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


def check_root(root: Path) -> None:
    """Refuse a folder of videos that does not exist, or whose file system does not.

    Of remote ones no more is asked: what may be read may not always be listed.
    """
    root = os.fspath(root)
    storage.check_scheme(root)
    if root and not storage.is_remote(root) and not os.path.isdir(root):
        raise FileNotFoundError(
            f"`root` must be the folder that the lists' paths are relative to. Received: '{root}', "
            "which is not a folder. Expected layout: the line `walk/denis_walk.avi 7` stands for "
            f"'{root}/walk/denis_walk.avi'. Set `root` to where the videos are."
        )


def paths_below(root: Path) -> Callable[[str], str]:
    """Takes a path as it stands in a list, gives the full one; remote ones stay as they are."""
    # Several times as fast as os.path.join, for lists of millions.
    start = os.path.join(root, "") if root else ""
    return lambda path: path if path[0] == "/" or storage.is_remote(path) else start + path
