"""The one interface to the frames of a video, wherever they are."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np


class DecodeError(ValueError):
    """A video that cannot be read: missing, corrupt, empty, or without pictures.

    The message names the path and the reason. Errors of the program, such as indices outside the
    video, are plain `ValueError`s.
    """


class OpenVideo:
    """A video whose frames can be read. Subclass it for a source of your own.

    A source must define `num_frames` and `read`. Errors of type `OSError` or `DecodeError` mean
    that the video cannot be read: training then takes another one. Faults of the machine, such as
    too many open files, are waited for instead: see `files.is_machine_fault`.

    Args:
        whole_label: `VideoRecord.label`.
        frame_labels: `VideoRecord.frame_labels`.

    Example, frames in a NumPy archive:

    >>> class ArrayVideo(OpenVideo):
    ...     def __init__(self, record):
    ...         super().__init__(record.label)
    ...         self._frames = np.load(record.path)["frames"]
    ...         self.num_frames = len(self._frames)
    ...
    ...     def read(self, indices, short_side=None):
    ...         return [self._frames[i] for i in indices]
    """

    num_frames: int
    # In its file, of the first frame: another one for a part of an untrimmed video.
    first = 0

    def __init__(self, whole_label: Any = None, frame_labels: Sequence[tuple[int, ...]] = ()):
        self.whole_label = whole_label
        self.frame_labels = frame_labels

    def read(self, indices: np.ndarray, short_side: int | None = None) -> Sequence[np.ndarray]:
        """Decode frames.

        Args:
            indices: int64 (n,) in [0, num_frames), never decreasing; some may repeat.
            short_side: the short side that is needed, in pixels. A source that decodes smaller
                pictures faster may give any size not below it; None asks for the full size.

        Returns:
            One uint8 (height, width, 3) for each index, RGB, upright, all of one size.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `read`.")

    def read_together(
        self, requests: Sequence[tuple[np.ndarray, int | None]]
    ) -> list[Sequence[np.ndarray]]:
        """What `read` returns for each of several (indices, short_side).

        A source whose frames depend on those before them overrides it, to decode each frame once.
        """
        return [self.read(indices, short_side) for indices, short_side in requests]

    def label(self, first: int, last: int) -> Any:
        """The label of frames `first` to `last`; that of the whole video if no more is known."""
        if not self.frame_labels:
            return self.whole_label
        return tuple(sorted(set().union(*self.frame_labels[first : last + 1])))

    def frames(self) -> Iterator[tuple[np.ndarray, bytes | None]]:
        """Every frame in turn, however long the video is, and its JPEG where it comes from one."""
        for index in range(self.num_frames):
            yield self.read(np.array([index]))[0], None

    def scan(
        self, wanted: Callable[[int], bool]
    ) -> Iterator[tuple[np.ndarray | None, float | None]]:
        """Every frame in turn, where it is wanted, and when it is shown.

        Args:
            wanted: whether the frame with an index is; called for each, in their order.

        Yields:
            The frame, same as `read` returns it; None where it is not wanted.
            Seconds from the first frame on; None if they are not known.
        """
        for index in range(self.num_frames):
            yield (self.read(np.array([index]))[0] if wanted(index) else None), None

    def frame_at(self, seconds: float) -> int | None:
        """The first frame shown at this time or later, from the first one on; None: not known."""
        return None

    def close(self) -> None:
        """Release what the video holds open."""


class KeptVideo(OpenVideo):
    """A video that is kept in memory.

    Args:
        video: an open video, of which all frames are read.
    """

    def __init__(self, video: OpenVideo):
        whole, labels = video.whole_label, ()
        if isinstance(whole, tuple):
            labels = [video.label(index, index) for index in range(video.num_frames)]
        super().__init__(whole, labels if any(label != whole for label in labels) else ())
        self.num_frames = video.num_frames
        self._frames = np.stack(video.read(np.arange(video.num_frames)))

    def read(self, indices, short_side=None):
        return [self._frames[index] for index in indices]


def in_order(frames: dict[int, np.ndarray], indices: np.ndarray, path: str) -> list[np.ndarray]:
    """The frames of these indices, which must have one size.

    Raises:
        DecodeError: they have several.
    """
    shapes = {frame.shape for frame in frames.values()}
    if len(shapes) > 1:
        sizes = sorted(f"{height} x {width}" for height, width, _ in shapes)
        raise DecodeError(
            f"Cannot decode '{path}': all frames must have one size. Received: {', '.join(sizes)} "
            "(height x width). Extract the frames again from one video."
        )
    return [frames[index] for index in indices.tolist()]


def reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip(". ") or type(error).__name__
