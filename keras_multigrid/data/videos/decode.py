"""Decoding of exactly those frames of a video that a clip needs."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from keras_multigrid import files
from keras_multigrid.data.videos.segments import MP4, decode_segments, has_times, to_rgb
from keras_multigrid.data.videos.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Images, VideoRecord

# How many times smaller an image is decoded.
_FLAGS = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# Number of the EXIF entry that tells how a picture is to be turned.
_ORIENTATION = 0x0112


class DecodeError(ValueError):
    """A video that cannot be read: missing, corrupt, empty, or without pictures.

    The message names the path and the reason. Errors of the program, such as indices outside the
    video, are plain `ValueError`s.
    """


def decode_frames(
    record: VideoRecord,
    select: Callable[[int], np.ndarray],
    *,
    short_side: int | None = None,
    detail: int | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Decode the frames of one video that `select` asks for.

    The source is `record.frame_paths` where given, else the images in the folder `record.path` in
    natural order (2.jpg before 10.jpg), else the video file `record.path`. Phone videos are turned
    upright as players do. If a header promises more frames than the file holds, the last frame that
    could be decoded stands for the missing ones.

    Args:
        record: the video.
        select: takes the number of frames in the source, returns the wanted indices: integers in
            [0, number of frames), never decreasing. A repeated index is decoded once.
        short_side: shorter side that is needed, in pixels. JPEGs of twice, four or eight times as
            much are decoded at a half, a quarter or an eighth of their size, which takes less time.
            None: at their size, as videos are always.
        detail: short side of the smallest copy that will do, of videos that have copies of several
            sizes. None: the largest.

    Returns:
        frames: one uint8 (height, width, 3) for each index, RGB, all of one size.
        indices: int64 (num_indices,), what `select` returned.

    Raises:
        DecodeError: the video cannot be read.
        StorageUnavailableError: a remote file system does not answer.
        ValueError: `select` returned something other than such indices.

    Example, a video of 4 frames `a b c d`:

        select(4) = [1, 1, 3]   frames: b b d
    """
    try:
        images = _images(record, detail)
        if images is None:
            return _decode_video(record.path, select)
        return _decode_images(images, select, path=record.path, short_side=short_side)
    except files.StorageUnavailableError:
        # No fault of the video.
        raise
    except (av.FFmpegError, OSError, UnicodeError) as error:
        raise DecodeError(f"Cannot decode '{record.path}': {_reason(error)}.") from error


def read_video(record: VideoRecord) -> np.ndarray:
    """Decode all frames of one video: uint8 (num_frames, height, width, 3), RGB.

    Frame i is the frame that `decode_frames` returns for index i.

    Args:
        record: the video.

    Raises:
        DecodeError: the video cannot be read.
        StorageUnavailableError: a remote file system does not answer.
    """
    frames, _ = decode_frames(record, np.arange)
    return np.stack(frames)


def all_frames(record: VideoRecord) -> Iterator[tuple[np.ndarray, bytes | None]]:
    """Every frame of one video in turn, however long it is, and its JPEG where it comes from one.

    Args:
        record: the video.

    Yields:
        The frame that `decode_frames` returns for this index: uint8 (height, width, 3), RGB.
        The JPEG, of the same size; None where there is none that all readers show alike: not those
        that are to be turned, nor those made for print.

    Raises:
        DecodeError: the video cannot be read.
        StorageUnavailableError: a remote file system does not answer.
    """
    try:
        images = _images(record)
        if images is None:
            for frame in _all_video_frames(record.path):
                yield frame, None
            return
        for index in range(len(images)):
            content = images[index]
            frame = _to_image(content, 1, images.name(index))
            yield frame, content if _is_plain_jpeg(content) else None
    except files.StorageUnavailableError:
        raise
    except (av.FFmpegError, OSError, UnicodeError) as error:
        raise DecodeError(f"Cannot decode '{record.path}': {_reason(error)}.") from error


def _is_plain_jpeg(content: bytes) -> bool:
    with Image.open(io.BytesIO(content)) as image:
        is_upright = image.getexif().get(_ORIENTATION, 1) == 1
        return image.format == "JPEG" and image.mode in ("RGB", "L") and is_upright


