"""Processor time of each augmentation, as a share of the quickstart's training step, by grid.

    taskset -c 0 python benchmarks/augmentation_cost.py

Each augmentation changes mini-batches in a graph, as in the input of a run; the step is forward,
backward and update of `i3d_small`. Both take turns, on one thread; medians. Prints a table.
"""

import argparse
import os
import statistics
import sys
import time

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import Grid, augmentation, models

_BASE = Grid(batch_size=8, num_frames=16, crop_size=64)
_GRIDS = (
    _BASE,
    Grid(batch_size=64, num_frames=4, crop_size=45),
    Grid(batch_size=128, num_frames=4, crop_size=32),
)
_CLASSES = 12
_MIXED = augmentation.OneOf([augmentation.MixUp(alpha=0.8), augmentation.CutMix(alpha=1.0)])
_RANDAUGMENT = augmentation.RandAugment(num_ops=2, magnitude=9)
_ERASING = augmentation.RandomErasing(probability=0.25)
_AUGMENTATIONS = {
    "`ColorJitter` without hue": augmentation.ColorJitter(),
    "`RandomErasing`": _ERASING,
    "`HorizontalFlip`": augmentation.HorizontalFlip(),
    "`MixUp`": augmentation.MixUp(alpha=0.8),
    "`CutMix`": augmentation.CutMix(alpha=1.0),
    "`OneOf([MixUp(), CutMix()])`": _MIXED,
    "`LabelSmoothing`": augmentation.LabelSmoothing(),
    "`RandomResizedCrop`": augmentation.RandomResizedCrop(),
    "`RandAugment`, two operations": _RANDAUGMENT,
    "`gin/recipes/augmentation.gin`, all of it": augmentation.Compose(
        [_RANDAUGMENT, _ERASING, _MIXED, augmentation.LabelSmoothing()]
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=15)
    turns = parser.parse_args().turns
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = models.create("i3d_small", classes=_CLASSES)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "categorical_crossentropy")
    shares = [_measure(model, grid, turns) for grid in _GRIDS]
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}")
    print(f"| | {' | '.join(map(str, _GRIDS))} |")
    print("|---|" + "---|" * len(_GRIDS))
    for name in _AUGMENTATIONS:
        print(f"| {name} | {' | '.join(f'{100 * share[name]:.1f}%' for share in shares)} |")


def _measure(model: keras.Model, grid: Grid, turns: int) -> dict[str, float]:
    """Shares of the step's processor time by augmentation."""
    random = np.random.default_rng(0)
    shape = (grid.batch_size, grid.num_frames, grid.crop_size, grid.crop_size, 3)
    clips = tf.constant(random.integers(0, 256, shape).astype("float32") / 255)
    labels = tf.one_hot(random.integers(0, _CLASSES, grid.batch_size), _CLASSES)
    work = tf.constant(_voxels(grid) / _voxels(_BASE), tf.float32)
    calls = {name: tf.function(augment) for name, augment in _AUGMENTATIONS.items()}
    step_seconds, seconds = [], {name: [] for name in calls}
    for turn in range(-2, turns):
        step = _processor_seconds(lambda: model.train_on_batch(clips, labels))
        for name, call in calls.items():
            size = (grid.batch_size, _AUGMENTATIONS[name].num_numbers)
            numbers = tf.constant(random.random(size, np.float32))
            own = _processor_seconds(lambda c=call, n=numbers: c(clips, labels, n, work))
            # The first turns trace.
            if turn >= 0:
                seconds[name].append(own)
        if turn >= 0:
            step_seconds.append(step)
    step = statistics.median(step_seconds)
    print(f"{grid}: {1000 * step:.0f} ms of processor time a step", file=sys.stderr, flush=True)
    return {name: statistics.median(own) / step for name, own in seconds.items()}


def _voxels(grid: Grid) -> int:
    return grid.num_frames * grid.crop_size**2


def _processor_seconds(call) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


if __name__ == "__main__":
    main()
