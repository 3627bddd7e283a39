import dataclasses
import json
import pathlib
import subprocess
import sys

import keras
import pytest

from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.plan import format_plan, make_plan
from keras_multigrid.schedule import Grid, MultigridSchedule

KINETICS = MultigridSchedule(
    base=Grid(batch_size=64, num_frames=32, crop_size=224),
    num_clips=239_975,
    epochs=239,
    boundaries=(94, 154, 196),
    round_to_epochs=True,
)
PUBLISHED = MultigridLearningRate(KINETICS, 0.1, warmup_epochs=34, warmup_start=0.01)
# 7 steps of 32, 16, 8, 32, 16, 8 and 32 clips.
SHORT = MultigridSchedule(
    base=Grid(batch_size=8, num_frames=4, crop_size=16),
    num_clips=64,
    epochs=2,
    epoch_factor=1.0,
    long_cycle=(),
)

GIN = """
from __gin__ import dynamic_registration
from keras_multigrid import learning_rate
from keras_multigrid import schedule

schedule.Grid:
  batch_size = 64
  num_frames = 32
  crop_size = 224
schedule.MultigridSchedule:
  base = @schedule.Grid()
  num_clips = 239975
  epochs = 239
  boundaries = (94, 154, 196)
  round_to_epochs = True
learning_rate.MultigridLearningRate:
  schedule = @schedule.MultigridSchedule()
  learning_rate = 0.1
"""


def test_published_totals():
    totals = make_plan(PUBLISHED)["totals"]
    assert totals["steps"] == 261_659
    assert totals["baseline_steps"] == 896_011
    assert round(totals["step_ratio"], 2) == 3.42
    assert totals["epochs"] == 358
    assert totals["baseline_epochs"] == 239
    assert totals["baseline_clips"] == 57_344_704  # 896,011 * 64
    assert totals["largest_batch"] == 1024


def test_published_first_phase():
    phase = make_plan(PUBLISHED)["phases"][0]
    assert (phase["first_epoch"], phase["end_epoch"]) == (0, 73)
    # 73 epochs of 239,975 clips, 2,048 of them in three steps: 351 steps an epoch.
    assert (phase["first_step"], phase["end_step"], phase["steps"]) == (0, 25_623, 25_623)
    assert phase["base"] == {"batch_size": 512, "num_frames": 8, "crop_size": 158}
    assert phase["short_cycle"] == [
        {"batch_size": 1024, "num_frames": 8, "crop_size": 112},
        {"batch_size": 512, "num_frames": 8, "crop_size": 158},
        {"batch_size": 512, "num_frames": 8, "crop_size": 158},
    ]
    assert phase["lr_stage"] == 0
    assert phase["first_learning_rate"] == pytest.approx(0.01)
    assert phase["last_learning_rate"] == pytest.approx(0.8)
    assert phase["clips"] == 17_491_968  # 8,541 turns of 2,048
    assert phase["frames"] == 139_935_744


def test_phases_follow_each_other():
    phases = make_plan(PUBLISHED)["phases"]
    assert len(phases) == 14
    assert [phase["end_step"] for phase in phases[:-1]] == [
        phase["first_step"] for phase in phases[1:]
    ]
    assert [phase["end_epoch"] for phase in phases[:4]] == [73, 110, 142, 158]
    assert phases[-1]["last_learning_rate"] == pytest.approx(1e-4)


def test_groups_follow_the_long_cycle():
    groups = [phase["groups"] for phase in make_plan(PUBLISHED, replicas=8)["phases"]]
    assert groups == [8, 4, 2, 1, 8, 4, 2, 1, 8, 4, 2, 1, 1, 1]
    assert make_plan(PUBLISHED)["phases"][0]["groups"] == 64


