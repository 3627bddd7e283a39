"""Weights of one short training for each optimizer, on one device or several; to a file.

A process of its own: devices are made before TensorFlow starts.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import (
    Grid,
    MultigridCallback,
    MultigridLearningRate,
    MultigridSchedule,
    optimizers,
    resample,
)

ACCUMULATION = {"gradient_accumulation_steps": 2}
WHITE = 7
OPTIMIZERS = {
    "SGD": (optimizers.SGD, {"momentum": 0.9, "global_clipnorm": 0.1}),
    "AdamW": (optimizers.AdamW, {"use_ema": True, **ACCUMULATION}),
    "Lion": (optimizers.Lion, {"weight_decay": 0.01}),
    "Muon": (optimizers.Muon, {"exclude_layers": ["head"]}),
    "LAMB": (optimizers.Lamb, {"weight_decay": 0.01, **ACCUMULATION}),
    "float16": (keras.optimizers.AdamW, {"global_clipnorm": 0.1}),
    "float16+accumulation": (keras.optimizers.SGD, {"momentum": 0.9, **ACCUMULATION}),
}


class OverflowOnWhite(keras.layers.Layer):
    """The gradient of a white clip overflows, on whatever device it is."""

    def build(self, input_shape):
        self.offset = self.add_weight(shape=(), initializer="zeros", name="offset")

    def call(self, clips):
        is_white = keras.ops.all(clips > 2.44, axis=(1, 2, 3, 4), keepdims=True)
        steep = keras.ops.where(is_white, 1e36, 0.0) * self.offset
        return clips + self.offset + steep - keras.ops.stop_gradient(steep)


def make_optimizer(name, schedule):
    optimizer_class, settings = OPTIMIZERS[name]
    optimizer = optimizer_class(MultigridLearningRate(schedule, 0.01), **settings)
    return keras.optimizers.LossScaleOptimizer(optimizer) if "float16" in name else optimizer


def train(name, strategy):
    schedule = MultigridSchedule(
        base=Grid(batch_size=4, num_frames=4, crop_size=16),
        num_clips=24,
        epochs=2,
        long_cycle=(),
        short_cycle=(),
        epoch_factor=1.0,
        replicas=strategy.num_replicas_in_sync,
    )
    videos = np.random.default_rng(0).integers(0, 255, (24, 6, 18, 20, 3)).astype(np.uint8)
    videos[WHITE] = 255
    videos = tf.data.Dataset.from_tensor_slices((videos, np.arange(24) % 3))
    batches = videos.apply(resample(schedule))
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((None, None, None, 3)),
                *([OverflowOnWhite()] if "float16" in name else []),
                keras.layers.Conv3D(8, (1, 3, 3), strides=2, activation="gelu"),
                keras.layers.Conv3D(8, (3, 1, 1), padding="same", activation="gelu"),
                keras.layers.GlobalAveragePooling3D(),
                keras.layers.Dense(3, activation="softmax", name="head"),
            ]
        )
        model.compile(make_optimizer(name, schedule), "sparse_categorical_crossentropy")
    model.fit(
        batches,
        steps_per_epoch=schedule.total_steps,
        callbacks=[MultigridCallback(log_dir=None)],
        verbose=0,
    )
    weights = model.get_weights()
    if "float16" in name:
        weights.append(model.optimizer.dynamic_scale.numpy())
    return weights


if __name__ == "__main__":
    out, devices = sys.argv[1], int(sys.argv[2])
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, logical)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(devices)])
    weights = {name: train(name, strategy) for name in OPTIMIZERS}
    arrays = {f"{name} {n}": w for name, given in weights.items() for n, w in enumerate(given)}
    np.savez(out, **arrays)
