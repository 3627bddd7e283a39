"""Gradients that TensorFlow computes wrongly on some processors: refused, or right."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import Grid, MultigridCallback, MultigridSchedule

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=2, crop_size=16),
    num_clips=16,
    epochs=1,
    long_cycle=(),
    short_cycle=(),
)


def trained(dtype, kernel):
    """Change of a kernel in four steps with clips of two frames, relative to its largest."""
    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv3D(8, kernel, padding="same", dtype=dtype, use_bias=False)
    model = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            convolution,
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(3),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse")
    before = convolution.get_weights()[0]
    clips = np.random.default_rng(0).standard_normal((16, 2, 16, 16, 3)).astype("float32")
    labels = np.eye(3, dtype="float32")[np.arange(16) % 3]
    batches = tf.data.Dataset.from_tensor_slices((clips, labels)).batch(4)
    model.fit(batches, verbose=0, callbacks=[MultigridCallback(SCHEDULE, log_dir=None)])
    return convolution.get_weights()[0] - before


def assert_alike(kernel):
    ours, expected = trained("mixed_bfloat16", kernel), trained("float32", kernel)
    np.testing.assert_allclose(ours, expected, atol=0.05 * np.abs(expected).max())


def test_kernels_of_several_frames_train_right_or_are_refused():
    try:
        assert_alike((3, 3, 3))
    except ValueError as error:
        assert "TF_ENABLE_ONEDNN_OPTS=0" in str(error)
        assert "kernel of (3, 3, 3) in bfloat16" in str(error)


def test_other_kernels_are_not_refused():
    assert_alike((1, 3, 3))


def test_the_remedy_helps():
    # Not in a process that has TensorFlow already: it reads the variable once.
    code = "import test_cpu_faults; test_cpu_faults.assert_alike((3, 3, 3))"
    tests = pathlib.Path(__file__).parent
    env = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": f"{tests}:{tests.parent}"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr[-3000:]