def test_unfinished_turn_of_the_short_cycle():
    plan = make_plan(MultigridLearningRate(SHORT, 0.1))
    assert plan["grids"] == [
        {"batch_size": 32, "num_frames": 4, "crop_size": 8, "steps": 3},
        {"batch_size": 16, "num_frames": 4, "crop_size": 11, "steps": 2},
        {"batch_size": 8, "num_frames": 4, "crop_size": 16, "steps": 2},
    ]
    totals = plan["totals"]
    assert (totals["steps"], totals["clips"], totals["frames"]) == (7, 144, 576)
    # 3 * 32*4*8*8 + 2 * 16*4*11*11 + 2 * 8*4*16*16
    assert totals["voxels"] == 56_448
    assert totals["baseline_voxels"] == 131_072
    assert round(totals["voxel_ratio"], 3) == 2.322


def test_a_phase_shorter_than_a_turn_leaves_grids_out():
    one_step = dataclasses.replace(SHORT, num_clips=16, epochs=1)
    plan = make_plan(MultigridLearningRate(one_step, 0.1))
    assert plan["grids"] == [{"batch_size": 32, "num_frames": 4, "crop_size": 8, "steps": 1}]


@pytest.mark.parametrize(
    "policy", [0.1, keras.optimizers.schedules.CosineDecay(0.1, 896_011)], ids=["steps", "cosine"]
)
def test_json_round_trip(policy):
    plan = make_plan(MultigridLearningRate(KINETICS, policy), replicas=8)
    assert json.loads(json.dumps(plan)) == plan
    schedule = MultigridSchedule.from_config(plan["settings"]["schedule"])
    assert schedule == KINETICS


@pytest.mark.parametrize("replicas", [0, -1, 2.0, True])
def test_replicas_must_be_a_count(replicas):
    with pytest.raises(ValueError, match="`replicas` must be a positive integer"):
        make_plan(PUBLISHED, replicas=replicas)


def test_replicas_must_divide_every_batch():
    with pytest.raises(ValueError, match="replicas=3, a grid of 1024 x 8 x 112²"):
        make_plan(PUBLISHED, replicas=3)


def test_table_of_the_published_schedule():
    lines = format_plan(make_plan(PUBLISHED, replicas=8)).splitlines()
    assert max(len(line) for line in lines) < 100
    # Two lines of header and a rule, 14 phases, a rule and the totals.
    assert " ".join(lines[3].split()) == (
        "1 25,623 25,623 73 512 x 8 x 158² 1024 x 112², 512 x 158² 0.01 to 0.8 8"
    )
    assert " ".join(lines[16].split()) == (
        "14 24,090 261,659 358 64 x 32 x 224² 256 x 112², 128 x 158² 0.0001 1"
    )
    assert set(lines[2]) == set(lines[17]) == {"-"}
    totals = "\n".join(lines[18:])
    assert "261,659  3.42 times fewer steps than the baseline's 896,011" in totals
    assert "358  the baseline's 239" in totals
    assert "1.50 times the baseline's 57,344,704" in totals
    assert "1,024  clips, 128 on each of 8 replicas" in totals


def test_table_of_a_baseline():
    text = format_plan(make_plan(MultigridLearningRate(SHORT.baseline(), 0.1)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[3] == "1 16 16 2 8 x 4 x 16² - 0.1 1"
    assert lines[5] == "steps 16 as many as the baseline"


def test_fractions_of_epochs_have_one_decimal():
    exact = dataclasses.replace(KINETICS, round_to_epochs=False)
    rows = format_plan(make_plan(MultigridLearningRate(exact, 0.1))).splitlines()
    # 94 * (32/3) / 23 epochs, times 239 * 1.5 / (196 + 43 / 5.75 * 7/3).
    assert rows[3].split()[3] == "73.2"
    assert rows[16].split()[3] == "358.5"


def test_command_line(tmp_path):
    (tmp_path / "kinetics.gin").write_text(GIN)
    tool = pathlib.Path(__file__).parents[1] / "tools" / "plan.py"
    flags = [f"--gin_file={tmp_path / 'kinetics.gin'}", "--json", f"--png={tmp_path / 'plan.png'}"]
    done = subprocess.run([sys.executable, tool, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["steps"] == 261_659
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
