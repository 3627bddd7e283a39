"""Batches augmented, and what an augmentation needs, checked before any video is read.

An augmentation may have the attributes of `keras_multigrid.augmentation.Augmentation`, and need not
be one.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_multigrid import backend
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.draws import uniform_at
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.python_calls import in_python
from keras_multigrid.schedule import Grid, MultigridSchedule
from keras_multigrid.task import Task

# Random numbers of each clip for an augmentation that does not say how many it needs.
NUM_NUMBERS = 16


def augmented(augment: Callable, base: Grid, seed: int, clips, labels, values, *, repeats: int = 1):
    """Clips and labels of a batch, augmented.

    Args:
        augment: same as for `Input`.
        base: the baseline's grid.
        seed: of the random numbers, together with the positions of the clips.
        clips: float32 (b, t, s, s, 3).
        labels: of the clips.
        values: their packed `Clip`s.
        repeats: neighbouring clips that come from one video.
    """
    if getattr(augment, "pairs_clips", False) and repeats > 1:
        # Pairs of clips of two videos: 0 1 2 3 4 5, of which 0 1 2 are of one, become 0 3 1 4 2 5.
        places = tf.range(tf.shape(clips)[0])
        there, back = (
            tf.reshape(tf.linalg.matrix_transpose(tf.reshape(places, shape)), (-1,))
            for shape in ((-1, 2, repeats), (-1, repeats, 2))
        )
        ordered = [tf.gather(tensor, there) for tensor in (clips, labels, values)]
        changed = augmented(augment, base, seed, *ordered)
        return [tf.gather(tensor, back) for tensor in changed]
    positions = Clip.unpacked(values).position
    numbers = uniform_at(seed, positions, getattr(augment, "num_numbers", NUM_NUMBERS))
    frames, size = tf.unstack(tf.cast(tf.shape(clips)[1:3], tf.float32))
    work = frames * size**2 / (base.num_frames * base.crop_size**2)
    if backend.name() == "tensorflow":
        return augment(clips, labels, numbers, work)
    return _in_other_backend(augment, clips, labels, numbers, work)


def _in_other_backend(augment: Callable, clips, labels, numbers, work):
    """The same where Keras' operations take no tensors of TensorFlow, so none of a graph."""

    def call(*arrays):
        changed = augment(*map(backend.to_tensor, arrays))
        return [backend.to_numpy(array) for array in changed]

    def small(tensor):
        return np.zeros((2, *tensor.shape[1:]), tensor.dtype.as_numpy_dtype)

    # Labels may become others: found out from a pair of small clips.
    pair = np.zeros((2, 2, 16, 16, 3), np.float32)
    _, example = call(pair, small(labels), small(numbers), np.float32(1))
    specs = [tf.TensorSpec(clips.shape, tf.float32)]
    specs.append(tf.TensorSpec((None, *example.shape[1:]), example.dtype))
    return in_python(call, [clips, labels, numbers, work], specs)


def check_augment(augment: Callable | None, sampling: ClipSampling, task: Task) -> None:
    """Refuse an augmentation that does not fit the sampling of clips or the classes."""
    if getattr(augment, "flips", False) and sampling.flip:
        raise ValueError(
            "`augment` mirrors clips, and so does `sampling`: clips mirrored by the latter would "
            "keep their classes. Received: ClipSampling(flip=True). Use ClipSampling(flip=False)."
        )
    least = getattr(augment, "least_classes", 0)
    if 0 < task.num_outputs < least:
        raise ValueError(
            f"`augment` names class {least - 1}: there must be at least {least} classes. "
            f"Received: {task.num_outputs} classes. Classes are counted from 0."
        )


def check_pairs(
    augment: Callable | None, schedule: MultigridSchedule, replicas: int, repeats: int = 1
) -> None:
    """Refuse a schedule of which a device gets an odd number of clips, where pairs are mixed."""
    if not getattr(augment, "pairs_clips", False):
        return
    of_device = "an even number of clips"
    if repeats > 1:
        of_device = f"clips of an even number of videos, {repeats} of each,"
    for grid in schedule.grids:
        if grid.batch_size % (2 * repeats * replicas):
            shared = "" if replicas == 1 else f", shared by {replicas} replicas"
            raise ValueError(
                f"`augment` mixes clips in pairs: every device must have {of_device} at "
                f"every step. Received: {grid}{shared}. Use a base grid whose batch_size is a "
                f"multiple of {2 * repeats * replicas}."
            )


def task_of_labels(augment: Callable | None, task: Task) -> Task:
    """The task that encodes the labels: with soft ones if the augmentation mixes them."""
    return task.with_soft_labels() if getattr(augment, "mixes_labels", False) else task
