"""The command lines, as processes."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
EXPERIMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "gin").glob("*.gin")
    if path.name != "experiment.gin"
)
TINY = (
    "NUM_CLIPS=24",
    "NUM_FRAMES=8",
    "CROP_SIZE=32",
    "EPOCHS=4",
    "BOUNDARIES=(2, 3)",
    "synthetic.motion_videos.num_train=24",
    "synthetic.motion_videos.num_validation=12",
    "i3d.I3D.width=4",
    "sampling.ClipSampling.min_scale=36",
    "sampling.ClipSampling.max_scale=40",
)


def call(tool, *arguments, params=(), cwd=ROOT):
    return subprocess.run(
        [sys.executable, ROOT / "tools" / tool, *arguments, *(f"--gin_param={p}" for p in params)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
    )


def assert_one_message(result, *parts):
    """An error for people: it says all of `parts`, and shows no traceback."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_plans_without_data(experiment, tmp_path):
    picture = tmp_path / "plan.png"
    result = call("plan.py", f"--gin_file={experiment}", "--json", f"--png={picture}")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["phases"][-1]["end_step"] == plan["totals"]["steps"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_train_from_another_folder(tmp_path):
    params = (*TINY, f"DATA_DIR='{tmp_path}/data'", "RUN_DIR='run'")
    result = call("train.py", "--gin_file=gin/quickstart.gin", params=params, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "times fewer steps than the baseline's" in result.stdout
    assert "control, one frame repeated" in result.stdout
    run_dir = tmp_path / "run"
    assert "NUM_CLIPS = 24" in (run_dir / "config.gin").read_text()
    # Defaults that nobody set are there, too.
    assert "epoch_factor = 1.5" in (run_dir / "operative_config.gin").read_text()


def test_missing_data_is_named_with_its_layout():
    result = call("train.py", "--gin_file=gin/i3d_charades.gin", params=["FRAMES='/none/rgb'"])
    assert_one_message(result, "/none/rgb", "Expected layout")


@pytest.mark.parametrize(
    "param, part",
    [
        ("schedule.MultigridSchedule.epoch=3", "epoch"),
        ("schedul.MultigridSchedule.epochs=3", "schedul"),
        ("EPOCHES=3", "EPOCHES"),
        ("EPOCHS=%LENGTH", "LENGTH"),
        ("EPOCHS=0", "epochs"),
        ("training.train.model=@i3d.I4D", "I4D"),
    ],
)
def test_misspelt_and_unset_names_are_named(param, part):
    result = call("plan.py", "--gin_file=gin/quickstart.gin", params=[param])
    assert_one_message(result, part)


def test_a_missing_gin_file_is_named():
    assert_one_message(call("plan.py", "--gin_file=gin/none.gin"), "gin/none.gin")
