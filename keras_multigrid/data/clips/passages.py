"""Passages of a long video: windows of its frames, at even distances."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_multigrid.checks import check_integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passages:
    """How a long video is cut into passages, which may overlap.

        window 4, hop 3

        frames     0 1 2 3 4 5 6 7 8 9 10
        passages   x x x x
                         x x x x
                               x x x x
                                 x x x x      the last one ends with the video

    A video that is shorter than a window is one passage.

    Args:
        window: frames of the video in a passage.
        hop: frames from the beginning of one passage to that of the next; None for half a window.

    Raises:
        ValueError: if a number is not positive, or `hop` leaves frames out.

    Example:

    >>> list(Passages(window=64, hop=32).of(100))
    [(0, 64), (32, 96), (36, 100)]
    """

    window: int
    hop: int | None = None

    def __post_init__(self):
        check_integer("window", self.window)
        if self.hop is None:
            object.__setattr__(self, "hop", max(self.window // 2, 1))
        check_integer("hop", self.hop, most=self.window, remedy="Frames would be left out.")

    def count(self, num_frames: int) -> int:
        """Number of passages of a video."""
        return 1 + max(-(-(num_frames - self.window) // self.hop), 0)

    def of(self, num_frames: int) -> Iterator[tuple[int, int]]:
        """First frame of each passage, and the frame after its last one."""
        last = max(num_frames - self.window, 0)
        for number in range(self.count(num_frames)):
            first = min(number * self.hop, last)
            yield first, min(first + self.window, num_frames)


def passage_frames(first: int, end: int, num_frames: int) -> np.ndarray:
    """The frames of a passage that a clip shows, spread evenly: int64 (num_frames,).

    Those at the stride `(end - first) / num_frames`; some repeat where a passage has fewer.

    >>> passage_frames(10, 18, 4)
    array([10, 12, 14, 16])
    """
    return first + np.arange(num_frames, dtype=np.int64) * (end - first) // num_frames
