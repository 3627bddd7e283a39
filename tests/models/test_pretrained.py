"""Published weights by name, from a real server on the loopback and from folders."""

import contextlib
import dataclasses
import hashlib
import http.server
import os
import pathlib
import re
import signal
import socket
import threading
import time

import checkpoint_files
import formula
import keras
import numpy as np
import processes
import pytest

from keras_multigrid import models
from keras_multigrid.models.weights.pretrained import fetched

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "models.md"
NAME, TAG, FILE = "x3d_xs", "kinetics400", "x3d_xs.pyth"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with a file as its authors publish it, and the arrays in it."""
    folder = tmp_path_factory.mktemp("published")
    arrays = formula.arrays(models.published_shapes(models.create(NAME)))
    checkpoint_files.write_pytorch(str(folder / FILE), arrays)
    return folder, arrays


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where fetched files are kept, in a home of Keras of its own."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_MULTIGRID_WEIGHTS", raising=False)
    return tmp_path / "keras" / "models" / "keras_multigrid"


class Server(http.server.SimpleHTTPRequestHandler):
    """A server that says how long a file is, unless it is told to fail."""

    fault = None

    def do_GET(self):
        self.server.asked.append(self.path)
        path = pathlib.Path(self.translate_path(self.path))
        if self.server.fault is None or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        self.send_response(200)
        if self.server.fault != "unsaid":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        if self.server.fault == "silent":
            self.server.end.wait()
        return None

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serving(folder, fault=None):
    """A server of a folder that may cut, "unsaid" or fall "silent" in the middle of a file."""

    def handler(*arguments):
        return Server(*arguments, directory=str(folder))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.fault, server.asked, server.end = fault, [], threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield server
        finally:
            server.end.set()
            server.shutdown()


def assert_holds(network, arrays):
    kernel = network.get_layer("s1-pathway0_stem-conv_xy").kernel
    expected = arrays["s1.pathway0_stem.conv_xy.weight"]
    np.testing.assert_array_equal(np.transpose(kernel, (4, 3, 0, 1, 2)), expected)


def names_in(folder):
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


# What is right.


def test_a_network_with_weights_by_name(published, cache, monkeypatch, capsys):
    folder, arrays = published
    with serving(folder) as server:
        monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", f"{server.address}/")
        network = models.create(NAME, weights=TAG)
        assert server.asked == [f"/{FILE}"]
        assert "Downloading data" in capsys.readouterr().out
        # Fetched once.
        path = models.find_weights(NAME, TAG)
        assert server.asked == [f"/{FILE}"]
    assert network.output_shape == (None, 400)
    assert_holds(network, arrays)
    assert names_in(cache) == [FILE]
    assert pathlib.Path(path).read_bytes() == (folder / FILE).read_bytes()


def test_other_classes_keep_the_backbone_and_have_a_new_head(published, monkeypatch):
    folder, arrays = published
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(folder))
    with pytest.warns(UserWarning, match="classifier of x3d_xs keeps its own weights"):
        network = models.create(NAME, classes=7, weights=TAG, dropout=0.2)
    assert network.output_shape == (None, 7)
    assert_holds(network, arrays)
    features = models.create(NAME, include_top=False, weights=TAG)
    assert_holds(features, arrays)


def test_a_folder_is_used_without_a_network(published, cache, monkeypatch):
    folder, _ = published
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(folder))
    assert models.find_weights(NAME, TAG) == str(folder / FILE)
    with pytest.raises(models.WeightsUnavailable) as caught:
        models.find_weights("x3d_m", TAG)
    url = "https://dl.fbaipublicfiles.com/pyslowfast/x3d_models/x3d_m.pyth"
    for part in (f"'{folder}/x3d_m.pyth'", url, "as x3d_m.pyth", "KERAS_MULTIGRID_WEIGHTS to that"):
        assert part in str(caught.value)
    assert names_in(cache) == []


def test_a_path_is_taken_as_it_is(published, tmp_path, monkeypatch):
    folder, arrays = published
    network = models.create(NAME, weights=folder / FILE)
    assert_holds(network, arrays)
    network.save_weights(tmp_path / "a.weights.h5")
    assert_holds(models.create(NAME, weights=str(tmp_path / "a.weights.h5")), arrays)
    # A file goes before the tag of its name.
    monkeypatch.chdir(tmp_path)
    (tmp_path / TAG).write_bytes((folder / FILE).read_bytes())
    assert_holds(models.create(NAME, weights=TAG), arrays)


# What is not.


@pytest.mark.parametrize("fault", ["cut", "unsaid", "silent"])
def test_a_connection_that_ends_early(published, cache, monkeypatch, fault):
    folder, _ = published
    # Patience that is set goes before that of the package.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.5 if fault == "silent" else None)
    try:
        with serving(folder, fault) as server:
            monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", server.address)
            with pytest.raises(models.WeightsUnavailable, match=r"x3d_models/x3d_xs.pyth where"):
                models.find_weights(NAME, TAG)
            assert names_in(cache) == []
            server.fault = None
            # The next attempt begins anew, and is whole.
            path = models.find_weights(NAME, TAG)
    finally:
        socket.setdefaulttimeout(before)
    assert pathlib.Path(path).read_bytes() == (folder / FILE).read_bytes()
    assert names_in(cache) == [FILE]


def test_a_process_that_is_killed_leaves_no_file(published, cache, monkeypatch):
    folder, _ = published
    code = f"from keras_multigrid import models; models.find_weights({NAME!r}, {TAG!r})"
    with serving(folder, "silent") as server:
        monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", server.address)
        process = processes.Process("-c", code, env={**os.environ, "PYTHONPATH": str(ROOT)})
        end = time.monotonic() + 120
        while not server.asked and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        (left,) = names_in(cache)
        assert left.startswith("unfinished-")
        # A day later, nobody writes to it any more.
        os.utime(cache / left, (0, 0))
        server.fault = None
        path = models.find_weights(NAME, TAG)
    assert pathlib.Path(path).read_bytes() == (folder / FILE).read_bytes()
    assert names_in(cache) == [FILE]


def test_a_file_that_is_not_there(published, cache, monkeypatch, tmp_path):
    with serving(tmp_path) as server:
        monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", server.address)
        with pytest.raises(models.WeightsUnavailable, match=r"404 .*To bring the file by hand"):
            models.find_weights(NAME, TAG)
    assert names_in(cache) == []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    # Nobody listens.
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", f"http://127.0.0.1:{port}")
    with pytest.raises(models.WeightsUnavailable, match="refused"):
        models.find_weights(NAME, TAG)
    assert names_in(cache) == []


def test_a_page_instead_of_a_checkpoint(cache, monkeypatch, tmp_path):
    (tmp_path / FILE).write_text("<html>Log in first.</html>")
    with serving(tmp_path) as server:
        monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", server.address)
        with pytest.raises(models.WeightsUnavailable, match="no whole checkpoint"):
            models.find_weights(NAME, TAG)
    assert names_in(cache) == []


def test_checksums(published, cache, monkeypatch):
    folder, _ = published
    right = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    published_file = models.published_file(NAME, TAG)
    known = dataclasses.replace(published_file, sha256=right.upper())
    another = dataclasses.replace(published_file, sha256="0" * 64)
    with serving(folder) as server:
        monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", server.address)
        with pytest.raises(models.WeightsUnavailable, match=rf"SHA-256 {right}, not 0000"):
            fetched(another)
        assert names_in(cache) == []
        assert fetched(known) == str(cache / FILE)
        # One that was damaged later.
        with pytest.raises(models.WeightsUnavailable, match=f"'{cache}/{FILE}' has the SHA-256"):
            fetched(another)
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(folder))
    assert fetched(known) == str(folder / FILE)
    with pytest.raises(models.WeightsUnavailable, match="another file"):
        fetched(another)


def test_a_cache_that_cannot_be_written(tmp_path, cache, monkeypatch):
    (tmp_path / "keras").write_text("a file")
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", "http://127.0.0.1:1")
    with pytest.raises(models.WeightsUnavailable, match="Set KERAS_HOME"):
        models.find_weights(NAME, TAG)


def test_code_in_a_fetched_file_is_not_run(cache, monkeypatch, tmp_path):
    harm = b"cos\nsystem\n(S'touch " + str(tmp_path / "harmed").encode() + b"'\ntR."
    (tmp_path / "I3D_8x8_R50.pkl").write_bytes(harm)
    with serving(tmp_path) as server:
        monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", server.address)
        with pytest.raises(models.WeightsUnavailable, match=r"asks for os\.system"):
            models.find_weights("i3d_8x8_r50", TAG)
    assert not (tmp_path / "harmed").exists()
    assert names_in(cache) == []


# The table.


def test_unknown_names_and_tags():
    with pytest.raises(ValueError, match=r"one of 'kinetics400', 'something_something'\. Rec"):
        models.create("mvitv2_s_16x4", weights="kinetics")
    with pytest.raises(ValueError, match=r"no published weights of 'c2d_8x8_r50'.* i3d_8x8_r50,"):
        models.find_weights("c2d_8x8_r50", TAG)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 'none\.pyth'"):
        models.create(NAME, weights="none.pyth")
    with pytest.raises(FileNotFoundError, match=r"no weights 'none\.weights\.h5'"):
        models.create(NAME, weights="none.weights.h5")


def test_the_table_fits_the_networks():
    files = models.published_files()
    assert len({(file.name, file.tag) for file in files}) == len(files) == 27
    assert {file.name for file in files} <= set(models.names())
    # A name in the cache stands for one address.
    assert len({(file.file, file.url) for file in files}) == len({file.file for file in files})
    for file in files:
        host = "huggingface.co" if "videomae" in file.name else "dl.fbaipublicfiles.com/pyslowfast"
        assert file.url.startswith(f"https://{host}/")
        assert file.file.endswith(("pkl", "pyth", "pth", "bin", "safetensors"))


def test_files_as_published():
    # Rows of MODEL_ZOO.md and of projects/mvitv2/README.md.
    multigrid = models.published_file("slowfast_8x8_r50", "kinetics400_multigrid")
    host = "https://dl.fbaipublicfiles.com/pyslowfast"
    folder = f"{host}/pyslowfast/model_zoo/multigrid/model_zoo"
    assert multigrid.url == f"{folder}/Kinetics/SLOWFAST_8x8_R50_stepwise_multigrid.pkl"
    assert multigrid.accuracy == {"top-1": 76.6, "top-5": 92.7}
    charades = models.published_file("slowfast_16x8_r50", "charades")
    assert (charades.url, charades.accuracy) == (
        f"{folder}/Charades/SLOWFAST_16x8_R50.pkl",
        {"mAP": 38.9},
    )
    assert (charades.classes, charades.classifier_activation) == (157, "sigmoid")
    small = models.published_file("mvitv2_s_16x4", "something_something")
    path = "model_zoo/mvitv2/pysf_video_models/MViTv2_S_16x4_ssv2_f308341823.pyth"
    assert (small.url, small.views) == (f"{host}/{path}", (1, 3))
    assert small.accuracy == {"top-1": 68.2, "top-5": 91.4}


def test_files_of_videomae_as_published():
    # Rows of MODEL_ZOO.md of both versions, and of the model card of ViT-B.
    hub = "https://huggingface.co"
    small = models.published_file("videomae_s_16x4", "kinetics400")
    base = models.published_file("videomae_b_16x4", "kinetics400")
    folder = f"{hub}/MCG-NJU/videomae-small-finetuned-kinetics/resolve/main"
    assert small.url == f"{folder}/pytorch_model.bin"
    assert small.accuracy == {"top-1": 79.0, "top-5": 93.8}
    assert base.file == "videomae-base-finetuned-kinetics.safetensors"
    assert base.accuracy == {"top-1": 80.9, "top-5": 94.7}
    assert (base.views, base.test_crop_size) == ((5, 3), 224)
    assert models.published_origin(base).licence == "CC-BY-NC-4.0: not for commercial use"
    distilled = models.published_file("videomae_b_16x4", "kinetics710")
    path = "OpenGVLab/VideoMAE2/resolve/main/distill/vit_b_k710_dl_from_giant.pth"
    assert (distilled.url, distilled.classes) == (f"{hub}/{path}", 710)


def test_safetensors_by_name(cache, monkeypatch, tmp_path):
    name = "videomae-small-finetuned-kinetics.safetensors"
    file = dataclasses.replace(models.published_file("videomae_s_16x4", TAG), file=name)
    arrays = {"videomae.a": np.float32([1, 2])}
    checkpoint_files.write_safetensors(str(tmp_path / name), arrays)
    content = (tmp_path / name).read_bytes()
    with serving(tmp_path) as server:
        monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", server.address)
        assert fetched(file) == str(cache / name)
        (cache / name).unlink()
        (tmp_path / name).write_bytes(content[:-1])
        with pytest.raises(models.WeightsUnavailable, match="no whole checkpoint"):
            fetched(file)
    assert names_in(cache) == []


def test_a_published_network_is_made_as_published(tmp_path, monkeypatch):
    arguments = {"classes": 157, "classifier_activation": "sigmoid"}
    arrays = formula.arrays(
        models.published_shapes(models.create("slowfast_16x8_r50", **arguments))
    )
    checkpoint_files.write_caffe2(str(tmp_path / "Charades_SLOWFAST_16x8_R50.pkl"), arrays)
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(tmp_path))
    network = models.create("slowfast_16x8_r50", weights="charades")
    projection = network.get_layer("head-projection")
    assert projection.units == 157
    assert keras.activations.serialize(network.layers[-1].activation) == "sigmoid"


# The document.


def test_the_document_lists_the_table():
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| ([\d., ]+) \| (\d+) x (\d) \| `(.+)` \|$",
        DOCUMENT.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert rows == [
        (
            file.name,
            file.tag,
            ", ".join(f"{value:.1f}" for value in file.accuracy.values()),
            *map(str, file.views),
            file.file,
        )
        for file in models.published_files()
    ]


@pytest.mark.filterwarnings("ignore:The classifier of")
def test_the_examples_of_the_document(published, tmp_path, monkeypatch):
    text = DOCUMENT.read_text(encoding="utf-8")
    by_name, of_presets = (
        re.search(rf"### {title}\n.*?```python\n(.*?)```", text, flags=re.DOTALL)[1]
        for title in ("By name", "Presets")
    )
    # Sizes of X3D share their weights.
    (tmp_path / "x3d_s.pyth").write_bytes((published[0] / FILE).read_bytes())
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(tmp_path))
    names = {"models": models}
    exec(compile(by_name, "models.md", "exec"), names)
    assert names["model"].output_shape == (None, 12)
    monkeypatch.chdir(tmp_path)
    clips = models.Preprocessing(num_frames=4, stride=2, crop_size=32)
    preset = models.Preset(class_names=tuple(map(str, range(12))), preprocessing=clips)
    models.save_preset(names["model"], "presets/mine", preset)
    exec(compile(of_presets, "models.md", "exec"), names)
    assert names["preset"] == preset
    assert_holds(names["model"], published[1])
