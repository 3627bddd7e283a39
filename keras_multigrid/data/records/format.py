"""Videos as records: JPEG frames in sharded TFRecord files, and where those of each video stand.

    root/
      manifest.json                        how it was made, classes, shards and their checksums
      256/train-00003-of-00010.tfrecord    frames whose short side has 256 pixels at most
      128/train-00003-of-00010.tfrecord    the same frames, smaller
      train-00003-of-00010.index           where the records of each of its videos begin
      train-00003-of-00010.json            names and labels of its videos

A record is a SequenceExample in the layout of TF-Vision and DMVR: its frames, one JPEG each, are
the feature list `image/encoded`, its classes `clip/label/index`. Long videos are cut into several
records, one behind the other, so that a clip costs no more to read than the frames around it:

    video      0 ............... 31 | 32 .............. 63 | 64 ... 70
    clip                   x   x      x   x                              reads the first two
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from keras_multigrid.data.videos.decode import all_frames
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord

MANIFEST = "manifest.json"
PARTS = ("train", "validation")

_VERSION = 1
# Of the frames of a record: messages end at 2 GB, and hold names, too.
_MOST_BYTES = 2_000_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordFormat:
    """How videos are written as records.

    Args:
        short_sides: of each copy of the frames, in pixels, falling; smaller frames keep their size.
            None, which comes first, keeps the size of all. Coarse grids read a smaller copy.
        frames_per_record: frames of a record; the last one of a video may have fewer.
        videos_per_shard: videos of a shard; unreadable ones are left out of it.
        quality: of JPEG, 1 to 100. Frames that are JPEGs of the right size are kept as they are.

    Raises:
        ValueError: if a value is out of range.

    Example, full-size clips and those of coarse grids:

    >>> RecordFormat(short_sides=(256, 128))
    """

    short_sides: tuple[int | None, ...] = (256,)
    frames_per_record: int = 32
    videos_per_shard: int = 64
    quality: int = 90

    def __post_init__(self):
        if isinstance(self.short_sides, (list, tuple)):
            object.__setattr__(self, "short_sides", tuple(self.short_sides))
        if not _are_short_sides(self.short_sides):
            raise ValueError(
                "`short_sides` must be a tuple of sizes in pixels, the largest first; None in it "
                f"stands for the videos' own. Received: {self.short_sides!r}. Use for example "
                "(256, 128) or (None,)."
            )
        for name, highest in (
            ("frames_per_record", np.inf),
            ("videos_per_shard", np.inf),
            ("quality", 100),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= highest:
                raise ValueError(
                    f"`{name}` must be a positive integer{' up to 100' * (highest == 100)}. "
                    f"Received: {value!r}."
                )

    @property
    def copies(self) -> tuple[str, ...]:
        """Names of the folders of the copies."""
        return tuple("full" if side is None else str(side) for side in self.short_sides)

    def num_shards(self, num_videos: int) -> int:
        """Shards of so many videos."""
        return -(-num_videos // self.videos_per_shard)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a video stands in its shard.

    Args:
        num_frames: frames of the video.
        sizes: height and width of each copy, in pixels.
        record_bytes: for each copy, the bytes that each of its records takes in the file.
    """

    num_frames: int
    sizes: tuple[tuple[int, int], ...]
    record_bytes: tuple[tuple[int, ...], ...]


def _are_short_sides(values: object) -> bool:
    if not isinstance(values, tuple) or not values:
        return False
    sides = [np.inf if side is None else side for side in values]
    if not all(isinstance(side, (int, float)) and side >= 1 for side in sides):
        return False
    return all(a > b for a, b in itertools.pairwise(sides))


def shard_name(part: str, shard: int, num_shards: int) -> str:
    """Name of a shard without folder and suffix: train-00003-of-00010."""
    return f"{part}-{shard:05d}-of-{num_shards:05d}"


def shard_files(form: RecordFormat, name: str) -> tuple[str, ...]:
    """Files of a shard below the root: the records of each copy, the index, names and labels."""
    return (
        *(f"{copy}/{name}.tfrecord" for copy in form.copies),
        f"{name}.index",
        f"{name}.json",
    )


