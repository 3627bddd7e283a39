"""Sets of videos from folders: one folder for each class."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from keras_multigrid import files
from keras_multigrid.data.lists.lines import Path
from keras_multigrid.data.lists.parts import Listed, split, video_set, videos_of
from keras_multigrid.data.lists.split_rules import SplitRule
from keras_multigrid.data.videos.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, VideoRecord, VideoSet

# Entries of a remote folder that are looked at in parallel.
_QUESTIONS = 32

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
        return video_set(*split(_scan_classes(root, class_names), validation), class_names)
    others = _class_names(validation, setting="validation")
    if class_names != others:
        raise ValueError(
            "`root` and `validation` must hold the same classes. "
            f"Only in `root`: {sorted(set(class_names) - set(others))}. "
            f"Only in `validation`: {sorted(set(others) - set(class_names))}. "
            "Add or remove these folders (an empty one counts)."
        )
    listed, others = (_scan_classes(part, class_names) for part in (root, validation))
    return video_set(*videos_of(listed, others), class_names)


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


def _scan_classes(root: Path, class_names: tuple[str, ...]) -> Listed:
    listed = []
    for label, class_name in enumerate(class_names):
        for name in _chosen(os.path.join(root, class_name), _is_video):
            path = f"{class_name}/{name}"
            listed.append((path, VideoRecord(path=os.path.join(root, path), label=label)))
    return listed


def _chosen(folder: str, is_chosen: Callable[[files.Entry], bool]) -> list[str]:
    """Sorted names of the entries of a folder that are chosen; hidden ones never are."""
    entries = [entry for entry in files.scan_folder(folder) if entry.name[0] != "."]
    # Each question to a remote file system travels to a server and back.
    with ThreadPoolExecutor(_QUESTIONS) if files.is_remote(folder) else nullcontext() as threads:
        answers = list(threads.map(is_chosen, entries) if threads else map(is_chosen, entries))
    return sorted(e.name for e, answer in zip(entries, answers, strict=True) if answer)


def _is_video(entry: files.Entry) -> bool:
    # The name first: it costs no call to the file system.
    if entry.name.lower().endswith(VIDEO_SUFFIXES):
        return files.is_remote(entry.path) or entry.is_file()
    if not entry.is_dir():
        return False
    frames = files.scan_folder(entry.path)
    return any(frame.name.lower().endswith(IMAGE_SUFFIXES) for frame in frames)
