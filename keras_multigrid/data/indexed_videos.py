"""Videos of another library's data set, each read by its number when its turn comes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_multigrid.data.videos.open_video import OpenVideo
from keras_multigrid.data.videos.video import VideoRecord


class IndexedVideos(Sequence[VideoRecord]):
    """The videos of a data set with random access: a part of a `VideoSet`.

    Nothing is kept in memory and no video is decoded before its turn. A video is known by its
    number, so that the order of a training and its resumption follow from the step alone, as for
    files. Subclasses define `path`, `label` and `open`.

    Args:
        name: of the data set and its part.
        count: number of videos.
        class_names: of the labels.
        multi_label: labels are tuples of classes.

    Example:

    >>> train = from_tfds("ucf101", split="train")
    >>> videos = VideoSet(train=train, validation=from_tfds("ucf101", split="test"))
    >>> videos.class_names == train.class_names
    True
    """

    # Whether a label is known by reading all of its video alone.
    reads_videos_for_labels = False

    def __init__(self, name: str, count: int, class_names: Sequence[str], *, multi_label: bool):
        self.name = name
        self._count = count
        self.class_names = tuple(class_names)
        self.multi_label = multi_label

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not isinstance(index, (int, np.integer)):
            raise TypeError(f"The number of a video must be an integer. Received: {index!r}.")
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} videos. Received: {index}.")
        return IndexedVideo(self, int(index) % len(self))

    @property
    def fingerprint(self) -> str:
        """A text that other data sets do not have."""
        return f"{len(self)} videos of {self.name}"

    def path(self, index: int) -> str:
        """What messages and results call a video."""
        return f"{self.name}/{index}"

    def is_remote(self, index: int) -> bool:
        """Whether reading a video waits for a server."""
        return False

    def label(self, index: int) -> Any:
        """The label of a video, as in `VideoRecord.label`."""
        raise NotImplementedError(f"{type(self).__name__} must define `label`.")

    def open(self, index: int) -> OpenVideo:
        """Open a video to read from it."""
        raise NotImplementedError(f"{type(self).__name__} must define `open`.")


class IndexedVideo(VideoRecord):
    """One video of `IndexedVideos`.

    Args:
        videos: the data set.
        index: its number.
    """

    __slots__ = ("_index", "_videos")

    def __init__(self, videos: IndexedVideos, index: int):
        own = {"_videos": videos, "_index": index}
        for name, value in {**own, "frame_paths": (), "frame_labels": (), "span": None}.items():
            object.__setattr__(self, name, value)

    # Of a record, these are values. Here they are looked up when they are asked for.
    @property
    def path(self) -> str:
        return self._videos.path(self._index)

    @property
    def is_remote(self) -> bool:
        return self._videos.is_remote(self._index)

    @property
    def label(self) -> Any:
        return self._videos.label(self._index)

    def open(self, detail: int | None = None) -> OpenVideo:
        return self._videos.open(self._index)
