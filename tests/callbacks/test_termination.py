"""SIGTERM and Ctrl-C while training waits for input, as processes."""

import os
import pathlib
import signal
import time

import h5py
import numpy as np
import pytest
import waiting_fit
from processes import Process

from keras_multigrid import MultigridCheckpoint

HERE = pathlib.Path(__file__).parent
# What is asserted to end, ends in seconds.
LIMIT = 60


def begin(folder, *, steps, part="train"):
    """A training that will wait for input."""
    pipe = folder / "pipe"
    if not pipe.exists():
        os.mkfifo(pipe)
    script = HERE / "waiting_fit.py"
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    return Process(script, folder / "run", pipe, steps, part, env=env)


def start(folder, **settings):
    """The same, from the moment on at which it waits."""
    process = begin(folder, **settings)
    text, end = "", time.monotonic() + LIMIT
    while "waits" not in text:
        assert process.poll() is None and time.monotonic() < end, process.stderr.read()[-3000:]
        text += process.stdout.read()
        time.sleep(0.05)
    # Batches before it may still be trained on.
    time.sleep(1.0)
    return process


def arrays(file):
    found = {}
    with h5py.File(file) as content:
        content.visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "dtype") else {})
        )
    return found


@pytest.mark.parametrize(
    ("number", "times", "code"),
    [(signal.SIGTERM, 1, 143), (signal.SIGTERM, 2, 143), (signal.SIGINT, 1, 130)],
)
def test_the_last_step_is_saved_while_input_waits(tmp_path, number, times, code):
    process = start(tmp_path, steps=5)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.3)
    assert process.wait(timeout=LIMIT) == code
    errors = process.stderr.read()
    name = "SIGTERM" if number == signal.SIGTERM else "Ctrl-C"
    assert errors.count(f"Asked to end ({name}): step 5 is saved in") == 1
    assert "Traceback" not in errors
    run = tmp_path / "run"
    assert sorted(os.listdir(run)) == ["index.json", "step-00000005.weights.h5"]
    # As if it had been saved between two steps.
    model = waiting_fit.make_model()
    checkpoint = MultigridCheckpoint(str(tmp_path / "whole"), every=5, keep=100)
    model.fit(
        waiting_fit.make_batches(None, -1), steps_per_epoch=20, verbose=0, callbacks=[checkpoint]
    )
    saved = arrays(run / "step-00000005.weights.h5")
    whole = arrays(tmp_path / "whole" / "step-00000005.weights.h5")
    assert saved.keys() == whole.keys()
    for key, value in saved.items():
        np.testing.assert_array_equal(value, whole[key], err_msg=key)


def test_a_validation_that_waits_is_left_and_made_up_for(tmp_path):
    process = start(tmp_path, steps=3, part="validation")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=LIMIT) == 143
    (entry,) = MultigridCheckpoint(str(tmp_path / "run")).saved()
    assert (entry.step, entry.results) == (20, None)


def test_before_the_first_step_there_is_nothing_to_save(tmp_path):
    process = start(tmp_path, steps=0)
    # Nothing is trained yet: nothing is to be saved.
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=LIMIT) == 130
    assert os.listdir(tmp_path / "run") == ["index.json"]
