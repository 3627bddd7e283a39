"""When the frames of a video file are shown."""

import threading
from collections.abc import Callable

import av
import numpy as np

from keras_multigrid.data.videos.containers import MP4, packets
from keras_multigrid.data.videos.frame_index import FrameIndex

# Times that are remembered, of all videos, at 8 bytes each.
_MOST_TIMES = 1 << 22
_remembered: dict[tuple, np.ndarray] = {}
_lock = threading.Lock()


def frame_at(
    seconds: float,
    index: FrameIndex,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    open_again: Callable[[], tuple[av.container.InputContainer, av.VideoStream]],
    version: tuple | None,
) -> int | None:
    """The first frame shown at a time or later, counted from 0; None if the file does not say.

    Args:
        seconds: the time, from the first frame on.
        index: the index of the file.
        container, stream, open_again, version: same as for `frame_index`.
    """
    times = _even_times(container, stream)
    if times is None or len(times) != index.num_frames:
        times = _of_packets(index, open_again, version)
    if times is not None and len(times) == index.num_frames:
        return int(np.searchsorted(times, times[0] + round(seconds / stream.time_base)))
    rate = stream.average_rate
    return round(seconds * rate) if rate else None


def _even_times(
    container: av.container.InputContainer, stream: av.VideoStream
) -> np.ndarray | None:
    """The times by the header, in units of the stream's time base; None if it cannot tell them.

    It tells when frames are decoded. They are shown in another order, but, if the rate is constant,
    at the same distances.
    """
    if container.format.name != MP4:
        return None
    times = np.array([e.timestamp for e in stream.index_entries if not e.is_discard], np.int64)
    steps = np.diff(times)
    return times if len(times) and (not len(steps) or np.ptp(steps) <= 1) else None


def _of_packets(
    index: FrameIndex, open_again: Callable, version: tuple | None
) -> np.ndarray | None:
    """The times by all packets, ascending; None if one has none."""
    if version in _remembered:
        return _remembered[version]
    times = []
    container, stream = open_again()
    with container:
        for packet in packets(container, stream):
            if not packet.is_discard and packet.pts not in index.lost:
                times.append(packet.pts)
    if None in times:
        return None
    times = np.sort(np.array(times, np.int64))
    with _lock:
        if version and sum(map(len, _remembered.values())) + len(times) <= _MOST_TIMES:
            _remembered[version] = times
    return times
