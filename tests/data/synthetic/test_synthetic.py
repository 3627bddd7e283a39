import collections
import json
import os
import pathlib
import subprocess
import sys

import av
import numpy as np
import pytest

from keras_multigrid.data.synthetic import motion, videos
from keras_multigrid.data.synthetic.motion import CLASS_NAMES

SETTINGS = {"num_train": 24, "num_validation": 12, "seed": 3, "processes": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "videos"
    videos.write_videos(root, **SETTINGS)
    return root


def decode(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def run_python(*arguments, cwd=None):
    # The package need not be installed.
    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(videos.__file__).parents[2])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60)


def read_all(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.mp4"))}


# The files.


def test_files_are_balanced_over_the_classes(root):
    counts = collections.Counter((p.parts[-3], p.parts[-2]) for p in root.rglob("*.mp4"))
    assert counts == {
        **{("train", name): 2 for name in CLASS_NAMES},
        **{("validation", name): 1 for name in CLASS_NAMES},
    }
    assert (root / "train" / "move_left" / "00001.mp4").is_file()
    assert not [p for p in root.rglob("*") if p.name.startswith(".")]


@pytest.mark.parametrize("split, label, number", [("train", 0, 1), ("validation", 7, 0)])
def test_file_decodes_to_the_rendered_video(root, split, label, number):
    seed = (3, {"train": 0, "validation": 1}[split], label, number)
    name = CLASS_NAMES[label]
    path = root / split / name / f"{number:05d}.mp4"
    video = motion.render_video(name, seed=seed)
    decoded = decode(path)
    assert decoded.shape == video.shape
    assert np.abs(decoded.astype(int) - video).mean() < 8  # colours are coded coarsely
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        scene = motion.draw_scene(name, seed=seed)
        assert stream.average_rate == scene.frames_per_second
        assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")


def test_all_videos_differ(root):
    assert len(set(read_all(root).values())) == 36


def test_second_call_returns_at_once(root, monkeypatch):
    monkeypatch.setattr(videos, "_write_video", lambda *_: pytest.fail("wrote a video"))
    videos.write_videos(root, **SETTINGS)


def test_motion_videos_writes_the_files_and_lists_them(root):
    settings = {name: SETTINGS[name] for name in ("num_train", "num_validation", "seed")}
    found = videos.motion_videos(str(root), **settings)
    assert found.class_names == CLASS_NAMES
    assert [record.label for record in found.train] == [n // 2 for n in range(24)]
    assert [record.label for record in found.validation] == list(range(12))
    assert found.train[2].path == str(root / "train" / "move_down" / "00000.mp4")


def test_progress_is_shown(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(videos, "_write_task", lambda task: task.path.touch())
    videos.write_videos(tmp_path / "videos", **SETTINGS)
    # No terminal: whole lines, and few of them.
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert lines[0] == "Writing synthetic videos: 0 of 36"
    assert lines[-1] == "Writing synthetic videos: 36 of 36"


def test_manifest_holds_the_settings(root):
    assert json.loads((root / "dataset.json").read_text()) == {
        "generator": "keras_multigrid.data.synthetic",
        "generator_version": motion.GENERATOR_VERSION,
        "num_train": 24,
        "num_validation": 12,
        "seed": 3,
    }


def test_changed_settings_are_refused(root):
    before = read_all(root)
    with pytest.raises(ValueError, match=r"'seed': 4.*'seed': 3.*another folder or delete"):
        videos.write_videos(root, **{**SETTINGS, "seed": 4})
    assert read_all(root) == before


def test_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match=r"thesis.txt.*another folder or delete"):
        videos.write_videos(tmp_path, **SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_interrupted_call_is_continued_and_gives_the_same_files(root, tmp_path, monkeypatch):
    write_video = videos._write_video
    written = []

    def interrupt(path, *args):
        if len(written) == 7:
            raise KeyboardInterrupt
        written.append(path)
        write_video(path, *args)

    monkeypatch.setattr(videos, "_write_video", interrupt)
    with pytest.raises(KeyboardInterrupt):
        videos.write_videos(tmp_path, **SETTINGS)
    assert not (tmp_path / "dataset.json").exists()
    with pytest.raises(ValueError, match="another folder or delete"):
        videos.write_videos(tmp_path, **{**SETTINGS, "seed": 4})

    monkeypatch.setattr(videos, "_write_video", write_video)
    kept = written[0].stat().st_mtime_ns
    videos.write_videos(tmp_path, **SETTINGS)
    assert written[0].stat().st_mtime_ns == kept
    # Equal bytes: the encoder too must be deterministic.
    assert read_all(tmp_path) == read_all(root)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset.json", "train", "validation"]


def test_worker_processes_write_the_same_files(tmp_path, capfd):
    settings = {"num_train": 36, "num_validation": 12, "seed": 3}
    videos.write_videos(tmp_path / "two", processes=2, **settings)
    assert "48 of 48" in capfd.readouterr().err
    videos.write_videos(tmp_path / "one", processes=1, **settings)
    assert read_all(tmp_path / "two") == read_all(tmp_path / "one")


def test_script_without_a_main_guard_gets_an_error_and_ends(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from keras_multigrid.data.synthetic import write_videos\n"
        "write_videos('videos', num_train=36, num_validation=12, processes=2)\n"
    )
    result = run_python(script.name, cwd=tmp_path)
    assert result.returncode == 1
    assert 'put its code under `if __name__ == "__main__":`' in result.stderr


def test_import_brings_neither_tensorflow_nor_keras():
    code = (
        "import sys; import keras_multigrid.data.synthetic; "
        "assert not {'tensorflow', 'keras', 'multiprocessing'} & set(sys.modules)"
    )
    assert run_python("-c", code).returncode == 0


# Bad arguments.


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_train": 25}, r"`num_train` must be a multiple .* num_train=25. Use num_train=24"),
        ({"num_validation": 0}, r"`num_validation` must be an integer of at least 12"),
        ({"num_train": 24.0}, r"`num_train` must be an integer"),
        ({"seed": -1}, r"`seed` must be an integer of at least 0. Received: seed=-1"),
        ({"processes": 0}, r"`processes` must be a positive integer"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        videos.write_videos(tmp_path / "videos", **{**SETTINGS, **arguments})
    assert not (tmp_path / "videos").exists()


def test_remote_root_and_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a local folder"):
        videos.write_videos("s3://bucket/videos", **SETTINGS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a local folder"):
        videos.write_videos(tmp_path / "file", **SETTINGS)
