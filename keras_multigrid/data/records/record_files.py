"""Reading records and indices inside a graph, on every file system.

TensorFlow's operations read local paths and its own file systems. What fsspec reads comes through
Python: of a clip, the bytes of its records alone, whose checksums the same operations compare.
"""

import functools
import itertools
import os

import numpy as np
import tensorflow as tf

from keras_multigrid import remote_files
from keras_multigrid.data.python_calls import in_python

# Of a file of records, in bytes: more is read in several parts.
_LONGEST_BUFFER = 1 << 26
# Indices that are kept in memory: of 64 videos each, some megabytes.
_MOST_INDICES = 1024
# Names of files in the memory of this process.
_numbers = itertools.count()


class RecordFiles:
    """Files of records, read by TensorFlow if it can, else through Python.

    Through Python, each index is read once, and a failing request is not repeated: the clip is
    marked, and `ClipReader` asks again, patiently.

    Args:
        root: folder of the records.
        is_served: whether an input service reads them, whose workers have TensorFlow's operations
            alone.

    Example:

    >>> numbers = RecordFiles("s3://sets/charades").index(path)
    """

    def __init__(self, root: str, *, is_served: bool = False):
        is_of_tensorflow = remote_files.is_of_tensorflow(root)
        self._reads_in_graph = is_served or is_of_tensorflow
        self._reads_twice = is_served and not is_of_tensorflow
        self._fetched_index = functools.lru_cache(_MOST_INDICES)(_fetched)

    def index(self, path: tf.Tensor) -> tf.Tensor:
        """The numbers of an index: int64 (numbers,)."""
        if self._reads_in_graph:
            content = _read_twice(path) if self._reads_twice else tf.io.read_file(path)
            return tf.io.decode_raw(content, tf.int64)

        def fetch(path):
            return [np.frombuffer(self._fetched_index(path), "<i8")]

        return in_python(fetch, [path], [tf.TensorSpec([None], tf.int64)])[0]

    def records(self, path: tf.Tensor, start, end, count) -> tf.Tensor:
        """Neighbouring records of a file, same as `read_records`."""
        if self._reads_in_graph:
            return read_records(path, start, end, count)

        def fetch(path, start, end, count):
            content = _fetched(path, offset=int(start), length=int(end - start))
            return [checked_records(content, count)]

        arguments = [path, start, end, count]
        return in_python(fetch, arguments, [tf.TensorSpec([None], tf.string)])[0]


def _read_twice(path: tf.Tensor) -> tf.Tensor:
    """A file that two readings find the same: tensorflow-io may give wrong bytes without an error.

    Records have checksums for that, indices none that TensorFlow can compare.
    """
    content = tf.io.read_file(path)
    with tf.control_dependencies([content]):
        again = tf.io.read_file(path)
    is_same = tf.debugging.Assert(tf.equal(content, again), ["two readings differ", path])
    with tf.control_dependencies([is_same]):
        return tf.identity(content)


def _fetched(path: bytes, offset: int = 0, length: int = -1) -> bytes:
    path = os.fsdecode(path)
    return remote_files.file_system(path).read_range(path, offset=offset, length=length)


def checked_records(content: bytes, count: int) -> np.ndarray:
    """Records in memory, their checksums compared: an array (count,) of bytes.

    Args:
        content: the records as they are in a file.
        count: how many there are.

    Raises:
        tf.errors.DataLossError: they are damaged.
    """
    # Only from files are checksums compared by TensorFlow; in Python it would take long.
    path = f"ram://keras_multigrid-{next(_numbers)}"
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)
    try:
        return read_records(path, 0, len(content), count).numpy()
    finally:
        tf.io.gfile.remove(path)


def read_records(path, start, end, count) -> tf.Tensor:
    """Neighbouring records of a file, their checksums compared: a string (count,) tensor.

    The file is read from `start` on, so that the time does not depend on what comes before.

    Args:
        path: the file.
        start, end: where the first begins and the last ends in it.
        count: how many there are.
    """
    element = {"output_types": [tf.string], "output_shapes": [[]]}
    # The public class always reads from the beginning.
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=tf.minimum(tf.cast(end - start, tf.int64), _LONGEST_BUFFER),
        byte_offsets=[tf.cast(start, tf.int64)],
    )
    count = tf.cast(count, tf.int64)
    records = tf.raw_ops.TakeDataset(input_dataset=records, count=count, **element)
    element = {"output_types": [tf.string], "output_shapes": [[None]]}
    records = tf.raw_ops.BatchDatasetV2(
        input_dataset=records, batch_size=count, drop_remainder=True, **element
    )
    return tf.raw_ops.DatasetToSingleElement(dataset=records, **element)[0]
