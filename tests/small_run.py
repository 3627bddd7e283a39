"""Trains a small network in a process of its own and writes what it saw and what it became.

Used by test_distribute.py and test_resume.py; its network also by test_training.py.
"""

import argparse
import functools
import json
import os
import pathlib
import sys
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--out", required=True, help="weights, and beside them what was seen")
    parser.add_argument("--strategy", default="one_device")
    parser.add_argument("--logical_cpus", type=int)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--checkpoint_every", type=int, default=5)
    parser.add_argument("--checkpoint_dir")
    parser.add_argument("--views", type=int, default=0, help="clips of the test at the end")
    run(parser.parse_args())


def tiny(classes, classifier_activation, dropout, kernel=3):
    import keras

    import keras_multigrid as mg

    layers = keras.layers
    convolution = {"strides": (1, 2, 2), "padding": "same", "use_bias": False}
    # Smooth activations, which do not turn rounding into more than that. Names are compared when a
    # run goes on: those that Keras gives count the layers of a process.
    return keras.Sequential(
        [
            keras.Input((None, None, None, 3), name="clips"),
            layers.Conv3D(8, kernel, name="convolution1", **convolution),
            mg.SubBatchNormalization(name="normalization1"),
            layers.Activation("silu", name="activation1"),
            layers.Conv3D(8, kernel, name="convolution2", **convolution),
            mg.SubBatchNormalization(name="normalization2"),
            layers.Activation("silu", name="activation2"),
            layers.GlobalAveragePooling3D(name="pool"),
            layers.Dropout(dropout, name="dropout"),
            layers.Dense(classes, activation=classifier_activation, name="classes"),
        ]
    )


def run(settings: argparse.Namespace) -> None:
    import numpy as np
    import tensorflow as tf

    import keras_multigrid as mg
    from keras_multigrid import distribute
    from keras_multigrid.data.clips.sampling import ClipSampling
    from keras_multigrid.data.clips.views import Views
    from keras_multigrid.data.input import Input
    from keras_multigrid.data.lists.folders import class_folders
    from keras_multigrid.runs import former, training

    # Once: a process can have one MirroredStrategy.
    strategy = distribute.find_strategy(settings.strategy, logical_cpus=settings.logical_cpus)
    videos = class_folders(f"{settings.data}/train", validation=f"{settings.data}/validation")
    schedule = mg.MultigridSchedule(
        base=mg.Grid(batch_size=settings.batch_size, num_frames=8, crop_size=32),
        num_clips=len(videos.train),
        epochs=settings.epochs,
        boundaries=(settings.epochs // 2, settings.epochs * 3 // 4),
    )
    steps, clips, weights = [], [], []

    class Probe(mg.MultigridCallback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append([self._step - 1, float(logs["loss"])])
            super().on_train_batch_end(batch, logs)

        def on_train_end(self, logs=None):
            super().on_train_end(logs)
            weights[:] = self.model.get_weights()

    def recorded(self, its_schedule, **keywords):
        def see(batch):
            clips.append([zlib.crc32(clip.tobytes()) for clip in batch])

        def record(batch, labels):
            tf.numpy_function(see, [batch], [])
            return batch, labels

        batches = training_stream(self, its_schedule, **keywords)
        # Precise statistics have batches of their own.
        return batches.map(record) if its_schedule.short_cycle else batches

    training_stream = Input.training
    Input.training = recorded
    training.MultigridCallback = Probe
    common = {
        "run_dir": settings.run_dir,
        "videos": videos,
        "model": functools.partial(tiny, dropout=settings.dropout),
        "sampling": ClipSampling(flip=False),
        "strategy": lambda: strategy,
    }
    report = former.train(
        optimizer=lambda: mg.ReferenceSGD(mg.MultigridLearningRate(schedule, 0.01), momentum=0.9),
        validations=4,
        log_every=3,
        precise_batches=2,
        max_bad_share=0.5,
        checkpoint_every=settings.checkpoint_every,
        checkpoint_dir=settings.checkpoint_dir,
        **common,
    )
    told = {"steps": steps, "clips": clips, "curve": report.curve, "metrics": report.metrics}
    if settings.views:
        views = Views(clips=settings.views, crops=2)
        result = former.evaluate(grid=schedule.base, views=views, batch_size=3, **common)
        told["views"] = [result.metrics, result.num_videos, result.views]
    np.savez(settings.out, *weights)
    pathlib.Path(f"{settings.out}.json").write_text(json.dumps(told))
    print("done", flush=True)


if __name__ == "__main__":
    main()
