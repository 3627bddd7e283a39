"""Sets of videos that are kept as records, on a local disk or a remote file system."""

import contextlib
import errno
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError as MessageError

from keras_multigrid import files
from keras_multigrid.data.records.format import (
    PARTS,
    RECORD_OVERHEAD,
    Manifest,
    Names,
    labels_name,
    read_manifest,
    shard_name,
)
from keras_multigrid.data.records.index import ListedFile, Placed, labels_of
from keras_multigrid.data.records.record_files import checked_records
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.pictures import Pictures
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.task import classification


def recorded_videos(root: str) -> VideoSet:
    """Read a set that `keras-multigrid prepare` has written.

    Only the manifest is read, so that a set of any size opens as fast.

    Args:
        root: the folder.

    Raises:
        FileNotFoundError: there are no records, or they are not complete.
        ValueError: its manifest is damaged, or a part holds no videos.
        StorageError: it cannot be read.

    Example:

    >>> videos = recorded_videos("s3://sets/charades")
    """
    root = os.fspath(root).rstrip("/")
    files.check_scheme(root)
    if not files.is_remote(root):
        # The workers of an input service have another working directory.
        root = os.path.abspath(root)
    manifest = read_manifest(root)
    parts = {part: RecordedVideos(root, manifest, part) for part in PARTS}
    for part, videos in parts.items():
        if not len(videos):
            raise ValueError(
                f"`root` must hold videos of both parts. Received: '{root}', whose "
                f"{part} part is empty: see what was left out in its bad_videos.tsv."
            )
    return VideoSet(**parts, class_names=manifest.class_names, multi_label=manifest.multi_label)


