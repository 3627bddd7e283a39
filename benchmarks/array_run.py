"""Train from arrays on one accelerator, without TensorFlow: multigrid beside its baseline.

    KERAS_BACKEND=jax python benchmarks/array_run.py --out=results
    KERAS_BACKEND=torch python benchmarks/array_run.py --epochs=8 --out=results

Clips of a pattern that moves into one of eight directions are made beforehand, as arrays at the
base grid; `keras.utils.PyDataset` takes those of each step and samples them to its grid. Prints
seconds, steps and accuracy on other clips of both runs, and writes `array_run.json`.
"""

import argparse
import json
import os
import sys
import time

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import keras

from keras_multigrid import MultigridCallback, MultigridLearningRate, ReferenceSGD, models
from keras_multigrid.schedule import Grid, MultigridSchedule

_DIRECTIONS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--num_frames", type=int, default=16)
    parser.add_argument("--crop_size", type=int, default=64)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--dtype", default="float32", help="or mixed_bfloat16, mixed_float16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="results")
    settings = parser.parse_args()
    base = Grid(
        batch_size=settings.batch_size,
        num_frames=settings.num_frames,
        crop_size=settings.crop_size,
    )
    schedule = MultigridSchedule(
        base=base,
        num_clips=settings.clips,
        epochs=settings.epochs,
        boundaries=(settings.epochs // 2, settings.epochs * 3 // 4),
    )
    train = moving_patterns(settings.clips, base, seed=settings.seed)
    validation = moving_patterns(256, base, seed=settings.seed + 1)
    results = [
        run(name, its_schedule, train, validation, settings)
        for name, its_schedule in (("multigrid", schedule), ("baseline", schedule.baseline()))
    ]
    os.makedirs(settings.out, exist_ok=True)
    with open(os.path.join(settings.out, "array_run.json"), "w", encoding="utf-8") as file:
        json.dump({"command": sys.argv, "keras": keras.__version__, "results": results}, file)


class Clips(keras.utils.PyDataset):
    """The batch of each step of a schedule, drawn from arrays and sampled to its grid."""

    def __init__(self, clips, labels, schedule: MultigridSchedule, seed: int):
        # With several workers, `fit` on JAX loses the first batch (seen with Keras 3.15).
        super().__init__(workers=1)
        self._clips, self._labels = clips, labels
        self._schedule, self._seed = schedule, seed

    def __len__(self):
        return self._schedule.total_steps

    def __getitem__(self, step):
        grid = self._schedule.grid(step)
        drawn = np.random.default_rng((self._seed, step)).integers(
            len(self._labels), size=grid.batch_size
        )
        return sampled(self._clips[drawn], grid), self._labels[drawn]


def moving_patterns(count: int, grid: Grid, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips uint8 (count, t, s, s, 3) of noise that moves two pixels a frame, and directions."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(len(_DIRECTIONS), size=count)
    # Patches of four pixels are seen at half the size, too.
    coarse = generator.integers(0, 256, (count, grid.crop_size // 4, grid.crop_size // 4, 3))
    pictures = coarse.astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    clips = np.empty((count, *grid.shape[1:]), np.uint8)
    for clip, picture, label in zip(clips, pictures, labels, strict=True):
        for frame in range(grid.num_frames):
            shift = [2 * frame * step for step in _DIRECTIONS[label]]
            clip[frame] = np.roll(picture, shift, axis=(0, 1))
    return clips, labels.astype(np.int32)


def sampled(clips: np.ndarray, grid: Grid) -> np.ndarray:
    """The same clips with fewer frames and pixels: float32 in [-1, 1]."""
    _, frames, side, _, _ = clips.shape
    kept = np.linspace(0, frames - 1, grid.num_frames).round().astype(int)
    places = ((np.arange(grid.crop_size) + 0.5) * side / grid.crop_size).astype(int)
    return clips[:, kept][:, :, places][:, :, :, places].astype(np.float32) / 127.5 - 1


def run(name: str, schedule: MultigridSchedule, train, validation, settings) -> dict:
    keras.utils.set_random_seed(settings.seed)
    network = models.I3D(
        classes=len(_DIRECTIONS), blocks=(1, 1, 1, 1), width=settings.width, dtype=settings.dtype
    )
    network.compile(
        ReferenceSGD(MultigridLearningRate(schedule, 0.05, warmup_epochs=2), momentum=0.9),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",
    )
    begun = time.perf_counter()
    network.fit(
        Clips(*train, schedule, settings.seed),
        shuffle=False,
        verbose=0,
        callbacks=[MultigridCallback(log_dir=None)],
    )
    seconds = time.perf_counter() - begun
    clips, labels = sampled(validation[0], schedule.base), validation[1]
    measures = network.evaluate(
        clips, labels, batch_size=settings.batch_size, verbose=0, return_dict=True
    )
    result = {
        "name": name,
        "steps": schedule.total_steps,
        "seconds": seconds,
        "dtype": settings.dtype,
        "backend": keras.backend.backend(),
        **measures,
    }
    print(json.dumps(result), flush=True)
    return result


if __name__ == "__main__":
    main()
