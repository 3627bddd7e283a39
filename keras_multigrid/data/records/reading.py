"""Reads clips of records by TensorFlow operations alone.

So clips can be read by other processes than the one that trains, and no thread waits for Python's
lock. A clip that cannot be read this way is marked, and read again by `ClipReader`, which can try
more, replaces it by another, and reports the error.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from keras_multigrid import remote_files
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.excerpt import Excerpt, centre_excerpt, training_excerpt
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import scaled
from keras_multigrid.data.python_calls import in_python
from keras_multigrid.data.reading import BatchNumbers, ClipReader, Cut
from keras_multigrid.data.records.index import Placed
from keras_multigrid.data.records.record_files import RecordFiles
from keras_multigrid.data.records.record_set import RecordedVideos
from keras_multigrid.data.records.serving import served
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid
from keras_multigrid.task import Task

# A JPEG's colours are blurred over two pixels, so that they differ at the edges of a part that is
# decoded alone. With this many pixels more on each side they are those of the whole picture.
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
    keep_decoded: bool = False,
    service: str | None = None,
    **settings,
) -> ClipReader:
    """A `RecordReader` of records, a `ClipReader` of other videos.

    Args:
        service: same as for `RecordReader`.
        settings: `bad_videos` and `workers`. Other arguments: same as for `ClipReader`.

    Raises:
        ValueError: an input service cannot read them.
    """
    if isinstance(videos, RecordedVideos) and not keep_decoded:
        return RecordReader(videos, sampling, task, service=service, **settings)
    if service is not None:
        raise ValueError(
            "An input service reads records alone, and keeps nothing in memory. Received: "
            f"service={service!r} and other videos, or keep_decoded=True. Make records by "
            "`keras-multigrid prepare` and set keep_decoded=False, or read the videos here: "
            "service=None."
        )
    return ClipReader(videos, sampling, task, keep_decoded=keep_decoded, **settings)


class RecordReader(ClipReader):
    """Reads clips of recorded videos.

    The clips are, to the pixel, those that `ClipReader` reads of folders of the same images.

    Args:
        videos: the videos.
        service: address of an input service that reads them, grpc://HOST:PORT; None reads them
            here.
        settings: `bad_videos` and `workers`. Other arguments: same as for `ClipReader`.

    Raises:
        ValueError: a service cannot read them, as TensorFlow has no file system for them.

    Example:

    >>> reader = RecordReader(videos.train, ClipSampling(), videos.task, workers=4)
    """

    def __init__(
        self,
        videos: RecordedVideos,
        sampling: ClipSampling,
        task: Task,
        *,
        service: str | None = None,
        **settings,
    ):
        super().__init__(videos, sampling, task, **settings)
        if service is not None and not remote_files.is_read_in_graphs(videos.root):
            raise ValueError(
                f"The workers of an input service read by TensorFlow's operations. Received: "
                f"service={service!r} and records in {remote_files.redacted(videos.root)}, which "
                "TensorFlow cannot read here. Copy them to a disk that trainers and workers share; "
                "use TensorFlow 2.17 with tensorflow-io on all of them; or set service=None."
            )
        self._service = service
        self._files = RecordFiles(videos.root, is_served=service is not None)
        # The workers of a service may have another number of cores than this machine.
        is_tuned = service is not None and settings.get("workers") is None
        self._readers = tf.data.AUTOTUNE if is_tuned else self.workers
        self._num_read_again = 0

    def training(self, drawn_of: Callable, group: Callable, numbers: BatchNumbers):
        def batches_of(numbers):
            return group(self._training_clips(numbers.flat_map(drawn_of)))

        def again(row):
            clip = Clip.unpacked(row.tolist())
            return clip.video, self.training_cut(clip), clip.crop_size, clip.flip

        def videos_of(rows):
            return np.array(Clip.unpacked(rows.T).video)

        def repaired(values, *batch):
            return values, *self._repaired(again, videos_of, values, *batch)[1:]

        batches = self._fetched(batches_of, numbers)
        return batches.map(repaired, num_parallel_calls=self.workers)

    def centres(self, indices_of: Callable, group: Callable, grid: Grid, numbers: BatchNumbers):
        def batches_of(numbers):
            return group(self._centre_clips(numbers.flat_map(indices_of), grid))

        def again(index):
            return index, self.centre_cut(int(index), grid), grid.crop_size, 0

        batches = self._fetched(batches_of, numbers)
        repaired = functools.partial(self._repaired, again, lambda indices: indices)
        return batches.map(repaired, num_parallel_calls=self.workers)

    def _fetched(self, batches_of: Callable, numbers: BatchNumbers) -> tf.data.Dataset:
        if self._service is None:
            return batches_of(numbers.dataset())
        return served(batches_of, numbers, self._service)

    def _training_clips(self, drawn: tf.data.Dataset) -> tf.data.Dataset:
        """A data set of (packed clip, is_read, uint8 clip, label)."""

        def read(values):
            clip = Clip.unpacked(values)
            return self._clip(clip.video, training_excerpt(clip, self._sampling))

        return self._marked(drawn, read, lambda values: Clip.unpacked(values).shape)

    def _centre_clips(self, indices: tf.data.Dataset, grid: Grid) -> tf.data.Dataset:
        """A data set of (index, is_read, uint8 clip, label)."""

        def read(index):
            clip, label = self._clip(index, centre_excerpt(grid, self._sampling))
            return tf.ensure_shape(clip, grid.shape[1:]), label

        return self._marked(indices, read, lambda index: grid.shape[1:])

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
            # The only place where TensorFlow continues after an error.
            return clips.ignore_errors(log_warning=False).concatenate(marked).take(1)

        # A map could do it, too, but would set up everything anew for each clip.
        return elements.interleave(
            read_or_mark,
            cycle_length=None if readers == tf.data.AUTOTUNE else readers,
            num_parallel_calls=readers,
            deterministic=True,
        )

    def _clip(self, index: tf.Tensor, excerpt: Excerpt) -> tuple[tf.Tensor, tf.Tensor]:
        """An excerpt of a video: uint8 (t, crop_size, crop_size, 3), and the encoded label."""
        videos = self._videos
        starts = tf.constant(videos.starts, tf.int64)
        shard = tf.cast(tf.searchsorted(starts, index[None], side="right")[0], tf.int64) - 1
        name = _shard_name(videos, shard)
        path = tf.strings.join([videos.root, "/", name, ".index"])
        numbers = self._files.index(path)
        placed = Placed.of(numbers, index - starts[shard], len(videos.form.copies))
        is_sound = placed.is_sound(videos.form.frames_per_record)
        with tf.control_dependencies([tf.debugging.Assert(is_sound, ["damaged", path])]):
            return self._placed_clip(name, placed, excerpt)

    def _placed_clip(self, name: tf.Tensor, placed: Placed, excerpt: Excerpt):
        """The same, of the video that is placed there in a shard."""
        videos = self._videos
        copy = placed.copy(excerpt.detail)
        indices = excerpt.indices(placed.num_frames)
        # Only the records that hold frames of the clip.
        per_record = videos.form.frames_per_record
        first, last = indices[0] // per_record, indices[-1] // per_record
        folder = tf.constant(videos.form.copies)[copy]
        records = self._files.records(
            tf.strings.join([videos.root, "/", folder, "/", name, ".tfrecord"]),
            placed.places[copy, first],
            placed.places[copy, last + 1],
            last - first + 1,
        )
        jpegs, label = _parsed(records, indices - first * per_record, excerpt.whole_label)
        clip = scaled(
            _decoded_part(jpegs, placed.sizes[copy], excerpt), excerpt.crop_size, excerpt.flip
        )
        label = tf.cast(self._task.encode(label, tf.experimental.numpy), self._label_type)
        return clip, tf.ensure_shape(label, self._task.label_shape)

    def _repaired(self, again: Callable, videos_of: Callable, places, is_read, clips, labels):
        """A batch (is_read, clips, labels), its marked clips read by Python if they can be.

        `again` gives, for one of `places`, the video's number, its `Cut` or None, crop and flip;
        `videos_of` the numbers of the videos of all of them.
        """

        def check(places, is_read):
            # TensorFlow has no operation for the checksum of an index, and a wrong index may lead
            # to wrong frames.
            is_read = is_read.copy()
            is_read[is_read] = self._videos.are_trusted(videos_of(places[is_read]))
            self._bad_videos.count_clips(int(is_read.sum()))
            return [is_read]

        def repair(places, *batch):
            is_read, clips, labels = (array.copy() for array in batch)
            for number in np.flatnonzero(~is_read):
                video, cut, crop_size, flip = again(places[number])
                if cut is not None:
                    self._warn_of_second_reading(video, cut)
                    clips[number] = scaled(cut.cropped, crop_size, flip).numpy()
                    is_read[number], labels[number] = True, cut.label
            return is_read, clips, labels

        batch = (is_read, clips, labels)
        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in batch]
        (is_read,) = in_python(check, [places, is_read], specs[:1])
        return tf.cond(
            tf.reduce_all(is_read),
            lambda: (is_read, clips, labels),
            lambda: tuple(in_python(repair, [places, is_read, clips, labels], specs)),
        )

    def _warn_of_second_reading(self, video: int, cut: Cut) -> None:
        if cut.video != video:
            return
        self._num_read_again += 1
        logging.log_every_n_seconds(
            logging.WARNING,
            "%d clips could not be read at first, but then could here, which is slow. If an input "
            "service reads them, its workers must see %s.",
            60,
            self._num_read_again,
            self._videos.root,
        )


def _shard_name(videos: RecordedVideos, shard: tf.Tensor) -> tf.Tensor:
    number = tf.strings.as_string(shard, width=5, fill="0")
    return tf.strings.join([f"{videos.part}-", number, f"-of-{videos.num_shards:05d}"])


def _parsed(records, indices, whole_label: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """JPEGs of some frames of neighbouring records; classes of the video, or of their span."""
    context, lists, _ = tf.io.parse_sequence_example(
        records,
        context_features={_CLASSES: tf.io.RaggedFeature(tf.int64)},
        sequence_features={
            _FRAMES: tf.io.RaggedFeature(tf.string),
            _FRAME_CLASSES: tf.io.RaggedFeature(tf.int64),
        },
    )
    jpegs, of_video = tf.gather(lists[_FRAMES].flat_values, indices), context[_CLASSES][0]
    if whole_label:
        return jpegs, of_video
    by_frame = lists[_FRAME_CLASSES].merge_dims(0, 1)
    of_span = tf.cond(
        by_frame.nrows() > 0,
        lambda: by_frame[indices[0] : indices[-1] + 1].flat_values,
        lambda: of_video,
    )
    return jpegs, of_span


def _decoded_part(jpegs, size, excerpt: Excerpt) -> tf.Tensor:
    """The part of pictures that an excerpt shows, decoded alone: uint8 (t, side, side, 3)."""
    height, width = tf.unstack(size, 2)

    def decode_at(reduction: int) -> tf.Tensor:
        rows, columns = (-(-side // reduction) for side in (height, width))
        top, left, side = excerpt.window(rows, columns)
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

    times = tf.minimum(height, width) // excerpt.short_side
    choice = tf.reduce_sum(tf.cast(times >= tf.constant(_REDUCTIONS[1:], tf.int64), tf.int32))
    return tf.switch_case(choice, [functools.partial(decode_at, n) for n in _REDUCTIONS])
