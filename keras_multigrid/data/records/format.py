"""Videos as records: JPEG frames in sharded TFRecord files, and where those of each video are.

    root/
      manifest.json                        settings, classes, shards and their checksums
      256/train-00003-of-00010.tfrecord    frames whose short side has 256 pixels at most
      128/train-00003-of-00010.tfrecord    the same frames, smaller
      train-00003-of-00010.index           where the records of each of its videos begin
      train-00003-of-00010.json            names and labels of its videos
      train.labels                         labels of all videos, where each has one class

A record is a SequenceExample in the layout of TF-Vision and DMVR: its frames, one JPEG each, are
the feature list `image/encoded`, its classes `clip/label/index`. Long videos are cut into several
records, one after the other, so that a clip costs no more to read than the frames around it:

    video      0 ............... 31 | 32 .............. 63 | 64 ... 70
    clip                   x   x      x   x                              reads the first two
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from keras_multigrid import files
from keras_multigrid.checks import check_integer, is_number
from keras_multigrid.data.records.index import Entry
from keras_multigrid.data.videos.decode import all_frames
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord

MANIFEST = "manifest.json"
PARTS = ("train", "validation")

# What a file of records has beside the content of each: its length, and two checksums.
RECORD_OVERHEAD = 16

_VERSION = 1
# Of the frames of a record: a message has 2 GB at most, and holds names, too.
_MOST_BYTES = 2_000_000_000
# Names of files may be any bytes.
_ENCODING = ("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordFormat:
    """How videos are written as records.

    Args:
        short_sides: the short side of each copy of the frames in pixels, the largest first; smaller
            frames keep their size. None, which comes first, keeps the size of all. Coarse grids
            read a smaller copy.
        frames_per_record: frames of a record; the last one of a video may have fewer.
        videos_per_shard: listed videos of a shard; unreadable ones are left out of it.
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
        sides = self.short_sides
        sides = tuple(sides) if isinstance(sides, (list, tuple)) else ()
        sizes = [np.inf if side is None else side for side in sides]
        are_sizes = all(side is None or (is_number(side) and side >= 1) for side in sides)
        if not sides or not are_sizes or not all(a > b for a, b in itertools.pairwise(sizes)):
            raise ValueError(
                "`short_sides` must be a tuple of sizes in pixels, the largest first; None in it "
                f"stands for the videos' own. Received: {self.short_sides!r}. Use for example "
                "(256, 128) or (None,)."
            )
        object.__setattr__(self, "short_sides", sides)
        check_integer("frames_per_record", self.frames_per_record)
        check_integer("videos_per_shard", self.videos_per_shard)
        check_integer("quality", self.quality, most=100)

    @property
    def copies(self) -> tuple[str, ...]:
        """Names of the folders of the copies."""
        return tuple("full" if side is None else str(side) for side in self.short_sides)


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


def labels_name(part: str) -> str:
    """Name of the file of a part's labels: train.labels."""
    return f"{part}.labels"


