"""A video and its label, and the set of videos that a model learns from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_multigrid import files
from keras_multigrid.data.videos.open_video import OpenVideo
from keras_multigrid.data.videos.pictures import IMAGE_SUFFIXES, ImageFiles, Pictures, image_paths
from keras_multigrid.data.videos.span import Span, SpannedVideo
from keras_multigrid.data.videos.video_file import VideoFile
from keras_multigrid.task import MultiLabel, Task, classification

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "Span", "VideoRecord", "VideoSet"]

VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".m4v",
    ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """One video and its label; nothing is read before it is needed.

    Args:
        path: video file, or folder of frame images.
        label: class index; a tuple of class indices where a video may show several classes; for a
            task of your own whatever its `encode` takes.
        frame_paths: frame images in order; empty: `path` is decoded.
        frame_labels: class indices of each frame, as many as `frame_paths`; empty: not known.
        span: the part of an untrimmed video that the label is for; None: all of it.

    Example:

    >>> VideoRecord(path="walk/denis_walk.avi", label=7).label
    7
    """

    path: str
    label: Any
    frame_paths: tuple[str, ...] = ()
    frame_labels: tuple[tuple[int, ...], ...] = ()
    span: Span | None = None

    @property
    def first_file(self) -> str:
        """The first of the files that hold it."""
        return self.frame_paths[0] if self.frame_paths else self.path

    @property
    def is_remote(self) -> bool:
        """Whether reading it waits for a server."""
        return files.is_remote(self.first_file)

    def open(self, detail: int | None = None) -> OpenVideo:
        """Open the video to read from it.

        Args:
            detail: short side of the smallest copy that will do, in pixels, of videos that have
                copies of several sizes; None takes the largest.

        Raises:
            OSError, DecodeError, av.FFmpegError: it cannot be read.
        """
        video = self._open_whole()
        return video if self.span is None else SpannedVideo(video, self.span, self.path)

    def _open_whole(self) -> OpenVideo:
        labels = self.label, self.frame_labels
        if self.frame_paths:
            return Pictures(ImageFiles(self.frame_paths), self.path, *labels)
        if _is_folder(self.path):
            return Pictures(ImageFiles(image_paths(self.path)), self.path, *labels)
        return VideoFile(self.path, *labels)


def _is_folder(path: str) -> bool:
    # A remote file system takes as long to answer as to send a small file: the name must do.
    if files.is_remote(path) and path.lower().endswith(VIDEO_SUFFIXES):
        return False
    return files.is_folder(path)


@dataclass(frozen=True, kw_only=True)
class VideoSet:
    """Training and validation videos over one list of classes.

    Args:
        train: training videos.
        validation: validation videos.
        class_names: name of each class; a label is a position in it. Empty: those that `train` has,
            if it is of another library (`from_tfds`, `from_hugging_face`), with its `multi_label`.
        multi_label: labels are tuples of classes.
        task: what a label is. None means `SingleLabel(class_names)`, or `MultiLabel(class_names)`
            with `multi_label`.
        notes: sentences on what was left out or assumed when the set was read.

    Raises:
        ValueError: if a video has a label that the task has not.

    Example:

    >>> walk = VideoRecord(path="walk.mp4", label=1)
    >>> VideoSet(train=[walk], validation=[walk], class_names=("run", "walk")).num_classes
    2
    """

    train: Sequence[VideoRecord]
    validation: Sequence[VideoRecord]
    class_names: tuple[str, ...] = ()
    multi_label: bool = False
    task: Task | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self):
        task, names, multi_label = self.task, self.class_names, self.multi_label
        if not names and hasattr(self.train, "class_names"):
            names, multi_label = self.train.class_names, self.train.multi_label
        if task is None:
            task = classification(names, multi_label=multi_label)
        object.__setattr__(self, "task", task)
        object.__setattr__(self, "multi_label", isinstance(task, MultiLabel))
        object.__setattr__(self, "class_names", tuple(names) or task.class_names)
        for part in (self.train, self.validation):
            # Labels of records were checked when they were prepared, and are read one by one.
            for video in part if isinstance(part, (list, tuple)) else ():
                try:
                    task.check(video.label)
                except ValueError as error:
                    raise ValueError(f"{video.path}: {error}") from None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
