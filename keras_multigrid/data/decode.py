"""Decoding of exactly those frames of a video that a clip needs."""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np
import tensorflow as tf
from av.video.reformatter import VideoReformatter

from keras_multigrid.data.annotations import IMAGE_SUFFIXES, VideoRecord

# Codecs and containers whose packets carry a trustworthy presentation time, so that the place of
# a frame in the video is known before it is decoded. Others are decoded from the first frame:
# AVI stores no times, and old MPEG-4 files pack two frames into one packet.
_TIMED_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d"})
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_TIMED_CONTAINERS = frozenset({_MP4, "matroska,webm", "mpegts"})


class DecodeError(ValueError):
    """A video that cannot be read: missing, corrupt, empty, or without pictures.

    The message names the path and the reason. Errors of the program, such as indices outside the
    video, are plain `ValueError`s.
    """


def decode_frames(
    record: VideoRecord, select: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the frames of one video that `select` asks for.

    The source is `record.frame_paths` where given, else the images in the folder `record.path` in
    natural order (2.jpg before 10.jpg), else the video file `record.path`. Phone videos are turned
    upright as players do. If a header promises more frames than the file holds, the last frame that
    could be decoded stands for the missing ones.

    Args:
        record: the video.
        select: takes the number of frames in the source, returns the wanted indices: integers in
            [0, number of frames), never decreasing. A repeated index is decoded once.

    Returns:
        frames: uint8 (num_indices, height, width, 3), RGB.
        indices: int64 (num_indices,), what `select` returned.

    Raises:
        DecodeError: the video cannot be read.
        ValueError: `select` returned something other than such indices.

    Example, a video of 4 frames `a b c d`:

        select(4) = [1, 1, 3]   frames: b b d
    """
    try:
        if record.frame_paths:
            return _decode_images(record.frame_paths, select, path=record.path)
        if _is_folder(record.path):
            return _decode_images(_list_images(record.path), select, path=record.path)
        return _decode_video(record.path, select)
    except (av.FFmpegError, tf.errors.OpError, OSError, UnicodeError) as error:
        raise DecodeError(f"Cannot decode '{record.path}': {_reason(error)}.") from error


def read_video(record: VideoRecord) -> np.ndarray:
    """Decode all frames of one video: uint8 (num_frames, height, width, 3), RGB.

    Frame i is the frame that `decode_frames` returns for index i.

    Args:
        record: the video.

    Raises:
        DecodeError: the video cannot be read.
    """
    frames, _ = decode_frames(record, np.arange)
    return frames


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


def _stack(images: dict[int, np.ndarray], indices: np.ndarray, *, path: str) -> np.ndarray:
    shapes = {image.shape for image in images.values()}
    if len(shapes) > 1:
        sizes = sorted(f"{height} x {width}" for height, width, _ in shapes)
        raise DecodeError(
            f"Cannot decode '{path}': all frames must have one size. Received: {', '.join(sizes)} "
            "(height x width). Extract the frames again from one video."
        )
    return np.stack([images[index] for index in indices.tolist()])


def _reason(error: Exception) -> str:
    if isinstance(error, tf.errors.OpError):
        text = re.sub(r"\{\{.*?\}\} | \[Op:.*?\]$", "", error.message)
    else:
        text = getattr(error, "strerror", None) or str(error)
    return text.strip(". ") or type(error).__name__


# ---- Images --------------------------------------------------------------------------------------


def _is_remote(path: str) -> bool:
    return "://" in path


def _is_folder(path: str) -> bool:
    return tf.io.gfile.isdir(path) if _is_remote(path) else os.path.isdir(path)


def _list_images(folder: str) -> list[str]:
    names = [name for name in tf.io.gfile.listdir(folder) if name[0] != "."]
    images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    return [f"{folder.rstrip('/')}/{name}" for name in sorted(images, key=_natural_order)]


def _natural_order(name: str) -> tuple[list[str | int], str]:
    # A split by digits alternates text and number, so that like meets like when lists compare.
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _decode_images(
    paths: Sequence[str], select: Callable[[int], np.ndarray], *, path: str
) -> tuple[np.ndarray, np.ndarray]:
    indices = _select_indices(select, num_frames=len(paths), path=path)
    images = {index: _read_image(paths[index]) for index in set(indices.tolist())}
    return _stack(images, indices, path=path), indices


def _read_image(path: str) -> np.ndarray:
    try:
        # One operation after the other, not a tf.function over the clip: that would queue for the
        # threads on which the caller's parallel map already waits.
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=3).numpy()
    except tf.errors.OpError as error:
        raise DecodeError(f"Cannot decode the image '{path}': {_reason(error)}.") from error


# ---- Video files ---------------------------------------------------------------------------------


def _decode_video(path: str, select: Callable[[int], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    with _open(path) as container:
        stream = _video_stream(container, path)
        num_frames = _num_frames(container, stream) or _count_packets(path)
        indices = _select_indices(select, num_frames=num_frames, path=path)
        decode = _decode_segments if _has_times(container, stream) else _decode_in_order
        images = decode(container, stream, indices)
    if images is None:
        with _open(path) as container:
            images = _decode_in_order(container, _video_stream(container, path), indices)
    if not images:
        raise DecodeError(f"Cannot decode '{path}': no frame could be decoded.")
    return _stack(images, indices, path=path), indices


def _open(path: str) -> av.container.InputContainer:
    # "file:" keeps FFmpeg from reading a colon in a name as the end of a protocol.
    source = io.BytesIO(tf.io.read_file(path).numpy()) if _is_remote(path) else f"file:{path}"
    # A title in Latin-1 is no reason to lose a video.
    return av.open(source, metadata_errors="replace")


def _video_stream(container: av.container.InputContainer, path: str) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream is None:
        raise DecodeError(f"Cannot decode '{path}': it has no video stream.")
    if stream.codec_context is None:
        raise DecodeError(f"Cannot decode '{path}': FFmpeg does not know how it is encoded.")
    # Work is parallel over clips: threads inside one would only compete with the other clips.
    stream.codec_context.thread_count = 1
    return stream


def _num_frames(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """Number of frames that the header knows of; 0: it does not say."""
    if container.format.name != _MP4:
        # One flipped bit can promise millions, whose indices would fill the memory. With the header
        # of its packet a frame takes eight bytes at least.
        return stream.frames if 8 * stream.frames <= container.size else 0
    entries = stream.index_entries
    # More entries than frames: a fragmented file, whose header counts the first fragment only.
    if len(entries) > stream.frames:
        return 0
    # A video cut without encoding it again keeps frames before the cut, decoded but not shown.
    return sum(not entry.is_discard for entry in entries)


def _count_packets(path: str) -> int:
    with _open(path) as container:
        packets = container.demux(_video_stream(container, path))
        return sum(packet.size > 0 and not packet.is_discard for packet in packets)


def _to_rgb(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    # One thread: for small frames, starting more takes longer than the conversion.
    image = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return np.rot90(image, round(frame.rotation / 90)) if frame.rotation else image


def _decode_in_order(
    container: av.container.InputContainer, stream: av.VideoStream, indices: np.ndarray
) -> dict[int, np.ndarray]:
    """Image by index, decoded from the first frame on: right for every file, and slow."""
    wanted, last = set(indices.tolist()), int(indices[-1])
    reformatter, images, frame = VideoReformatter(), {}, None
    for index, frame in enumerate(container.decode(stream)):
        if index in wanted:
            images[index] = _to_rgb(frame, reformatter)
        if index == last:
            return images
    if frame is None:
        return {}
    # The header promised more frames than there are.
    tail = _to_rgb(frame, reformatter)
    return {index: images.get(index, tail) for index in wanted}


# ---- Jumping to the wanted frames ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Segment:
    """Packets from one key frame up to the next, in decoding order, and when they are shown.

    Decoding can start at any segment. Frames shown before their own key frame (the leading frames
    of an open group of pictures) need the segment before it, too:

        decoding order   I0 P3 B1 B2 | I6 B4 B5 P7     frames 4 and 5 lead the second segment
    """

    packets: tuple[av.Packet, ...]
    times: tuple[int, ...]  # of the shown frames, ascending

    @classmethod
    def of(cls, packets: list[av.Packet]) -> "_Segment | None":
        """None where the packets do not say which frame each one holds."""
        if not packets[0].is_keyframe or any(packet.pts is None for packet in packets):
            return None
        times = sorted(packet.pts for packet in packets if not packet.is_discard)
        if len(set(times)) < len(times):
            return None
        return cls(tuple(packets), tuple(times))


def _segments(packets: Iterable[av.Packet]) -> Iterator[_Segment | None]:
    segment = []
    for packet in packets:
        if packet.is_keyframe and segment:
            yield _Segment.of(segment)
            segment = []
        # Demuxing ends with an empty packet, which holds no frame.
        if packet.size:
            segment.append(packet)
    if segment:
        yield _Segment.of(segment)


class _SegmentDecoder:
    """Decodes segments and keeps their wanted frames.

    `images` maps index to RGB image, `missing` presentation time to index.
    """

    def __init__(self, stream: av.VideoStream):
        self.images: dict[int, np.ndarray] = {}
        self.missing: dict[int, int] = {}
        self.is_warm = False  # the decoder holds all reference frames of the segment before
        self._context = stream.codec_context
        self._reformatter = VideoReformatter()
        self._skips = self._context.name == "h264"
        self._skip_frame = "DEFAULT"

    def warm_up(self, segment: _Segment) -> None:
        """Decode a segment for the frames that refer to it."""
        for packet in segment.packets:
            self._send(packet)
        self.is_warm = True

    def decode(self, segment: _Segment, indices: dict[int, int]) -> None:
        """Decode a segment up to its last wanted frame; `indices` by presentation time."""
        self.missing.update(indices)
        for packet in segment.packets:
            self._send(packet)
            if not self.missing:
                self.restart()
                return
        self.is_warm = True

    def finish(self) -> None:
        """Take the frames that the decoder still holds back, and forget its reference frames."""
        if self.is_warm:
            self._keep(self._context.decode(None))
            self.restart()

    def restart(self) -> None:
        """Forget the reference frames."""
        self._context.flush_buffers()
        self.is_warm = False

    def _send(self, packet: av.Packet) -> None:
        # H.264 marks frames that no other refers to, often half of a video: unless wanted, they
        # need not be decoded. Not so for HEVC, whose mark holds within one temporal layer only.
        if self._skips:
            level = "DEFAULT" if packet.pts in self.missing else "NONREF"
            if level != self._skip_frame:
                self._context.skip_frame = self._skip_frame = level
        self._keep(self._context.decode(packet))

    def _keep(self, frames: list[av.VideoFrame]) -> None:
        for frame in frames:
            index = self.missing.pop(frame.pts, None)
            if index is not None:
                self.images[index] = _to_rgb(frame, self._reformatter)


def _decode_segments(
    container: av.container.InputContainer, stream: av.VideoStream, indices: np.ndarray
) -> dict[int, np.ndarray] | None:
    """Decode only the segments that hold wanted frames.

    The file is read, not sought in: a seek lands where the container's index says, which is not
    always a key frame, and never tells the number of the frame it found.

    Returns:
        Image by index, or None where this way cannot give every wanted frame for certain.
    """
    wanted = set(indices.tolist())
    decoder, before, num_before = _SegmentDecoder(stream), None, 0
    for segment in _segments(container.demux(stream)):
        if segment is None or not _follows(segment, before):
            return None
        wanted_here = {
            time: index for index, time in enumerate(segment.times, num_before) if index in wanted
        }
        _decode_segment(decoder, segment, wanted_here, before)
        before, num_before = segment, num_before + len(segment.times)
        if num_before > indices[-1]:
            break
    decoder.finish()
    return decoder.images if wanted == decoder.images.keys() else None


def _has_times(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    return stream.codec.name in _TIMED_CODECS and container.format.name in _TIMED_CONTAINERS


def _follows(segment: _Segment, before: _Segment | None) -> bool:
    if before is None or not segment.times or not before.times:
        return True
    return before.times[-1] < segment.times[0]


def _decode_segment(
    decoder: _SegmentDecoder,
    segment: _Segment,
    wanted: dict[int, int],
    before: _Segment | None,
) -> None:
    if not wanted:
        decoder.finish()
        return
    leads = min(wanted) < segment.packets[0].pts
    if leads and before is not None and not decoder.is_warm:
        decoder.warm_up(before)
    decoder.decode(segment, wanted)
