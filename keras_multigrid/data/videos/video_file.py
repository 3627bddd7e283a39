"""Videos in files that FFmpeg reads."""

import io
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice, repeat
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from keras_multigrid import files
from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo, in_order
from keras_multigrid.data.videos.segments import MP4, decode_segments, has_times, to_rgb


class VideoFile(OpenVideo):
    """A video file. Phone videos are turned upright as players do.

    If a header promises more frames than the file holds, the last frame that could be decoded
    stands for the missing ones.

    Args:
        path: of the file, local or remote.
        whole_label, frame_labels: same as for `OpenVideo`.

    Raises:
        DecodeError: it has no video stream.
        av.FFmpegError, OSError: it cannot be read.
    """

    def __init__(self, path: str, whole_label: Any = None, frame_labels=()):
        super().__init__(whole_label, frame_labels)
        self._path = path
        # "file:" keeps FFmpeg from reading a colon in a name as the end of a protocol.
        self._source = f"file:{path}"
        if files.is_remote(path):
            self._source = files.open_file(path).read()
        self._container = _open(self._source)
        try:
            self._stream = video_stream(self._container, path)
            self.num_frames = _num_frames(self._container, self._stream) or self._count_packets()
        except BaseException:
            self.close()
            raise
        self._is_at_start = True

    def read(self, indices, short_side=None):
        self._rewind()
        decode = decode_segments if has_times(self._container, self._stream) else _decode_in_order
        frames = decode(self._container, self._stream, indices)
        if frames is None:
            self._rewind()
            frames = _decode_in_order(self._container, self._stream, indices)
        if not frames:
            raise DecodeError(f"Cannot decode '{self._path}': no frame could be decoded.")
        return in_order(frames, indices, self._path)

    def frames(self) -> Iterator[tuple[np.ndarray, bytes | None]]:
        self._rewind()
        reformatter, count, frame = VideoReformatter(), 0, None
        for frame in islice(self._container.decode(self._stream), self.num_frames):
            yield to_rgb(frame, reformatter), None
            count += 1
        if frame is None:
            raise DecodeError(f"Cannot decode '{self._path}': no frame could be decoded.")
        yield from repeat((to_rgb(frame, reformatter), None), self.num_frames - count)

    def frame_at(self, seconds):
        times = []
        if self._container.format.name == MP4:
            times = sorted(e.timestamp for e in self._stream.index_entries if not e.is_discard)
        if times and len(times) == self.num_frames:
            return bisect_left(times, times[0] + round(seconds / self._stream.time_base))
        rate = self._stream.average_rate
        return round(seconds * rate) if rate else None

    def close(self) -> None:
        self._container.close()

    def _rewind(self) -> None:
        if not self._is_at_start:
            self._container.close()
            self._container = _open(self._source)
            self._stream = video_stream(self._container, self._path)
        self._is_at_start = False

    def _count_packets(self) -> int:
        with _open(self._source) as container:
            packets = container.demux(video_stream(container, self._path))
            return sum(packet.size > 0 and not packet.is_discard for packet in packets)


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
    """Number of frames by the header; 0: it does not say."""
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


def _decode_in_order(
    container: av.container.InputContainer, stream: av.VideoStream, indices: np.ndarray
) -> dict[int, np.ndarray]:
    """Image by index, decoded from the first frame on: correct for every file, and slow."""
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
