"""A part of an untrimmed video."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a part of a video begins and ends.

    Args:
        start: where it begins.
        end: where it ends: the frame shown then is not in it.
        unit: "seconds", or "frames", counted from 0.

    Example:

    >>> Span(start=12.5, end=20.0, unit="seconds")
    """

    start: float
    end: float
    unit: str


class SpannedVideo(OpenVideo):
    """The part of an open video that lies in a span, as if it were all.

        video   0 1 2 3 4 5 6 7 8 9
        span          3 4 5 6           start 3, end 7, frames: read as 0 1 2 3

    Args:
        video: the whole video, which is closed with this one.
        span: the part. Where it ends behind the video, it ends with it.
        path: of the video, for errors.

    Raises:
        DecodeError: it begins behind the video, or is in seconds of a video without times.
    """

    def __init__(self, video: OpenVideo, span: Span, path: str):
        try:
            first, end = span.start, span.end
            if span.unit == "seconds":
                first, end = video.frame_at(first), video.frame_at(end)
            if first is None:
                raise DecodeError(
                    f"Cannot decode '{path}': it does not say when its frames are shown. Give its "
                    "parts in frames, not in seconds."
                )
            first, end = int(first), min(int(end), video.num_frames)
            if first >= video.num_frames:
                raise DecodeError(
                    f"Cannot decode '{path}': its part begins behind its end. Received: "
                    f"{span.start:g} to {span.end:g} {span.unit} of {video.num_frames} frames."
                )
        except BaseException:
            video.close()
            raise
        # At least one: a part of less than a frame's time shows the frame at its beginning.
        self.first, self.num_frames = first, max(end - first, 1)
        super().__init__(video.whole_label, video.frame_labels[first : first + self.num_frames])
        self._video = video

    def read(self, indices, short_side=None):
        return self._video.read(indices + self.first, short_side)

    def read_together(self, requests):
        return self._video.read_together([(i + self.first, side) for i, side in requests])

    def frames(self) -> Iterator[tuple[np.ndarray, bytes | None]]:
        return islice(self._video.frames(), self.first, self.first + self.num_frames)

    def close(self) -> None:
        self._video.close()
