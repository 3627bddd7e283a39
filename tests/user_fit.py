"""A user's own model and data in stock `fit`, under whatever strategy: see test_distribute.py."""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import keras
import numpy as np
import tensorflow as tf

import keras_multigrid as mg


@keras.saving.register_keras_serializable(package="test")
class Subclassed(keras.Model):
    """Not built before the first batch."""

    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv3D(4, 3, padding="same")
        self.normalization = mg.SubBatchNormalization()
        self.pool = keras.layers.GlobalAveragePooling3D()
        self.classify = keras.layers.Dense(2, activation="softmax")

    def call(self, clips, training=False):
        x = self.normalization(self.convolution(clips), training=training)
        return self.classify(self.pool(keras.ops.relu(x)))


def functional():
    inputs = keras.Input((None, None, None, 3))
    x = keras.layers.Conv3D(4, 3, padding="same")(inputs)
    x = keras.layers.ReLU()(mg.SubBatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling3D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def main(kind: str, name: str, cpus: str, out: str) -> None:
    strategy = mg.distribute.find_strategy(name, logical_cpus=int(cpus) or None)
    pixels = np.random.default_rng(0).integers(0, 255, (22, 8, 20, 24, 3)).astype(np.uint8)
    videos = tf.data.Dataset.from_tensor_slices((pixels, np.arange(22) % 2))
    schedule = mg.MultigridSchedule(
        base=mg.Grid(batch_size=3, num_frames=4, crop_size=16),
        num_clips=22,
        epochs=12,
        boundaries=(6, 9),
        # Of every strategy: 3 clips become 4.
        replicas=2,
    )
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = Subclassed() if kind == "subclassed" else functional()
        optimizer = keras.optimizers.SGD(mg.MultigridLearningRate(schedule, 0.01), momentum=0.9)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    mg.distribute.prepare(model)
    batches = mg.distribute.batches(
        strategy,
        lambda context: videos.apply(mg.resample(schedule, seed=2, input_context=context)),
    )
    # Keras's own data set: 9 clips are 4, 4 and 1, or parts of them.
    validation = videos.take(9).map(lambda v, y: (tf.cast(v, tf.float32) / 255, y)).batch(4)
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    history = model.fit(
        batches,
        validation_data=validation.with_options(options),
        steps_per_epoch=20,
        epochs=-(-schedule.total_steps // 20),
        verbose=0,
        callbacks=[mg.MultigridCallback(log_dir=None)],
    )
    weights = {f"weight{n}": w for n, w in enumerate(model.get_weights())}
    results = {name: values for name, values in history.history.items()}
    np.savez(out, steps=int(model.optimizer.iterations.numpy()), **results, **weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
