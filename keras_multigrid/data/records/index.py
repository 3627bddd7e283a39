"""The small files of records: what is believed of them, and where they say that records are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_multigrid import files
from keras_multigrid.data.clips.arrays import count_nonzero, maximum, minimum, reshape
from keras_multigrid.data.videos.open_video import DecodeError

# Of a JPEG.
_LONGEST_SIDE = 65_535


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where the records of a video are in its shard.

    Args:
        num_frames: frames of the video.
        sizes: height and width of each copy, in pixels.
        record_bytes: for each copy, the bytes that each of its records takes in the file.
    """

    num_frames: int
    sizes: tuple[tuple[int, int], ...]
    record_bytes: tuple[tuple[int, ...], ...]


def index_content(entries: Sequence[Entry]) -> bytes:
    """The index of a shard: int64 numbers, little-endian.

    First, for each video and after the last one, the place of its numbers in this list; then the
    numbers of each video: how many frames it has and, for each copy, height, width, and the places
    in the file where its records begin and where the last one ends.
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


def labels_content(labels: Sequence[int]) -> bytes:
    """The labels file of a part: int32 numbers, little-endian, and the SHA-256 of them."""
    content = np.asarray(labels, "<i4").tobytes()
    return content + hashlib.sha256(content).digest()


def labels_of(content: bytes, count: int) -> np.ndarray | None:
    """The labels of a file that `labels_content` made, int32 (count,); None if it is not whole."""
    numbers, digest = content[: 4 * count], content[4 * count :]
    if hashlib.sha256(numbers).digest() != digest:
        return None
    return np.frombuffer(numbers, "<i4")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file of the records, and what the manifest says about it.

    Args:
        path: of the file, local or remote.
        size: bytes; None: it does not say.
        sha256: checksum; None: it does not say.
    """

    path: str
    size: int | None = None
    sha256: str | None = None

    def read(self) -> bytes:
        """Its content.

        Raises:
            DecodeError: it is missing, or not as it was written.
            StorageUnavailableError: a fault of the machine has lasted.
            OSError: it is no file that can be read.
        """
        # One byte more shows that it is longer, and no more of it is read.
        length = -1 if self.size is None else self.size + 1
        content = self.part(0, length)
        if self.size is not None and len(content) != self.size:
            raise self.damaged(f"it has not the {self.size} bytes of the manifest")
        if self.sha256 is not None and hashlib.sha256(content).hexdigest() != self.sha256:
            raise self.damaged("its checksum is not that of the manifest")
        return content

    def part(self, offset: int, length: int) -> bytes:
        """Some bytes of it, fewer where it ends. Errors: those of `read`."""
        try:
            return files.retried(
                f"read {self.path}",
                lambda: files.read_range(self.path, offset=offset, length=length),
            )
        except FileNotFoundError:
            raise self.damaged("the records lack it") from None

    def damaged(self, reason: str) -> DecodeError:
        """The error that says why it cannot be used."""
        return DecodeError(
            f"Cannot read '{self.path}': {reason}. To make a damaged shard anew, delete its .json "
            "file and prepare the records again by `keras-multigrid prepare`."
        )


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
            numbers: those of `index_content`.
            row: the video's place in the shard.
            num_copies: number of copies.
        """
        entry = numbers[numbers[row] : numbers[row + 1]]
        copies = reshape(entry[1:], (num_copies, -1))
        return cls(num_frames=entry[0], sizes=copies[:, :2], places=copies[:, 2:])

    def is_sound(self, frames_per_record: int):
        """Whether it can be true. What is not may ask for any memory, or crash TensorFlow.

        Args:
            frames_per_record: of the records' format.
        """
        copies = self.sizes.shape[0]
        records = (self.num_frames + frames_per_record - 1) // frames_per_record
        is_size = (self.sizes >= 1) & (self.sizes <= _LONGEST_SIDE)
        is_rising = self.places[:, 1:] > self.places[:, :-1]
        return (
            (self.num_frames >= 1)
            & (count_nonzero(is_size) == 2 * copies)
            & (count_nonzero(is_rising) == copies * records)
            & (count_nonzero(self.places >= 0) == copies * (records + 1))
        )

    def copy(self, detail):
        """Number of the smallest copy whose short side is `detail` at least; 0 if none is."""
        shortest = minimum(self.sizes[:, 0], self.sizes[:, 1])
        # The copies come in falling order.
        count = count_nonzero(shortest >= detail)
        return maximum(count - 1, 0)
