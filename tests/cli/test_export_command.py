"""The command `export`, as processes."""

import json
import pathlib

import keras
import numpy as np
import onnxruntime
import processes
import pytest
import tensorflow as tf

from keras_multigrid import models
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.runs import run_folder
from keras_multigrid.schedule import Grid

ROOT = pathlib.Path(__file__).parents[2]
CLIPS = Grid(batch_size=1, num_frames=4, crop_size=28)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a preset, and what a finished run leaves."""
    folder = tmp_path_factory.mktemp("export")
    network = models.I3D(classes=2, blocks=(1, 1, 1, 1), width=8, name="small")
    clips = models.Preprocessing(num_frames=4, stride=2, crop_size=32, test_crop_size=32)
    preset = models.Preset(class_names=("run", "walk"), preprocessing=clips)
    models.save_preset(network, str(folder / "preset"), preset)
    run = folder / "run"
    run.mkdir()
    inputs = keras.Input((None, None, None, 3))
    x = keras.layers.GlobalAveragePooling3D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    run_folder.save_model(model, str(run))
    run_folder.save_clips(CLIPS, ClipSampling(stride=3), str(run))
    classes = {"names": ["left", "right"], "multi_label": False}
    (run / run_folder.CLASSES).write_text(json.dumps(classes))
    return folder


def call(folder, *arguments):
    return processes.run(ROOT / "tools" / "export.py", *arguments, cwd=folder)


def test_a_preset_as_onnx(place):
    size = "--frame_size=40x60"
    result = call(place, "--preset=preset", "--out=preset.onnx", "--num_frames=8", size)
    assert result.returncode == 0, result.stderr
    assert "uint8 frames any x 8 x 40 x 60 x 3 to scores" in result.stdout
    session = onnxruntime.InferenceSession(place / "preset.onnx")
    (scores,) = session.run(None, {"frames": np.zeros((3, 8, 40, 60, 3), np.uint8)})
    np.testing.assert_allclose(scores.sum(axis=1), [1, 1, 1], rtol=1e-5)


def test_a_run_as_saved_model(place):
    result = call(place, "--run=run", "--out=exported/run", "--open_sizes")
    assert result.returncode == 0, result.stderr
    assert "any x any x any x any x 3" in result.stdout
    served = tf.saved_model.load(str(place / "exported" / "run"))
    scores = served.serve(tf.zeros((1, 5, 50, 30, 3), tf.uint8))["scores"]
    np.testing.assert_allclose(np.sum(scores), 1, rtol=1e-5)
    extra = place / "exported" / "run" / "assets.extra"
    assert json.loads((extra / "classes.json").read_text())["names"] == ["left", "right"]
    clips = json.loads((extra / "preprocessing.json").read_text())
    assert (clips["num_frames"], clips["stride"], clips["crop_size"]) == (4, 3, 28)
    # Below 112 pixels, that of the training.
    assert clips["test_crop_size"] == 28
    result = call(place, "--run=run", "--out=exported/run")
    assert result.returncode == 2
    assert "there already" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--out is missing"),
        (("--out=a",), "Name the network: --run=FOLDER"),
        (("--out=a", "--run=run", "--preset=preset"), "give one of them"),
        (("--out=a", "--run=run", "--frame_size=40"), "--frame_size must be HEIGHTxWIDTH"),
        (("--out=s3://bucket/a", "--run=run"), "--out must be local"),
    ],
)
def test_what_is_typed_wrong(place, arguments, message):
    result = call(place, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