class RecordedVideos(Sequence[VideoRecord]):
    """The videos of a part, in the order of the list that they were made from.

    Names and labels are read when a video is asked for; training needs neither.

    Args:
        root: folder of the records.
        manifest: its manifest.
        part: "train" or "validation".

    Example:

    >>> recorded_videos("records").train[3].path
    'walk/denis_walk.avi'
    """

    def __init__(self, root: str, manifest: Manifest, part: str):
        shards = manifest.shards[part]
        self.root = root
        self.form = manifest.form
        self.part = part
        self.task = classification(manifest.class_names, multi_label=manifest.multi_label)
        self.num_shards = len(shards)
        # How many videos come before each shard, and how many there are.
        self.starts = np.cumsum([0, *(shard.num_videos for shard in shards)])
        self._sizes = [shard.bytes for shard in shards]
        self._checksums = [sorted(shard.sha256.items()) for shard in shards]
        # Shards whose index was read, and is that of the manifest.
        self._is_trusted = np.zeros(len(shards), bool)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not isinstance(index, (int, np.integer)):
            raise TypeError(f"The number of a video must be an integer. Received: {index!r}.")
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} videos. Received: {index}.")
        index = int(index) % len(self)
        shard = int(self._shard_of(index))
        row = index - int(self.starts[shard])
        file = self.file(shard, "json")
        names = _names(file)
        if row >= len(names):
            raise file.damaged(f"it has no video {row}")
        path, label = names[row]
        return RecordedVideo(path=path, label=label, videos=self, shard=shard, row=row)

    @functools.cached_property
    def labels(self) -> np.ndarray | list[int | tuple[int, ...]]:
        """The label of each video.

        Where each has one class, int32 (videos,) from one file. Several classes, and records of
        earlier versions, which lack that file, take the names of all shards.

        Raises:
            DecodeError: a names file is not as it was written.
            OSError: a file cannot be read.
        """
        content = files.read(f"{self.root}/{labels_name(self.part)}")
        labels = None if content is None else labels_of(content, len(self))
        if labels is not None:
            return labels
        # Reading remote ones is mostly waiting.
        with ThreadPoolExecutor(16) as threads:
            found = threads.map(self._labels_of, range(self.num_shards))
            return [label for labels in found for label in labels]

    def _labels_of(self, shard: int) -> list[int | tuple[int, ...]]:
        file = self.file(shard, "json")
        names = _names(file)
        if len(names) != self.starts[shard + 1] - self.starts[shard]:
            raise file.damaged("it has another number of videos than the manifest says")
        return [label for _, label in names]

    def placed(self, shard: int, row: int) -> Placed:
        """Where the records of a video are, by its place in a shard.

        Raises:
            DecodeError: the index is not that of the manifest, or its numbers cannot be true.
            OSError: it cannot be read.
        """
        file = self.file(shard, "index")
        content = file.read()
        numbers = np.frombuffer(content[: len(content) // 8 * 8], "<i8")
        # What is not checked below ends in these errors.
        with contextlib.suppress(IndexError, ValueError):
            placed = Placed.of(numbers, row, len(self.form.copies))
            if placed.is_sound(self.form.frames_per_record):
                return placed
        raise file.damaged("its numbers cannot be true")

    def are_trusted(self, indices: np.ndarray) -> np.ndarray:
        """Whether the index of the shard of each video is that of the manifest: bool (n,).

        Each index is read once for it.

        Raises:
            OSError: a fault of the machine.
        """
        shards = self._shard_of(indices)
        unknown = np.unique(shards[~self._is_trusted[shards]]).tolist()
        if unknown:
            # Reading remote ones is mostly waiting.
            with ThreadPoolExecutor(min(len(unknown), 16)) as threads:
                self._is_trusted[unknown] = list(threads.map(self._has_its_index, unknown))
        return self._is_trusted[shards]

    def _has_its_index(self, shard: int) -> bool:
        try:
            self.file(shard, "index").read()
        except DecodeError:
            return False
        return True

    def _shard_of(self, index):
        return np.searchsorted(self.starts, index, side="right") - 1

    def file(self, shard: int, suffix: str, copy: int | None = None) -> ListedFile:
        """A file of a shard, one of its records by the number of the copy."""
        folder = "" if copy is None else f"{self.form.copies[copy]}/"
        name = f"{folder}{shard_name(self.part, shard, self.num_shards)}.{suffix}"
        return ListedFile(
            path=f"{self.root}/{name}",
            size=self._sizes[shard].get(name),
            sha256=dict(self._checksums[shard]).get(name),
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """A text that other sets do not have, and a copy of this one elsewhere has."""
        digest = hashlib.sha256(json.dumps(self._checksums).encode()).hexdigest()
        return f"{len(self)} recorded videos, {digest[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedVideo(VideoRecord):
    """One video of `RecordedVideos`, whose frames are read from its records.

    Args:
        videos: the set.
        shard: number of its shard.
        row: its place in the shard.
    """

    videos: RecordedVideos = field(repr=False, compare=False)
    shard: int
    row: int

    @property
    def is_remote(self) -> bool:
        return files.is_remote(self.videos.root)

    def open(self, detail: int | None = None) -> "RecordedFrames":
        return RecordedFrames(RecordedImages(self, detail), self.path, self.label)


class RecordedFrames(Pictures):
    """A video in records: its pictures, and the classes of each of them, if they are known."""

    def label(self, first, last):
        # Records between those that hold the frames of a clip would be read for nothing.
        if not isinstance(self.whole_label, tuple):
            return self.whole_label
        found = [self._images.classes(index) for index in range(first, last + 1)]
        return self.whole_label if None in found else tuple(sorted(set().union(*found)))


class RecordedImages:
    """The frames of a video in its records, in the smallest copy that is not below `detail`."""

    def __init__(self, video: RecordedVideo, detail: int | None):
        videos = video.videos
        self._form = videos.form
        placed = videos.placed(video.shard, video.row)
        copy = 0 if detail is None else placed.copy(detail)
        self._num_frames = int(placed.num_frames)
        self._places = placed.places[copy]
        self._file = videos.file(video.shard, "tfrecord", copy)
        if self._file.size is not None and self._places[-1] > self._file.size:
            raise self._file.damaged("its index reaches beyond its end")
        self._video = video.path
        self._examples = {}

    def __len__(self) -> int:
        return self._num_frames

    def __getitem__(self, index: int) -> bytes:
        feature = self._feature("image/encoded", index)
        return b"" if feature is None else b"".join(feature.bytes_list.value)

    def name(self, index: int) -> str:
        return f"frame {index} of {self._video} in {self._file.path}"

    def classes(self, index: int) -> tuple[int, ...] | None:
        """Classes of a frame; None if they are not known."""
        feature = self._feature("frame/label/index", index)
        return None if feature is None else tuple(feature.int64_list.value)

    def _feature(self, key: str, index: int):
        number, offset = divmod(index, self._form.frames_per_record)
        start, end = self._places[number : number + 2].tolist()
        try:
            if number not in self._examples:
                content = _read_record(self._file, start, end)
                self._examples[number] = tf.train.SequenceExample.FromString(content)
            features = self._examples[number].feature_lists.feature_list[key].feature
            return features[offset] if features else None
        except (MessageError, IndexError):
            # Its checksum is right: it was written so.
            raise self._file.damaged(f"the record at byte {start} lacks frames") from None


@functools.lru_cache(maxsize=8)
def _names(file: ListedFile) -> tuple[tuple[str, int | tuple[int, ...]], ...]:
    try:
        return Names.from_json(file.read()).videos
    except DecodeError:
        raise
    except ValueError as error:
        raise file.damaged(str(error)) from None


def _read_record(file: ListedFile, start: int, end: int) -> bytes:
    damage = file.damaged(f"the record is damaged, at byte {start}")
    # Before as much memory is taken as the index says that it needs.
    length = int.from_bytes(file.part(start, 8), "little")
    if length + RECORD_OVERHEAD != end - start:
        raise damage
    try:
        return checked_records(file.part(start, end - start), 1)[0]
    except tf.errors.OpError as error:
        if files.is_machine_fault(error):
            raise OSError(errno.EIO, error.message, file.path) from None
        raise damage from None