def write_video(
    video: VideoRecord, form: RecordFormat, paths: Sequence[str], class_names: Sequence[str]
) -> Entry:
    """Write the records of one video, a file for each copy.

    The same video gives the same bytes. A shard is such files, one behind the other.

    Args:
        video: the video.
        form: how it is written.
        paths: local files, as many as `form.copies`.
        class_names: names of the classes.

    Returns:
        Where they stand.

    Raises:
        DecodeError: it cannot be read to its end.
        StorageUnavailableError: the remote file system that it is on does not answer.
        OSError: a file cannot be written.
    """
    sizes, record_bytes = None, [[] for _ in paths]
    num_frames = 0
    try:
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(tf.io.TFRecordWriter(path)) for path in paths]
            for chunk in _chunks(_encoded_frames(video, form), form.frames_per_record):
                for copy, writer in enumerate(writers):
                    frames = [frame[copy][0] for frame in chunk]
                    size = chunk[0][copy][1]
                    content = _sequence_example(video, frames, size, num_frames, class_names)
                    writer.write(content)
                    # Length, two checksums.
                    record_bytes[copy].append(len(content) + 16)
                sizes = tuple(size for _, size in chunk[0])
                num_frames += len(chunk)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    if not num_frames:
        raise DecodeError(f"Cannot decode '{video.path}': it has no frames.")
    return Entry(num_frames=num_frames, sizes=sizes, record_bytes=tuple(map(tuple, record_bytes)))


