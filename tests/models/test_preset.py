import json
import os

import h5py
import keras
import numpy as np
import pytest

from keras_multigrid import ClipSampling, models
from keras_multigrid.runs.trained_model import TrainedModel

CLIPS = models.Preprocessing(num_frames=4, stride=2, crop_size=32, test_crop_size=36, segments=True)
PRESET = models.Preset(class_names=("run", "walk", "ünicode | bar"), preprocessing=CLIPS)
ORIGIN = models.Origin(
    source="a table of ours",
    url="https://host/small.pyth",
    data="kinetics400",
    licence="Apache-2.0",
    accuracy={"top-1": 76.6, "top-5": 92.7},
    measured="10 x 3 views of 256 pixels",
)
SMALL = {"classes": 3, "blocks": (1, 1, 1, 1), "width": 8}


def picture_network():
    pictures = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)])
    return models.FrameModel(pictures, classes=3, temporal="gru", units=8)


NETWORKS = {
    "slowfast": lambda: models.SlowFast(**SMALL, non_local=((), (), (0,), ()), name="mine"),
    "x3d": lambda: models.X3D(**SMALL, head_width=16, classifier_activation="sigmoid"),
    "mvit": lambda: models.MViT(classes=3, blocks=(1, 1, 1, 1), width=32, base=(4, 32)),
    "pictures": picture_network,
    "bfloat16": lambda: models.I3D(**SMALL, dtype="mixed_bfloat16"),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_comes_back_bit_for_bit(kind, tmp_path):
    network = NETWORKS[kind]()
    network.get_layer("head-projection").trainable = kind == "pictures"
    rng = np.random.default_rng(1)
    # Numbers of groups are whole, and those of a network that is not trained.
    for weight in network.weights:
        if "float" in weight.dtype:
            weight.assign(rng.random(weight.shape))
    folder = str(tmp_path / "preset")
    models.save_preset(network, folder, PRESET)
    again = models.from_preset(folder)
    if kind != "pictures":
        assert again.get_config() == network.get_config()
    assert [layer.trainable for layer in again.layers] == [x.trainable for x in network.layers]
    for weight, same in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
    clips = rng.random((2, 4, 32, 32, 3)).astype("float32")
    one, another = (keras.ops.convert_to_numpy(n(clips, training=False)) for n in (network, again))
    np.testing.assert_array_equal(one, another)
    assert models.read_preset(folder) == PRESET
    # It is a folder of Keras, too.
    keras.saving.load_model(folder, compile=False)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "preset"
    models.save_preset(models.I3D(**SMALL, name="small"), str(folder), PRESET, ORIGIN)
    return folder


def test_the_files_of_a_preset(folder):
    assert sorted(os.listdir(folder)) == [
        *("README.md", "classes.json", "config.json", "metadata.json", "model.weights.h5"),
        "preprocessing.json",
    ]
    classes = json.loads((folder / "classes.json").read_text())
    assert classes == {"names": ["run", "walk", "ünicode | bar"], "multi_label": False}
    assert json.loads((folder / "preprocessing.json").read_text()) == {
        "num_frames": 4,
        "stride": 2,
        "crop_size": 32,
        "test_crop_size": 36,
        "segments": True,
        "mean": 0.45,
        "std": 0.225,
        "subtract_clip_mean": False,
    }


def test_the_model_card(folder):
    card = (folder / "README.md").read_text()
    for row in (
        "# small",
        "| trained on | kinetics400 |",
        "| source | a table of ours |",
        "| file | https://host/small.pyth |",
        "| licence | Apache-2.0 |",
        "as its authors state it | top-1 76.6, top-5 92.7 (10 x 3 views of 256 pixels) |",
        "| output | (batch, 3), classes as in `classes.json`; each clip has one of them |",
        "library_name: keras",
        'model = models.from_preset("FOLDER")',
    ):
        assert row in card
    assert "(batch, 4, 32, 32, 3), float32: 4 frames, one from each of as many segments" in card


def test_weights_of_a_preset_begin_another_network(folder):
    network = models.I3D(**{**SMALL, "classes": 5})
    with pytest.warns(UserWarning, match="keeps its own weights"):
        models.load_weights(network, str(folder))
    name = "s5-pathway0_res0-branch2-c"
    source = models.from_preset(str(folder))
    np.testing.assert_array_equal(network.get_layer(name).kernel, source.get_layer(name).kernel)


def test_what_is_published_becomes_a_preset():
    file = models.published_file("slowfast_16x8_r50", "charades")
    preset = models.published_preset(file)
    assert preset.multi_label
    assert (len(preset.class_names), preset.class_names[-1]) == (157, "156")
    clips = preset.preprocessing
    assert (clips.num_frames, clips.stride, clips.crop_size, clips.segments) == (64, 2, 224, False)
    origin = models.published_origin(file)
    assert origin.accuracy == {"mAP": 38.9}
    assert origin.measured == "10 x 3 views of 256 pixels"


# What is not right.


def test_what_is_there_is_kept(folder):
    before = (folder / "model.weights.h5").read_bytes()
    with pytest.raises(FileExistsError, match="there already"):
        models.save_preset(models.I3D(**SMALL), str(folder), PRESET)
    assert (folder / "model.weights.h5").read_bytes() == before


def test_a_preset_that_cannot_be_written_leaves_nothing(tmp_path):
    network = models.I3D(**{**SMALL, "classes": 2})
    with pytest.raises(ValueError, match=r"each of the 2 outputs of .* Received: 3 names"):
        models.save_preset(network, str(tmp_path / "a"), PRESET)
    own = keras.Sequential([keras.Input((4, 8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(models.CheckpointError, match="network is a Sequential"):
        models.save_preset(own, str(tmp_path / "a"), PRESET)
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_preset(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"'config\.json' is missing"):
        models.from_preset(str(tmp_path / "none"))
    (folder / "model.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"'model\.weights\.h5' is missing"):
        models.from_preset(str(folder))
    (folder / "classes.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"'classes\.json' is missing"):
        models.read_preset(str(folder))


def test_damaged_files(folder):
    weights = folder / "model.weights.h5"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(models.CheckpointError, match=r"model\.weights\.h5"):
        models.from_preset(str(folder))
    (folder / "preprocessing.json").write_text('{"num_frames": 4}')
    with pytest.raises(models.CheckpointError, match=r"preprocessing\.json.*missing"):
        models.read_preset(str(folder))
    (folder / "preprocessing.json").write_text("[]")
    with pytest.raises(models.CheckpointError, match="must be a JSON object"):
        models.read_preset(str(folder))
    (folder / "classes.json").write_text("{")
    with pytest.raises(models.CheckpointError, match=r"classes\.json"):
        models.read_preset(str(folder))


def test_weights_of_another_network(folder):
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        names = []
        file.visit(names.append)
        del file[next(name for name in names if name.endswith("vars/0"))]
    with pytest.raises(models.CheckpointError, match=r"model\.weights\.h5"):
        models.from_preset(str(folder))


HARM = """
import os
os.system("touch {mark}")
"""


@pytest.mark.parametrize(
    "network",
    [
        {"module": "harmful", "class_name": "Harm", "config": {}, "registered_name": "Harm"},
        {"module": "os", "class_name": "system", "config": "true", "registered_name": None},
        {
            "module": "keras",
            "class_name": "Sequential",
            "config": {"layers": []},
            "registered_name": None,
        },
        {
            "module": "harmful",
            "class_name": "Harm",
            "config": {},
            "registered_name": "keras_multigrid>Harm",
        },
        {
            "module": "keras_multigrid.layers",
            "class_name": "ClassToken",
            "config": {},
            "registered_name": "keras_multigrid>ClassToken",
        },
    ],
)
def test_networks_of_others_are_not_loaded(network, folder, tmp_path, monkeypatch):
    (tmp_path / "harmful.py").write_text(HARM.format(mark=tmp_path / "harmed"))
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "config.json").write_text(json.dumps(network))
    with pytest.raises(models.CheckpointError, match="none of keras_multigrid"):
        models.from_preset(str(folder))
    assert not (tmp_path / "harmed").exists()


def test_code_inside_a_network_is_not_run(tmp_path, monkeypatch):
    folder = tmp_path / "preset"
    models.save_preset(picture_network(), str(folder), PRESET)
    config = json.loads((folder / "config.json").read_text())
    marked = keras.layers.Lambda(lambda x: x)
    (tmp_path / "harmful.py").write_text(HARM.format(mark=tmp_path / "harmed"))
    monkeypatch.syspath_prepend(tmp_path)
    harm = {"module": "harmful", "class_name": "Harm", "config": {}, "registered_name": None}
    for inner in (keras.saving.serialize_keras_object(marked), harm):
        config["config"]["backbone"]["config"]["layers"][1] = inner
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(models.CheckpointError):
            models.from_preset(str(folder))
    assert not (tmp_path / "harmed").exists()


def test_hugging_face_needs_its_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        models.from_preset("hf://someone/something")


def test_a_trained_model_takes_the_clips_of_its_preset(tmp_path):
    clips = models.Preprocessing(
        num_frames=4, stride=3, crop_size=32, mean=0.5, std=0.25, subtract_clip_mean=True
    )
    preset = models.Preset(class_names=PRESET.class_names, preprocessing=clips)
    models.save_preset(models.I3D(**SMALL, name="small"), str(tmp_path / "still"), preset)
    sampling = TrainedModel.from_preset(str(tmp_path / "still")).sampling
    assert sampling == ClipSampling(stride=3, mean=0.5, std=0.25, subtract_clip_mean=True)
