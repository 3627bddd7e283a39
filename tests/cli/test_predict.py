"""The command `predict`, as processes, with a preset and with real videos."""

import csv
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import processes
import pytest
import remote_servers
from grey_videos import write_video

from keras_multigrid import models

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ("run", "walk", "wave")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a preset, and videos of 8 and 24 frames of 10 a second."""
    folder = tmp_path_factory.mktemp("predict")
    network = models.X3D(classes=3, blocks=(1, 1, 1, 1), width=8, head_width=16, name="small")
    clips = models.Preprocessing(num_frames=4, stride=2, crop_size=32, test_crop_size=36)
    preset = models.Preset(class_names=NAMES, preprocessing=clips)
    models.save_preset(network, str(folder / "preset"), preset)
    (folder / "videos" / "deep").mkdir(parents=True)
    write_video(folder / "videos" / "a.mp4", frames=8, height=48, width=64)
    write_video(folder / "videos" / "deep" / "b.mp4", frames=24, height=48, width=64)
    return folder


def call(folder, *arguments):
    few = ("--preset=preset", "--clips=2", "--crops=1", "--batch_size=3")
    return processes.run(ROOT / "tools" / "predict.py", *few, *arguments, cwd=folder)


def test_a_folder_as_text_and_as_csv(place):
    result = call(place, "videos", "--top=2")
    assert result.returncode == 0, result.stderr
    text = result.stdout.splitlines()
    assert "videos/a.mp4" in text
    assert len([line for line in text if line.startswith("  0.")]) == 4
    result = call(place, "videos", "--top=2", "--out=scores.csv")
    assert result.returncode == 0, result.stderr
    with open(place / "scores.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["videos/a.mp4"] * 2 + ["videos/deep/b.mp4"] * 2
    shown = [line.split() for line in text if line.startswith("  0.")]
    assert [row["class"] for row in rows] == [name for _, name in shown]
    scores = [float(row["score"]) for row in rows]
    np.testing.assert_allclose(scores, [float(score) for score, _ in shown], atol=1e-4)
    assert {row["part"] for row in rows} == {"video"}


def test_windows_as_json(place):
    result = call(place, "--window=8", "--hop=6", "--out=long.json", "videos/deep/b.mp4")
    assert result.returncode == 0, result.stderr
    assert "4 of 4 passages" in result.stdout
    (video,) = json.loads((place / "long.json").read_text())
    assert video["path"] == "videos/deep/b.mp4"
    assert [(w["first"], w["end"]) for w in video["windows"]] == [
        (0, 8), (6, 14), (12, 20), (16, 24)
    ]  # fmt: skip
    times = [(w["start_seconds"], w["end_seconds"]) for w in video["windows"]]
    np.testing.assert_allclose(times, [(0, 0.8), (0.6, 1.4), (1.2, 2.0), (1.6, 2.4)], atol=1e-6)
    for window in video["windows"]:
        scores = [found["score"] for found in window["classes"]]
        assert sorted(found["name"] for found in window["classes"]) == list(NAMES)
        assert sum(scores) == pytest.approx(1, abs=1e-5)
    # Segments follow each other from the beginning to the end.
    ends = [(s["first"], s["end"]) for s in video["segments"]]
    assert (ends[0][0], ends[-1][1]) == (0, 24)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ends))
    result = call(place, "--window=8", "videos/deep/b.mp4")
    assert "  0:00:00.0 to 0:00:" in result.stdout


def test_features(place):
    result = call(place, "--features=features.npz", "videos")
    assert result.returncode == 0, result.stderr
    with np.load(place / "features.npz") as arrays:
        assert arrays["features"].shape == (2, 16)
        assert arrays["features"].dtype == np.float32
        assert arrays["paths"].tolist() == ["videos/a.mp4", "videos/deep/b.mp4"]
        assert set(arrays) == {"features", "paths"}
    result = call(place, "--features=of_windows.npz", "--window=8", "videos")
    assert result.returncode == 0, result.stderr
    with np.load(place / "of_windows.npz") as arrays:
        assert arrays["features"].shape == (6, 16)
        assert arrays["first"].tolist() == [0, 0, 4, 8, 12, 16]
        np.testing.assert_allclose(arrays["end_seconds"][-1], 2.4, atol=1e-6)


@pytest.mark.slow
def test_lists(place):
    (place / "list.txt").write_text("videos/a.mp4\n\nnone.mp4\nvideos/deep\n")
    result = call(place, "--list=list.txt", "--out=of_list.json")
    assert result.returncode == 1
    assert "There is no video at 'none.mp4'" in result.stderr
    found = json.loads((place / "of_list.json").read_text())
    assert [video["path"] for video in found] == ["videos/a.mp4", "videos/deep/b.mp4"]
    arguments = ("--preset=preset", "--clips=1", "--crops=1", "--list=-", "--out=of_input.json")
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "predict.py", *arguments],
        input="videos/a.mp4\n",
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    (video,) = json.loads((place / "of_input.json").read_text())
    assert video["path"] == "videos/a.mp4"


def test_a_list_of_addresses(place):
    with remote_servers.web_server(place / "videos") as address:
        (place / "addresses.txt").write_text(f"{address}/a.mp4\n{address}/deep/b.mp4?key=secret\n")
        result = call(place, "--list=addresses.txt", "--window=8", "--out=remote.json")
    assert result.returncode == 0, result.stderr
    first, second = json.loads((place / "remote.json").read_text())
    assert first["path"] == f"{address}/a.mp4"
    assert "secret" not in second["path"]
    assert len(second["windows"]) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hop=4", "a.mp4"), "--hop needs --window"),
        (("--out=a.txt", "a.mp4"), "--out must end in .json or .csv"),
        (("--out=a.csv", "--features=a.npz", "a.mp4"), "leave out --out"),
        (("--gin_file=quickstart", "a.mp4"), "--preset and --run go without"),
        (("run_dir=a", "a.mp4"), "--preset and --run go without"),
        (("--top=0", "a.mp4"), "--top must be a positive integer. Received: --top=0."),
        (("--window=0", "a.mp4"), "--window must be a positive integer"),
    ],
)
def test_what_does_not_go_together(place, arguments, message):
    result = call(place, *arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_nothing_to_predict(place):
    for arguments, message in (
        ((), "No videos were given"),
        (("none.mp4",), "There is no video at 'none.mp4'"),
        (("preset",), "There are no videos in the folder 'preset'"),
        (("--list=none.txt",), "there is no file 'none.txt'"),
        (
            ("--window=4", "--hop=5", "videos"),
            "--hop must be an integer from 1 to 4. Received: --h",
        ),
    ):
        result = call(place, *arguments)
        assert result.returncode == 2, arguments
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_the_example_of_the_document(place, monkeypatch, capsys):
    text = (ROOT / "docs" / "using.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (place / "presets").mkdir()
    (place / "presets" / "mine").symlink_to(place / "preset")
    (place / "my_video.mp4").symlink_to(place / "videos" / "deep" / "b.mp4")
    monkeypatch.chdir(place)
    names = {}
    exec(compile(example, "using.md", "exec"), names)
    assert names["scores"]["my_video.mp4"][0][0] in NAMES
    assert len(names["video"].passages) == 2
    assert names["features"].shape == (1, 16)
    assert capsys.readouterr().out.count("0.0 ") >= 1


def test_the_files_of_the_document(place):
    text = (ROOT / "docs" / "using.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    (expected,) = json.loads(example)
    result = call(place, "--window=8", "--out=document.json", "videos/a.mp4")
    assert result.returncode == 0, result.stderr
    (video,) = json.loads((place / "document.json").read_text())
    assert video.keys() == expected.keys()
    for part in ("segments", "windows"):
        assert video[part][0].keys() == expected[part][0].keys()
    assert video["windows"][0]["classes"][0].keys() == expected["windows"][0]["classes"][0].keys()
    result = call(place, "--window=8", "--out=document.csv", "videos/a.mp4")
    header = (place / "document.csv").read_text().splitlines()[0]
    assert all(f"`{column}`" in text for column in header.split(","))
