"""Whole runs on JAX and PyTorch: KERAS_BACKEND=jax or torch. TensorFlow reads their input.

Real processes, one backend each.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_multigrid.data.synthetic.videos import write_videos
from keras_multigrid.distribute import find_strategy

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.skipif(BACKEND == "tensorflow", reason="for other backends")

ROOT = pathlib.Path(__file__).parents[2]
# The quickstart with fewer layers, grids and videos: JAX compiles every grid.
SMALL = """
from __gin__ import dynamic_registration

import small_run
from keras_multigrid import runs
from keras_multigrid import schedule
from keras_multigrid.data import clips
from keras_multigrid.data import synthetic

include 'gin/quickstart.gin'

MODEL = @small_run.tiny
small_run.tiny.dropout = 0.5
DATA_DIR = '{folder}/data'
RUN_DIR = '{folder}/run'
NUM_CLIPS = 24
NUM_FRAMES = 8
CROP_SIZE = 32
EPOCHS = 4
BOUNDARIES = (2, 3)
schedule.MultigridSchedule.short_cycle = ()
clips.ClipSampling.min_scale = 36
clips.ClipSampling.max_scale = 40
clips.Views.clips = 1
clips.Views.crops = 1
runs.Optimization.precise_batches = 2
runs.Logging.validations = 1
synthetic.motion_videos.num_train = 24
synthetic.motion_videos.num_validation = 12
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion")
    write_videos(root, num_train=24, num_validation=12, processes=1)
    return root


def start(data, folder, *arguments, backend=BACKEND):
    """Start small_run.py, from which a run goes on that is there already."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, ROOT / "tests" / "small_run.py", f"--data={data}", *arguments]
    command += [f"--run_dir={folder / 'run'}", f"--out={folder / 'out.npz'}", "--epochs=6"]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    with open(folder / "log", "a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def finish(process, folder):
    """What the run saw, and its weights."""
    assert process.wait(timeout=900) == 0, (folder / "log").read_text()[-3000:]
    with np.load(folder / "out.npz") as arrays:
        weights = [arrays[key] for key in arrays.files]
    return json.loads((folder / "out.npz.json").read_text()), weights


def kill_after_a_checkpoint(process, folder):
    index = folder / "run" / "checkpoints" / "index.json"
    while not (index.exists() and json.loads(index.read_text())):
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_of_tensorflow_goes_on(data, tmp_path):
    """From its checkpoint, over the same clips, to the same weights."""
    arguments = ("--checkpoint_every=2", "--views=1")
    begun = tmp_path / "begun"
    kill_after_a_checkpoint(start(data, begun, *arguments, backend="tensorflow"), begun)
    ends = []
    for backend in ("tensorflow", BACKEND):
        folder = tmp_path / backend
        shutil.copytree(begun / "run", folder / "run")
        ends.append(finish(start(data, folder, *arguments, backend=backend), folder))
    (expected, its_weights), (told, weights) = ends
    assert told["steps"][0][0] > 0
    # JAX and PyTorch may have fetched one more.
    assert told["clips"][: len(expected["clips"])] == expected["clips"][: len(told["clips"])]
    np.testing.assert_allclose(told["steps"], expected["steps"], rtol=1e-3)
    assert told["metrics"]["loss"] == pytest.approx(expected["metrics"]["loss"], rel=1e-2)
    assert told["views"][1:] == expected["views"][1:]
    for one, another in zip(weights, its_weights, strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-2, atol=1e-3)


def test_killed_and_resumed(data, tmp_path):
    """With dropout, whose random numbers are in the checkpoint: the same weights, bit for bit."""
    arguments = ("--checkpoint_every=2", "--dropout=0.5")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _, expected = finish(start(data, whole, *arguments), whole)
    kill_after_a_checkpoint(start(data, killed, *arguments), killed)
    told, weights = finish(start(data, killed, *arguments), killed)
    assert told["steps"][0][0] > 0
    for one, another in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, another)


def call(tool, folder, *arguments):
    gin_file = folder / "small.gin"
    gin_file.write_text(SMALL.format(folder=folder))
    command = [sys.executable, ROOT / "tools" / tool, f"--gin_file={gin_file}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_tools(tmp_path):
    assert "times fewer steps than the baseline's" in call("train.py", tmp_path)
    assert "12 videos, 12 views" in call("evaluate.py", tmp_path)
    video = next((tmp_path / "data" / "validation").rglob("*.mp4"))
    lines = call("predict.py", tmp_path, video).splitlines()
    assert len([line for line in lines if line.startswith("  0.")]) == 5


@pytest.mark.parametrize("name", ["mirrored", "multi_worker"])
def test_several_devices_are_refused(name):
    with pytest.raises(ValueError, match=rf"KERAS_BACKEND={BACKEND} trains on one device"):
        find_strategy(name)


def test_several_machines_are_refused(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ValueError, match=r"strategy='auto' with several .* without TF_CONFIG"):
        find_strategy()
