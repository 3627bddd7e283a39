"""Milliseconds of the convolutions of X3D-S's blocks, beside those of the backend's grouped form.

    python benchmarks/depthwise_conv3d.py --python=tensorflow=.venv/bin/python \
        --python=jax=.venv-backends/bin/python --python=torch=.venv-backends/bin/python

For the 3 x 3 x 3 convolutions of each stage: this package's `DepthwiseConv3D`; the grouped
convolution that the backend has (TensorFlow has none on a CPU); and the pointwise convolution that
follows it. Each forward, and forward with the gradients of input and kernel, in a process for each
backend, one after the other. "All" is the sum over the 26 blocks. Depth-wise ones have 0.14 (last
stage) to 1.1 times (first) the multiply-adds of pointwise ones.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

# Pixels a side before the convolution at crop 160, inner channels, stride, blocks of the kind.
_KINDS = (
    (80, 54, 2, 1),
    (40, 54, 1, 2),
    (40, 108, 2, 1),
    (20, 108, 1, 4),
    (20, 216, 2, 1),
    (10, 216, 1, 10),
    (10, 432, 2, 1),
    (5, 432, 1, 6),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch_size", type=int, default=2, help="clips")
    parser.add_argument("--num_frames", type=int, default=13)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--python", action="append", help="BACKEND=PATH of the Python that has it")
    parser.add_argument("--backend", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.backend:
        _measure(settings)
        return
    for python in settings.python or ["tensorflow"]:
        backend, _, path = python.partition("=")
        command = [path or sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
        env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([*command, f"--backend={backend}"], env=env, check=True)


def _measure(settings: argparse.Namespace) -> None:
    import keras
    import numpy as np

    from keras_multigrid.layers import DepthwiseConv3D

    def grouped(channels, stride):
        padding = keras.layers.ZeroPadding3D(1)
        strides = (1, stride, stride)
        conv = keras.layers.Conv3D(channels, 3, strides, groups=channels, use_bias=False)
        return keras.Sequential([padding, conv])

    forms = {
        "DepthwiseConv3D": lambda c, s: DepthwiseConv3D((3, 3, 3), spatial_stride=s),
        "grouped": grouped,
        "pointwise": lambda c, s: keras.layers.Conv3D(round(c / 2.25), 1, use_bias=False),
    }
    if settings.backend == "tensorflow":
        del forms["grouped"]
    totals = {name: np.zeros(2) for name in forms}
    for side, channels, stride, count in _KINDS:
        line = f"{settings.backend:<11}{side:>3}² x {channels:<4}stride {stride}  x{count:<4}"
        for name, make in forms.items():
            # The pointwise convolution follows the stride.
            width = -(-side // stride) if name == "pointwise" else side
            shape = (settings.batch_size, settings.num_frames, width, width, channels)
            seconds = _seconds(make(channels, stride), shape, settings.repeats)
            totals[name] += count * seconds
            line += f"{name} {_shown(seconds)}  "
        print(line, flush=True)
    print(f"{settings.backend:<11}all  ", json.dumps({k: _shown(v) for k, v in totals.items()}))


def _shown(seconds) -> str:
    return " / ".join(f"{1000 * value:.1f}" for value in seconds)


def _seconds(layer, shape: tuple[int, ...], repeats: int):
    """Least seconds forward, and forward and backward."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    x = keras.ops.convert_to_tensor(random.normal(size=shape).astype("float32"))
    outputs = layer(x)
    upstream = random.normal(size=tuple(outputs.shape)).astype("float32")
    steps = _steps(layer, x, keras.ops.convert_to_tensor(upstream))
    least = []
    for step in steps:
        step()
        times = []
        for _ in range(repeats):
            begun = time.perf_counter()
            step()
            times.append(time.perf_counter() - begun)
        least.append(min(times))
    return np.array(least)


def _steps(layer, x, upstream) -> tuple[Callable, Callable]:
    """Forward alone, and with the gradients of the input and of the kernel."""
    import keras

    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()](
        layer, x, upstream
    )


def _tensorflow(layer, x, upstream):
    import tensorflow as tf

    (kernel,) = layer.trainable_variables

    @tf.function
    def forward(x):
        return layer(x)

    @tf.function
    def both(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return tape.gradient(y, [x, kernel.value], upstream)

    return lambda: forward(x), lambda: both(x, upstream)


def _jax(layer, x, upstream):
    import jax

    def call(kernel, x):
        return layer.stateless_call([kernel], [], x)[0]

    @jax.jit
    def both(kernel, x, upstream):
        return jax.vjp(call, kernel, x)[1](upstream)

    kernel, forward = layer.trainable_variables[0].value, jax.jit(call)
    return (
        lambda: jax.block_until_ready(forward(kernel, x)),
        lambda: jax.block_until_ready(both(kernel, x, upstream)),
    )


def _torch(layer, x, upstream):
    import torch

    kernel, x = layer.trainable_variables[0].value, x.clone().requires_grad_()

    def forward():
        with torch.no_grad():
            layer(x)

    return forward, lambda: torch.autograd.grad(layer(x), [x, kernel], upstream)


if __name__ == "__main__":
    main()
