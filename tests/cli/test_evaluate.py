"""The command `evaluate`, as processes: what it shows by class and by group."""

import json
import os
import pathlib

import processes
import pytest
from grey_videos import brightness_model, write_video

ROOT = pathlib.Path(__file__).parents[2]
EXPERIMENT = """
from __gin__ import dynamic_registration

import grey_videos
from keras_multigrid import runs
from keras_multigrid import schedule
from keras_multigrid.data import clips
from keras_multigrid.data import lists

runs.evaluate:
  data = @runs.Data()
  model = @runs.Model()
  test = @runs.MultiViewTest()
runs.Data:
  videos = @lists.path_label_lists()
  sampling = @clips.ClipSampling()
lists.path_label_lists:
  train = 'list.csv'
  validation = 'list.csv'
  class_names = ('dark', 'half', 'bright')
clips.ClipSampling:
  stride = 1
  mean = 0.0
  std = 1.0
runs.Model.model = @grey_videos.brightness_model
runs.MultiViewTest:
  run_dir = 'run'
  weights = 'mine.weights.h5'
  grid = @schedule.Grid()
  crop_size = 8
  views = @clips.Views()
schedule.Grid:
  batch_size = 3
  num_frames = 2
  crop_size = 8
clips.Views:
  clips = 1
  crops = 1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    lines = ["path,label,camera"]
    for number, (label, camera) in enumerate(
        [("dark", "front"), ("half", "side"), ("half", "side"), ("half", "front")]
    ):
        write_video(folder / f"s0{number}_1.mp4", frames=4 + number)
        lines.append(f"s0{number}_1.mp4,{label},{camera}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    brightness_model().save_weights(folder / "mine.weights.h5")
    (folder / "mine.gin").write_text(EXPERIMENT)
    return folder


def call(folder, *arguments):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return processes.run(
        *(ROOT / "tools" / "evaluate.py", "--gin_file=mine.gin", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_by_a_column_of_the_list(place):
    result = call(place, "--by=camera", "--noper_class", "--out=results.json")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    # All look half bright: those labelled dark are wrong. 3 of 6, and 4 of 6.
    assert lines[-3:] == [
        "group  videos   top-1  ± standard error",
        "front       2  0.5000  ± 0.2041",
        "side        2  1.0000  ± 0.1925",
    ]
    assert not any(line.startswith("dark") for line in lines)
    saved = json.loads((place / "results.json").read_text())
    assert [row["name"] for row in saved["per_group"]] == ["front", "side"]
    assert [row["top1"] for row in saved["per_class"]] == [0.0, 1.0, None]
    assert saved["grouped_by"] == "the column 'camera' of list.csv"


def test_by_a_pattern(place):
    result = call(place, r"--by=(s\d+)_", "--per_class")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[-4:] == [
        "s00         1  0.0000  ± 0.2191",
        "s01         1  1.0000  ± 0.2191",
        "s02         1  1.0000  ± 0.2191",
        "s03         1  1.0000  ± 0.2191",
    ]
    assert "dark         1  0.0000" in lines


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--table=list.csv",), 2, "--table needs --by"),
        (("--out=results.txt",), 2, "--out must end in .json"),
        (("--by=room",), 2, "--by must be a column of 'list.csv'. Received: --by='room'"),
        (("--by=group",), 2, "needs names that show groups by one clear pattern"),
    ],
)
def test_what_cannot_be_told_apart(place, arguments, code, message):
    result = call(place, *arguments)
    assert result.returncode == code
    assert message in result.stderr