def write_video(
    video: VideoRecord, form: RecordFormat, paths: Sequence[str], class_names: Sequence[str]
) -> Entry:
    """Write the records of one video, a file for each copy.

    The same video gives the same bytes. A shard is such files, one after the other.

    Args:
        video: the video.
        form: how it is written.
        paths: the local files, as many as `form.copies`.
        class_names: names of the classes.

    Returns:
        Where the records are in the files.

    Raises:
        DecodeError: it cannot be read to its end.
        StorageUnavailableError: its remote file system does not answer.
        OSError: a file cannot be written.
    """
    sizes, record_bytes = None, [[] for _ in paths]
    num_frames = 0
    try:
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(tf.io.TFRecordWriter(path)) for path in paths]
            encoded = _encoded_frames(video, form)
            while chunk := list(itertools.islice(encoded, form.frames_per_record)):
                for copy, writer in enumerate(writers):
                    frames = [frame[copy][0] for frame in chunk]
                    size = chunk[0][copy][1]
                    content = _sequence_example(video, frames, size, num_frames, class_names)
                    writer.write(content)
                    record_bytes[copy].append(len(content) + RECORD_OVERHEAD)
                sizes = tuple(size for _, size in chunk[0])
                num_frames += len(chunk)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    if not num_frames:
        raise DecodeError(f"Cannot decode '{video.path}': it has no frames.")
    return Entry(num_frames=num_frames, sizes=sizes, record_bytes=tuple(map(tuple, record_bytes)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard in the manifest.

    Args:
        name: without folder and suffix.
        num_videos: videos in it, without those that could not be read.
        num_frames: frames of all of them.
        num_bad: videos that were left out.
        bytes: size of each of its files, by name below the root.
        sha256: checksum of each of its files.

    Raises:
        ValueError: if a number is none, or a file has no name.
    """

    name: str
    num_videos: int
    num_frames: int
    num_bad: int
    bytes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name in ("num_videos", "num_frames", "num_bad"):
            check_integer(name, getattr(self, name), least=0)
        _check_files(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Names:
    """The names file of a shard, which is written after its other files: it marks it as whole.

    Args:
        videos: path and label of each video.
        bad: path and reason of each video that was left out.
        num_frames, bytes, sha256: same as for `Shard`, without the names file itself.
    """

    videos: tuple[tuple[str, int | tuple[int, ...]], ...]
    bad: tuple[tuple[str, str], ...]
    num_frames: int
    bytes: Mapping[str, int]
    sha256: Mapping[str, str]

    def __post_init__(self):
        check_integer("num_frames", self.num_frames, least=0)
        _check_files(self)
        texts = [path for path, _ in self.videos] + [text for pair in self.bad for text in pair]
        labels = [v if isinstance(v, tuple) else (v,) for _, v in self.videos]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("A path or a reason is no text.")
        for label in itertools.chain(*labels):
            check_integer("label", label, least=0)

    def to_json(self) -> bytes:
        """The content of its file."""
        # ASCII, as names may be any bytes.
        return json.dumps(dataclasses.asdict(self), indent=1).encode("ascii")

    @classmethod
    def from_json(cls, content: str | bytes) -> "Names":
        """Read from the content of its file.

        Raises:
            ValueError: if it is not of such a file.
        """
        with _json_errors("no names file of records"):
            values: dict[str, Any] = json.loads(content)
            videos = tuple((path, label_of_json(label)) for path, label in values.pop("videos"))
            bad = tuple((path, reason) for path, reason in values.pop("bad"))
            return cls(videos=videos, bad=bad, **values)

    def shard(self, name: str) -> Shard:
        """The entry of the manifest for this shard, by its name."""
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
        multi_label: whether a video may show several classes.
        shards: those of each part, "train" and "validation", in order.
    """

    form: RecordFormat
    class_names: tuple[str, ...]
    multi_label: bool
    shards: Mapping[str, tuple[Shard, ...]]

    def to_json(self) -> str:
        """The content of its file."""
        return json.dumps({"version": _VERSION, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, content: str | bytes) -> "Manifest":
        """Read from the content of its file.

        Raises:
            ValueError: if it is not a manifest.
        """
        with _json_errors("no manifest of records"):
            values: dict[str, Any] = json.loads(content)
            version = values.pop("version")
            if version != _VERSION:
                raise ValueError(f"its version is {version}, this package reads {_VERSION}")
            values["form"] = RecordFormat(**values["form"])
            values["class_names"] = tuple(values["class_names"])
            shards = values["shards"]
            values["shards"] = {part: tuple(Shard(**s) for s in shards[part]) for part in PARTS}
            return cls(**values)


def read_manifest(root: str) -> Manifest:
    """The manifest of a finished folder of records.

    Raises:
        FileNotFoundError: there are no records, or they are not complete.
        ValueError: it is damaged.
        StorageError: it cannot be read.
    """
    path = f"{root}/{MANIFEST}"
    content = files.read(path)
    if content is None:
        raise FileNotFoundError(
            f"`root` must be a folder of records. Received: '{root}', which holds no {MANIFEST}: "
            "it is written last. If the records have moved, set the root in their records.gin. "
            "Otherwise prepare the records to their end first; the same command continues where it "
            f"was stopped: keras-multigrid prepare --gin_file=... --out={root}"
        )
    try:
        return Manifest.from_json(content)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read: {error}. Make it anew: keras-multigrid prepare "
            f"--gin_file=... --out={root}"
        ) from None


def _check_files(listed: Shard | Names) -> None:
    for values, kind in ((listed.bytes, int), (listed.sha256, str)):
        if not all(isinstance(v, kind) and v is not True for v in values.values()):
            raise TypeError(f"A size or a checksum is of another type than {kind.__name__}.")


@contextlib.contextmanager
def _json_errors(expected: str) -> Iterator[None]:
    """Whatever is wrong with values from JSON becomes a ValueError."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is {expected} ({error!r})") from None


def label_of_json(value: int | list[int]) -> int | tuple[int, ...]:
    """A video's label as it was before it was written as JSON."""
    return tuple(value) if isinstance(value, list) else value


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
            elif scaled is frame and jpeg is not None:
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
    context["clip/data_path"].bytes_list.value.append(video.path.encode(*_ENCODING))
    context["clip/first_frame"].int64_list.value.append(first_frame)
    context["clip/label/index"].int64_list.value.extend(labels)
    context["clip/label/text"].bytes_list.value.extend(
        class_names[label].encode(*_ENCODING) for label in labels
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
