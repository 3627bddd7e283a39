"""How many frames a video file has, and where decoding can start in it."""

import dataclasses
import threading
from collections.abc import Callable
from typing import NamedTuple

import av
import numpy as np

from keras_multigrid.data.videos.containers import AVI, MP4, decoded, packets
from keras_multigrid.data.videos.open_video import DecodeError

# Packets of a video that is decoded whole, to count its frames: a longer one would take minutes.
_MOST_DECODED = 20_000
# What codec contexts say of videos whose frames are not made of two fields: 0 is unknown.
_PROGRESSIVE = 1
# Headers of fewer frames are read as quickly as an index is looked up.
_FEW_FRAMES = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class FrameIndex:
    """The frames of a video file.

    Args:
        num_frames: frames that can be decoded.
        positions, times, counts: int64 (n,), of each key frame: where it is in the file, what to
            seek for, and the number of frames before it. Without any, a frame can be found only by
            decoding all before it.
        lost: presentation times of packets that give no frame, such as those before the first key
            frame; None: of those without one.
    """

    num_frames: int
    positions: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    times: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    lost: frozenset[int | None] = frozenset()

    def count_before(self, position: int | None) -> int | None:
        """The number of frames before a key frame; None: there is no key frame at this place."""
        (places,) = np.nonzero(self.positions == position)
        return int(self.counts[places[0]]) if len(places) == 1 else None


def frame_index(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    open_again: Callable[[], tuple[av.container.InputContainer, av.VideoStream]],
    version: tuple | None,
) -> FrameIndex:
    """The index of a video file.

    Args:
        container: the open file, at its start, where it still is afterwards.
        stream: the video stream in it.
        open_again: opens the file once more.
        version: names the file and its content; None: nothing is remembered of it.
    """
    index = _remembered.get(version)
    if index is not None:
        return index
    index = _of_header(container, stream)
    if index is None or index.num_frames > _FEW_FRAMES:
        index = _of_packets(open_again) if index is None else index
        _remember(version, index)
    return index


# Reading every packet of a long file takes a second. What is remembered is counted in key frames.
_MOST_KEY_FRAMES = 1 << 21
_remembered: dict[tuple, FrameIndex] = {}
_num_remembered = 0
_lock = threading.Lock()


def _remember(version: tuple | None, index: FrameIndex) -> None:
    global _num_remembered
    with _lock:
        # What is there stays: where videos come in random order, no other choice is better.
        if version and version not in _remembered and _num_remembered < _MOST_KEY_FRAMES:
            # The objects of an index take as much memory as 30 key frames.
            _num_remembered += 30 + len(index.times) + len(index.lost)
            _remembered[version] = index


# ---- By the header -------------------------------------------------------------------------------


def _of_header(container: av.container.InputContainer, stream: av.VideoStream) -> FrameIndex | None:
    """None: the header does not say which frames can be decoded."""
    if container.format.name != MP4:
        if container.format.name == AVI and _counts_empty_frames(stream):
            return None
        # One flipped bit can promise millions, whose indices would fill the memory. With the header
        # of its packet a frame takes eight bytes at least.
        return FrameIndex(stream.frames) if 0 < 8 * stream.frames <= container.size else None
    entries = stream.index_entries
    if len(entries) > container.size:
        raise DecodeError(f"Cannot decode '{container.name}': it has fewer bytes than frames.")
    # More entries than frames: a fragmented file, whose header counts the first fragment only.
    if not 0 < len(entries) <= stream.frames or not entries[0].is_keyframe:
        return None
    if _begins_with_leading_frames(container, stream):
        return None
    places, count = [], 0
    for entry in entries:
        if entry.is_keyframe:
            places.append((entry.pos, entry.timestamp, count))
        # A video cut without encoding it again keeps frames before the cut, decoded but not shown.
        count += not entry.is_discard
    return FrameIndex(count, *np.array(places, np.int64).T)


def _counts_empty_frames(stream: av.VideoStream) -> bool:
    """Whether the header of an AVI file counts frames without bytes, too.

    They keep the rate where the frame before them is shown for longer, and are not decoded.
    """
    times = [entry.timestamp for entry in stream.index_entries if entry.size > 0]
    return bool(times) and times[-1] - times[0] >= len(times)


def _begins_with_leading_frames(
    container: av.container.InputContainer, stream: av.VideoStream
) -> bool:
    """Whether frames are shown before the first key frame, to which frames before it are lost."""
    first, second = None, None
    for second in packets(container, stream):
        if first is not None:
            break
        first = second
    container.seek(stream.index_entries[0].timestamp, stream=stream)
    if first is second or None in (first.pts, second.pts):
        return False
    return second.pts < first.pts and not second.is_discard