class _ImageFiles:
    """The content of image files, read when it is asked for."""

    def __init__(self, paths: Sequence[str]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> bytes:
        return _read(self._paths[index])

    def name(self, index: int) -> str:
        return self._paths[index]


def _images(record: VideoRecord, detail: int | None = None) -> Images | None:
    """Encoded frames of a video, in order; None if it is a video file."""
    images = record.images(detail)
    if images is not None:
        return images
    if record.frame_paths:
        return _ImageFiles(record.frame_paths)
    if not _is_folder(record.path):
        return None
    folder = record.path.rstrip("/")
    return _ImageFiles([f"{folder}/{name}" for name in _list_images(folder)])


def _select_indices(
    select: Callable[[int], np.ndarray], *, num_frames: int, path: str
) -> np.ndarray:
    if num_frames < 1:
        raise DecodeError(f"Cannot decode '{path}': it has no frames.")
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


def _in_order(images: dict[int, np.ndarray], indices: np.ndarray, *, path: str) -> list[np.ndarray]:
    shapes = {image.shape for image in images.values()}
    if len(shapes) > 1:
        sizes = sorted(f"{height} x {width}" for height, width, _ in shapes)
        raise DecodeError(
            f"Cannot decode '{path}': all frames must have one size. Received: {', '.join(sizes)} "
            "(height x width). Extract the frames again from one video."
        )
    return [images[index] for index in indices.tolist()]


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.strip(". ") or type(error).__name__


# ---- Images --------------------------------------------------------------------------------------


def _is_folder(path: str) -> bool:
    # A remote file system takes as long to answer as to send a small file: the name must do.
    if files.is_remote(path) and path.lower().endswith(VIDEO_SUFFIXES):
        return False
    return files.is_folder(path)


def _list_images(folder: str) -> list[str]:
    """Names of the images in a folder, in natural order."""
    names = sorted(files.list_folder(folder))
    if _are_numbered_images(names):
        return names
    images = [n for n in names if n[0] != "." and n.lower().endswith(IMAGE_SUFFIXES)]
    return sorted(images, key=_natural_order)


def _are_numbered_images(names: Sequence[str]) -> bool:
    """Whether names differ in digits alone, as those of most folders do: sorting them is enough.

    Column by column, which takes a tenth of the time of looking at each name.
    """
    if not names or len(set(map(len, names))) > 1:
        return False
    first, joined = names[0], "".join(names)
    columns = (joined[place :: len(first)] for place in range(len(first)))
    return (
        first[0] != "."
        and first.lower().endswith(IMAGE_SUFFIXES)
        and all(c.isdecimal() or c == c[0] * len(names) for c in columns)
    )


def _natural_order(name: str) -> tuple[list[str | int], str]:
    # A split by digits alternates text and number, so that like meets like when lists compare.
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _decode_images(
    images: Images,
    select: Callable[[int], np.ndarray],
    *,
    path: str,
    short_side: int | None,
) -> tuple[list[np.ndarray], np.ndarray]:
    indices = _select_indices(select, num_frames=len(images), path=path)
    reduction = 1 if short_side is None else _reduction(images, short_side)
    wanted = sorted(set(indices.tolist()))
    decoded = {index: _read_image(images, index, reduction) for index in wanted}
    if reduction > 1 and len({image.shape for image in decoded.values()}) > 1:
        # For an error that tells their own sizes.
        decoded = {index: _read_image(images, index, 1) for index in wanted}
    return _in_order(decoded, indices, path=path), indices


def _reduction(images: Images, short_side: int) -> int:
    """How many times smaller JPEGs can be decoded, and still have the shorter side."""
    try:
        with Image.open(io.BytesIO(images[0])) as image:
            times = min(image.size) // short_side if image.format == "JPEG" else 1
    except files.StorageUnavailableError:
        raise
    except (OSError, Image.DecompressionBombError):
        # Decoding will say what is wrong with it.
        return 1
    return max(n for n in _FLAGS if n <= max(times, 1))


def _read_image(images: Images, index: int, reduction: int) -> np.ndarray:
    name = images.name(index)
    try:
        content = images[index]
    except files.StorageUnavailableError:
        raise
    except OSError as error:
        raise DecodeError(f"Cannot decode the image '{name}': {_reason(error)}.") from error
    return _to_image(content, reduction, name)


def _to_image(content: bytes, reduction: int, name: str) -> np.ndarray:
    if not content:
        raise DecodeError(f"Cannot decode the image '{name}': it is empty.")
    is_jpeg = content[:2] == b"\xff\xd8"
    try:
        array = np.frombuffer(content, np.uint8)
        image = cv2.imdecode(array, _FLAGS[reduction if is_jpeg else 1])
    except cv2.error as error:
        raise DecodeError(f"Cannot decode the image '{name}': it is too large.") from error
    if image is None:
        raise DecodeError(f"Cannot decode the image '{name}': it is cut off, or no image.")
    if reduction == 1:
        return image
    if is_jpeg:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    # Among JPEGs, which are rounded up.
    height, width = (-(-side // reduction) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _read(path: str) -> bytes:
    with files.open_file(path) as file:
        return file.read()


# ---- Video files ---------------------------------------------------------------------------------


def _decode_video(
    path: str, select: Callable[[int], np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    source = _source(path)
    with _open(source) as container:
        stream = video_stream(container, path)
        num_frames = _num_frames(container, stream) or _count_packets(source, path)
        indices = _select_indices(select, num_frames=num_frames, path=path)
        decode = decode_segments if has_times(container, stream) else _decode_in_order
        images = decode(container, stream, indices)
    if images is None:
        with _open(source) as container:
            images = _decode_in_order(container, video_stream(container, path), indices)
    if not images:
        raise DecodeError(f"Cannot decode '{path}': no frame could be decoded.")
    return _in_order(images, indices, path=path), indices


def _all_video_frames(path: str) -> Iterator[np.ndarray]:
    source = _source(path)
    with _open(source) as container:
        stream = video_stream(container, path)
        num_frames = _num_frames(container, stream) or _count_packets(source, path)
        reformatter, count, frame = VideoReformatter(), 0, None
        for frame in islice(container.decode(stream), num_frames):
            yield to_rgb(frame, reformatter)
            count += 1
        if frame is None:
            raise DecodeError(f"Cannot decode '{path}': no frame could be decoded.")
        # The header promised more frames than there are.
        yield from repeat(to_rgb(frame, reformatter), num_frames - count)


def _source(path: str) -> str | bytes:
    """What FFmpeg reads: a local file by its name, the content of a remote one."""
    # "file:" keeps FFmpeg from reading a colon in a name as the end of a protocol.
    return _read(path) if files.is_remote(path) else f"file:{path}"


def _open(source: str | bytes) -> av.container.InputContainer:
    source = io.BytesIO(source) if isinstance(source, bytes) else source
    # A title in Latin-1 is no reason to lose a video.
    return av.open(source, metadata_errors="replace")


def video_stream(container: av.container.InputContainer, path: str) -> av.VideoStream:
    """The stream that is decoded, on one thread.

    Raises:
        DecodeError: there is none.
    """
    if not container.streams.video:
        raise DecodeError(f"Cannot decode '{path}': it has no video stream.")
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not streams:
        raise DecodeError(f"Cannot decode '{path}': FFmpeg does not know how it is encoded.")
    # The others are covers and thumbnails.
    stream = max(streams, key=lambda stream: stream.width * stream.height)
    # Work is parallel over clips: threads inside one would only compete with the other clips.
    stream.codec_context.thread_count = 1
    return stream


def _num_frames(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """Number of frames that the header knows of; 0: it does not say."""
    if container.format.name != MP4:
        # One flipped bit can promise millions, whose indices would fill the memory. With the header
        # of its packet a frame takes eight bytes at least.
        return stream.frames if 8 * stream.frames <= container.size else 0
    entries = stream.index_entries
    # More entries than frames: a fragmented file, whose header counts the first fragment only.
    if len(entries) > stream.frames:
        return 0
    # A video cut without encoding it again keeps frames before the cut, decoded but not shown.
    return sum(not entry.is_discard for entry in entries)


def _count_packets(source: str | bytes, path: str) -> int:
    with _open(source) as container:
        packets = container.demux(video_stream(container, path))
        return sum(packet.size > 0 and not packet.is_discard for packet in packets)


def _decode_in_order(
    container: av.container.InputContainer, stream: av.VideoStream, indices: np.ndarray
) -> dict[int, np.ndarray]:
    """Image by index, decoded from the first frame on: right for every file, and slow."""
    wanted, last = set(indices.tolist()), int(indices[-1])
    reformatter, images, frame = VideoReformatter(), {}, None
    for index, frame in enumerate(container.decode(stream)):
        if index in wanted:
            images[index] = to_rgb(frame, reformatter)
        if index == last:
            return images
    if frame is None:
        return {}
    # The header promised more frames than there are.
    tail = to_rgb(frame, reformatter)
    return {index: images.get(index, tail) for index in wanted}
