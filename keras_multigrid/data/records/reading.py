"""Reads clips of records by TensorFlow operations alone.

So clips can be read by other processes than the one that trains, and no thread waits for Python's
lock. A clip that cannot be read this way is marked; Python reads it again, as `ClipReader` does,
which knows what to try, what to replace, and what to tell the user.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.excerpt import Excerpt, centre_excerpt, training_excerpt
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import scaled
from keras_multigrid.data.python_calls import in_python
from keras_multigrid.data.reading import BatchNumbers, ClipReader
from keras_multigrid.data.records.record_set import Placed, RecordedVideos, read_records
from keras_multigrid.data.records.serving import served
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid
from keras_multigrid.task import Task

# A JPEG's colours are blurred over two pixels: at the edges of a part that is decoded alone they
# differ. With so many pixels more on each side they are those of the whole picture.
_MARGIN = 4
# How many times smaller a JPEG can be decoded.
_REDUCTIONS = (1, 2, 4, 8)

_FRAMES = "image/encoded"
_CLASSES = "clip/label/index"
_FRAME_CLASSES = "frame/label/index"


def make_reader(
    videos: Sequence[VideoRecord],
    sampling: ClipSampling,
    task: Task,
    *,
    bad_videos: BadVideos | None = None,
    keep_decoded: bool = False,
    workers: int | None = None,
    service: str | None = None,
) -> ClipReader:
    """What reads clips of these videos, records or not.

    Raises:
        ValueError: an input service cannot read them.
    """
    if isinstance(videos, RecordedVideos) and not keep_decoded:
        return RecordReader(
            videos, sampling, task, bad_videos=bad_videos, workers=workers, service=service
        )
    if service is not None:
        raise ValueError(
            "An input service reads records alone, and keeps nothing in memory. Received: "
            f"service={service!r} and other videos, or keep_decoded=True. Make records: "
            "tools/prepare.py, and set keep_decoded=False; or read the videos here: service=None."
        )
    return ClipReader(
        videos,
        sampling,
        task,
        bad_videos=bad_videos,
        keep_decoded=keep_decoded,
        workers=workers,
    )


class RecordReader(ClipReader):
    """Reads clips of recorded videos.

    The clips are, to the pixel, those that `ClipReader` reads of folders of the same images.

    Args:
        videos: the videos.
        sampling: how clips are taken from them.
        task: encodes their labels.
        bad_videos: counts and lists those that cannot be read.
        workers: clips read at a time; None takes the number of cores.
        service: address of an input service that reads them, grpc://HOST:PORT; None reads them
            here.

    Example:

    >>> reader = RecordReader(videos.train, ClipSampling(), videos.task, workers=4)
    """

    def __init__(
        self,
        videos: RecordedVideos,
        sampling: ClipSampling,
        task: Task,
        *,
        bad_videos: BadVideos | None = None,
        workers: int | None = None,
        service: str | None = None,
    ):
        super().__init__(videos, sampling, task, bad_videos=bad_videos, workers=workers)
        self._service = service
        # The workers of a service know their cores.
        self._readers = (
            tf.data.AUTOTUNE if service is not None and workers is None else self.workers
        )
        self._num_read_again = 0

    def training(self, drawn_of: Callable, group: Callable, numbers: BatchNumbers):
        def batches_of(numbers):
            return group(self._training_clips(numbers.flat_map(drawn_of)))

        def again(row):
            clip = Clip.unpacked(row.tolist())
            cut = self.training_cut(clip)
            if cut.video == clip.video:
                self._warn_of_second_reading()
            return scaled(cut.cropped, clip.crop_size, clip.flip).numpy(), cut.label

        def repaired(values, is_read, clips, labels):
            _, clips, labels = self._repaired(again, values, is_read, clips, labels)
            return values, clips, labels

        batches = self._fetched(batches_of, numbers)
        return batches.map(repaired, num_parallel_calls=self.workers)

    def centres(self, indices_of: Callable, group: Callable, grid: Grid, numbers: BatchNumbers):
        def batches_of(numbers):
            return group(self._centre_clips(numbers.flat_map(indices_of), grid))

        def again(index):
            cut = self.centre_cut(int(index), grid)
            if cut is None:
                return None
            self._warn_of_second_reading()
            return scaled(cut.cropped, grid.crop_size).numpy(), cut.label

        def repaired(indices, is_read, clips, labels):
            is_due = indices < len(self._videos)
            is_read, *batch = self._repaired(again, indices, is_read | ~is_due, clips, labels)
            return is_read & is_due, *batch

        return self._fetched(batches_of, numbers).map(repaired, num_parallel_calls=self.workers)

    def _fetched(self, batches_of: Callable, numbers: BatchNumbers) -> tf.data.Dataset:
        if self._service is None:
            return batches_of(numbers.dataset())
        bounds = {"first": numbers.first, "end": numbers.end}
        return served(batches_of, numbers.number_of, self._service, **bounds)

    def _training_clips(self, drawn: tf.data.Dataset) -> tf.data.Dataset:
        """A data set of (packed clip, is_read, uint8 clip, label)."""

        def read(values):
            clip = Clip.unpacked(values)
            return self._clip(clip.video, training_excerpt(clip, self._sampling))

        return self._marked(drawn, read, lambda values: Clip.unpacked(values).shape)

    def _centre_clips(self, indices: tf.data.Dataset, grid: Grid) -> tf.data.Dataset:
        def read(index):
            clip, label = self._clip(index, centre_excerpt(grid, self._sampling))
            return tf.ensure_shape(clip, grid.shape[1:]), label

        return self._marked(indices, read, lambda index: grid.shape[1:])

    def _clip(self, index: tf.Tensor, excerpt: Excerpt) -> tuple[tf.Tensor, tf.Tensor]:
        """An excerpt of a video: uint8 (t, crop_size, crop_size, 3), and the encoded label."""
        video = _OpenRecord(self._videos, index, excerpt.detail)
        indices = excerpt.indices(video.num_frames)
        part, classes = video.read(indices, excerpt.short_side, excerpt.window)
        label = classes.of_video if excerpt.whole_label else classes.of_frames
        label = tf.cast(self._task.encode(label, tf.experimental.numpy), self._label_type)
        clip = scaled(part, excerpt.crop_size, excerpt.flip)
        return clip, tf.ensure_shape(label, self._task.label_shape)

    def _marked(
        self, elements: tf.data.Dataset, read: Callable, shape: Callable
    ) -> tf.data.Dataset:
        """For each element (element, true, *read(element)), in order.

        Where reading fails, (element, false, a black clip of its shape, no label).
        """
        no_label = tf.constant(self._no_label)
        readers = self._readers

        def read_or_mark(element):
            black = tf.zeros(shape(element), tf.uint8)
            marked = tf.data.Dataset.from_tensors((element, False, black, no_label))
            clips = tf.data.Dataset.from_tensors(element).map(lambda x: (x, True, *read(x)))
            # The only place where TensorFlow goes on after an error.
            return clips.ignore_errors(log_warning=False).concatenate(marked).take(1)

        # A map could do it, too, but would set up everything anew for each clip.
        return elements.interleave(
            read_or_mark,
            cycle_length=None if readers == tf.data.AUTOTUNE else readers,
            num_parallel_calls=readers,
            deterministic=True,
        )

    def _repaired(self, again: Callable, places, is_read, clips, labels):
        """A batch (is_read, clips, labels), its marked clips read by Python if they can be."""

        def count(is_read):
            self._bad_videos.count_clips(int(is_read.sum()))
            return is_read

        def repair(places, is_read, clips, labels):
            is_read, clips, labels = is_read.copy(), clips.copy(), labels.copy()
            for number in np.flatnonzero(~is_read):
                found = again(places[number])
                if found is not None:
                    clips[number], labels[number] = found
                    is_read[number] = True
            return is_read, clips, labels

        def repaired():
            types = (tf.bool, tf.uint8, self._label_type)
            return tuple(in_python(repair, [places, is_read, clips, labels], types))

        is_read = in_python(count, [is_read], tf.bool)
        is_read.set_shape((None,))
        batch = tf.cond(tf.reduce_all(is_read), lambda: (is_read, clips, labels), repaired)
        for tensor, like in zip(batch, (is_read, clips, labels), strict=True):
            tensor.set_shape(like.shape)
        return batch

    def _warn_of_second_reading(self) -> None:
        self._num_read_again += 1
        logging.log_every_n_seconds(
            logging.WARNING,
            "%d clips could not be read at first, but then could here, which is slow. If an input "
            "service reads them, its workers must see %s.",
            60,
            self._num_read_again,
            self._videos.root,
        )


class _Classes(NamedTuple):
    """Classes of a whole video, and of the frames that a clip spans, if they are known."""

    of_video: tf.Tensor
    of_frames: tf.Tensor

    @classmethod
    def of(cls, of_video: tf.Tensor, frame_classes: tf.RaggedTensor, indices: tf.Tensor):
        by_frame = frame_classes.merge_dims(0, 1)
        return cls(
            of_video,
            tf.cond(
                by_frame.nrows() > 0,
                lambda: by_frame[indices[0] : indices[-1] + 1].flat_values,
                lambda: of_video,
            ),
        )


class _OpenRecord:
    """A recorded video, open in a graph: all values are tensors.

    Args:
        videos: the set.
        index: the video's position in it.
        detail: short side of the smallest copy that will do.
    """

    def __init__(self, videos: RecordedVideos, index: tf.Tensor, detail):
        self._videos = videos
        starts = tf.constant(videos.starts, tf.int64)
        shard = tf.cast(tf.searchsorted(starts, index[None], side="right")[0], tf.int64) - 1
        self._name = _shard_name(videos, shard)
        numbers = tf.io.decode_raw(
            tf.io.read_file(tf.strings.join([videos.root, "/", self._name, ".index"])), tf.int64
        )
        self._placed = Placed.of(numbers, index - starts[shard], len(videos.form.copies))
        self._copy = self._placed.copy(detail)
        self.num_frames = self._placed.num_frames

    def read(self, indices, short_side, window: Callable) -> tuple[tf.Tensor, _Classes]:
        """The part of some frames that a clip shows, as it is in a copy, and the classes.

        Args:
            indices: the frames.
            short_side: short side that is needed: pictures are decoded smaller, if they can be.
            window: where the part lies, by height and width.

        Returns:
            uint8 (t, side, side, 3), and the `_Classes`.
        """
        per_record = self._videos.form.frames_per_record
        first, last = indices[0] // per_record, indices[-1] // per_record
        folder = tf.constant(self._videos.form.copies)[self._copy]
        records = read_records(
            tf.strings.join([self._videos.root, "/", folder, "/", self._name, ".tfrecord"]),
            self._placed.places[self._copy, first],
            self._placed.places[self._copy, last + 1],
            last - first + 1,
        )
        context, lists, _ = tf.io.parse_sequence_example(
            records,
            context_features={_CLASSES: tf.io.RaggedFeature(tf.int64)},
            sequence_features={
                _FRAMES: tf.io.RaggedFeature(tf.string),
                _FRAME_CLASSES: tf.io.RaggedFeature(tf.int64),
            },
        )
        indices -= first * per_record
        jpegs = tf.gather(lists[_FRAMES].flat_values, indices)
        height, width = tf.unstack(self._placed.sizes[self._copy], 2)
        classes = _Classes.of(context[_CLASSES][0], lists[_FRAME_CLASSES], indices)
        return _decoded_part(jpegs, height, width, short_side, window), classes


def _shard_name(videos: RecordedVideos, shard: tf.Tensor) -> tf.Tensor:
    number = tf.strings.as_string(shard, width=5, fill="0")
    return tf.strings.join([f"{videos.part}-", number, f"-of-{videos.num_shards:05d}"])


def _decoded_part(jpegs, height, width, short_side, window: Callable) -> tf.Tensor:
    """The same part of several pictures, decoded alone: uint8 (t, side, side, 3)."""

    def decode_at(reduction: int) -> tf.Tensor:
        rows, columns = (-(-side // reduction) for side in (height, width))
        top, left, side = window(rows, columns)
        # With a margin, as far as there are pixels.
        first_row, first_column = (tf.maximum(at - _MARGIN, 0) for at in (top, left))
        end_row = tf.minimum(top + side + _MARGIN, rows)
        end_column = tf.minimum(left + side + _MARGIN, columns)
        around = [first_row, first_column, end_row - first_row, end_column - first_column]
        around = tf.cast(tf.stack(around), tf.int32)
        top, left = top - first_row, left - first_column

        def decode(jpeg):
            picture = tf.io.decode_and_crop_jpeg(
                jpeg, around, channels=3, ratio=reduction, dct_method="INTEGER_ACCURATE"
            )
            return picture[top : top + side, left : left + side]

        return tf.map_fn(decode, jpegs, fn_output_signature=tf.uint8)

    times = tf.minimum(height, width) // short_side
    choice = tf.reduce_sum(tf.cast(times >= tf.constant(_REDUCTIONS[1:], tf.int64), tf.int32))
    return tf.switch_case(choice, [functools.partial(decode_at, n) for n in _REDUCTIONS])
