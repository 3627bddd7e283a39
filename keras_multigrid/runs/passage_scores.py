"""Scores of the passages of long videos, and the segments that they make."""

import dataclasses
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid.data.clips.passages import Passages
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import normalized
from keras_multigrid.data.long_videos import Passage, passage_clips
from keras_multigrid.data.videos.decode import opened
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassageNetwork:
    """Scores one passage after the other, while the video is decoded.

    Args:
        network: from clips to (batch, outputs).
        sampling: colours of its clips.
        num_frames, crop_size: size of its clips.
        passages: how videos are cut.
        batch_size: passages at a time.
    """

    network: keras.Model
    sampling: ClipSampling
    num_frames: int
    crop_size: int
    passages: Passages
    batch_size: int = 8

    def outputs(
        self, record: VideoRecord, progress: Progress | None = None
    ) -> Iterator[tuple[Passage, np.ndarray]]:
        """Each passage of a video, and the network's outputs of it, float64 (outputs,).

        Args:
            record: the video; it is decoded once, and not kept.
            progress: is shown the passages.

        Raises:
            DecodeError: the video cannot be read to its end.
        """
        with opened(record) as video:
            total, batch = self.passages.count(video.num_frames), []
            size = {"num_frames": self.num_frames, "crop_size": self.crop_size}
            clips = passage_clips(video, self.passages, **size)
            for done, (passage, clip) in enumerate(clips, 1):
                batch.append((passage, clip))
                if len(batch) == self.batch_size or done == total:
                    yield from self._scored(batch)
                    batch = []
                    if progress is not None:
                        progress(done, total)

    def _scored(self, batch: Sequence[tuple[Passage, np.ndarray]]):
        clips = np.stack([clip for _, clip in batch])
        # Always of one size: another one would be traced, or compiled, anew.
        empty = np.zeros((self.batch_size - len(batch), *clips.shape[1:]), clips.dtype)
        clips = normalized(tf.constant(np.concatenate([clips, empty])), self.sampling)
        outputs = self.network.predict_on_batch(clips.numpy())
        rows = np.asarray(outputs, np.float64)
        return zip((passage for passage, _ in batch), rows, strict=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a video in which one class is seen without a break.

    Args:
        name: of the class.
        score: its mean over the passages.
        first, end: the first frame, and the frame after the last one.
        start_seconds, end_seconds: when these are shown; None if that is not known.
    """

    name: str
    score: float
    first: int
    end: int
    start_seconds: float | None
    end_seconds: float | None


class Segments:
    """Joins neighbouring passages of one class.

    Of single labels, a passage is of the class with the highest score; of several labels, of all
    whose scores reach `threshold`. Where passages of different classes overlap, or leave a gap, the
    border is in the middle of that.

        passages   0 ... 64 run, 32 ... 96 run, 64 ... 128 walk
        segments   0 ... 80 run, 80 ... 128 walk

    Args:
        class_names: of the scores.
        threshold: None where there is one class for each passage.

    Example:

    >>> segments = Segments(("run", "walk"))
    >>> for passage, scores in network.outputs(record):
    ...     segments.add(passage, scores)
    >>> found = segments.finish()
    """

    def __init__(self, class_names: Sequence[str], threshold: float | None = None):
        self._names, self._threshold = class_names, threshold
        self._last: Passage | None = None
        # Class to where it began and its scores' sum and number.
        self._open: dict[int, list] = {}
        self._done: list[Segment] = []

    def add(self, passage: Passage, scores: np.ndarray) -> None:
        """The next passage, and its scores (classes,)."""
        seen = self._seen(scores)
        last = self._last
        border = passage.first, passage.start_seconds
        if last is not None:
            border = (
                (last.end + passage.first) // 2,
                _middle(last.end_seconds, passage.start_seconds),
            )
        for label in [label for label in self._open if label not in seen]:
            self._close(label, border)
        for label in seen:
            entry = self._open.setdefault(label, [border, 0.0, 0])
            entry[1] += float(scores[label])
            entry[2] += 1
        self._last = passage

    def finish(self) -> list[Segment]:
        """All segments, in the order of their beginnings."""
        if self._last is not None:
            for label in list(self._open):
                self._close(label, (self._last.end, self._last.end_seconds))
        return sorted(self._done, key=lambda segment: (segment.first, segment.end))

    def _seen(self, scores: np.ndarray) -> list[int]:
        if self._threshold is None:
            return [int(np.argmax(scores))]
        return np.flatnonzero(scores >= self._threshold).tolist()

    def _close(self, label: int, border: tuple[int, float | None]) -> None:
        (first, start), total, count = self._open.pop(label)
        self._done.append(
            Segment(
                name=self._names[label],
                score=total / count,
                first=first,
                end=border[0],
                start_seconds=start,
                end_seconds=border[1],
            )
        )


def _middle(one: float | None, another: float | None) -> float | None:
    return None if None in (one, another) else (one + another) / 2