# ---- By all packets ------------------------------------------------------------------------------


class _Key(NamedTuple):
    """A key frame: its place in the file, when it is shown, and the number of packets before."""

    position: int | None
    time: int | None
    count: int


class _Packets(NamedTuple):
    """What the packets of a video say.

    Args:
        times: when each is shown; None: it does not say.
        hidden: numbers of those that are decoded, but not shown.
        keys: the key frames.
        is_damaged: some are incomplete.
        has_fields: two may be one frame.
        codec: its name.
    """

    times: list[int | None]
    hidden: list[int]
    keys: list[_Key]
    is_damaged: bool
    has_fields: bool
    codec: str

    @classmethod
    def of(cls, open_again: Callable) -> "_Packets":
        times, hidden, keys, is_damaged = [], [], [], False
        container, stream = open_again()
        with container:
            for packet in packets(container, stream):
                if packet.is_keyframe:
                    keys.append(_Key(packet.pos, packet.pts, len(times)))
                if packet.is_discard:
                    hidden.append(len(times))
                is_damaged = is_damaged or packet.is_corrupt
                times.append(packet.pts)
            has_fields = stream.codec_context.field_order > _PROGRESSIVE
        return cls(times, hidden, keys, is_damaged, has_fields, stream.codec.name)

    @property
    def start(self) -> int:
        """The number of packets before the second key frame."""
        return self.keys[1].count if len(self.keys) > 1 else len(self.times)

    @property
    def begins_clean(self) -> bool:
        """Whether decoding begins with the first packet, and gives one frame for each."""
        times, keys = self.times[: self.start], self.keys
        if self.has_fields or not keys or keys[0].count > 0 or None in times:
            return False
        return min(times) == keys[0].time

    def is_before_key(self, time: int | None) -> bool:
        """Whether a frame is shown before the first key frame; one without a time is."""
        first = self.keys[0].time
        return time is None or (first is not None and time < first)

    def index(self, lost: frozenset[int | None] = frozenset()) -> FrameIndex:
        """The index, if the packets of some times give no frame."""
        is_shown = np.ones(len(self.times), bool)
        is_shown[self.hidden] = False
        if lost:
            is_shown &= [time not in lost for time in self.times]
        num_shown = np.r_[0, np.cumsum(is_shown)]
        if any(None in key for key in self.keys):
            return FrameIndex(int(num_shown[-1]))
        positions, times, counts = np.array(self.keys, np.int64).reshape(-1, 3).T
        return FrameIndex(int(num_shown[-1]), positions, times, num_shown[counts], lost)


def _of_packets(open_again: Callable) -> FrameIndex:
    found = _Packets.of(open_again)
    if found.is_damaged:
        return _of_decoding(open_again, found, [len(found.times)])
    if found.begins_clean and (found.codec != "h264" or _gives_first_frame(open_again, found)):
        return found.index()
    return _of_decoding(open_again, found, [found.start, len(found.times)])


def _gives_first_frame(open_again: Callable, found: _Packets) -> bool:
    """Whether the first frame comes out: not where pictures are renewed bit by bit."""
    container, stream = open_again()
    with container:
        first = next(decoded(container, stream), None)
        return first is not None and first.pts == found.keys[0].time


def _of_decoding(open_again: Callable, found: _Packets, ends: list[int]) -> FrameIndex:
    """An index of the frames that come out of the decoder.

    Args:
        open_again: opens the file.
        found: its packets.
        ends: how many packets to decode; more of them where fewer do not tell enough.
    """
    shown = []
    for end in ends:
        if end > _MOST_DECODED:
            return FrameIndex(len(found.times) - len(found.hidden))
        container, stream = open_again()
        with container:
            shown = [frame.pts for frame in decoded(container, stream, end)]
        hidden = set(found.hidden)
        times = [time for number, time in enumerate(found.times[:end]) if number not in hidden]
        known = [time for time in times if time is not None]
        if len(set(known)) < len(known) or not set(known).issuperset(shown):
            continue
        # A packet without a time, too: its frame would have none.
        lost = frozenset(times).difference(shown)
        # Frames that are lost before the first key frame say nothing of the others.
        if end == len(found.times) or all(found.is_before_key(time) for time in lost):
            return found.index(lost)
    return FrameIndex(len(shown))
