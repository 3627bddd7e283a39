"""Decoding that goes straight to the wanted frames of a video file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

# Codecs and containers whose packets carry a trustworthy presentation time, so that the place of
# a frame in the video is known before it is decoded. Others are decoded from the first frame:
# AVI stores no times, and old MPEG-4 files pack two frames into one packet.
_TIMED_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d"})
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_TIMED_CONTAINERS = frozenset({MP4, "matroska,webm", "mpegts"})


def has_times(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Whether `decode_segments` can be tried."""
    return stream.codec.name in _TIMED_CODECS and container.format.name in _TIMED_CONTAINERS


def decode_segments(
    container: av.container.InputContainer, stream: av.VideoStream, indices: np.ndarray
) -> dict[int, np.ndarray] | None:
    """Decode only the segments that hold wanted frames.

    Args:
        container: the open file, at its start.
        stream: the video stream in it.
        indices: wanted frames, ascending.

    Returns:
        Image by index, or None where this way cannot give every wanted frame for certain.
    """
    wanted = set(indices.tolist())
    decoder, before, num_before = _SegmentDecoder(stream), None, 0
    frames_before = _seek(container, stream, int(indices[0]))
    for segment in _segments(container.demux(stream)):
        if segment is None or (before and not _follows(segment, before)):
            return None
        if before is None and frames_before:
            num_before = frames_before.get(segment.packets[0].pos)
            if num_before is None:
                return None
        wanted_here = {
            time: index for index, time in enumerate(segment.times, num_before) if index in wanted
        }
        decoder.decode(segment, wanted_here, before)
        before, num_before = segment, num_before + len(segment.times)
        if num_before > indices[-1]:
            break
    decoder.finish()
    return decoder.images if wanted == decoder.images.keys() else None


def to_rgb(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """A decoded frame, upright, as uint8 (height, width, 3)."""
    # One thread: for small frames, starting more takes longer than the conversion.
    image = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    if frame.rotation:
        image = np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
    return image


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
        if leads and before is not None and not self.is_warm:
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
            index = self.missing.pop(frame.pts, None)
            if index is not None:
                self.images[index] = to_rgb(frame, self._reformatter)


def _seek(
    container: av.container.InputContainer, stream: av.VideoStream, index: int
) -> dict[int, int]:
    """Go to a segment before the one that holds frame `index`, which may refer to it.

    A seek may land at an earlier segment: the next packet's place in the file shows which.

    Returns:
        By its place in the file, the number of frames before each segment; nothing if the container
        is still at its start.
    """
    # Only these containers list every frame, and so the number of the frame that a seek finds.
    if container.format.name != MP4:
        return {}
    segments, num_before = [], 0
    for entry in stream.index_entries:
        if num_before > index:
            break
        if entry.is_keyframe:
            segments.append((entry, num_before))
        num_before += not entry.is_discard
    if len(segments) < 3:
        return {}
    container.seek(segments[-2][0].timestamp, stream=stream)
    return {entry.pos: num_before for entry, num_before in segments[:-1]}


def _follows(segment: _Segment, before: _Segment) -> bool:
    return not segment.times or not before.times or before.times[-1] < segment.times[0]
