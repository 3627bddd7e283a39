"""Sets of videos that are kept as records, on a local disk or a remote file system."""

import errno
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from keras_multigrid import files, remote_files
from keras_multigrid.data.clips.arrays import count_nonzero, maximum, minimum, reshape
from keras_multigrid.data.records.format import (
    PARTS,
    Manifest,
    Names,
    read_manifest,
    shard_name,
)
from keras_multigrid.data.videos.pictures import Pictures
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.task import classification


def recorded_videos(root: str) -> VideoSet:
    """Read a set that `tools/prepare.py` has written.

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
        self._checksums = [sorted(shard.sha256.items()) for shard in shards]

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
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        row = index - int(self.starts[shard])
        path, label = _names(self.root, shard_name(self.part, shard, self.num_shards))[row]
        return RecordedVideo(path=path, label=label, videos=self, shard=shard, row=row)

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
        name = shard_name(videos.part, video.shard, videos.num_shards)
        content = _read(f"{videos.root}/{name}.index")
        placed = Placed.of(np.frombuffer(content, "<i8"), video.row, len(self._form.copies))
        copy = 0 if detail is None else placed.copy(detail)
        self._num_frames = int(placed.num_frames)
        self._places = placed.places[copy]
        self._path = f"{videos.root}/{self._form.copies[copy]}/{name}.tfrecord"
        self._video = video.path
        self._examples = {}

    def __len__(self) -> int:
        return self._num_frames

    def __getitem__(self, index: int) -> bytes:
        return self._feature("image/encoded", index).bytes_list.value[0]

    def name(self, index: int) -> str:
        return f"frame {index} of {self._video} in {self._path}"

    def classes(self, index: int) -> tuple[int, ...] | None:
        """Classes of a frame; None if they are not known."""
        feature = self._feature("frame/label/index", index)
        return None if feature is None else tuple(feature.int64_list.value)

    def _feature(self, key: str, index: int):
        number, offset = divmod(index, self._form.frames_per_record)
        if number not in self._examples:
            content = _read_record(self._path, self._places[number], self._places[number + 1])
            self._examples[number] = tf.train.SequenceExample.FromString(content)
        features = self._examples[number].feature_lists.feature_list[key].feature
        return features[offset] if features else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a video's records are: numbers, or int64 tensors.

    Args:
        num_frames: frames of the video.
        sizes: (copies, 2), height and width of each copy.
        places: (copies, records + 1), where the records of each copy begin in its file.
    """

    num_frames: int | tf.Tensor
    sizes: np.ndarray | tf.Tensor
    places: np.ndarray | tf.Tensor

    @classmethod
    def of(cls, numbers, row, num_copies: int) -> "Placed":
        """Taken from the index of a shard.

        Args:
            numbers: those of `format.index_content`.
            row: the video's place in the shard.
            num_copies: number of copies.
        """
        entry = numbers[numbers[row] : numbers[row + 1]]
        copies = reshape(entry[1:], (num_copies, -1))
        return cls(num_frames=entry[0], sizes=copies[:, :2], places=copies[:, 2:])

    def copy(self, detail):
        """Number of the smallest copy whose short side is `detail` at least; 0 if none is."""
        shortest = minimum(self.sizes[:, 0], self.sizes[:, 1])
        # The copies come in falling order.
        count = count_nonzero(shortest >= detail)
        return maximum(count - 1, 0)


@functools.lru_cache(maxsize=8)
def _names(root: str, name: str) -> tuple[tuple[str, int | tuple[int, ...]], ...]:
    return Names.from_json(_read(f"{root}/{name}.json")).videos


def _read(path: str) -> bytes:
    content = files.read(path)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, f"the records lack {path}", path)
    return content


def _read_record(path: str, start: int, end: int) -> bytes:
    def call(_=None) -> bytes:
        try:
            return read_records(path, start, end, 1)[0].numpy()
        except tf.errors.DataLossError:
            raise OSError(errno.EIO, "the record is damaged", path) from None

    if files.is_remote(path):
        return remote_files.ask(path, "read", call)
    try:
        return call()
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, f"the records lack {path}", path) from None
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, error.message, path) from None


def read_records(path, start, end, count) -> tf.Tensor:
    """Neighbouring records of a file, their checksums compared: a string (count,) tensor.

    The file is read from `start` on, so that the time does not depend on what comes before.

    Args:
        path: the file.
        start, end: where the first begins and the last ends in it.
        count: how many there are.
    """
    element = {"output_types": [tf.string], "output_shapes": [[]]}
    # The public class always reads from the beginning.
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=tf.cast(end - start, tf.int64),
        byte_offsets=[tf.cast(start, tf.int64)],
    )
    count = tf.cast(count, tf.int64)
    records = tf.raw_ops.TakeDataset(input_dataset=records, count=count, **element)
    element = {"output_types": [tf.string], "output_shapes": [[None]]}
    records = tf.raw_ops.BatchDatasetV2(
        input_dataset=records, batch_size=count, drop_remainder=True, **element
    )
    return tf.raw_ops.DatasetToSingleElement(dataset=records, **element)[0]
