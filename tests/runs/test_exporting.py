"""Networks with their preprocessing, exported and run by other programs on a real video."""

import json
import pathlib
import re

import av
import cv2
import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from keras_multigrid import models, runs
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.clips.windows import centre_views
from keras_multigrid.runs.exporting import ExportError
from keras_multigrid.runs.settings import MultiViewTest
from keras_multigrid.schedule import Grid
from keras_multigrid.task import MultiLabel, SingleLabel

NAMES = ("run", "walk", "wave")
# One clip of 4 frames at stride 2 lies in the middle of 24: (24 - 7) // 2 = 8.
CHOSEN = [8, 10, 12, 14]


def trained(network=None, *, task=SingleLabel(NAMES), crop_size=32, **sampling):
    """A network whose scores depend on what it sees, with its clips."""
    if network is None:
        keras.utils.set_random_seed(0)
        network = keras.Sequential(
            [
                keras.Input((None, None, None, 3)),
                keras.layers.Conv3D(8, 3, strides=(1, 2, 2), activation="relu"),
                keras.layers.GlobalAveragePooling3D(),
                keras.layers.Dense(3, activation=task.activation),
            ]
        )
    test = MultiViewTest(
        run_dir="",
        grid=Grid(batch_size=1, num_frames=4, crop_size=32),
        views=Views(clips=1, crops=1),
        crop_size=crop_size,
    )
    return runs.TrainedModel(
        network=network, task=task, sampling=ClipSampling(stride=2, **sampling), test=test
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A file of 24 frames of noise that is coarse enough for the codec, 50 x 90 pixels."""
    path = tmp_path_factory.mktemp("video") / "noise.mp4"
    random = np.random.default_rng(0)
    frames = []
    for number in range(24):
        coarse = random.integers(0, 256, (10, 18, 3), np.uint8)
        frames.append(np.kron(coarse, np.ones((5, 5, 1), np.uint8)) // (1 + number % 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 50, 90, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def i3d():
    keras.utils.set_random_seed(0)
    network = models.I3D(classes=3, blocks=(1, 1, 1, 1), width=8)
    kernel = network.get_layer("head-projection").kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    return network


def decoded(path):
    """What a program of the user's does: uint8 (frames, height, width, 3)."""
    with av.open(path) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def scores_of_onnx(path, frames):
    session = onnxruntime.InferenceSession(path)
    (scores,) = session.run(["scores"], {"frames": frames})
    return scores


def scores_of_saved_model(path, frames):
    serve = tf.saved_model.load(path).signatures["serving_default"]
    return serve(frames=tf.constant(frames))["scores"].numpy()


FORMATS = [("exported", scores_of_saved_model), ("exported.onnx", scores_of_onnx)]
# ONNX Runtime's scaling differs in the last bit: colours between two levels round to another one.
TOLERANCES = {"exported": 1e-6, "exported.onnx": 5e-4}


@pytest.mark.parametrize(("name", "scores_of"), FORMATS)
@pytest.mark.parametrize(
    ("make", "task", "crop_size", "sampling"),
    [
        # Fully convolutional.
        (i3d, SingleLabel(NAMES), 36, {}),
        (
            lambda: None,
            MultiLabel(NAMES),
            32,
            {"subtract_clip_mean": True, "mean": 0.4, "std": 0.3},
        ),
    ],
)
def test_scores_of_a_video_are_those_of_predict(
    name, scores_of, make, task, crop_size, sampling, video, tmp_path
):
    model = trained(make(), task=task, crop_size=crop_size, **sampling)
    (found,) = runs.classify(model, [video], top=3).values()
    expected = [dict(found)[name] for name in NAMES]
    assert np.ptp(expected) > 0.02
    path = str(tmp_path / name)
    exported = runs.export(model, path)
    assert exported.path == path
    assert exported.input_shape == (None, 4, None, None, 3)
    assert exported.largest_difference < TOLERANCES[name]
    frames = decoded(video)[CHOSEN]
    scores = scores_of(path, np.stack([frames, frames[::-1]]))
    assert scores.shape == (2, 3)
    np.testing.assert_allclose(scores[0], expected, atol=TOLERANCES[name])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60), (32, 32), (20, 30)])
def test_scaling_is_within_a_level_of_opencv(height, width):
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, height, width, 3), np.uint8)
    plain = ClipSampling(mean=0.0, std=1 / 255)
    clips = centre_views(tf.constant(frames), crop_size=32, sampling=plain).numpy()
    assert clips.shape == (1, 2, 32, 32, 3)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    for clip, frame in zip(clips[0], frames[0], strict=True):
        part = frame[top : top + side, left : left + side]
        expected = cv2.resize(part, (32, 32), interpolation=cv2.INTER_LINEAR)
        assert np.abs(clip - expected).max() < 1.001


