"""The command lines, as processes."""

import json
import pathlib
import re
import shutil

import checkpoint_files
import formula
import numpy as np
import processes
import pytest

from keras_multigrid import Grid, MultigridSchedule, models
from keras_multigrid.data import lists
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.synthetic import videos
from keras_multigrid.runs import browsing

ROOT = pathlib.Path(__file__).parents[1]
TINY = (
    "NUM_CLIPS=24",
    "NUM_FRAMES=8",
    "CROP_SIZE=32",
    "EPOCHS=4",
    "BOUNDARIES=(2, 3)",
    "synthetic.motion_videos.num_train=24",
    "synthetic.motion_videos.num_validation=12",
    "models.I3D.width=4",
    "clips.ClipSampling.min_scale=36",
    "clips.ClipSampling.max_scale=40",
    "runs.Optimization.precise_batches=2",
    "runs.Logging.validations=2",
)


def call(tool, *arguments, params=(), cwd=ROOT):
    params = [f"--gin_param={param}" for param in params]
    return processes.run(ROOT / "tools" / tool, *arguments, *params, cwd=cwd)


def assert_one_message(result, *parts, code=2):
    """An error for people, of what was given: it says all of `parts`, and shows no traceback."""
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_plan_without_data(tmp_path):
    picture = tmp_path / "plan.png"
    arguments = ("--gin_file=gin/i3d_charades.gin", "--json", f"--png={picture}")
    baseline = "SCHEDULE=@baseline/schedule.MultigridSchedule()"
    result = call("plan.py", *arguments, params=[baseline])
    assert result.returncode == 0, result.stderr
    totals = json.loads(result.stdout)["totals"]
    # 7,985 videos make 499 batches of 16: 57 epochs of them.
    assert totals["steps"] == totals["baseline_steps"] == 28_443
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_probe_that_cannot_tell_leaves_a_schedule_to_train_with(tmp_path):
    params = (*TINY, f"DATA_DIR='{tmp_path}/data'", f"RUN_DIR='{tmp_path}/run'")
    result = call("probe.py", "--gin_file=gin/quickstart.gin", params=params)
    assert result.returncode == 0, result.stderr
    assert "Cannot tell at this cost; 1,600 steps would probably do" in result.stdout
    chosen = f"--gin_file={tmp_path}/run/probe/schedule.gin"
    params = [param for param in params if not param.startswith("BOUNDARIES")]
    arguments = ("--gin_file=gin/quickstart.gin", chosen, "--json", "--measure")
    result = call("plan.py", *arguments, params=params)
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    settings = plan["settings"]
    # What the experiment sets stays: no floor, short crops to the end. The rule adds a length, the
    # work of the baseline's few steps.
    assert not {"min_crop", "base_share"} & settings["schedule"].keys()
    assert settings["schedule"]["epoch_factor"] == 2.46
    totals = plan["totals"]
    assert totals["work"] == pytest.approx(totals["baseline_steps"], abs=1)
    # The first phase has batches twice as large.
    assert settings["warmup_epochs"] == pytest.approx(4 * 2.46 * 0.1 * 2 ** (1 / 3))
    measured = plan["measured"]
    steps = {tuple(cost["grid"].values()): cost["steps"] for cost in measured["grids"]}
    assert steps == {
        tuple(grid[name] for name in ("batch_size", "num_frames", "crop_size")): grid["steps"]
        for grid in plan["grids"]
    }
    assert measured["seconds"] > 0 and measured["memory"] > 0


