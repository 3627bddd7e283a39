"""All operations together give the same on every backend, compiled where it compiles."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_multigrid import ClipSampling, Grid, MultigridSchedule, resample
from keras_multigrid.augmentation import (
    ColorJitter,
    Compose,
    CutMix,
    HorizontalFlip,
    LabelSmoothing,
    MixUp,
    OneOf,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
)
from keras_multigrid.data.clips.draws import uniform_at

# What TensorFlow gave: the mean of each frame, and the labels of the first and the last clip.
MEANS = [
    [0.44588, 0.44951, 0.41480],
    [0.44561, 0.43913, 0.43971],
    [0.56260, 0.56157, 0.56354],
    [0.49129, 0.50581, 0.49935],
    [0.36108, 0.35958, 0.37749],
    [0.57204, 0.52930, 0.53965],
]
LABELS = [
    [0.011785, 0.941074, 0.011785, 0.011785, 0.011785, 0.011785],
    [0.011785, 0.011785, 0.011785, 0.011785, 0.142466, 0.810393],
]


def compiled(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


def test_all_operations():
    augment = Compose(
        [
            HorizontalFlip(swapped_classes=[(0, 1)]),
            RandomResizedCrop(),
            ColorJitter(hue=0.1),
            RandAugment(num_ops=3),
            RandomErasing(probability=0.5),
            OneOf([MixUp(), CutMix()]),
            LabelSmoothing(),
        ]
    )
    generator = np.random.default_rng(0)
    # Bytes: where two numbers of a float32 decide, backends may differ.
    clips = generator.integers(0, 256, (6, 3, 16, 16, 3)).astype(np.float32) / 255
    numbers = generator.random((6, augment.num_numbers), np.float32)
    batch = (clips, np.eye(6, dtype=np.float32), numbers, np.float32(0.5))
    changed, labels = compiled(augment)(*map(ops.convert_to_tensor, batch))
    changed, labels = ops.convert_to_numpy(changed), ops.convert_to_numpy(labels)
    assert changed.shape == clips.shape and 0 <= changed.min() <= changed.max() <= 1
    np.testing.assert_allclose(changed.mean(axis=(2, 3, 4)), MEANS, atol=1e-4)
    np.testing.assert_allclose(labels[[0, -1]], LABELS, atol=1e-5)


def test_batches_of_a_stream():
    """TensorFlow reads them, whichever backend augments them."""
    generator = np.random.default_rng(0)
    videos = generator.integers(0, 256, (8, 6, 20, 20, 3)).astype(np.uint8)
    classes = np.eye(4, dtype=np.float32)[np.arange(8) % 4]
    schedule = MultigridSchedule(Grid(batch_size=2, num_frames=4, crop_size=16), 8, epochs=2)
    # The colours, in [0, 1].
    sampling = ClipSampling(stride=1, mean=0.0, std=1.0)
    augment = Compose([MixUp(), LabelSmoothing()], growth=0.5)
    plain, mixed = (
        tf.data.Dataset.from_tensor_slices((videos, classes))
        .apply(resample(schedule, seed=5, sampling=sampling, augment=given))
        .take(schedule.total_steps)
        .as_numpy_iterator()
        for given in (None, augment)
    )
    for step, (batch, found) in enumerate(zip(plain, mixed, strict=True)):
        positions = schedule.clips_before(step) + np.arange(len(batch[0]), dtype=np.int64)
        numbers = uniform_at(5, tf.constant(positions), augment.num_numbers).numpy()
        work = np.float32(np.prod(batch[0].shape[1:4]) / (4 * 16 * 16))
        expected = augment(*map(ops.convert_to_tensor, (*batch, numbers, work)))
        for one, another in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, ops.convert_to_numpy(another), atol=1e-5)
    assert np.ptp(found[1].max(axis=1)) > 0 or found[1].max() < 0.9
