"""Clips in memory on JAX or PyTorch, without TensorFlow.

KERAS_BACKEND=jax python examples/arrays_on_jax.py
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

from keras_multigrid import MultigridCallback, MultigridLearningRate, SubBatchNormalization
from keras_multigrid.schedule import Grid, MultigridSchedule

base = Grid(batch_size=4, num_frames=8, crop_size=32)
schedule = MultigridSchedule(base, num_clips=64, epochs=4, boundaries=(2, 3))
generator = np.random.default_rng(0)
labels = generator.integers(2, size=64)
# Noise that stays, or that moves two pixels a frame.
pictures = generator.random((64, 32, 32, 3), np.float32)
clips = np.stack(
    [
        np.stack([np.roll(picture, 2 * frame * label, axis=1) for frame in range(8)])
        for picture, label in zip(pictures, labels, strict=True)
    ]
)


class Batches(keras.utils.PyDataset):
    """The batch of each step, at its grid."""

    def __len__(self):
        return schedule.total_steps

    def __getitem__(self, step):
        grid = schedule.grid(step)
        drawn = np.random.default_rng(step).integers(len(clips), size=grid.batch_size)
        frames = np.linspace(0, 7, grid.num_frames).round().astype(int)
        pixels = (np.arange(grid.crop_size) * 32 // grid.crop_size).astype(int)
        batch = clips[drawn][:, frames][:, :, pixels][:, :, :, pixels]
        return batch, labels[drawn]


model = keras.Sequential(
    [
        keras.Input((None, None, None, 3)),
        keras.layers.Conv3D(8, 3, strides=2, padding="same", use_bias=False),
        SubBatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling3D(),
        keras.layers.Dense(2, activation="softmax"),
    ]
)
model.compile(
    keras.optimizers.SGD(MultigridLearningRate(schedule, 0.02), momentum=0.9),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
# The order of the batches is the schedule's.
model.fit(Batches(), shuffle=False, callbacks=[MultigridCallback(log_dir=None)])
