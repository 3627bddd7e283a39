"""All operations together give the same on every backend, compiled where it compiles."""

import keras
import numpy as np
from keras import ops

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
