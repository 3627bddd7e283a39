"""Whether one video can be read, from its first frame to its last."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from keras_multigrid import files
from keras_multigrid.data.videos.containers import decoded, open_video_stream, source_of
from keras_multigrid.data.videos.decode import faults_of, opened, patiently
from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo
from keras_multigrid.data.videos.pictures import image_paths, listed_images
from keras_multigrid.data.videos.video import VideoRecord

# Images decoded at a time: all of a long video would not fit.
_CHUNK = 16
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a check of one video found.

    Args:
        fault: why the video cannot be used; empty: it can.
        warning: what is odd about a video that can be used; empty: nothing.
        content: digest of its files; empty: not computed.
    """

    fault: str = ""
    warning: str = ""
    content: str = ""


def check_video(record: VideoRecord, *, quick: bool = False) -> Outcome:
    """Decode a video as training does, and then every frame of it, one at a time.

    Args:
        record: the video.
        quick: decode the first two frames only.

    Example:

    >>> check_video(VideoRecord(path="cut_off.avi", label=0)).warning
    'truncated: 20 of 48 frames can be decoded; the last of them stands for the others'
    """

    def check() -> Outcome:
        with opened(record) as video:
            if quick:
                video.read(np.arange(min(video.num_frames, 2)))
                return Outcome()
            return _check_all(record, video)

    try:
        return patiently(record.path, check)
    except DecodeError as error:
        return Outcome(fault=f"unreadable: {error}")


def _check_all(record: VideoRecord, video: OpenVideo) -> Outcome:
    count = video.num_frames
    # The first, the last and one in the middle, found as in training.
    video.read(np.unique([0, count // 2, count - 1]))
    paths, warning = files_of(record), ""
    if paths == [record.path]:
        num_decoded = _count_decoded(record.path, video.first + count) - video.first
        if num_decoded < count:
            warning = (
                f"truncated: {num_decoded} of {count} frames can be decoded; "
                "the last of them stands for the others"
            )
    else:
        for start in range(0, count, _CHUNK):
            # With the first image, as all must have one size.
            video.read(np.r_[0, start : min(start + _CHUNK, count)])
    content = _digest(paths)
    # Two parts of one file are two videos.
    return Outcome(warning=warning, content=f"{content} {record.span}" if record.span else content)


def _count_decoded(path: str, num_frames: int) -> int:
    """How many of the first `num_frames` frames there are."""
    count, sizes = 0, set()
    with faults_of(path):
        container, stream = open_video_stream(source_of(path))
        with container:
            # Not turned into RGB: that would take as long as decoding itself.
            for frame in islice(decoded(container, stream), num_frames):
                count += 1
                sizes.add((frame.height, frame.width))
    if len(sizes) > 1:
        raise DecodeError(f"Cannot decode '{path}': its frames have several sizes.")
    return count


# ---- Files ---------------------------------------------------------------------------------------


def files_of(record: VideoRecord) -> list[str]:
    """The files that a video consists of: itself, or its images."""
    if record.frame_paths:
        return list(record.frame_paths)
    if not files.is_folder(record.path):
        return [record.path]
    try:
        return image_paths(record.path)
    except DecodeError:
        # Pictures of several videos: which they are still tells whether they have changed.
        folder = record.path.rstrip("/")
        return [f"{folder}/{name}" for name in sorted(listed_images(folder))]


def signature(record: VideoRecord) -> str:
    """A text that changes when a file of the video does: of names, sizes and times of change.

    Raises:
        FileNotFoundError: one of its files is missing, `filename`.
        OSError: the file system refuses to describe one of its files.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in files_of(record):
        status = files.status(path)
        state = status.size, status.modified
        digest.update(f"{path}\t{state}\n".encode("utf-8", "surrogateescape"))
    if record.span is not None:
        digest.update(str(record.span).encode())
    return digest.hexdigest()


def _digest(paths: Iterable[str]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for path in paths:
        # One digest a file, so that the borders between files count.
        content = hashlib.blake2b()
        with files.open_file(path) as file:
            while block := file.read(_READ_BYTES):
                content.update(block)
        whole.update(content.digest())
    return whole.hexdigest()
