"""Reads clips of videos that Python opens: files, folders of pictures, a user's own source."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_multigrid import files
from keras_multigrid.data.bad_videos import BadVideos, TooManyBadVideosError
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.excerpt import (
    Excerpt,
    centre_excerpt,
    training_excerpt,
    view_excerpt,
)
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.clips.windows import Window, cropped, scaled, side_windows
from keras_multigrid.data.mounts import is_local_folder
from keras_multigrid.data.python_calls import in_python
from keras_multigrid.data.time_limit import within
from keras_multigrid.data.videos import limits
from keras_multigrid.data.videos.decode import opened, patiently
from keras_multigrid.data.videos.open_video import DecodeError, KeptVideo, OpenVideo
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid
from keras_multigrid.task import Task

# Replacements tried for one clip before giving up.
_MAX_REPLACEMENTS = 100
# Clips of kept videos that one call of Python reads: the call costs more than copying a clip out of
# memory, and much less than decoding one.
_KEPT_PER_CALL = 16


class Cut(NamedTuple):
    """What is read for a clip, before it is cropped and scaled.

    Args:
        frames: the clip's whole frames: uint8 (height, width, 3) each.
        window: the part of them that the clip shows.
        label: encoded by the task.
        video: position in the list of the video that was read.
    """

    frames: Sequence[np.ndarray]
    window: Window
    label: np.ndarray
    video: int

    @property
    def cropped(self) -> np.ndarray:
        """The part that the clip shows: uint8 (t, side, side, 3)."""
        return cropped(self.frames, self.window)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchNumbers:
    """The numbers of the batches to read.

    Args:
        first: number of the first one.
        end: the number after the last one.
        number_of: from the first tensor of a batch to its number.
    """

    first: int
    end: int
    number_of: Callable[[np.ndarray], int]

    def dataset(self) -> tf.data.Dataset:
        """The numbers, scalar int64 elements."""
        return tf.data.Dataset.range(self.first, self.end)


class ClipReader:
    """Reads clips of a list of videos, and replaces those of videos that cannot be read.

    Args:
        videos: the videos.
        sampling: how clips are taken from them.
        task: encodes their labels.
        bad_videos: counts and lists those that cannot be read.
        keep_decoded: whether to keep every decoded video in memory.
        workers: clips to read at a time; None takes the number of cores.

    Example:

    >>> reader = ClipReader(videos.train, ClipSampling(), videos.task)
    >>> cut = reader.centre_cut(0, schedule.base)
    """

    def __init__(
        self,
        videos: Sequence[VideoRecord],
        sampling: ClipSampling,
        task: Task,
        *,
        bad_videos: BadVideos | None = None,
        keep_decoded: bool = False,
        workers: int | None = None,
    ):
        if len(videos) and not hasattr(videos, "root"):
            # Before the first batch; lists seldom mix file systems. Records are there already.
            files.check_scheme(videos[0].path)
        limits.check_settings()
        self._videos, self._sampling, self._task = videos, sampling, task
        self._bad_videos = BadVideos() if bad_videos is None else bad_videos
        self._kept: dict[int, OpenVideo | None] | None = {} if keep_decoded else None
        self._too_slow: dict[int, limits.TooSlowError] = {}
        self._local_folders: dict[str, bool] = {}
        self.num_videos, self.workers = len(videos), workers or os.cpu_count()
        self._label_type = tf.as_dtype(task.label_dtype)

    # ---- Data sets -------------------------------------------------------------------------------

    def training(self, drawn_of: Callable, group: Callable, numbers: BatchNumbers):
        """Batches of the drawn clips, with clips of other videos for those of unreadable ones.

        Args:
            drawn_of: from the number of a batch to a data set of its packed `Clip`s.
            group: from a data set of (packed clip, ...) to one of batches.
            numbers: the batches.

        Returns:
            A data set of (packed clips, clips, labels): int64 (b, fields), uint8 (b, t, crop, crop,
            3), and encoded labels.
        """
        return group(self._training_clips(numbers.dataset().flat_map(drawn_of)))

    def centres(self, indices_of: Callable, group: Callable, grid: Grid, numbers: BatchNumbers):
        """Batches of the clips in the middle of videos.

        Args:
            indices_of: from the number of a batch to a data set of its videos' positions, int64
                each; those from the number of videos on stand for none.
            group: from a data set of (index, ...) to one of batches.
            grid: gives frames and size of the clips.
            numbers: the batches.

        Returns:
            A data set of (is_read, clips, labels): bool (b,), whether the video can be read; uint8
            (b, t, crop, crop, 3) and encoded labels, both meaningless if not.
        """
        clips = self._centre_clips(numbers.dataset().flat_map(indices_of), grid)
        return group(clips).map(lambda index, is_read, clips, labels: (is_read, clips, labels))

    def _training_clips(self, drawn: tf.data.Dataset) -> tf.data.Dataset:
        """A data set of (packed clip, uint8 clip, label)."""
        parallel = {"num_parallel_calls": self.workers, "deterministic": True}
        per_call = self._sampling.repeats if self._kept is None else _KEPT_PER_CALL
        if per_call == 1:
            return drawn.map(lambda row: _finished(*self._training_part(row)), **parallel)
        calls = drawn.batch(per_call, drop_remainder=True)
        return calls.map(self._training_parts, **parallel).unbatch().map(_finished, **parallel)

    def _training_part(self, row):
        rows, pixels, sides, labels = self._training_parts(row[None])
        return rows[0], pixels.flat_values, sides[0], labels[0]

    def _training_parts(self, rows):
        """Of packed clips (n, fields): rows, ragged pixels, side and label of each."""

        def read(rows):
            cuts = self.training_cuts([Clip.unpacked(row) for row in rows.tolist()])
            pixels = np.concatenate([cut.cropped.ravel() for cut in cuts])
            sides = np.array([cut.window.side for cut in cuts])
            return pixels, sides, np.stack([cut.label for cut in cuts])

        count = rows.shape[0]
        specs = [tf.TensorSpec((None,), tf.uint8), tf.TensorSpec((count,), tf.int64)]
        specs.append(tf.TensorSpec((count, *self._task.label_shape), self._label_type))
        pixels, sides, labels = in_python(read, [rows], specs)
        lengths = Clip.unpacked(rows).num_frames * sides**2 * 3
        return (
            rows,
            tf.RaggedTensor.from_row_lengths(pixels, lengths, validate=False),
            sides,
            labels,
        )

    def _centre_clips(self, indices: tf.data.Dataset, grid: Grid) -> tf.data.Dataset:
        """A data set of (index, is_read, uint8 clip, label)."""
        specs = [
            tf.TensorSpec((), tf.bool),
            tf.TensorSpec((grid.num_frames, None, None, 3), tf.uint8),
            tf.TensorSpec(self._task.label_shape, self._label_type),
        ]

        def read(index):
            cut = self.centre_cut(int(index), grid)
            if cut is None:
                return False, np.zeros((grid.num_frames, 1, 1, 3), np.uint8), self._no_label
            return True, cut.cropped, cut.label

        def clip(index):
            is_read, part, label = in_python(read, [index], specs)
            clip = tf.ensure_shape(scaled(part, grid.crop_size), grid.shape[1:])
            return index, is_read, clip, label

        return indices.map(clip, num_parallel_calls=self.workers, deterministic=True)

    def views(self, index: tf.Tensor, number: tf.Tensor, views: Views, grid: Grid):
        """All crops of one clip of a video.

        Args:
            index: position of the video, a scalar int64 tensor; one from the number of videos on
                stands for none.
            number: the clip, a scalar int64 tensor in [0, views.clips).
            views: how many clips and crops there are.
            grid: gives their frames and size.

        Returns:
            Whether the video can be read; uint8 (views.crops, num_frames, crop_size, crop_size, 3),
            meaningless if not.
        """

        def read(index, number):
            which = {"number": int(number), "count": views.clips}
            excerpt = view_excerpt(grid, self._sampling, scale=grid.crop_size, **which)
            found = self._read(int(index), excerpt)
            if found is None:
                return False, np.zeros((views.crops * grid.num_frames, 1, 1, 3), np.uint8)
            frames, _ = found
            windows = side_windows(
                *frames[0].shape[:2],
                crop_size=grid.crop_size,
                scale=grid.crop_size,
                count=views.crops,
            )
            return True, np.concatenate([cropped(frames, window) for window in windows])

        specs = tf.TensorSpec((), tf.bool), tf.TensorSpec((None, None, None, 3), tf.uint8)
        is_read, parts = in_python(read, (index, number), specs)
        shape = (views.crops, *grid.shape[1:])
        return is_read, tf.reshape(scaled(parts, grid.crop_size), shape)

    # ---- One clip --------------------------------------------------------------------------------

    def training_cuts(self, clips: Sequence[Clip]) -> list[Cut]:
        """What `training_cut` returns for each of some clips; neighbours of one video are read at
        once."""
        cuts = []
        for index, group in itertools.groupby(clips, lambda clip: clip.video):
            group = list(group)
            together = self._cuts_together(index, group) if len(group) > 1 else None
            # Where one cannot be read, others of the video may be.
            cuts += together or [self.training_cut(clip) for clip in group]
        return cuts

    def _cuts_together(self, index: int, clips: Sequence[Clip]) -> list[Cut] | None:
        """What is read for clips of one video and grid; None if any of it cannot be."""
        excerpts = [training_excerpt(clip, self._sampling) for clip in clips]

        def read():
            with self._opened(index, excerpts[0].detail) as video:
                indices = [excerpt.indices(video.num_frames) for excerpt in excerpts]
                sides = [excerpt.short_side for excerpt in excerpts]
                labels = [video.label(int(own[0]), int(own[-1])) for own in indices]
                frames = video.read_together(list(zip(indices, sides, strict=True)))
                return list(zip(frames, labels, strict=True))

        path = self._path(index)
        if self._kept is not None or index in self._too_slow:
            return None
        try:
            found = patiently(path, lambda: self._in_time(index, path, read))
        except DecodeError:
            # Counted when it is read for each clip alone.
            return None
        self._bad_videos.count_clips(len(clips))
        return [
            self._found(index, *of, excerpt) for of, excerpt in zip(found, excerpts, strict=True)
        ]

    def training_cut(self, clip: Clip) -> Cut:
        """What is read for a training clip, of another video where its own is unreadable."""
        excerpt = training_excerpt(clip, self._sampling)
        index = clip.video
        for attempt in range(_MAX_REPLACEMENTS):
            cut = self._cut(index, excerpt)
            if cut is not None:
                return cut
            # From the clip's own random number: every worker and every resumed run agrees.
            generator = np.random.default_rng((clip.start, attempt))
            last, index = index, int(generator.integers(len(self._videos)))
        raise TooManyBadVideosError(
            f"{_MAX_REPLACEMENTS} videos in a row cannot be read; the last: "
            f"{self._path(last)}. Check that the data set is where its annotations say. "
            f"Received: {self._bad_videos.errors[self._path(last)]}"
        )

    def centre_cut(self, index: int, grid: Grid) -> Cut | None:
        """What is read for validation; None if the video is not there or cannot be read."""
        return self._cut(index, centre_excerpt(grid, self._sampling))

    def _cut(self, index: int, excerpt: Excerpt) -> Cut | None:
        found = self._read(index, excerpt)
        if found is None:
            return None
        return self._found(index, *found, excerpt)

    def _found(self, index: int, frames: Sequence[np.ndarray], label: Any, excerpt: Excerpt) -> Cut:
        window = excerpt.window(*frames[0].shape[:2])
        label = np.asarray(self._task.encode(label), self._task.label_dtype)
        return Cut(frames, window, label, index)

    def _read(self, index: int, excerpt: Excerpt) -> tuple[Sequence[np.ndarray], Any] | None:
        """Frames and label of a video; None if it is not there or cannot be read."""
        if index >= len(self._videos):
            return None

        def read():
            with self._opened(index, excerpt.detail) as video:
                indices = excerpt.indices(video.num_frames)
                frames = video.read(indices, excerpt.short_side)
                span = int(indices[0]), int(indices[-1])
                return frames, video.whole_label if excerpt.whole_label else video.label(*span)

        path = self._path(index)
        try:
            if index in self._too_slow:
                raise self._too_slow[index]
            found = patiently(path, lambda: self._in_time(index, path, read))
        except DecodeError as error:
            if isinstance(error, limits.TooSlowError):
                # Once is enough: it has held a thread, and perhaps still does.
                self._too_slow[index] = error.with_traceback(None)
            self._bad_videos.add(path, error)
            return None
        self._bad_videos.count_clips(1)
        return found

    def _in_time(self, index: int, path: str, read: Callable) -> Any:
        """The result of `read()`, which may take a limited time."""
        seconds = limits.read_seconds(is_remote=self._videos[index].is_remote)
        # To hand a read to another thread costs a tenth of the clips per second.
        if type(self._videos[index]) is VideoRecord and self._is_on_a_disk(index):
            with limits.time_limit(seconds, path):
                return read()
        return within(seconds, read, path)

    def _is_on_a_disk(self, index: int) -> bool:
        """Whether a video is a file of this machine's, which does not keep its reader waiting."""
        video = self._videos[index]
        if video.is_remote:
            return False
        path = video.first_file
        folder = os.path.dirname(path)
        if folder not in self._local_folders:
            seconds = limits.read_seconds(is_remote=False)
            self._local_folders[folder] = within(seconds, lambda: is_local_folder(folder), path)
        return self._local_folders[folder] and not os.path.islink(path)

    def _path(self, index: int) -> str:
        try:
            return self._videos[index].path
        except DecodeError:
            # Records keep names in files that may be damaged; reading the video tells which.
            return f"{self._videos.root}, video {index}"

    def _opened(self, index: int, detail: int):
        if self._kept is None:
            return opened(self._videos[index], detail)
        if index not in self._kept:
            try:
                with opened(self._videos[index]) as video:
                    self._kept[index] = KeptVideo(video)
            except DecodeError:
                # Some clips of it may be readable.
                self._kept[index] = None
        kept = self._kept[index]
        return opened(self._videos[index], detail) if kept is None else contextlib.nullcontext(kept)

    @property
    def _no_label(self) -> np.ndarray:
        return np.zeros(self._task.label_shape, self._task.label_dtype)


def _finished(values, pixels, side, label):
    """From a packed clip and the pixels that were read for it: (values, clip, label)."""
    clip = Clip.unpacked(values)
    part = tf.reshape(pixels, tf.stack([clip.num_frames, side, side, 3]))
    return values, scaled(part, clip.crop_size, clip.flip), label