def test_train_from_another_folder(tmp_path):
    small = ("num_frames=8", "crop_size=32", "epochs=4", "boundaries=2,3")
    experiment = ("--gin_file=quickstart", *small, f"data_dir={tmp_path}/data", "run_dir=run")
    params = (TINY[0], *TINY[5:])
    result = call("train.py", *experiment, "--measure", params=params, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    plan, _, training = result.stdout.partition("Videos: ")
    assert "times fewer steps than the baseline's" in plan
    assert re.search(r"^time +\d+ s: ", plan, re.M), plan
    assert re.search(r"^baseline +\d+ s with as many validations, ", plan, re.M), plan
    assert training
    assert "Keras epoch 2 of 2 ended, accuracy " in result.stdout
    assert not set("\b\r\x1b") & set(result.stdout + result.stderr)
    assert "control, one frame repeated" in result.stdout
    run_dir = tmp_path / "run"
    assert "NUM_CLIPS = 24" in (run_dir / "config.gin").read_text()
    # Defaults that nobody set are there, too.
    assert "decay = 0.1" in (run_dir / "operative_config.gin").read_text()
    views = ("clips.Views.clips=2", "clips.Views.crops=3")
    result = call("evaluate.py", *experiment, params=(*params, *views), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "72 of 72 views, " in result.stdout
    assert "12 videos, 72 views" in result.stdout
    assert not set("\b\r\x1b") & set(result.stdout + result.stderr)
    assert len((run_dir / "predictions.csv").read_text().splitlines()) == 13
    # Its data need not be there.
    video = next((tmp_path / "data" / "validation").rglob("*.mp4"))
    video.rename(tmp_path / "my_video.mp4")
    shutil.rmtree(tmp_path / "data")
    # Neither must hide the scores of the one that can be read.
    (tmp_path / "zero.mp4").write_bytes(b"")
    paths = ("zero.mp4", "my_video.mp4", "no.mp4")
    result = call("predict.py", *experiment, *paths, params=params, cwd=tmp_path)
    assert_one_message(result, "error: Cannot decode 'zero.mp4'", "no video at 'no.mp4'", code=1)
    assert "replace" not in result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("  0.")]
    scores = [float(line.split()[0]) for line in lines]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    result = call("predict.py", *experiment, "no.mp4", params=params, cwd=tmp_path)
    assert_one_message(result, "no video at 'no.mp4'")


def test_browse_shows_the_clips_of_a_training(tmp_path):
    data = tmp_path / "data"
    videos.write_videos(data, num_train=24, num_validation=12, processes=1)
    page = tmp_path / "pages" / "clips.html"
    params = (*TINY, f"DATA_DIR='{data}'", "runs.Settings.seed=3")
    result = call(
        "browse.py", "--gin_file=gin/quickstart.gin", f"--out={page}", "--clips=2", params=params
    )
    assert result.returncode == 0, result.stderr
    schedule = MultigridSchedule(
        base=Grid(batch_size=8, num_frames=8, crop_size=32),
        num_clips=24,
        epochs=4,
        boundaries=(2, 3),
    )
    expected = browsing.browse(
        videos=lists.class_folders(data / "train", validation=data / "validation"),
        schedule=schedule,
        sampling=ClipSampling(min_scale=36, max_scale=40, flip=False),
        seed=3,
        num_clips=2,
    )
    assert page.read_text(encoding="utf-8") == browsing.to_html(expected)


def test_published_weights_are_converted(tmp_path):
    source, out = tmp_path / "c2d.pkl", tmp_path / "c2d.weights.h5"
    network = models.create("c2d_8x8_r50", classes=7)
    checkpoint_files.write_caffe2(str(source), formula.arrays(models.published_shapes(network)))
    arguments = ("--model=c2d_8x8_r50", f"--source={source}", f"--out={out}")
    result = call("convert_weights.py", *arguments, "--classes=7")
    assert result.returncode == 0, result.stderr
    assert "parameters of c2d_8x8_r50" in result.stdout
    models.load_published_weights(network, str(source))
    copy = models.create("c2d_8x8_r50", classes=7, weights=str(out))
    for weight, same in zip(network.weights, copy.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert_one_message(call("convert_weights.py", *arguments), "trained on 7 classes", "has 400")
    result = call("convert_weights.py", *arguments[:2])
    assert result.returncode != 0
    assert "--out is missing" in result.stdout + result.stderr


def test_a_published_network_becomes_a_preset(tmp_path, monkeypatch):
    source, out = tmp_path / "x3d_xs.pyth", tmp_path / "presets" / "x3d"
    network = models.create("x3d_xs")
    arrays = formula.arrays(models.published_shapes(network))
    checkpoint_files.write_pytorch(str(source), arrays)
    (tmp_path / "names.txt").write_text("".join(f"class {n}\n" for n in range(400)))
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(tmp_path))
    arguments = ("--model=x3d_xs", "--source=kinetics400", "--class_names=names.txt")
    result = call("convert_weights.py", *arguments, f"--out={out}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3,794,322 parameters of x3d_xs" in result.stdout
    preset = models.read_preset(str(out))
    assert preset.class_names[399] == "class 399"
    clips = models.Preprocessing(num_frames=4, stride=12, crop_size=160, test_crop_size=182)
    assert preset.preprocessing == clips
    models.load_published_weights(network, arrays)
    for weight, same in zip(network.weights, models.from_preset(str(out)).weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert "top-1 69.5 (10 x 3 views of 182 pixels)" in (out / "README.md").read_text()
    result = call("convert_weights.py", *arguments, f"--out={out}", cwd=tmp_path)
    assert_one_message(result, "there already")


def test_a_network_of_ones_own_becomes_a_preset(tmp_path):
    network = models.I3D(classes=2, blocks=(1, 1, 1, 1), width=4, name="mine")
    network.save(tmp_path / "model.keras")
    (tmp_path / "classes.json").write_text('{"names": ["run", "walk"], "multi_label": true}')
    arguments = ("--source=model.keras", "--class_names=classes.json", "--out=preset")
    result = call("convert_weights.py", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Give --num_frames, --stride, --crop_size" in result.stderr
    clips = ("--num_frames=4", "--stride=2", "--crop_size=32")
    result = call("convert_weights.py", *arguments, *clips, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    preset = models.read_preset(str(tmp_path / "preset"))
    clips = models.Preprocessing(num_frames=4, stride=2, crop_size=32)
    assert preset == models.Preset(
        class_names=("run", "walk"), preprocessing=clips, multi_label=True
    )
    again = models.from_preset(str(tmp_path / "preset"))
    for weight, same in zip(network.weights, again.weights, strict=True):
        np.testing.assert_array_equal(weight, same)


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
        ("MODEL=@models.I4D", "I4D"),
    ],
)
def test_misspelt_and_unset_names_are_named(param, part):
    result = call("plan.py", "--gin_file=gin/quickstart.gin", params=[param])
    assert_one_message(result, part)


def test_a_missing_gin_file_is_named():
    assert_one_message(call("plan.py", "--gin_file=gin/none.gin"), "gin/none.gin")
