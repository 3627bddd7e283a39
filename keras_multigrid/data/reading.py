"""Reads clips inside TensorFlow graphs, past files that cannot be read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_multigrid import files
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips import sampling as sampling_lib
from keras_multigrid.data.clips import windows
from keras_multigrid.data.clips.sampling import Clip, ClipSampling
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.clips.windows import (
    Window,
    centre_window,
    cropped,
    random_window,
    side_windows,
)
from keras_multigrid.data.python_calls import in_python
from keras_multigrid.data.videos.decode import DecodeError, decode_frames, read_video
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid

# Replacements tried for one clip before giving up.
_MAX_REPLACEMENTS = 100
# Kept clips read at a time, one after the other.
_CLIPS_PER_CALL = 16


class Cut(NamedTuple):
    """What is read for a clip, before it is cropped and scaled.

    Args:
        frames: the clip's frames, whole: uint8 (height, width, 3) each.
        window: the part of them that it shows.
        label: as of `training_batches`.
        video: position in the list of the video that they were read from.
    """

    frames: Sequence[np.ndarray]
    window: Window
    label: np.ndarray
    video: int

    @property
    def cropped(self) -> np.ndarray:
        """The part that the clip shows: uint8 (t, side, side, 3)."""
        return cropped(self.frames, self.window)


class ClipReader:
    """Reads clips of a list of videos.

    Args:
        videos: the videos.
        sampling: how clips are taken from them.
        num_classes: length of the labels of videos with several classes; None for one class each.
        bad_videos: counts and lists files that cannot be read.
        keep_decoded: keep every decoded video in memory.

    Example:

    >>> reader = ClipReader(videos.train, ClipSampling())
    >>> frames, label = reader.centre(0, schedule.base)
    """

    def __init__(
        self,
        videos: Sequence[VideoRecord],
        sampling: ClipSampling,
        *,
        num_classes: int | None = None,
        bad_videos: BadVideos | None = None,
        keep_decoded: bool = False,
    ):
        if len(videos):
            # Before the first batch; lists seldom mix file systems.
            files.check_scheme(videos[0].path)
        self._videos = videos
        self._sampling = sampling
        self._num_classes = num_classes
        self._bad_videos = BadVideos() if bad_videos is None else bad_videos
        self._decoded = {} if keep_decoded else None

    @property
    def label_type(self) -> tf.DType:
        """Of labels, as of `training_batches`."""
        return tf.int32 if self._num_classes is None else tf.float32

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Of the label of one clip."""
        return () if self._num_classes is None else (self._num_classes,)

    def random_clips(self, drawn: tf.data.Dataset, **parallel) -> tf.data.Dataset:
        """Clips that start at random frames; of other videos where their own are unreadable.

        Args:
            drawn: int64 (len(Clip._fields),) elements, the values of a `Clip` each.
            parallel: settings of `tf.data.Dataset.map`.

        Returns:
            A data set of (values, is_read, clip, label), in the same order: what was drawn; true;
            uint8 (num_frames, crop_size, crop_size, 3); the label, as of `training_batches`.
        """

        def read(rows):
            windows, sides, labels = [], [], []
            for row in rows.tolist():
                cut = self.random_cut(Clip(*row))
                windows.append(cut.cropped.ravel())
                sides.append(cut.window.side)
                labels.append(cut.label)
            return np.concatenate(windows), np.array(sides), np.stack(labels)

        def windows(clips):
            types = (tf.uint8, tf.int64, self.label_type)
            pixels, sides, labels = in_python(read, [clips], types)
            pixels.set_shape((None,))
            sides.set_shape(clips.shape[:1])
            labels.set_shape((clips.shape[0], *self.label_shape))
            return clips, pixels, sides, labels

        def several(clips):
            clips, pixels, sides, labels = windows(clips)
            lengths = Clip(*tf.unstack(clips, axis=1)).num_frames * sides**2 * 3
            pixels = tf.RaggedTensor.from_row_lengths(pixels, lengths, validate=False)
            return clips, pixels, sides, labels

        def scale(values, pixels, side, label):
            clip = Clip(*tf.unstack(values))
            window = tf.reshape(pixels, tf.stack([clip.num_frames, side, side, 3]))
            return values, True, windows.scaled(window, clip.crop_size, clip.flip), label

        def one(values):
            clips, pixels, sides, labels = windows(values[None])
            return scale(clips[0], pixels, sides[0], labels[0])

        if self._decoded is None:
            return drawn.map(one, deterministic=True, **parallel)
        # Entering Python costs more than copying a clip out of memory, and much less than decoding.
        calls = drawn.batch(_CLIPS_PER_CALL, drop_remainder=True)
        parallel = {"deterministic": True, **parallel}
        return calls.map(several, **parallel).unbatch().map(scale, **parallel)

    def repaired(self, values, is_read, clips, labels):
        """Clips and labels of a batch of `random_clips`, all of which are read."""
        return clips, labels

    def random_clip(self, clip: Clip) -> tuple[np.ndarray, np.ndarray, int]:
        """Pixels and label of one of `random_clips`, and the video that it was read from."""
        cut = self.random_cut(clip)
        frames = windows.scaled(cut.cropped, clip.crop_size, clip.flip).numpy()
        return frames, cut.label, cut.video

    def random_cut(self, clip: Clip) -> Cut:
        """What is read for one of `random_clips`."""

        def select(num_frames):
            return sampling_lib.training_indices(num_frames, clip, self._sampling)

        frames, label, video = self._read_or_replace(clip, select)
        return Cut(frames, random_window(*frames[0].shape[:2], clip), label, video)

    def centre_clips(self, indices: tf.data.Dataset, grid: Grid, **parallel) -> tf.data.Dataset:
        """The clips in the middle of videos.

        Args:
            indices: the videos, scalar int64 elements; from the number of videos on none.
            grid: gives their frames and size.
            parallel: settings of `tf.data.Dataset.map`.

        Returns:
            A data set of (index, is_read, clip, label), in the same order: the video; whether it
            can be read; uint8 (num_frames, crop_size, crop_size, 3), the centre, and the label,
            both meaningless if not.
        """

        def read(index):
            cut = self.centre_cut(int(index), grid)
            if cut is None:
                no_label = np.zeros(self.label_shape, self.label_type.as_numpy_dtype)
                return False, np.zeros((grid.num_frames, 1, 1, 3), np.uint8), no_label
            return True, cut.cropped, cut.label

        def clip(index):
            types = (tf.bool, tf.uint8, self.label_type)
            is_read, window, label = in_python(read, [index], types)
            is_read.set_shape(())
            window.set_shape((grid.num_frames, None, None, 3))
            label.set_shape(self.label_shape)
            clip = tf.ensure_shape(windows.scaled(window, grid.crop_size), grid.shape[1:])
            return index, is_read, clip, label

        return indices.map(clip, deterministic=True, **parallel)

    def centre(self, index: int, grid: Grid) -> tuple[np.ndarray, np.ndarray] | None:
        """Pixels and label of one of `centre_clips`; None if it cannot be read."""
        cut = self.centre_cut(index, grid)
        if cut is None:
            return None
        return windows.scaled(cut.cropped, grid.crop_size).numpy(), cut.label

    def centre_cut(self, index: int, grid: Grid) -> Cut | None:
        """What is read for one of `centre_clips`; None if it cannot be read."""
        size = grid.crop_size
        scale = self._sampling.scales(size)[0]
        detail = max(scale, size)

        def select(num_frames):
            return sampling_lib.view_clip_indices(num_frames, grid.num_frames, self._sampling)

        frames = self._read_or_none(index, select, short_side=detail, detail=detail)
        if frames is None:
            return None
        window = centre_window(*frames[0].shape[:2], crop_size=size, scale=scale)
        # The video's own label: what goes on anywhere in it.
        return Cut(frames, window, self._label(self._videos[index].label), index)

    def repaired_centres(self, grid: Grid, indices, is_read, clips, labels):
        """A batch of `centre_clips`, as it is."""
        return is_read, clips, labels

    def count_clips(self, count: int) -> None:
        """Count clips that others have read, for the share of those that are bad."""
        self._bad_videos.count_clips(count)

    def views(self, index: tf.Tensor, number: tf.Tensor, views: Views, grid: Grid):
        """All crops of one clip of a video.

        Args:
            index: the video, a scalar int64 tensor; from the number of videos on none.
            number: the clip, a scalar int64 tensor in [0, views.clips).
            views: how many clips and crops there are.
            grid: gives their frames and size.

        Returns:
            Whether the video can be read; uint8 (views.crops, num_frames, crop_size, crop_size, 3),
            meaningless if not.
        """
        size = grid.crop_size

        def read(index, number):
            def select(num_frames):
                return sampling_lib.view_clip_indices(
                    num_frames,
                    grid.num_frames,
                    self._sampling,
                    number=int(number),
                    count=views.clips,
                )

            frames = self._read_or_none(int(index), select, short_side=size, detail=size)
            if frames is None:
                return False, np.zeros((views.crops * grid.num_frames, 1, 1, 3), np.uint8)
            windows = side_windows(
                *frames[0].shape[:2], crop_size=size, scale=size, count=views.crops
            )
            return True, np.concatenate([cropped(frames, window) for window in windows])

        is_read, windows = in_python(read, (index, number), (tf.bool, tf.uint8))
        is_read.set_shape(())
        windows.set_shape((None, None, None, 3))
        shape = (views.crops, *grid.shape[1:])
        return is_read, tf.reshape(windows.scaled(windows, size), shape)

    def _read_or_replace(self, clip: Clip, select):
        index = clip.video
        sides = {"short_side": clip.short_side, "detail": clip.detail}
        for attempt in range(_MAX_REPLACEMENTS):
            try:
                frames, indices = self._read(index, select, **sides)
                video = self._videos[index]
                if self._num_classes is None:
                    return frames, self._label(video.label), index
                # Charades: everything that goes on inside the clip's span.
                classes = _classes(video, int(indices[0]), int(indices[-1]))
                return frames, self._label(classes), index
            except DecodeError as error:
                self._bad_videos.add(self._videos[index].path, error)
                # The clip's own random number: every worker and every resumed run agrees.
                generator = np.random.default_rng((clip.start, attempt))
                index = int(generator.integers(len(self._videos)))
        raise DecodeError(
            f"{_MAX_REPLACEMENTS} videos in a row cannot be read; the last: "
            f"{self._videos[index].path}. Check that the data set is where its annotations say."
        )

    def _read_or_none(self, index, select, **sides):
        """The frames that `select` names; None of a video that is not there or cannot be read."""
        if index >= len(self._videos):
            return None
        try:
            return self._read(index, select, **sides)[0]
        except DecodeError as error:
            self._bad_videos.add(self._videos[index].path, error)
            return None

    def _read(self, index, select, **sides):
        """The frames that `select` names, as of `decode_frames`, and their indices."""
        video = self._kept(index)
        if video is None:
            frames, indices = decode_frames(self._videos[index], select, **sides)
        else:
            indices = select(len(video))
            frames = [video[i] for i in indices]
        self._bad_videos.count_clips(1)
        return frames, indices

    def _kept(self, index: int) -> np.ndarray | None:
        """All frames of a video; None where they are not kept, or not all can be decoded."""
        if self._decoded is None:
            return None
        if index not in self._decoded:
            try:
                self._decoded[index] = read_video(self._videos[index])
            except DecodeError:
                # Some clips of it may be whole.
                self._decoded[index] = None
        return self._decoded[index]

    def _label(self, classes: int | tuple[int, ...]) -> np.ndarray:
        if self._num_classes is None:
            return np.int32(classes)
        label = np.zeros(self._num_classes, np.float32)
        label[np.asarray(classes, np.int64)] = 1.0
        return label


def _classes(video: VideoRecord, first: int, last: int) -> int | tuple[int, ...]:
    """What goes on from one frame to another. Records between those of a clip's frames are read."""
    try:
        return video.classes(first, last)
    except files.StorageUnavailableError:
        # No fault of the video.
        raise
    except OSError as error:
        reason = error.strerror or error
        raise DecodeError(f"Cannot read the labels of '{video.path}': {reason}.") from error
