"""How many frames a video file has, and where decoding can start in it."""

import dataclasses
import threading
from collections.abc import Callable
from typing import NamedTuple

import av
import numpy as np

from keras_multigrid.data.videos.containers import MP4, decoded, packets
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
            frame.
    """

    num_frames: int
    positions: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    times: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    lost: frozenset[int] = frozenset()

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


def _of_packets(open_again: Callable) -> FrameIndex:
    times, keys, is_damaged, has_fields = [], [], False, False
    container, stream = open_again()
    with container:
        has_fields = stream.codec_context.field_order > _PROGRESSIVE
        for packet in packets(container, stream):
            if packet.is_keyframe:
                keys.append(_Key(packet.pos, packet.pts, len(times)))
            if not packet.is_discard:
                times.append(packet.pts)
            is_damaged = is_damaged or packet.is_corrupt
    start = keys[1].count if len(keys) > 1 else len(times)
    if is_damaged:
        return _of_decoding(open_again, times, keys, [len(times)])
    if has_fields or not _begins_with_key(times[:start], keys):
        return _of_decoding(open_again, times, keys, [start, len(times)])
    return _with_places(times, keys, frozenset())


def _begins_with_key(times: list[int | None], keys: list[_Key]) -> bool:
    """Whether all frames of the first key frame, and no others, are there."""
    return bool(keys) and keys[0].count == 0 and None not in times and min(times) == keys[0].time


def _of_decoding(
    open_again: Callable, times: list[int | None], keys: list[_Key], ends: list[int]
) -> FrameIndex:
    """An index of the frames that come out of the decoder.

    Args:
        open_again: opens the file.
        times: when the frame of each packet is shown.
        keys: the key frames.
        ends: how many packets to decode; more of them where fewer do not tell enough.
    """
    for end in ends:
        if end > _MOST_DECODED:
            return FrameIndex(len(times))
        container, stream = open_again()
        with container:
            shown = [frame.pts for frame in decoded(container, stream, end)]
        expected = frozenset(times[:end])
        if None in expected or len(expected) < end or not expected.issuperset(shown):
            continue
        lost = expected.difference(shown)
        # Frames that are lost before the first key frame say nothing of the others.
        if end == len(times) or all(time < keys[0].time for time in lost):
            return _with_places(times, keys, lost)
    return FrameIndex(len(shown))


def _with_places(times: list[int | None], keys: list[_Key], lost: frozenset[int]) -> FrameIndex:
    is_lost = (
        np.array([time in lost for time in times], bool) if lost else np.zeros(len(times), bool)
    )
    num_lost = np.r_[0, np.cumsum(is_lost)]
    num_frames = len(times) - int(num_lost[-1])
    if any(None in key for key in keys):
        return FrameIndex(num_frames)
    positions, key_times, counts = np.array(keys, np.int64).reshape(-1, 3).T
    return FrameIndex(num_frames, positions, key_times, counts - num_lost[counts], lost)
