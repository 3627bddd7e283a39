"""Your own Keras model and your own tf.data set, with a validation and exact checkpoints.

    python examples/stock_model.py

Run it twice: the second time it goes on where the first one ended.
"""

import keras
import numpy as np
import tensorflow as tf

import keras_multigrid as mg


def moving_bars():
    """Videos of their own length and size in which a bar moves to the left or to the right."""
    for number in range(48):
        frames, height, width = 16 + number % 5, 40 + number % 7, 50 + number % 9
        video, direction = np.zeros((frames, height, width, 3), np.uint8), number % 2
        for frame in range(frames):
            column = 3 * frame + number
            video[frame, :, (column if direction else -column) % width] = 255
        yield video, direction


signature = (tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32))
videos = tf.data.Dataset.from_generator(moving_bars, output_signature=signature)
base = mg.Grid(batch_size=4, num_frames=8, crop_size=32)
schedule = mg.MultigridSchedule(base, num_clips=48, epochs=20)
# Mirrored, left would be right.
sampling = mg.ClipSampling(flip=False)

layers = keras.layers
model = keras.Sequential(
    [
        keras.Input((None, None, None, 3)),
        layers.Conv3D(16, (3, 5, 5), strides=(1, 2, 2), padding="same", use_bias=False),
        mg.SubBatchNormalization(),
        layers.ReLU(),
        layers.Conv3D(32, 3, strides=2, padding="same", use_bias=False),
        mg.SubBatchNormalization(),
        layers.ReLU(),
        layers.GlobalAveragePooling3D(),
        layers.Dense(2, activation="softmax"),
    ]
)
print(mg.check_grids(model, schedule) or "The model takes every grid.")

rate = mg.MultigridLearningRate(schedule, mg.half_cosine(schedule, 0.02), warmup_epochs="auto")
model.compile(
    keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
checkpoint = mg.MultigridCheckpoint("runs/stock_model", every=20, monitor="val_accuracy")
start_step = checkpoint.restore(model)
model.fit(
    videos.apply(mg.resample(schedule, start_step=start_step, sampling=sampling)),
    validation_data=videos.apply(mg.centre_clips(base)),
    steps_per_epoch=20,
    epochs=-(-schedule.total_steps // 20),
    callbacks=[mg.MultigridCallback(log_dir="runs/stock_model"), checkpoint],
)
