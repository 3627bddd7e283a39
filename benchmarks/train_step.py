"""Seconds and memory of a training step by grid, model and backend, beside the processor's limit.

    python benchmarks/train_step.py --out=results
    python benchmarks/train_step.py --python=tensorflow=.venv/bin/python \
        --python=torch=.venv-backends/bin/python --python=native=.venv-backends/bin/python

Each backend runs in a process of its own, with the Python given for it, in turn on this machine:
tensorflow, jax, torch; and, beside Keras, native, native_channels_last and native_compiled (by
torch.compile), the same network in plain PyTorch (pytorch_models.py has I3D, SlowFast and X3D;
MViTv2 is that of torchvision, which must be installed for it). A step is forward, backward and
update (SGD with momentum), float32 unless --dtype says otherwise, on clips of random numbers that
are in the processor's memory. The limit is the rate of a large matrix product: a step at that rate
would take 3 x 2 x multiply-adds / rate (each convolution is computed forward, for its input and for
its kernel). Memory is the most that the steps of a grid used, of the GPU or else of the whole
process. Prints a table and writes `train_step.json`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

# Without it TensorFlow leaves out its fast convolutions on processors without AVX-512.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

# Frames and crop of the base grid; of ResNets 8 and 224, with 32 frames for SlowFast.
_SIZES = {
    "x3d_xs": (4, 160),
    "x3d_s": (13, 160),
    "x3d_m": (16, 224),
    "x3d_l": (16, 312),
    "mvitv2_s_16x4": (16, 224),
}


def main() -> None:
    settings = _parse()
    if settings.backend:
        print(json.dumps(_measure(settings)))
        return
    results = []
    for python in settings.python:
        backend, _, path = python.partition("=")
        results += _run(backend, path or sys.executable)
    print(_table(results))
    os.makedirs(settings.out, exist_ok=True)
    with open(os.path.join(settings.out, "train_step.json"), "w", encoding="utf-8") as file:
        json.dump({"command": sys.argv, "cpus": os.cpu_count(), "results": results}, file, indent=1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="i3d_8x8_r50,slowfast_8x8_r50")
    parser.add_argument("--batch_size", type=int, default=1, help="clips of the base grid")
    parser.add_argument("--crop_size", type=int, help="of the base grid; that of the network")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--grids", type=int, help="the first so many; the base grid comes first")
    parser.add_argument("--dtype", default="float32", help="or mixed_bfloat16, mixed_float16")
    parser.add_argument("--python", action="append", help="BACKEND=PATH of the Python that has it")
    parser.add_argument("--out", default="results")
    parser.add_argument("--backend", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    settings.python = settings.python or ["tensorflow"]
    return settings


def _run(backend: str, python: str) -> list[dict]:
    """All models and grids on one backend, in a process of its own."""
    print(f"{backend} ...", file=sys.stderr, flush=True)
    result = subprocess.run(
        [python, os.path.abspath(__file__), *sys.argv[1:], f"--backend={backend}"],
        env={**os.environ, "KERAS_BACKEND": _library(backend), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def _library(backend: str) -> str:
    return "torch" if backend.startswith("native") else backend


def _measure(settings: argparse.Namespace) -> list[dict]:
    import keras
    import numpy as np

    from keras_multigrid import models
    from keras_multigrid.runs.peak_memory import PeakMemory
    from keras_multigrid.schedule import Grid, MultigridSchedule

    limit = _matrix_product_rate("float32" if settings.dtype == "float32" else settings.dtype[6:])
    rows, memory = [], PeakMemory()
    for name in settings.models.split(","):
        keras.utils.set_random_seed(0)
        model = models.create(name, dtype=settings.dtype)
        make_step = _native_step if settings.backend.startswith("native") else _keras_step
        frames, crop = _SIZES.get(name, (32 if name.startswith("slowfast") else 8, 224))
        crop = crop if settings.crop_size is None else settings.crop_size
        base = Grid(batch_size=settings.batch_size, num_frames=frames, crop_size=crop)
        schedule = MultigridSchedule(base, num_clips=10_000, epochs=20, boundaries=(10,))
        for grid in _long_cycle_first(schedule)[: settings.grids]:
            clips = np.random.default_rng(0).normal(size=grid.shape).astype("float32")
            clips = keras.ops.convert_to_tensor(clips)
            labels = keras.ops.zeros(grid.batch_size, "int32")
            step = make_step(model, name, grid, settings)
            memory.restart()
            seconds = []
            for _ in range(settings.steps + 2):
                begun = time.perf_counter()
                step(clips, labels)
                seconds.append(time.perf_counter() - begun)
            work = 6 * grid.batch_size * model.multiply_adds(grid.num_frames, grid.crop_size)
            row = {
                "backend": settings.backend,
                "model": name,
                "grid": str(grid),
                "seconds": statistics.median(seconds[2:]),
                "first_seconds": seconds[0],
                "limit_seconds": work / limit,
                "peak_bytes": memory.bytes,
                "dtype": settings.dtype,
                "versions": _versions(_library(settings.backend)),
            }
            rows.append(row)
            print({k: row[k] for k in ("model", "grid", "seconds")}, file=sys.stderr, flush=True)
    return rows


def _keras_step(model, name: str, grid, settings: argparse.Namespace) -> Callable:
    import keras

    if not model.compiled:
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            loss="sparse_categorical_crossentropy",
            # XLA is slower than TensorFlow's own convolutions; JAX has nothing else.
            jit_compile=settings.backend == "jax",
        )
    return model.train_on_batch


def _native_step(model, name: str, grid, settings: argparse.Namespace) -> Callable:
    """The same step in plain PyTorch; `model` is the Keras model to agree with."""
    import pytorch_models
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    channels_last = settings.backend == "native_channels_last"
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    network = pytorch_models.create(name, grid.num_frames, grid.crop_size)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters != model.parameter_count:
        raise SystemExit(
            f"{name}: {model.parameter_count} parameters in Keras, {parameters} in PyTorch."
        )
    network = network.to(device, memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    dtype = None if settings.dtype == "float32" else getattr(torch, settings.dtype[6:])
    if settings.backend == "native_compiled":
        network = torch.compile(network, dynamic=False)

    def step(clips, labels):
        clips = clips.permute(0, 4, 1, 2, 3).contiguous(memory_format=layout)
        with torch.autocast(device, dtype, enabled=dtype is not None):
            loss = torch.nn.functional.cross_entropy(network(clips), labels.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _long_cycle_first(schedule):
    """All grids of a schedule: the base grid, those of the long cycle, then the others."""
    long = [phase.base for phase in schedule.phases]
    return list(dict.fromkeys([schedule.base, *long, *schedule.grids]))


def _matrix_product_rate(dtype: str, repeats: int = 8) -> float:
    """Floating-point operations per second of a matrix product that is large for the processor."""
    import keras

    size, seconds = 1024, 0
    while seconds < 5e-3:
        size *= 2
        a = keras.ops.ones((size, size), dtype)
        times = []
        for _ in range(repeats):
            begun = time.perf_counter()
            keras.ops.convert_to_numpy(keras.ops.matmul(a, a)[0, 0])
            times.append(time.perf_counter() - begun)
        seconds = min(times)
    return 2 * size**3 / seconds


def _table(results: list[dict]) -> str:
    backends = list(dict.fromkeys(row["backend"] for row in results))
    rows = {(row["model"], row["grid"], row["backend"]): row for row in results}
    lines = [
        f"{'model':<20}{'clips x frames x crop²':>24}"
        + "".join(f"{backend + ' s':>24}{'of limit':>10}{'GB':>7}" for backend in backends)
    ]
    for model, grid in dict.fromkeys((row["model"], row["grid"]) for row in results):
        line = f"{model:<20}{grid:>24}"
        for backend in backends:
            row = rows[model, grid, backend]
            share = row["limit_seconds"] / row["seconds"]
            line += f"{row['seconds']:>24.3f}{share:>10.0%}{row['peak_bytes'] / 1e9:>7.2f}"
        lines.append(line)
    return "\n".join(lines)


def _versions(backend: str) -> dict[str, str]:
    from importlib.metadata import version

    names = {"tensorflow": "tensorflow-cpu"}
    library = {}
    for name in (backend, names.get(backend, backend)):
        try:
            library = {backend: version(name)}
        except ModuleNotFoundError:
            continue
    return {"python": platform.python_version(), "keras": version("keras"), **library}


if __name__ == "__main__":
    main()
