"""Videos in folders."""

import os

from keras_multigrid import files
from keras_multigrid.data.videos.pictures import IMAGE_SUFFIXES
from keras_multigrid.data.videos.video import VIDEO_SUFFIXES


def find_videos(path: str) -> list[str]:
    """The videos that a path stands for.

        holiday.mp4      itself
        frames/          itself, if it holds pictures, and no videos at any depth
        videos/          all videos in it at any depth, by their names; hidden files are ignored

    Args:
        path: a file, a folder, or an address; it need not be there.

    Raises:
        ValueError: there is neither a video nor a picture in the folder.
        StorageError, OSError: it cannot be read.

    Example:

    >>> find_videos("videos")
    ['videos/run/1.mp4', 'videos/run/2.mp4', 'videos/walk/3.avi']
    """
    # A remote file system takes as long to answer as to send a small file: the name must do.
    is_remote_file = files.is_remote(path) and path.lower().endswith(VIDEO_SUFFIXES)
    if is_remote_file or not files.is_folder(path):
        return [path]
    found = _in_folder(path, set())
    if not found:
        raise ValueError(
            f"There are no videos in the folder '{path}', at any depth. Their names end in one of "
            f"{', '.join(VIDEO_SUFFIXES)}; or they are folders of pictures."
        )
    return found


def _in_folder(folder: str, seen: set[str]) -> list[str]:
    if not files.is_remote(folder):
        real = os.path.realpath(folder)
        # Links may lead round in a circle.
        if real in seen:
            return []
        seen.add(real)
    found, has_pictures = [], False
    for entry in sorted(files.scan_folder(folder), key=lambda entry: entry.name):
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.name[0] == ".":
            continue
        if suffix in IMAGE_SUFFIXES and suffix not in VIDEO_SUFFIXES:
            has_pictures = True
        elif suffix in VIDEO_SUFFIXES and (files.is_remote(folder) or entry.is_file()):
            found.append(entry.path)
        elif entry.is_dir():
            found += _in_folder(entry.path, seen)
    return found or ([folder] if has_pictures else [])
