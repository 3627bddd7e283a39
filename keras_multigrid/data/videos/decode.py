"""Reading some or all frames of a video."""

import contextlib
import errno
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import av
import numpy as np

from keras_multigrid import files
from keras_multigrid.data.videos import limits
from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo, in_order, reason
from keras_multigrid.data.videos.video import VideoRecord

Value = TypeVar("Value")

# What FFmpeg says of damaged files, too.
_DOUBTFUL = (errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.EPROTO)


class DoubtfulError(DecodeError):
    """FFmpeg has failed as it does where a disk fails, but the disk can be read now."""


@contextlib.contextmanager
def opened(record: VideoRecord, detail: int | None = None) -> Iterator[OpenVideo]:
    """A video to read from; whatever keeps it from being read becomes a `DecodeError`.

    Args:
        record: the video.
        detail: short side of the smallest copy that will do, of videos that have copies of several
            sizes. None: the largest.

    Raises:
        DecodeError: the video cannot be read, or has no frames. Its methods raise it, too.
        OSError: the machine is at fault, not the video (`files.is_machine_fault`).

    Example:

    >>> with opened(record) as video:
    ...     frames = video.read(np.arange(0, video.num_frames, 2))
    """
    with faults_of(record.path):
        video = _Named(record.open(detail), record.path)
    with contextlib.closing(video):
        if video.num_frames < 1:
            raise DecodeError(f"Cannot decode '{record.path}': it has no frames.")
        yield video


class _Named:
    """An `OpenVideo` whose errors name it."""

    def __init__(self, video: OpenVideo, path: str):
        self._video, self._path = video, path

    def __getattr__(self, name: str) -> Any:
        with faults_of(self._path):
            value = getattr(self._video, name)
        return faults_of(self._path)(value) if inspect.ismethod(value) else value

    def frames(self) -> Iterator[tuple[np.ndarray, bytes | None]]:
        with faults_of(self._path):
            yield from self._video.frames()

    def scan(self, wanted: Callable[[int], bool]) -> Iterator[tuple]:
        with faults_of(self._path):
            yield from self._video.scan(wanted)


@contextlib.contextmanager
def faults_of(path: str) -> Iterator[None]:
    """Code whose errors are faults of a video: decoders raise errors of every kind."""
    try:
        yield
    except (files.StorageUnavailableError, files.UnknownSchemeError):
        raise
    except DecodeError:
        _read_to_its_end(path)
        raise
    except Exception as error:
        is_doubtful = isinstance(error, av.FFmpegError) and error.errno in _DOUBTFUL
        if files.is_machine_fault(error) and not is_doubtful:
            raise
        _read_to_its_end(path)
        why = reason(error)
        if isinstance(error, av.ArgumentError):
            # What decoders say of frames above the limit.
            why += f"; frames may have {limits.frame_pixels():,} pixels"
        kind = DoubtfulError if is_doubtful else DecodeError
        raise kind(f"Cannot decode '{path}': {why}.") from error


def patiently(path: str, read: Callable[[], Value]) -> Value:
    """The result of `read()`, which reads a video; repeated while the machine is at fault.

    Args:
        path: of the video, for errors.
        read: takes no argument.

    Raises:
        DecodeError: the video cannot be read.
        StorageUnavailableError: the machine's fault has lasted for `files.retry_seconds()`.
    """
    try:
        return files.retried(f"read {path}", read)
    except DoubtfulError:
        # A disk that was at fault can be read by now, and a damaged file fails again.
        return files.retried(f"read {path}", read)


def _read_to_its_end(path: str) -> None:
    """Raises a fault of the machine that keeps a file from being read.

    FFmpeg takes what a disk does not give for damage, or for the end of the file.
    """
    if files.is_remote(path) or not files.is_file(path):
        return
    try:
        with files.open_file(path) as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        if files.is_machine_fault(error):
            error.filename = path
            raise


def decode_frames(
    record: VideoRecord,
    select: Callable[[int], np.ndarray],
    *,
    short_side: int | None = None,
    detail: int | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Decode the frames of one video that `select` asks for.

    Args:
        record: the video.
        select: takes the number of frames in the video, returns the wanted indices: integers in
            [0, number of frames), never decreasing. A repeated index is decoded once.
        short_side: same as for `OpenVideo.read`.
        detail: same as for `opened`.

    Returns:
        frames: one uint8 (height, width, 3) for each index, RGB, all of one size.
        indices: int64 (num_indices,), what `select` returned.

    Raises:
        ValueError: `select` returned something other than such indices. Other errors: those of
            `opened`.

    Example, a video of 4 frames `a b c d`:

        select(4) = [1, 1, 3]   frames: b b d
    """

    def read():
        with opened(record, detail) as video:
            indices = _selected(select, video.num_frames)
            return video.read(indices, short_side), indices

    return patiently(record.path, read)


def read_video(record: VideoRecord) -> np.ndarray:
    """Decode all frames of one video: uint8 (num_frames, height, width, 3), RGB.

    It takes as much memory as they need: the limit of one read does not hold.

    Errors: those of `opened`.
    """

    def read():
        frames = [frame for frame, _ in all_frames(record)]
        return np.stack(in_order(dict(enumerate(frames)), np.arange(len(frames)), record.path))

    return patiently(record.path, read)


def all_frames(record: VideoRecord) -> Iterator[tuple[np.ndarray, bytes | None]]:
    """Every frame of one video in turn, however long it is, and its JPEG where it comes from one.

    Yields:
        The frame that `decode_frames` returns for this index: uint8 (height, width, 3), RGB.
        The JPEG, of the same size; None where there is none that all readers decode to the same
        picture: rotated ones and those made for print are left out.

    Errors: those of `opened`.
    """
    with opened(record) as video:
        yield from video.frames()


def _selected(select: Callable[[int], np.ndarray], num_frames: int) -> np.ndarray:
    indices = np.asarray(select(num_frames))
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        raise ValueError(
            "`select` must return a one-dimensional array of at least one integer. Received: "
            f"shape={indices.shape}, dtype={indices.dtype}. Return for example np.arange(8)."
        )
    indices = indices.astype(np.int64)
    if indices[0] < 0 or indices[-1] >= num_frames or np.any(np.diff(indices) < 0):
        raise ValueError(
            f"`select` must return indices in [0, {num_frames}) that never decrease. "
            f"Received: {indices.tolist()}. Clip them to the last frame and sort them."
        )
    return indices
