"""What the videos of a set are like: lengths, sizes, rates, and whether the camera stands still."""

import itertools
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from keras_multigrid import files
from keras_multigrid.data.isolation import Lost, isolated_map
from keras_multigrid.data.videos.containers import open_video_stream, source_of
from keras_multigrid.data.videos.decode import opened, patiently
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord

# More are looked at by a sample, spread over the set.
MOST_VIDEOS = 2000
_TIME_LIMIT = 60.0
# Two pictures of this size are compared; a change of so many grey levels of 255 is noise.
_SIDE, _NOISE = 48, 10
# Of the picture, what a still camera leaves unchanged.
_STILL_SHARE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLook:
    """One video.

    Args:
        num_frames: of the video, or of its span.
        height, width: upright, in pixels.
        rate: frames a second; None: not known, as of folders of pictures.
        unchanged: share of the picture that is the same in the middle and half a video around it.
    """

    num_frames: int
    height: int
    width: int
    rate: float | None
    unchanged: float


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the videos of a set are like.

    Args:
        looks: of the videos that were looked at and can be read.
        unreadable: path to reason of the others.
        num_videos: of the whole set.
    """

    looks: Sequence[VideoLook]
    unreadable: Mapping[str, str]
    num_videos: int

    @property
    def frames(self) -> int:
        """Frames of a short video: a tenth are shorter."""
        return int(np.quantile([look.num_frames for look in self.looks], 0.1))

    @property
    def short_side(self) -> int:
        """Short side of a small video, in pixels: a tenth are smaller."""
        sides = [min(look.height, look.width) for look in self.looks]
        return int(np.quantile(sides, 0.1))

    @property
    def rate(self) -> float | None:
        """Median of the frames a second; None: not known."""
        rates = [look.rate for look in self.looks if look.rate]
        return statistics.median(rates) if rates else None

    @property
    def is_still(self) -> bool:
        """Whether the camera stands still in most videos."""
        return statistics.median(look.unchanged for look in self.looks) >= _STILL_SHARE

    @property
    def decoded_bytes(self) -> int:
        """Memory that all decoded videos of the set take."""
        sizes = [3 * look.num_frames * look.height * look.width for look in self.looks]
        return round(sum(sizes) / len(sizes) * self.num_videos)

    def lines(self) -> list[str]:
        """It in words."""
        frames = [look.num_frames for look in self.looks]
        sizes = [(look.width, look.height) for look in self.looks]
        rates = sorted({round(look.rate, 2) for look in self.looks if look.rate})
        small, large = (f"{size[0]} x {size[1]}" for size in _extremes(sizes))
        portrait = sum(height > width for width, height in sizes)
        lines = [
            f"Frames of a video: {min(frames):,} to {max(frames):,}, "
            f"median {statistics.median(frames):,g}.",
            f"Sizes, as shown: {small}"
            + ("" if small == large else f" to {large}")
            + (f", {portrait:,} of them portrait." if portrait else "."),
        ]
        pictures = frames.count(1)
        if pictures:
            lines.append(f"Of one frame, in which nothing moves: {pictures:,}.")
        if rates:
            few = ", ".join(f"{rate:g}" for rate in rates)
            many = f"{rates[0]:g} to {rates[-1]:g}"
            lines.append(f"Frames a second: {few if len(rates) < 6 else many}.")
        if len(self.looks) + len(self.unreadable) < self.num_videos:
            lines.append(f"Looked at {len(self.looks):,} of {self.num_videos:,}.")
        lines += [f"Left out: {reason}" for reason in list(self.unreadable.values())[:10]]
        if len(self.unreadable) > 10:
            lines.append(f"Left out, too: {len(self.unreadable) - 10:,} more.")
        return lines


def survey(
    records: Sequence[VideoRecord],
    *,
    most: int = MOST_VIDEOS,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Look at the videos of a set: three frames of each, in processes of their own.

    Args:
        records: the videos.
        most: videos to look at; of more, as many are spread over the list.
        progress: called with the videos done and all of them.

    Raises:
        ValueError: if none can be read.

    Example:

    >>> print("\\n".join(survey(videos.train).lines()))
    Frames of a video: 36 to 146, median 60.
    Sizes, as shown: 180 x 144.
    Frames a second: 25.
    """
    count = min(most, len(records))
    chosen = [records[number * len(records) // count] for number in range(count)]
    looks, unreadable = {}, {}
    isolated = isolated_map(_look, chosen, workers=_cores(), time_limit=_TIME_LIMIT)
    for done, (record, look) in enumerate(isolated, 1):
        if isinstance(look, VideoLook):
            looks[record] = look
        else:
            reason = look.reason if isinstance(look, Lost) else look
            unreadable[record.path] = files.redacted(
                reason if record.path in reason else f"{record.path}: {reason}"
            )
        if progress is not None:
            progress(done, count)
    if not looks:
        raise ValueError(
            f"None of the {count:,} videos can be read. The first: "
            f"{next(iter(unreadable.values()), 'there are none')}"
        )
    # In the order of the list, whichever was looked at first.
    return Survey(
        looks=tuple(looks[record] for record in chosen if record in looks),
        unreadable={r.path: unreadable[r.path] for r in chosen if r.path in unreadable},
        num_videos=len(records),
    )


def _look(record: VideoRecord) -> VideoLook | str:
    def look() -> VideoLook:
        with opened(record) as video:
            count = video.num_frames
            indices = np.unique([count // 4, count // 2, 3 * count // 4])
            pictures = video.read(indices)
        height, width = pictures[0].shape[:2]
        return VideoLook(
            num_frames=count,
            height=height,
            width=width,
            rate=_rate(record),
            unchanged=_unchanged(pictures),
        )

    try:
        return patiently(record.path, look)
    except DecodeError as error:
        return str(error)


def _rate(record: VideoRecord) -> float | None:
    if record.frame_paths or files.is_folder(record.path):
        return None
    container, stream = open_video_stream(source_of(record.path))
    with container:
        rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def _unchanged(pictures: Sequence[np.ndarray]) -> float:
    if len(pictures) < 2:
        return 0.0
    grey = [
        cv2.resize(
            cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
        )
        for p in pictures
    ]
    pairs = itertools.pairwise(grey)
    return float(np.mean([(cv2.absdiff(one, other) <= _NOISE).mean() for one, other in pairs]))


def _extremes(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    return tuple(choose(sizes, key=lambda size: size[0] * size[1]) for choose in (min, max))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
