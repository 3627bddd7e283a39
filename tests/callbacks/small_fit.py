"""A small network and small batches for stock `fit`."""

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import (
    Grid,
    MultigridLearningRate,
    MultigridSchedule,
    SubBatchNormalization,
    resample,
)

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=8, num_frames=8, crop_size=16), num_clips=96, epochs=8, boundaries=(4, 6)
)


def make_model(
    schedule=SCHEDULE,
    learning_rate=0.01,
    normalization=SubBatchNormalization,
    model_class=keras.Sequential,
):
    model = model_class(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(4, 3, padding="same", groups=1),
            normalization(),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    if schedule is not None:
        learning_rate = MultigridLearningRate(schedule, learning_rate)
    model.compile(
        keras.optimizers.SGD(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def make_videos(schedule=SCHEDULE, seed=0):
    videos = np.random.default_rng(seed).integers(0, 255, (schedule.num_clips, 12, 20, 24, 3))
    labels = np.arange(schedule.num_clips) % 2
    return tf.data.Dataset.from_tensor_slices((videos.astype(np.uint8), labels))


def make_batches(schedule=SCHEDULE, start_step=0, seed=0):
    return make_videos(schedule, seed).apply(resample(schedule, start_step=start_step))
