"""A video and its label, and the set of videos that a model learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"
)  # fmt: skip
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class Images(Protocol):
    """Encoded frames of a video, read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> bytes: ...

    def name(self, index: int) -> str:
        """What to call a frame in errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """One video and its label; nothing is read before it is needed.

    Args:
        path: video file, or folder of frame images.
        label: class index; a tuple of class indices where a video may show several classes.
        frame_paths: frame images in order; empty: `path` is decoded.
        frame_labels: class indices of each frame, as many as `frame_paths`; empty: not known.

    Example:

    >>> VideoRecord(path="walk/denis_walk.avi", label=7).label
    7
    """

    path: str
    label: int | tuple[int, ...]
    frame_paths: tuple[str, ...] = ()
    frame_labels: tuple[tuple[int, ...], ...] = ()

    def images(self, detail: int | None) -> Images | None:
        """Encoded frames, if they are neither in files of their own nor in a video file.

        Args:
            detail: short side of the smallest copy that will do, in pixels; None takes the largest.
        """
        return None

    def classes(self, first: int, last: int) -> tuple[int, ...]:
        """All that goes on in these frames; in the whole video, if that is not known."""
        if not self.frame_labels:
            return self.label
        return tuple(sorted(set().union(*self.frame_labels[first : last + 1])))


@dataclass(frozen=True, kw_only=True)
class VideoSet:
    """Training and validation videos over one list of classes.

    Args:
        train: training videos.
        validation: validation videos.
        class_names: name of each class; a label is a position in it.
        multi_label: labels are tuples of classes.

    Example:

    >>> walk = VideoRecord(path="walk.mp4", label=1)
    >>> VideoSet(train=[walk], validation=[walk], class_names=("run", "walk")).num_classes
    2
    """

    train: Sequence[VideoRecord]
    validation: Sequence[VideoRecord]
    class_names: tuple[str, ...]
    multi_label: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
