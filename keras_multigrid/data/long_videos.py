"""Clips of the passages of a long video, decoded once from its beginning to its end.

Only frames that clips show are converted, and each is scaled at once. So memory holds the frames of
the passages that overlap, whatever the length of the video.
"""

import collections
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_multigrid.data.clips.passages import Passages, passage_frames
from keras_multigrid.data.clips.windows import centre_window, cropped, scaled
from keras_multigrid.data.videos.open_video import OpenVideo


class Passage(NamedTuple):
    """A passage of a video.

    Args:
        first, end: its first frame, and the frame after its last one.
        start_seconds, end_seconds: when these are shown, from the beginning of the video; None if
            the video does not say, as folders of pictures.
    """

    first: int
    end: int
    start_seconds: float | None
    end_seconds: float | None


def passage_clips(
    video: OpenVideo, passages: Passages, *, num_frames: int, crop_size: int
) -> Iterator[tuple[Passage, np.ndarray]]:
    """The passages of a video in turn, and a clip of each: its centre, at the size of a crop.

    Args:
        video: an open video.
        passages: how it is cut.
        num_frames: frames of a clip, spread evenly over its passage.
        crop_size: height and width of a clip, in pixels; the short side of the video is scaled to
            it.

    Yields:
        A passage; uint8 (num_frames, crop_size, crop_size, 3).

    Errors: those of `opened`.
    """
    reader = _Reader(passages, video.num_frames, num_frames)
    for image, seconds in video.scan(reader.wants):
        if image is not None:
            image = _scaled(image, crop_size)
        yield from reader.take(image, seconds)
    yield from reader.finish()


def _scaled(image: np.ndarray, crop_size: int) -> np.ndarray:
    window = centre_window(*image.shape[:2], crop_size=crop_size, scale=crop_size)
    return scaled(tf.constant(cropped([image], window)), crop_size).numpy()[0]


class _Reader:
    """Keeps what passages need of the frames that come one after the other."""

    def __init__(self, passages: Passages, length: int, num_frames: int):
        self._coming = passages.of(length)
        self._next = next(self._coming)
        self._num_frames = num_frames
        # First frame, end, and the frames that its clip shows.
        self._open: collections.deque[tuple[int, int, list[int]]] = collections.deque()
        self._wanted: set[int] = set()
        self._images: dict[int, np.ndarray] = {}
        self._begun_at: dict[int, float | None] = {}
        self._index, self._seconds, self._step = 0, None, 0.0

    def wants(self, index: int) -> bool:
        """Whether a clip shows this frame. Called for each frame, in their order."""
        while self._next is not None and self._next[0] == index:
            frames = passage_frames(*self._next, self._num_frames).tolist()
            self._open.append((*self._next, frames))
            self._wanted |= set(frames)
            self._next = next(self._coming, None)
        return index in self._wanted

    def take(self, image: np.ndarray | None, seconds: float | None) -> Iterator:
        """The next frame; yields what is complete now."""
        index = self._index
        self._index += 1
        if seconds is not None:
            self._step = seconds - self._seconds if self._seconds is not None else 0.0
            self._seconds = seconds
        if image is not None:
            self._images[index] = image
        if self._open and self._open[-1][0] == index:
            self._begun_at[index] = seconds
        while self._open and self._open[0][1] <= index:
            yield self._completed(seconds)

    def finish(self) -> Iterator:
        """Yields what ends with the video: its last frame is shown as long as the one before."""
        end_seconds = None if self._seconds is None else self._seconds + self._step
        while self._open:
            yield self._completed(end_seconds)

    def _completed(self, end_seconds: float | None) -> tuple[Passage, np.ndarray]:
        first, end, frames = self._open.popleft()
        clip = np.stack([self._images[index] for index in frames])
        passage = Passage(first, end, self._begun_at[first], end_seconds)
        following = self._open[0] if self._open else self._next
        # No later passage begins before the next one.
        begin = end if following is None else following[0]
        self._wanted = {index for index in self._wanted if index >= begin}
        self._images = {i: image for i, image in self._images.items() if i >= begin}
        self._begun_at = {i: time for i, time in self._begun_at.items() if i >= begin}
        return passage, clip
