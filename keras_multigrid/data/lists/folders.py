"""Sets of videos from folders: one folder for each class."""

import collections
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

from keras_multigrid import files
from keras_multigrid.data.lists.lines import Path
from keras_multigrid.data.lists.parts import Listed, split, video_set, videos_of
from keras_multigrid.data.lists.split_rules import SplitRule
from keras_multigrid.data.videos.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, VideoRecord, VideoSet

# Entries of a remote folder that are looked at in parallel.
_QUESTIONS = 32

# Reasons that are listed.
_SHOWN = 12
_BROKEN = "broken links taken for missing videos"
# Pictures that are not read.
_OTHER_PICTURES = frozenset(
    {".avif", ".cr2", ".dng", ".exr", ".heic", ".heif", ".jp2", ".jxl", ".nef", ".svg", ".tga"}
)

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

    The classes are the sorted folder names. Hidden files are ignored. What else is left out, such
    as deeper folders and files of other kinds, is counted in the `notes` of the set. A link to a
    file that is not there is a missing video.

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
    left_out = _LeftOut()
    class_names = _class_names(root, setting="root", left_out=left_out)
    if callable(validation):
        parts = split(_scan_classes(root, class_names, left_out), validation)
        return video_set(*parts, class_names, notes=left_out.notes(), layout=_FOLDER_LAYOUT)
    others = _class_names(validation, setting="validation", left_out=left_out)
    if class_names != others:
        raise ValueError(
            "`root` and `validation` must hold the same classes. "
            f"Only in `root`: {sorted(set(class_names) - set(others))}. "
            f"Only in `validation`: {sorted(set(others) - set(class_names))}. "
            "Add or remove these folders (an empty one counts)."
        )
    listed, others = (_scan_classes(part, class_names, left_out) for part in (root, validation))
    return video_set(
        *videos_of(listed, others), class_names, notes=left_out.notes(), layout=_FOLDER_LAYOUT
    )


class _LeftOut:
    """Counts what is left out, and other things to be said of the files, by reason."""

    def __init__(self):
        self._counts = collections.Counter()
        self._examples = {}

    def add(self, reason: str, path: str) -> None:
        self._counts[reason] += 1
        self._examples.setdefault(reason, path)

    def notes(self) -> tuple[str, ...]:
        notes = [
            f"{reason}: {count:,}, such as '{self._examples[reason]}'"
            for reason, count in self._counts.most_common()
        ]
        if len(notes) > _SHOWN:
            rest = self._counts.most_common()[_SHOWN:]
            notes[_SHOWN:] = [f"others left out: {sum(count for _, count in rest):,}"]
        return tuple(notes)


def _class_names(root: Path, *, setting: str, left_out: _LeftOut) -> tuple[str, ...]:
    names = []
    try:
        for entry, is_folder in _answered(os.fspath(root), lambda entry: entry.is_dir()):
            if is_folder:
                names.append(entry.name)
            elif _is_broken(entry):
                left_out.add("broken links beside the class folders left out", entry.path)
            else:
                left_out.add("files beside the class folders left out", entry.path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    if not names:
        raise FileNotFoundError(
            f"`{setting}` must be a folder of class folders. Received: '{root}', which is missing "
            f"or holds no folders. Set `{setting}` to where the videos are. {_FOLDER_LAYOUT}"
        )
    return tuple(names)


def _scan_classes(root: Path, class_names: tuple[str, ...], left_out: _LeftOut) -> Listed:
    listed = []
    for label, class_name in enumerate(class_names):
        for entry, reason in _answered(os.path.join(root, class_name), _why_no_video):
            if reason is not None:
                left_out.add(reason, entry.path)
            if reason in (None, _BROKEN):
                path = f"{class_name}/{entry.name}"
                listed.append((path, VideoRecord(path=os.path.join(root, path), label=label)))
    return listed


def _answered(
    folder: str, question: Callable[[files.Entry], Any]
) -> Iterator[tuple[files.Entry, Any]]:
    """The entries of a folder in the order of their names, without hidden ones, with an answer."""
    entries = [entry for entry in files.scan_folder(folder) if entry.name[0] != "."]
    entries.sort(key=lambda entry: entry.name)
    # Each question to a remote file system travels to a server and back.
    with ThreadPoolExecutor(_QUESTIONS) if files.is_remote(folder) else nullcontext() as threads:
        answers = list(threads.map(question, entries) if threads else map(question, entries))
    return zip(entries, answers, strict=True)


def _why_no_video(entry: files.Entry) -> str | None:
    """Why an entry of a class folder is no video; None if it is one."""
    # The name first: it costs no call to the file system.
    is_named_video = entry.name.lower().endswith(VIDEO_SUFFIXES)
    if is_named_video and (files.is_remote(entry.path) or entry.is_file()):
        return None
    if entry.is_dir():
        return _why_no_frames(entry)
    suffix = os.path.splitext(entry.name)[1].lower()
    if _is_broken(entry):
        # Without a suffix: a folder of frames, perhaps.
        return _BROKEN if is_named_video or not suffix else "broken links left out"
    if suffix in IMAGE_SUFFIXES:
        return "pictures outside of a folder of frames left out"
    if is_named_video:
        return "what is neither file nor folder left out"
    return f"files with the suffix {suffix} left out" if suffix else "files without suffix left out"


def _why_no_frames(folder: files.Entry) -> str | None:
    """Why a folder in a class folder is no video; None if it is one."""
    has_deeper, other_pictures = False, ""
    for entry in files.scan_folder(folder.path):
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix in IMAGE_SUFFIXES:
            return None
        if suffix in _OTHER_PICTURES:
            other_pictures = suffix
        # Without a further question to a remote file system.
        has_deeper |= suffix in VIDEO_SUFFIXES or (not suffix and entry.name[0] != ".")
    if other_pictures:
        return f"folders of pictures of another kind, {other_pictures}, left out"
    if has_deeper:
        return "folders that hold no pictures, but videos or folders, left out"
    return "folders without pictures left out"


def _is_broken(entry: files.Entry) -> bool:
    """Whether an entry is a link to what is not there."""
    return not files.is_remote(entry.path) and entry.is_symlink() and not files.exists(entry.path)
