"""Reads clips of records by TensorFlow operations alone.

So clips can be read by other processes than the one that trains, and no thread waits for Python's
lock. A clip that cannot be read this way is marked; `repaired` reads it again as `ClipReader` does,
which knows what to try, what to replace, and what to tell the user.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from keras_multigrid.data.clips import sampling as sampling_lib
from keras_multigrid.data.clips import windows
from keras_multigrid.data.clips.sampling import Clip, ClipSampling
from keras_multigrid.data.python_calls import in_python
from keras_multigrid.data.reading import ClipReader
from keras_multigrid.data.records.recorded_videos import Placed, RecordedVideos, read_records
from keras_multigrid.schedule import Grid

# A JPEG's colours are blurred over two pixels: at the edges of a part that is decoded alone they
# differ. With so many pixels more on each side they are those of the whole picture.
_MARGIN = 4
# How many times smaller a JPEG can be decoded.
_REDUCTIONS = (1, 2, 4, 8)

_FRAMES = "image/encoded"
_CLASSES = "clip/label/index"
_FRAME_CLASSES = "frame/label/index"


class RecordReader:
    """Reads clips of recorded videos.

    The clips are, to the pixel, those that `ClipReader` reads of folders of the same images.

    Args:
        videos: the videos.
        sampling: how clips are taken from them.
        repairer: reads what cannot be read here: made for the same videos and settings.

    Example:

    >>> repairer = ClipReader(videos.train, ClipSampling())
    >>> reader = RecordReader(videos.train, ClipSampling(), repairer)
    >>> clips = reader.random_clips(drawn, num_parallel_calls=4)
    """

    def __init__(self, videos: RecordedVideos, sampling: ClipSampling, repairer: ClipReader):
        self._videos = videos
        self._sampling = sampling
        self._repairer = repairer
        self._num_read_again = 0

    def random_clips(self, drawn: tf.data.Dataset, **parallel) -> tf.data.Dataset:
        """As of `ClipReader`, but that clips which cannot be read are black, and so marked."""

        def read(values):
            clip = Clip(*tf.unstack(values))

            def select(num_frames):
                return sampling_lib.training_indices(num_frames, clip, self._sampling, xp=tf)

            def place(height, width):
                return windows.random_window(height, width, clip, xp=tf)

            frames, classes = self._frames(clip.video, clip.detail, clip.short_side, select, place)
            clip = windows.scaled(frames, clip.crop_size, clip.flip)
            return clip, self._label(classes.of_frames)

        def shape(values):
            return Clip(*tf.unstack(values)).shape

        return self._marked(drawn, read, shape, **parallel)

    def repaired(self, values, is_read, clips, labels):
        """A batch of `random_clips`, those that are marked read again, or replaced by others."""

        def read(row):
            clip = Clip(*row.tolist())
            frames, label, video = self._repairer.random_clip(clip)
            if video == clip.video:
                self._tell_of_second_reading()
            return frames, label

        _, clips, labels = self._repaired(read, values, is_read, clips, labels)
        return clips, labels

    def centre_clips(self, indices: tf.data.Dataset, grid: Grid, **parallel) -> tf.data.Dataset:
        """As of `ClipReader`, but that what cannot be read is not yet counted."""
        size = tf.constant(grid.crop_size, tf.int64)
        scale = tf.constant(self._sampling.scales(grid.crop_size)[0], tf.int64)
        detail = tf.maximum(scale, size)

        def select(num_frames):
            count = tf.constant(grid.num_frames, tf.int64)
            return sampling_lib.view_clip_indices(num_frames, count, self._sampling, xp=tf)

        def place(height, width):
            return windows.centre_window(height, width, crop_size=size, scale=scale, xp=tf)

        def read(index):
            frames, classes = self._frames(index, detail, detail, select, place)
            clip = tf.ensure_shape(windows.scaled(frames, size), grid.shape[1:])
            return clip, self._label(classes.of_video)

        return self._marked(indices, read, lambda index: grid.shape[1:], **parallel)

    def repaired_centres(self, grid: Grid, indices, is_read, clips, labels):
        """A batch of `centre_clips`, those that are marked read again, if they can be."""

        def read(index):
            found = self._repairer.centre(int(index), grid)
            if found is not None:
                self._tell_of_second_reading()
            return found

        is_due = indices < len(self._videos)
        is_fine, clips, labels = self._repaired(read, indices, is_read | ~is_due, clips, labels)
        return is_fine & is_due, clips, labels

    def _frames(self, index, detail, short_side, select: Callable, place: Callable):
        """The part of some frames of a video that a clip shows, as it is in a copy.

        Args:
            index: the video.
            detail: short side of the smallest copy that will do.
            short_side: short side that is needed: pictures are decoded smaller, if they can be.
            select: frames by their number in the video.
            place: where the part lies, by height and width.

        Returns:
            uint8 (t, side, side, 3), and the `_Classes`.
        """
        videos, per_record = self._videos, self._videos.form.frames_per_record
        starts = tf.constant(videos.starts, tf.int64)
        shard = tf.cast(tf.searchsorted(starts, index[None], side="right")[0], tf.int64) - 1
        name = _shard_name(videos, shard)
        numbers = tf.io.decode_raw(
            tf.io.read_file(tf.strings.join([videos.root, "/", name, ".index"])), tf.int64
        )
        row = index - starts[shard]
        placed = Placed.of(numbers, row, len(videos.form.copies), xp=tf)
        indices = select(placed.num_frames)
        first, last = indices[0] // per_record, indices[-1] // per_record
        copy = placed.copy(detail, xp=tf)
        folder = tf.constant(videos.form.copies)[copy]
        records = read_records(
            tf.strings.join([videos.root, "/", folder, "/", name, ".tfrecord"]),
            placed.places[copy, first],
            placed.places[copy, last + 1],
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
        height, width = tf.unstack(placed.sizes[copy], 2)
        classes = _Classes.of(context[_CLASSES][0], lists[_FRAME_CLASSES], indices)
        return _decoded_part(jpegs, height, width, short_side, place), classes

    def _label(self, classes: tf.Tensor) -> tf.Tensor:
        if not self._videos.multi_label:
            return tf.cast(classes[0], tf.int32)
        label = tf.zeros(self._repairer.label_shape)
        return tf.tensor_scatter_nd_max(label, classes[:, None], tf.ones_like(classes, tf.float32))

    def _marked(
        self, elements: tf.data.Dataset, read: Callable, shape: Callable, *, num_parallel_calls: int
    ) -> tf.data.Dataset:
        """For each element (element, true, *read(element)), in order.

        Where reading fails, (element, false, a black clip of its shape, no label).
        """
        no_label = tf.zeros(self._repairer.label_shape, self._repairer.label_type)

        def read_or_mark(element):
            black = tf.zeros(shape(element), tf.uint8)
            marked = tf.data.Dataset.from_tensors((element, False, black, no_label))
            clips = tf.data.Dataset.from_tensors(element).map(lambda x: (x, True, *read(x)))
            # The only place where TensorFlow goes on after an error.
            return clips.ignore_errors(log_warning=False).concatenate(marked).take(1)

        # A map could do it, too, but would set up everything anew for each clip.
        return elements.interleave(
            read_or_mark,
            cycle_length=None if num_parallel_calls == tf.data.AUTOTUNE else num_parallel_calls,
            num_parallel_calls=num_parallel_calls,
            deterministic=True,
        )

    def _repaired(self, read: Callable, places, is_read, clips, labels):
        """A batch, its marked clips read by Python, if they can be; and whether each is read."""
        repairer = self._repairer

        def count(is_read):
            repairer.count_clips(int(is_read.sum()))
            return is_read

        def repair(places, is_read, clips, labels):
            is_read, clips, labels = is_read.copy(), clips.copy(), labels.copy()
            for number in np.flatnonzero(~is_read):
                found = read(places[number])
                if found is not None:
                    clips[number], labels[number] = found
                    is_read[number] = True
            return is_read, clips, labels

        def repaired():
            types = (tf.bool, tf.uint8, repairer.label_type)
            return tuple(in_python(repair, [places, is_read, clips, labels], types))

        is_read = in_python(count, [is_read], tf.bool)
        is_read.set_shape((None,))
        batch = tf.cond(tf.reduce_all(is_read), lambda: (is_read, clips, labels), repaired)
        for tensor, like in zip(batch, (is_read, clips, labels), strict=True):
            tensor.set_shape(like.shape)
        return batch

    def _tell_of_second_reading(self) -> None:
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


def _shard_name(videos: RecordedVideos, shard: tf.Tensor) -> tf.Tensor:
    number = tf.strings.as_string(shard, width=5, fill="0")
    return tf.strings.join([f"{videos.part}-", number, f"-of-{videos.num_shards:05d}"])


def _decoded_part(jpegs, height, width, short_side, place: Callable) -> tf.Tensor:
    """The same part of several pictures, decoded alone: uint8 (t, side, side, 3)."""

    def decode_at(reduction: int) -> tf.Tensor:
        rows, columns = (-(-side // reduction) for side in (height, width))
        top, left, side = place(rows, columns)
        # With a margin, as far as there are pixels.
        first_row, first_column = (tf.maximum(at - _MARGIN, 0) for at in (top, left))
        end_row = tf.minimum(top + side + _MARGIN, rows)
        end_column = tf.minimum(left + side + _MARGIN, columns)
        window = [first_row, first_column, end_row - first_row, end_column - first_column]
        window = tf.cast(tf.stack(window), tf.int32)
        top, left = top - first_row, left - first_column

        def decode(jpeg):
            picture = tf.io.decode_and_crop_jpeg(
                jpeg, window, channels=3, ratio=reduction, dct_method="INTEGER_ACCURATE"
            )
            return picture[top : top + side, left : left + side]

        return tf.map_fn(decode, jpegs, fn_output_signature=tf.uint8)

    times = tf.minimum(height, width) // short_side
    choice = tf.reduce_sum(tf.cast(times >= tf.constant(_REDUCTIONS[1:], tf.int64), tf.int32))
    return tf.switch_case(choice, [functools.partial(decode_at, n) for n in _REDUCTIONS])
