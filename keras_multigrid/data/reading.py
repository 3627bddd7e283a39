"""Reads clips inside TensorFlow graphs, past files that cannot be read."""

import atexit
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_multigrid.data import sampling as sampling_lib
from keras_multigrid.data.annotations import VideoRecord
from keras_multigrid.data.bad_videos import BadVideos, printable
from keras_multigrid.data.decode import DecodeError, decode_frames, read_video
from keras_multigrid.data.sampling import Clip, ClipSampling
from keras_multigrid.data.transforms import (
    centre_window,
    random_window,
    scaled_crop,
    side_windows,
)
from keras_multigrid.grid import Grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """Views of a video in a test: so many clips along time, and so many crops of each.

    Args:
        clips: spread evenly over the video; one lies in the middle.
        crops: spread evenly along the longer side; one lies in the middle.

    Raises:
        ValueError: if a number is not positive.

    Example, the published protocol:

    >>> Views(clips=10, crops=3)
    """

    clips: int = 10
    crops: int = 3

    def __post_init__(self):
        for name in ("clips", "crops"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}.")


# Replacements tried for one clip before giving up.
_MAX_REPLACEMENTS = 100


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
    >>> is_read, frames, label = reader.centre_clip(tf.constant(0, tf.int64), schedule.base)
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
        self._videos = videos
        self._sampling = sampling
        self._num_classes = num_classes
        self._bad_videos = BadVideos() if bad_videos is None else bad_videos
        self._decoded = {} if keep_decoded else None

    @property
    def clips_per_call(self) -> int:
        """How many clips `random_clips` should read at a time, one after the other.

        Entering Python costs more than copying a clip out of memory, and much less than decoding.
        """
        return 1 if self._decoded is None else 16

    def random_clips(self, clips: tf.Tensor):
        """Clips that start at random frames; of other videos where their own are unreadable.

        Args:
            clips: int64 (n, len(Clip._fields)), the values of a `Clip` a row.

        Returns:
            pixels: uint8 (sum of Clip.num_pixels,), those of (num_frames, crop_size, crop_size, 3)
                of one clip after the other.
            labels: (n, ...), as of `training_batches`.
        """

        def read(rows):
            clips = [Clip(*row) for row in rows.tolist()]
            ends = np.cumsum([clip.num_pixels for clip in clips])
            pixels = np.empty(ends[-1], np.uint8)
            labels = [
                self.random_clip(clip, out=part.reshape(clip.shape))[1]
                for clip, part in zip(clips, np.split(pixels, ends[:-1]), strict=True)
            ]
            return pixels, np.stack(labels)

        pixels, labels = tf.numpy_function(_counted(read), [clips], (tf.uint8, self._label_type))
        pixels.set_shape((None,))
        labels.set_shape((clips.shape[0], *self._label_shape))
        return pixels, labels

    def random_clip(
        self, clip: Clip, *, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Pixels and label of one of `random_clips`, and the video that it was read from."""

        def select(num_frames):
            return sampling_lib.training_indices(num_frames, clip, self._sampling)

        frames, label, video = self._read_or_replace(clip, select)
        window = random_window(*frames[0].shape[:2], clip)
        pixels = scaled_crop(frames, window, crop_size=clip.crop_size, flip=clip.flip, out=out)
        return pixels, label, video

    def centre_clip(self, index: tf.Tensor, grid: Grid):
        """The clip in the middle of a video.

        Args:
            index: the video, a scalar int64 tensor; from the number of videos on none.
            grid: gives its frames and size.

        Returns:
            Whether the video can be read; uint8 (num_frames, crop_size, crop_size, 3), the centre,
            and the label, both meaningless if not.
        """
        size = grid.crop_size
        scale = self._sampling.scales(size)[0]

        def select(num_frames):
            return sampling_lib.view_clip_indices(num_frames, grid.num_frames, self._sampling)

        def read(index):
            frames = self._read_or_none(int(index), select, max(scale, size))
            if frames is None:
                no_label = np.zeros(self._label_shape, self._label_type.as_numpy_dtype)
                return False, np.zeros((grid.num_frames, size, size, 3), np.uint8), no_label
            window = centre_window(*frames[0].shape[:2], crop_size=size, scale=scale)
            # The video's own label: what goes on anywhere in it.
            label = self._label(self._videos[int(index)], ())
            return True, scaled_crop(frames, window, crop_size=size), label

        is_read, frames, label = tf.numpy_function(
            _counted(read), [index], (tf.bool, tf.uint8, self._label_type)
        )
        is_read.set_shape(())
        frames.set_shape((grid.num_frames, size, size, 3))
        label.set_shape(self._label_shape)
        return is_read, frames, label

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

            frames = self._read_or_none(int(index), select, size)
            if frames is None:
                shape = (views.crops, grid.num_frames, size, size, 3)
                return False, np.zeros(shape, np.uint8)
            windows = side_windows(
                *frames[0].shape[:2], crop_size=size, scale=size, count=views.crops
            )
            crops = [scaled_crop(frames, window, crop_size=size) for window in windows]
            return True, np.stack(crops)

        is_read, crops = tf.numpy_function(_counted(read), (index, number), (tf.bool, tf.uint8))
        is_read.set_shape(())
        crops.set_shape((views.crops, grid.num_frames, size, size, 3))
        return is_read, crops

    @property
    def _label_type(self) -> tf.DType:
        return tf.int32 if self._num_classes is None else tf.float32

    @property
    def _label_shape(self) -> tuple[int, ...]:
        return () if self._num_classes is None else (self._num_classes,)

    def _read_or_replace(self, clip: Clip, select):
        index = clip.video
        for attempt in range(_MAX_REPLACEMENTS):
            try:
                frames, indices = self._read(index, select, max(clip.scale, clip.crop_size))
                return frames, self._label(self._videos[index], indices), index
            except DecodeError as error:
                self._bad_videos.add(self._videos[index].path, error)
                # The clip's own random number: every worker and every resumed run agrees.
                generator = np.random.default_rng((clip.start, attempt))
                index = int(generator.integers(len(self._videos)))
        raise DecodeError(
            f"{_MAX_REPLACEMENTS} videos in a row cannot be read; the last: "
            f"{self._videos[index].path}. Check that the data set is where its annotations say."
        )

    def _read_or_none(self, index, select, short_side):
        """The frames that `select` names; None of a video that is not there or cannot be read."""
        if index >= len(self._videos):
            return None
        try:
            return self._read(index, select, short_side)[0]
        except DecodeError as error:
            self._bad_videos.add(self._videos[index].path, error)
            return None

    def _read(self, index, select, short_side):
        """The frames that `select` names, of that short side at least, and their indices."""
        video = self._kept(index)
        if video is None:
            frames, indices = decode_frames(self._videos[index], select, short_side=short_side)
        else:
            indices = select(len(video))
            frames = [video[i] for i in indices]
        self._bad_videos.count_clip()
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

    def _label(self, record, indices):
        if self._num_classes is None:
            return np.int32(record.label)
        classes = record.label
        if record.frame_labels and len(indices):
            # Charades: everything that goes on inside the clip's span.
            span = record.frame_labels[indices[0] : indices[-1] + 1]
            classes = sorted(set().union(*span))
        label = np.zeros(self._num_classes, np.float32)
        label[np.asarray(classes, np.int64)] = 1.0
        return label


# TensorFlow's threads read ahead until the process ends. One that comes back to Python while the
# interpreter shuts down is killed, and the process waits for its result for ever. So the last act
# of the interpreter is to refuse further reads and to wait for those under way.
_closing = threading.Event()
_under_way = set()


def _counted(read: Callable) -> Callable:
    def guarded(*arguments):
        token = object()
        _under_way.add(token)
        try:
            if _closing.is_set():
                raise InterruptedError("The process ends.")
            return read(*arguments)
        except Exception as error:
            # TensorFlow writes down an error and those behind it, and what is no UTF-8 in them,
            # such as names of files, ends the process.
            text = printable(str(error))
            if text == str(error):
                raise error from None
            raise RuntimeError(f"{type(error).__name__}: {text}") from None
        finally:
            _under_way.discard(token)

    return guarded


@atexit.register
def _close(seconds: float = 5.0) -> None:
    _closing.set()
    quiet_since = time.monotonic()
    end = quiet_since + seconds
    while time.monotonic() < end and time.monotonic() - quiet_since < 0.1:
        if _under_way:
            quiet_since = time.monotonic()
        time.sleep(0.005)