def test_what_a_program_must_know_is_in_it(tmp_path):
    model = trained(task=MultiLabel(NAMES), std=0.3)
    runs.export(model, str(tmp_path / "folder"))
    runs.export(model, str(tmp_path / "file.onnx"))
    extra = tmp_path / "folder" / "assets.extra"
    properties = onnxruntime.InferenceSession(tmp_path / "file.onnx").get_modelmeta()
    properties = properties.custom_metadata_map
    for name, expected in (
        ("classes", {"names": ["run", "walk", "wave"], "multi_label": True}),
        (
            "preprocessing",
            {
                **{"num_frames": 4, "stride": 2, "segments": False, "crop_size": 32},
                **{"test_crop_size": 32, "mean": 0.45, "std": 0.3, "subtract_clip_mean": False},
            },
        ),
    ):
        assert json.loads((extra / f"{name}.json").read_text()) == expected
        assert json.loads(properties[name]) == expected


@pytest.mark.parametrize(("name", "scores_of"), FORMATS)
def test_sizes(name, scores_of, tmp_path):
    model = trained()
    fixed = runs.export(model, str(tmp_path / f"fixed{name}"), num_frames=6, frame_size=(40, 60))
    assert fixed.input_shape == (None, 6, 40, 60, 3)
    assert "uint8 frames any x 6 x 40 x 60 x 3" in str(fixed)
    opened = runs.export(model, str(tmp_path / f"open{name}"), open_sizes=True)
    assert opened.input_shape == (None, None, None, None, 3)
    frames = np.random.default_rng(0).integers(0, 256, (1, 6, 40, 60, 3), np.uint8)
    expected = scores_of(fixed.path, frames)
    np.testing.assert_allclose(scores_of(opened.path, frames), expected, atol=TOLERANCES[name])


@keras.saving.register_keras_serializable(package="tests")
class Noise(keras.layers.Layer):
    """Adds other noise at each call, in tests too."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


@pytest.mark.parametrize("name", ["noisy", "noisy.onnx"])
def test_an_export_that_differs_leaves_nothing(name, tmp_path):
    inputs = keras.Input((None, None, None, 3))
    x = Noise()(keras.layers.GlobalAveragePooling3D()(inputs))
    network = keras.Model(inputs, keras.layers.Softmax()(x))
    with pytest.raises(ExportError, match="must be those of Keras within"):
        runs.export(trained(network), str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(tmp_path):
    model = trained()
    for name in ("model.keras", "model.tflite"):
        with pytest.raises(
            ValueError, match="a local folder, or a local file that ends in \\.onnx"
        ):
            runs.export(model, str(tmp_path / name))
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there already"):
        runs.export(model, str(tmp_path / "there"))
    with pytest.raises(ValueError, match="frame_size: width` must be a positive integer"):
        runs.export(model, str(tmp_path / "new"), frame_size=(40, 0))
    slowfast = models.SlowFast(classes=3, blocks=(1, 1, 1, 1), width=8, alpha=2, fusion_kernel=5)
    with pytest.raises(ValueError, match="a multiple of 2"):
        runs.export(trained(slowfast), str(tmp_path / "new"), num_frames=5)
    # Tested at a larger crop, its pathways slide over as many positions as training had.
    with pytest.raises(ValueError, match="must take 8 frames of 36 pixels"):
        runs.export(trained(slowfast, crop_size=36), str(tmp_path / "new"), open_sizes=True)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def blocks_of_the_page():
    page = pathlib.Path(__file__).parents[2] / "docs" / "exporting.md"
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_example_of_the_page(video, tmp_path, monkeypatch, capsys):
    model = trained()
    runs.export(model, str(tmp_path / "mine.onnx"))
    (tmp_path / "my_video.mp4").symlink_to(video)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(blocks_of_the_page()[0], "exporting.md", "exec"), names)
    assert names["chosen"].tolist() == CHOSEN
    (found,) = runs.classify(model, [video], top=1).values()
    assert capsys.readouterr().out.splitlines()[0] == found[0][0]
    np.testing.assert_allclose(names["scores"].max(), found[0][1], atol=5e-4)


@pytest.mark.parametrize("kind", [pytest.param("x3d", marks=pytest.mark.slow), "i3d"])
def test_to_lite_as_on_the_page(kind, tmp_path, monkeypatch):
    network = i3d()
    if kind == "x3d":
        network = models.X3D(classes=3, blocks=(1, 1, 1, 1), width=8, head_width=16)
    exported = runs.export(trained(network), str(tmp_path / "exported" / "mine"))
    monkeypatch.chdir(tmp_path)
    code = blocks_of_the_page()[1]
    alone = code.replace("    tf.lite.OpsSet.SELECT_TF_OPS,\n", "")
    if kind == "i3d":
        with pytest.raises(Exception, match="MaxPool3D"):
            exec(compile(alone, "exporting.md", "exec"), {})
    else:
        code = alone
    exec(compile(code, "exporting.md", "exec"), {})
    if kind == "i3d":
        # Not every build of the interpreter has TensorFlow's kernels.
        assert b"FlexMaxPool3D" in (tmp_path / "mine.tflite").read_bytes()
        return
    interpreter = tf.lite.Interpreter(str(tmp_path / "mine.tflite"))
    frames = np.random.default_rng(0).integers(0, 256, (1, 4, 40, 60, 3), np.uint8)
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], frames.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], frames)
    interpreter.invoke()
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    expected = scores_of_saved_model(exported.path, frames)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