def index_content(entries: Sequence[Entry]) -> bytes:
    """The index of a shard: int64 numbers, little-endian.

    First, for each video and behind the last one, the place of its numbers in this list; then the
    numbers of each video: its frames and, for each copy, height, width, and the places in the file
    where its records begin and where the last one ends.
    """
    ends = np.zeros(len(entries[0].sizes) if entries else 0, np.int64)
    rows = []
    for entry in entries:
        row = [entry.num_frames]
        for copy, (size, record_bytes) in enumerate(
            zip(entry.sizes, entry.record_bytes, strict=True)
        ):
            places = ends[copy] + np.cumsum([0, *record_bytes])
            row += [*size, *places.tolist()]
            ends[copy] = places[-1]
        rows.append(row)
    places = len(rows) + 1 + np.cumsum([0, *map(len, rows)])
    return np.concatenate([places, *rows]).astype("<i8").tobytes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """What the manifest tells of a shard.

    Args:
        name: without folder and suffix.
        num_videos: videos in it; those that could not be read are not.
        num_frames: frames of all of them.
        num_bad: videos that were left out.
        bytes: size of each of its files, by name below the root.
        sha256: checksum of each of its files.
    """

    name: str
    num_videos: int
    num_frames: int
    num_bad: int
    bytes: Mapping[str, int]
    sha256: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Names:
    """The names file of a shard, written when its other files are there: it marks it as whole.

    Args:
        videos: path and label of each video.
        bad: path and reason of each video that was left out.
        num_frames: frames of all videos.
        bytes: size of each of the other files, by name below the root.
        sha256: checksum of each of the other files.
    """

    videos: tuple[tuple[str, int | tuple[int, ...]], ...]
    bad: tuple[tuple[str, str], ...]
    num_frames: int
    bytes: Mapping[str, int]
    sha256: Mapping[str, str]

    def to_json(self) -> bytes:
        """The content of its file."""
        # As ASCII: names may be any bytes.
        return json.dumps(dataclasses.asdict(self), indent=1).encode("ascii")

    @classmethod
    def from_json(cls, content: str | bytes) -> "Names":
        """Of the content of its file."""
        values: dict[str, Any] = json.loads(content)
        videos = tuple(
            (path, tuple(label) if isinstance(label, list) else label)
            for path, label in values.pop("videos")
        )
        bad = tuple((path, reason) for path, reason in values.pop("bad"))
        return cls(videos=videos, bad=bad, **values)

    def shard(self, name: str) -> Shard:
        """What the manifest tells of the shard of this name."""
        file, content = f"{name}.json", self.to_json()
        return Shard(
            name=name,
            num_videos=len(self.videos),
            num_frames=self.num_frames,
            num_bad=len(self.bad),
            bytes={**self.bytes, file: len(content)},
            sha256={**self.sha256, file: hashlib.sha256(content).hexdigest()},
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of records holds.

    Args:
        form: how the videos were written.
        class_names: name of each class.
        multi_label: videos may show several classes.
        shards: those of each part, "train" and "validation", in order.
    """

    form: RecordFormat
    class_names: tuple[str, ...]
    multi_label: bool
    shards: Mapping[str, tuple[Shard, ...]]

    def to_json(self) -> str:
        """The content of its file."""
        content = {"version": _VERSION, **dataclasses.asdict(self)}
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, content: str | bytes) -> "Manifest":
        """Of the content of its file.

        Raises:
            ValueError: if it is none.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            version = values.pop("version")
            if version != _VERSION:
                raise ValueError(f"its version is {version}, this package reads {_VERSION}")
            form = RecordFormat(**values.pop("form"))
            class_names = tuple(values.pop("class_names"))
            shards = {
                part: tuple(Shard(**shard) for shard in shards)
                for part, shards in values.pop("shards").items()
            }
            return cls(form=form, class_names=class_names, shards=shards, **values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no manifest of records ({error!r})") from None


def _encoded_frames(
    video: VideoRecord, form: RecordFormat
) -> Iterator[list[tuple[bytes, tuple[int, int]]]]:
    """For each frame, JPEG and size of each copy."""
    size = None
    for frame, jpeg in all_frames(video):
        if size is not None and frame.shape[:2] != size:
            raise DecodeError(
                f"Cannot decode '{video.path}': all frames must have one size. Received: "
                f"{size[0]} x {size[1]} and {frame.shape[0]} x {frame.shape[1]} (height x width)."
            )
        size = frame.shape[:2]
        copies = []
        for side in form.short_sides:
            scaled = _scaled(frame, side)
            if copies and copies[-1][1] == scaled.shape[:2]:
                copies.append(copies[-1])
                continue
            if scaled is frame and jpeg is not None:
                copies.append((jpeg, size))
            else:
                copies.append((_encode(scaled, form.quality), scaled.shape[:2]))
        yield copies


def _scaled(frame: np.ndarray, short_side: int | None) -> np.ndarray:
    shortest = min(frame.shape[:2])
    if short_side is None or shortest <= short_side:
        return frame
    height, width = (round(side * short_side / shortest) for side in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _encode(frame: np.ndarray, quality: int) -> bytes:
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _chunks(items: Iterable[Any], count: int) -> Iterator[list[Any]]:
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == count:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _sequence_example(
    video: VideoRecord,
    frames: Sequence[bytes],
    size: tuple[int, int],
    first_frame: int,
    class_names: Sequence[str],
) -> bytes:
    example = tf.train.SequenceExample()
    labels = video.label if isinstance(video.label, tuple) else (video.label,)
    context = example.context.feature
    context["clip/data_path"].bytes_list.value.append(_encoded_text(video.path))
    context["clip/first_frame"].int64_list.value.append(first_frame)
    context["clip/label/index"].int64_list.value.extend(labels)
    context["clip/label/text"].bytes_list.value.extend(
        _encoded_text(class_names[label]) for label in labels
    )
    context["image/format"].bytes_list.value.append(b"JPEG")
    context["image/height"].int64_list.value.append(size[0])
    context["image/width"].int64_list.value.append(size[1])
    if sum(map(len, frames)) > _MOST_BYTES:
        raise DecodeError(
            f"Cannot write '{video.path}': {len(frames)} frames are too large for one record, "
            "which has 2 GB at most. Use fewer `frames_per_record` or a smaller `short_sides`."
        )
    lists = example.feature_lists.feature_list
    for frame in frames:
        lists["image/encoded"].feature.add().bytes_list.value.append(frame)
    for labels in video.frame_labels[first_frame : first_frame + len(frames)]:
        lists["frame/label/index"].feature.add().int64_list.value.extend(labels)
    return example.SerializeToString(deterministic=True)


def _encoded_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
