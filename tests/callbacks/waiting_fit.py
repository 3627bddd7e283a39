"""Trains in a process of its own on input that stops coming: a pipe into which nobody writes.

    waiting_fit.py FOLDER PIPE STEPS PART

After STEPS batches, that of PART (train or validation) waits. Used by test_termination.py.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import MultigridCheckpoint


def make_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(2, activation="softmax")]
    )
    # What needs no batch: weight decay, random numbers, the count of steps.
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def make_batches(pipe, steps, start=0):
    def read(number):
        if number == steps:
            print("waits", flush=True)
            with open(pipe, "rb") as file:
                file.read()
        return np.full((2, 4), number / 10, np.float32)

    def batch(number):
        clips = tf.numpy_function(read, [number], tf.float32)
        clips.set_shape((2, 4))
        return clips, tf.constant([0, 1])

    return tf.data.Dataset.range(start, 1000).map(batch)


def main(folder, pipe, steps, part):
    model = make_model()
    checkpoint = MultigridCheckpoint(folder)
    start = checkpoint.restore(model)
    training = make_batches(pipe, int(steps) if part == "train" else -1, start)
    validation = make_batches(pipe, int(steps) if part == "validation" else -1).take(8)
    model.fit(
        training,
        validation_data=validation,
        steps_per_epoch=20,
        epochs=2,
        verbose=0,
        callbacks=[checkpoint],
    )
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
