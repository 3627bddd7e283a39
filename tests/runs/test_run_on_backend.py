"""Whole runs on JAX and PyTorch: KERAS_BACKEND=jax or torch. TensorFlow reads their input.

Real processes, one backend each.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import processes
import pytest

from keras_multigrid.data.synthetic.videos import write_videos
from keras_multigrid.distribute import find_strategy
from keras_multigrid.layers import SubBatchNormalization

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
runs.Checkpoints.every = 1
synthetic.motion_videos.num_train = 24
synthetic.motion_videos.num_validation = 12
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion")
    write_videos(root, num_train=24, num_validation=12, processes=1)
    # 13 videos, which two devices cannot share evenly.
    video = next((root / "validation").rglob("*.mp4"))
    shutil.copy(video, video.with_name("again.mp4"))
    return root


def run(command, **environment):
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, **environment}
    done = processes.run(*command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_anew(command, **environment):
    """The same in a process that has imported nothing before."""
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, **environment}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def cut_short(run_dir, copy):
    """A copy of a run as a kill would have left it, with the first of its checkpoints alone."""
    shutil.copytree(run_dir, copy)
    index = copy / "checkpoints" / "index.json"
    entries = json.loads(index.read_text())
    assert len(entries) > 1
    index.write_text(json.dumps(entries[:1]))


def test_a_run_of_tensorflow_goes_on(data, tmp_path):
    """From its checkpoint, over the same clips, to the same weights; on JAX on two devices."""
    results = []
    for backend in ("tensorflow", BACKEND):
        folder = tmp_path / backend
        command = [ROOT / "tests" / "small_run.py", f"--data={data}", f"--run_dir={folder}"]
        command += [f"--out={folder}.npz", "--epochs=6", "--checkpoint_every=2", "--views=1"]
        if backend == BACKEND:
            cut_short(tmp_path / "tensorflow", folder)
            command += ["--strategy=mirrored", "--logical_cpus=2"] if BACKEND == "jax" else []
        (run if backend == BACKEND else run_anew)(command, KERAS_BACKEND=backend)
        with np.load(f"{folder}.npz") as arrays:
            weights = [arrays[key] for key in arrays.files]
        results.append((json.loads(pathlib.Path(f"{folder}.npz.json").read_text()), weights))
    (expected, its_weights), (told, weights) = results
    first = told["steps"][0][0]
    assert 0 < first < len(expected["steps"]) - 1
    # A step ahead may have been fetched, or not.
    clips = expected["clips"][first : len(expected["steps"])]
    assert told["clips"][: len(clips)] == clips
    # Losses are means over Keras epochs, which the first one after a checkpoint takes up.
    np.testing.assert_allclose(told["steps"], expected["steps"][first:], rtol=1e-3)
    assert told["metrics"]["loss"] == pytest.approx(expected["metrics"]["loss"], rel=1e-3)
    assert told["views"] == expected["views"]
    for one, another in zip(weights, its_weights, strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-2, atol=1e-4)


def call(tool, folder, *arguments, run_dir="run"):
    gin_file = folder / "small.gin"
    gin_file.write_text(SMALL.format(folder=folder))
    run_dir = f"--gin_param=RUN_DIR='{folder / run_dir}'"
    command = [ROOT / "tools" / tool, f"--gin_file={gin_file}", run_dir, *arguments]
    return run(command, PYTHONPATH=str(ROOT / "tests"))


def test_the_tools(tmp_path):
    """With dropout, whose random numbers are in the checkpoint."""
    assert "times fewer steps than the baseline's" in call("train.py", tmp_path)
    cut_short(tmp_path / "run", tmp_path / "cut")
    call("train.py", tmp_path, run_dir="cut")
    whole, resumed = (
        keras.models.load_model(tmp_path / name / "model.keras", compile=False)
        for name in ("run", "cut")
    )
    assert isinstance(whole.get_layer("normalization1"), SubBatchNormalization)
    for one, another in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)
    assert "12 videos, 12 views" in call("evaluate.py", tmp_path)
    video = next((tmp_path / "data" / "validation").rglob("*.mp4"))
    lines = call("predict.py", tmp_path, video).splitlines()
    assert len([line for line in lines if line.startswith("  0.")]) == 5


@pytest.mark.parametrize("name", ["multi_worker"] if BACKEND == "jax" else ["mirrored"])
def test_what_the_backend_cannot_do_is_refused(name):
    with pytest.raises(ValueError, match=rf"KERAS_BACKEND={BACKEND} trains on .*one"):
        find_strategy(name)


def test_exports_are_refused(tmp_path):
    from keras_multigrid.runs.exporting import check_target

    with pytest.raises(ValueError, match=f"Received: KERAS_BACKEND={BACKEND}. Give the same"):
        check_target(str(tmp_path / "mine.onnx"))


def test_several_machines_are_refused(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ValueError, match=r"strategy='auto' with several .* without TF_CONFIG"):
        find_strategy()


def test_the_networks_need_no_tensorflow():
    code = (
        "import sys; sys.modules['tensorflow'] = None; import numpy as np\n"
        "from keras_multigrid import MultigridCheckpoint, SubBatchNormalization\n"
        "from keras_multigrid.models import I3D\n"
        "print(SubBatchNormalization()(np.ones((2, 2, 3)), training=True).shape)"
    )
    assert "(2, 2, 3)" in run_anew(["-c", code]).replace("torch.Size([2, 2, 3])", "(2, 2, 3)")


@pytest.mark.skipif(BACKEND != "jax", reason="for JAX")
def test_a_model_in_parts_is_refused():
    code = (
        "import keras, tensorflow as tf\n"
        "mesh = keras.distribution.DeviceMesh((1,), ['model'], ['cpu:0'])\n"
        "layouts = keras.distribution.LayoutMap(mesh)\n"
        "parts = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name='model')\n"
        "keras.distribution.set_distribution(parts)\n"
        "from keras_multigrid import distribute\n"
        "try:\n    distribute.check_backend(tf.distribute.get_strategy())\n"
        "except ValueError as error:\n    print(error)"
    )
    assert "whole model on every device. Received: a ModelParallel" in run(["-c", code])
