"""What an accelerator makes of the networks, in under eight minutes, without TensorFlow.

    python benchmarks/accelerator.py --out=results
    python benchmarks/accelerator.py --crop_size=64 --dtypes=float32 --minutes=4 --small

Steps of I3D and SlowFast R50 by grid on JAX and in PyTorch with torch.compile, in float32 and in
bfloat16 (train_step.py), then a short multigrid run from arrays on JAX (array_run.py). Needs JAX
and PyTorch beside Keras. Each part has its share of the time, and is left out once that is over.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--dtypes", default="float32,mixed_bfloat16")
    parser.add_argument("--crop_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--grids", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a run of a minute on a processor")
    parser.add_argument("--out", default="results")
    settings = parser.parse_args()
    end = time.monotonic() + 60 * settings.minutes
    parts = [_array_run(settings)]
    for dtype in settings.dtypes.split(","):
        for model in ("i3d_8x8_r50", "slowfast_8x8_r50"):
            parts.append(_train_step(settings, model, dtype))
    for number, (name, arguments, environment) in enumerate(parts):
        share = (end - time.monotonic()) / (len(parts) - number)
        begun = time.monotonic()
        command = [sys.executable, os.path.join(_FOLDER, arguments[0]), *arguments[1:]]
        print(f"== {name}: {' '.join(arguments)}", flush=True)
        # With processes of its own.
        environment = {**os.environ, **environment}
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            process.wait(timeout=share)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            print(f"{name}: not done in its {share:.0f} s", flush=True)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)


def _array_run(settings: argparse.Namespace) -> tuple[str, list[str], dict[str, str]]:
    arguments = ["array_run.py", f"--out={settings.out}"]
    if settings.small:
        small = {"clips": 64, "epochs": 4, "batch_size": 4, "num_frames": 8, "crop_size": 32}
        arguments += [f"--{key}={value}" for key, value in small.items()]
    return "run", arguments, {"KERAS_BACKEND": "jax"}


def _train_step(settings, model: str, dtype: str) -> tuple[str, list[str], dict[str, str]]:
    name = f"{model}_{dtype}"
    own = {"models": model, "dtype": dtype, "out": os.path.join(settings.out, name), "steps": 10}
    for key in ("crop_size", "batch_size", "grids"):
        own[key] = getattr(settings, key)
    if settings.small:
        own |= {"steps": 2, "batch_size": 1}
    backends = [f"--python={backend}" for backend in ("jax", "native_compiled")]
    arguments = ["train_step.py", *(f"--{key}={value}" for key, value in own.items()), *backends]
    return name, arguments, {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


if __name__ == "__main__":
    main()
