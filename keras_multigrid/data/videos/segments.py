"""Decoding that goes straight to the wanted frames of a video file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from keras_multigrid.data.videos.containers import MP4, packets
from keras_multigrid.data.videos.frame_index import FrameIndex
from keras_multigrid.data.videos.orientation import to_rgb

# Codecs and containers whose packets carry a trustworthy presentation time, so that the place of
# a frame in the video is known before it is decoded. Others are decoded from the first frame:
# AVI stores no times, and old MPEG-4 files pack two frames into one packet.
_TIMED_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d"})
_TRANSPORT_STREAM = "mpegts"
_TIMED_CONTAINERS = frozenset({MP4, "matroska,webm", _TRANSPORT_STREAM})


def has_times(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Whether `decode_segments` can be tried."""
    return stream.codec.name in _TIMED_CODECS and container.format.name in _TIMED_CONTAINERS


def decode_segments(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    index: FrameIndex,
    indices: np.ndarray,
) -> dict[int, np.ndarray] | None:
    """Decode only the segments that hold wanted frames.

    Args:
        container: the open file, at its start.
        stream: the video stream in it.
        index: of the file.
        indices: wanted frames, ascending.

    Returns:
        Image by index, or None where this way cannot give every wanted frame for certain.
    """
    if not len(index.counts):
        return None
    wanted = set(indices.tolist())
    decoder, before, num_before = _SegmentDecoder(stream), None, 0
    was_moved = _seek(container, stream, index, int(indices[0]))
    for segment in _segments(packets(container, stream), index.lost):
        if segment is None or (before and not _follows(segment, before)):
            return None
        if before is None and was_moved:
            num_before = index.count_before(segment.packets[0].pos)
            if num_before is None:
                return None
        wanted_here = {
            time: place for place, time in enumerate(segment.times, num_before) if place in wanted
        }
        decoder.decode(segment, wanted_here, before)
        before, num_before = segment, num_before + len(segment.times)
        if num_before > indices[-1]:
            break
    decoder.finish()
    return decoder.images if wanted == decoder.images.keys() else None


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
    def of(cls, packets: list[av.Packet], lost: frozenset[int | None]) -> "_Segment | None":
        """None where the packets do not say which frame each one holds."""
        times = [packet.pts for packet in packets if not packet.is_discard]
        if lost:
            times = [time for time in times if time not in lost]
        if None in times or len(set(times)) < len(times):
            return None
        # Before the first key frame of a file, all are lost.
        if times and not packets[0].is_keyframe:
            return None
        return cls(tuple(packets), tuple(sorted(times)))


def _segments(
    packets: Iterable[av.Packet], lost: frozenset[int | None]
) -> Iterator[_Segment | None]:
    segment = []
    for packet in packets:
        if packet.is_keyframe and segment:
            yield _Segment.of(segment, lost)
            segment = []
        segment.append(packet)
    if segment:
        yield _Segment.of(segment, lost)


class _SegmentDecoder:
    """Decodes segments and keeps their wanted frames.

    `images` maps index to RGB image, `missing` presentation time to index.
    """

    def __init__(self, stream: av.VideoStream):
        self.images: dict[int, np.ndarray] = {}
        self.missing: dict[int, int] = {}
        self.is_warm = False  # the decoder holds all reference frames of the segment before
        # When the frame is shown with which decoding started, until the decoder has given it.
        self._start: int | None = None
        self._context = stream.codec_context
        self._reformatter = VideoReformatter()
        self._skips = self._context.name == "h264"
        self._skip_frame = "DEFAULT"

    def decode(self, segment: _Segment, wanted: dict[int, int], before: _Segment | None) -> None:
        """Decode a segment up to its last wanted frame.

        Args:
            segment: the segment.
            wanted: index of each wanted frame, by its presentation time.
            before: the segment before it, to which leading frames may refer.
        """
        if not wanted:
            self.finish()
            return
        leads = min(wanted) < segment.packets[0].pts
        if not self.is_warm:
            first = before if leads and before is not None else segment
            self._start = first.packets[0].pts
            if first is before:
                for packet in before.packets:
                    self._send(packet)
        self.missing.update(wanted)
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
            if frame.pts == self._start:
                self._start = None
            index = self.missing.pop(frame.pts, None)
            # Where the first frame does not come out, the picture is renewed bit by bit, and the
            # frames behind it are not those that decoding from an earlier frame gives.
            if index is not None and (self._start is None or frame.pts < self._start):
                self.images[index] = to_rgb(frame, self._reformatter)


def _seek(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    index: FrameIndex,
    first: int,
) -> bool:
    """Go to a segment before the one that holds frame `first`, which may refer to it.

    A seek may land at an earlier segment: the next packet's place in the file shows which.

    Returns:
        Whether the container was moved.
    """
    place = int(np.searchsorted(index.counts, first, side="right")) - 2
    if place < 1:
        return False
    if container.format.name == _TRANSPORT_STREAM:
        # It lists no times: FFmpeg would have to search for one.
        container.seek(int(index.positions[place]), unsupported_byte_offset=True)
    else:
        container.seek(int(index.times[place]), stream=stream)
    return True


def _follows(segment: _Segment, before: _Segment) -> bool:
    return not segment.times or not before.times or before.times[-1] < segment.times[0]
