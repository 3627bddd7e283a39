"""The training and validation parts of a set, and the paths of its videos."""

import collections
import os
from collections.abc import Callable, Sequence

from keras_multigrid import files
from keras_multigrid.data.lists.lines import Path, refuse_bad_lines
from keras_multigrid.data.lists.split_rules import SplitRule
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

# The path as it stands in the list or folder, which split rules take, and the video itself.
Listed = list[tuple[str, VideoRecord]]

# Doubled class names that an error lists.
_SHOWN = 5
# Where classes have numbers alone there may be as many, or some for each of the videos.
_MOST_CLASSES = 1000
_CLASSES_PER_VIDEO = 10


def most_classes(num_videos: int) -> int:
    """How many classes the labels of videos may make by their numbers, without any names.

    A number from a wrong column, such as an identifier, would fill the memory with names.
    """
    return max(_MOST_CLASSES, _CLASSES_PER_VIDEO * num_videos)


def split(listed: Listed, rule: SplitRule) -> tuple[list[VideoRecord], list[VideoRecord]]:
    """Training and validation videos by a split rule."""
    parts = [], []
    is_validation = rule([path for path, _ in listed])
    for (_, record), chosen in zip(listed, is_validation, strict=True):
        parts[bool(chosen)].append(record)
    return parts


def videos_of(*parts: Listed) -> tuple[list[VideoRecord], ...]:
    """The videos of each part, without the paths in the lists."""
    return tuple([record for _, record in part] for part in parts)


def video_set(
    train: Sequence[VideoRecord],
    validation: Sequence[VideoRecord],
    class_names: tuple[str, ...],
    *,
    multi_label: bool = False,
    notes: Sequence[str] = (),
    layout: str = "Check the data's layout.",
) -> VideoSet:
    """The set, if neither part is empty and no class name doubled.

    Args:
        train, validation, class_names, multi_label, notes: same as for `VideoSet`.
        layout: what is expected, told where there is no video at all.
    """
    check_class_names(class_names)
    if not train or not validation:
        # Without any, no rule of a split has anything to choose from.
        if train or validation:
            layout = "Check the data's layout and what `validation` chooses."
        raise ValueError(
            "There must be videos to train and to validate on. "
            f"Received: {len(train)} training and {len(validation)} validation videos. "
            f"{layout}{_lines(notes)}"
        )
    return VideoSet(
        train=tuple(train),
        validation=tuple(validation),
        class_names=class_names,
        multi_label=multi_label,
        notes=tuple(notes),
    )


def _lines(notes: Sequence[str]) -> str:
    return "".join(f"\n{note[0].upper()}{note[1:]}." for note in notes)


def check_class_names(class_names: Sequence[str]) -> None:
    """Refuse names that stand for several classes, or that no text in UTF-8 can hold."""
    for name in class_names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"`class_names` must be text in UTF-8. Received: {name!r}. Rename the folder of "
                "the class, or save the list as UTF-8."
            ) from None
    if len(set(class_names)) == len(class_names):
        return
    counts = collections.Counter(class_names)
    doubled = [
        f"'{name}' for the classes {[i for i, other in enumerate(class_names) if other == name]}"
        for name in [name for name, count in counts.items() if count > 1][:_SHOWN]
    ]
    raise ValueError(
        f"`class_names` must differ. Received: {'; '.join(doubled)}. Rename or remove these."
    )


def read_parts(
    read: Callable[..., Listed], train: Path, validation: SplitRule | Path
) -> tuple[list[VideoRecord], list[VideoRecord]]:
    """Training and validation videos of one list and a split rule, or of two lists."""
    with refuse_bad_lines():
        listed = read(train, setting="train")
        others = None if callable(validation) else read(validation, setting="validation")
    if others is None:
        return split(listed, validation)
    return videos_of(listed, others)


def check_root(root: Path) -> None:
    """Refuse a folder of videos that does not exist, or whose file system does not.

    Remote folders are not listed: some may be read but not listed.
    """
    root = os.fspath(root)
    files.check_scheme(root)
    if root and not files.is_remote(root) and not os.path.isdir(root):
        raise FileNotFoundError(
            f"`root` must be the folder that the lists' paths are relative to. Received: '{root}', "
            "which is not a folder. Expected layout: the line `walk/denis_walk.avi 7` stands for "
            f"'{root}/walk/denis_walk.avi'. Set `root` to where the videos are."
        )


def paths_below(root: Path) -> Callable[[str], str]:
    """Takes a path as it stands in a list, gives the full one; remote ones stay as they are."""
    # Several times as fast as os.path.join, for lists of millions.
    start = os.path.join(root, "") if root else ""
    return lambda path: path if path[:1] == "/" or files.is_remote(path) else start + path
