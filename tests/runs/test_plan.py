import dataclasses
import functools
import json
import pathlib

import keras
import processes
import pytest

import keras_multigrid
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.runs.plan import Device, make_plan
from keras_multigrid.runs.plan_table import format_plan
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
from keras_multigrid.schedule import multigrid_schedule

multigrid_schedule.Grid:
  batch_size = 64
  num_frames = 32
  crop_size = 224
multigrid_schedule.MultigridSchedule:
  base = @multigrid_schedule.Grid()
  num_clips = 239975
  epochs = 239
  boundaries = (94, 154, 196)
  round_to_epochs = True
learning_rate.MultigridLearningRate:
  schedule = @multigrid_schedule.MultigridSchedule()
  learning_rate = 0.1
"""


# Of hundreds of thousands of steps each.
published_plan = functools.cache(functools.partial(make_plan, PUBLISHED))


def test_published_totals():
    totals = published_plan()["totals"]
    assert totals["steps"] == 261_659
    assert totals["baseline_steps"] == 896_011
    assert round(totals["step_ratio"], 2) == 3.42
    assert totals["epochs"] == 358
    assert totals["baseline_epochs"] == 239
    assert totals["baseline_clips"] == 57_344_704  # 896,011 * 64
    assert totals["largest_batch"] == 1024


def test_published_first_phase():
    phase = published_plan()["phases"][0]
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
    phases = published_plan()["phases"]
    assert len(phases) == 14
    assert [phase["end_step"] for phase in phases[:-1]] == [
        phase["first_step"] for phase in phases[1:]
    ]
    assert [phase["end_epoch"] for phase in phases[:4]] == [73, 110, 142, 158]
    assert phases[-1]["last_learning_rate"] == pytest.approx(1e-4)


def test_groups_follow_the_long_cycle():
    groups = [phase["groups"] for phase in published_plan(replicas=8)["phases"]]
    assert groups == [8, 4, 2, 1, 8, 4, 2, 1, 8, 4, 2, 1, 1, 1]
    assert published_plan()["phases"][0]["groups"] == 64


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
    assert schedule == dataclasses.replace(KINETICS, replicas=8)


@pytest.mark.parametrize("replicas", [0, -1, 2.0, True])
def test_replicas_must_be_a_count(replicas):
    with pytest.raises(ValueError, match="`replicas` must be a positive integer"):
        make_plan(PUBLISHED, replicas=replicas)


def test_a_batch_that_replicas_cannot_share_is_rounded():
    plan = published_plan(replicas=6)
    # 60 is farther from 64 than 66 is.
    assert plan["batch"] == {"clips": 66, "clips_per_replica": 11, "rounded_from": 64}
    phase = plan["phases"][0]
    assert phase["base"] == {"batch_size": 528, "num_frames": 8, "crop_size": 158}
    assert phase["clips_per_replica"] == 88
    # The rate follows the batch: 0.8 * 66 / 64.
    assert phase["last_learning_rate"] == pytest.approx(0.825)
    totals = plan["totals"]
    # 239 epochs of 3,635 whole batches of 66.
    assert totals["baseline_steps"] == 868_765
    assert totals["baseline_clips"] == 57_338_490
    assert totals["largest_batch"] == 1056
    assert plan["warnings"] == []
    rows = [" ".join(line.split()) for line in format_plan(plan).splitlines()]
    assert "batch 66 rounded from 64 to share it among 6 replicas" in rows


@pytest.mark.parametrize("replicas", [1, 8])
def test_a_batch_that_is_shared_evenly_stays(replicas):
    plan = published_plan(replicas=replicas)
    assert plan["batch"]["clips"] == 64
    assert plan["batch"]["rounded_from"] is None
    assert "rounded" not in format_plan(plan)


def test_a_schedule_for_replicas_is_planned_as_it_is():
    plan = make_plan(PUBLISHED.on_replicas(6), replicas=6)
    assert plan == published_plan(replicas=6)
    assert make_plan(PUBLISHED.on_replicas(6)) == published_plan()


def test_few_clips_share_statistics():
    base = Grid(batch_size=16, num_frames=32, crop_size=224)
    plan = make_plan(
        MultigridLearningRate(dataclasses.replace(KINETICS, base=base), 0.1), replicas=8
    )
    phases = plan["phases"]
    shares = [(phase["clips_per_replica"], phase["synchronized_replicas"]) for phase in phases]
    cycle = [(16, 1), (8, 1), (4, 2), (2, 4)]
    assert shares == [*cycle, *cycle, *cycle, (2, 4), (2, 4)]
    assert plan["warnings"] == [
        "fewer than 8 clips a replica: statistics are those of 2 neighbours in phases 3, 7, 11; "
        "of 4 neighbours in phases 4, 8, 12-14"
    ]
    last = format_plan(plan).splitlines()[-1]
    assert last.startswith("warning: fewer than 8 clips a replica")


def test_fewer_clips_than_replicas():
    plan = make_plan(MultigridLearningRate(SHORT, 0.1), replicas=10)
    assert plan["batch"] == {"clips": 10, "clips_per_replica": 1, "rounded_from": 8}
    assert plan["warnings"] == [
        "the baseline's batch of 8 is less than a clip on each of 10 replicas: the plan has 10",
        "fewer than 8 clips a replica: statistics are those of 8 neighbours in phase 1",
    ]


def test_six_clips_are_a_group_of_their_own():
    six = dataclasses.replace(SHORT, base=Grid(batch_size=12, num_frames=4, crop_size=16))
    plan = make_plan(MultigridLearningRate(six, 0.1), replicas=2)
    assert plan["warnings"] == [
        "fewer than 8 clips a replica: statistics are those of 1 replica in phase 1"
    ]


def test_rates_of_a_short_training():
    # 4 clips on each of two devices, which take a second for them.
    device = Device(clips_per_second=4, parameters=1000)
    plan = make_plan(MultigridLearningRate(SHORT, 0.1), replicas=2, device=device)
    rates = plan["rates"]
    assert rates["device"] == {"clips_per_second": 4, "parameters": 1000}
    assert rates["seconds_per_step"] == 1
    assert rates["seconds"] == 7
    # Each sends half of the sums and half of the results.
    assert rates["gradient_bytes_per_second"] == 4000
    assert rates["clips_per_second"] == pytest.approx(144 / 7)
    assert rates["frames_per_second"] == pytest.approx(576 / 7)
    assert rates["input_bytes_per_second"] == pytest.approx(96_768)  # 56,448 voxels of 12 bytes
    # 8-frame clips were measured, 20 a second; 4-frame clips are taken to be as slow.
    assert rates["decode_cores"] == pytest.approx(7.2 / 7)
    (phase,) = plan["phases"]
    assert phase["rates"] == {name: rates[name] for name in phase["rates"]}
    assert rates["baseline"] == pytest.approx(
        {
            "seconds": 16,
            "clips_per_second": 8,
            "frames_per_second": 32,
            "input_bytes_per_second": 98_304,
            "decode_cores": 0.4,
        }
    )
    assert json.loads(json.dumps(plan)) == plan


# The baseline's batch at every step: 16 steps, 6 at 8 x 8 pixels, 5 at 11 x 11, 5 at 16 x 16.
SAME_BATCH = dataclasses.replace(SHORT, batch_growth=0.0)


def test_work_is_counted_in_steps_of_the_baseline():
    plan = make_plan(MultigridLearningRate(SAME_BATCH, 0.1), replicas=2)
    # A quarter, 121 / 256 and all of the baseline's: 6 / 4 + 5 * 121 / 256 + 5.
    assert plan["totals"]["work"] == pytest.approx(8.86328125)
    assert plan["totals"]["steps"] == plan["totals"]["baseline_steps"] == 16
    assert plan["totals"]["voxel_ratio"] == pytest.approx(16 / 8.86328125)
    (phase,) = plan["phases"]
    assert phase["work"] == plan["totals"]["work"]
    assert json.loads(json.dumps(plan)) == plan
    published = published_plan()
    # 158² in place of 224² / 2: 2 of 3 steps in 6 phases and 1 of 3 in 8 are 0.995 of the work.
    assert published["totals"]["work"] == pytest.approx(261_051, abs=1)
    works = [phase["work"] for phase in published["phases"]]
    assert works[0] == pytest.approx(25_623 * (1 + 2 * 24_964 / 25_088) / 3)
    assert sum(works) == pytest.approx(published["totals"]["work"])


def test_cheap_steps_take_less_time():
    # A step of the baseline takes a second on both devices.
    device = Device(clips_per_second=4, parameters=1000)
    plan = make_plan(MultigridLearningRate(SAME_BATCH, 0.1), replicas=2, device=device)
    rates = plan["rates"]
    assert rates["seconds_per_step"] == 1
    assert rates["seconds"] == pytest.approx(8.86328125)
    assert rates["baseline"]["seconds"] == 16
    assert rates["clips_per_second"] == pytest.approx(16 * 8 / 8.86328125)
    assert rates["input_bytes_per_second"] == pytest.approx(98_304)
    # 4,000 bytes in each of 16 steps.
    assert rates["gradient_bytes_per_second"] == pytest.approx(64_000 / 8.86328125)


def test_steps_at_a_floor_take_as_long_as_their_work():
    # Crops of 12, 12 and 16 pixels, with 16 / 9 = 1.8 times the clips, rounded to 2.
    floor = dataclasses.replace(SHORT, min_crop=12)
    device = Device(clips_per_second=8, parameters=1000)
    plan = make_plan(MultigridLearningRate(floor, 0.1), device=device)
    # 2 * 64 clips in batches of 16, 16 and 8: 9.6 steps. Each turn is 9/8 + 9/8 + 1 of the work.
    assert plan["totals"]["steps"] == 10
    assert plan["rates"]["seconds"] == plan["totals"]["work"] == pytest.approx(3 * 3.25 + 1.125)


def test_rates_of_the_published_schedule():
    device = Device(clips_per_second=30, parameters=34_566_488)
    plan = make_plan(PUBLISHED, replicas=8, device=device)
    first, second, third, fourth = (phase["rates"] for phase in plan["phases"][:4])
    # 2,048 clips in three steps of 8/30 s.
    assert first["clips_per_second"] == pytest.approx(2560)
    assert first["frames_per_second"] == pytest.approx(20_480)
    # 102,760,448 + 2 * 102,252,544 voxels in the same time.
    assert first["input_bytes_per_second"] == pytest.approx(4_608_983_040)
    # 160 frames a second of 8-frame clips, 215 of 16, 320 of 32.
    assert first["decode_cores"] == pytest.approx(128)
    assert second["decode_cores"] == pytest.approx(20_480 / 215, rel=1e-3)
    assert third["decode_cores"] == pytest.approx(17_920 / 215, rel=1e-3)
    assert fourth["decode_cores"] == pytest.approx(56, rel=1e-3)
    assert plan["rates"]["gradient_bytes_per_second"] == pytest.approx(907_370_310)
    assert plan["rates"]["seconds"] == pytest.approx(69_775.7, abs=0.1)  # 261,659 * 8 / 30
    assert plan["rates"]["baseline"]["decode_cores"] == pytest.approx(24)


def test_frames_per_core_stand_for_all_grids():
    device = Device(clips_per_second=4, parameters=1000)
    rate = MultigridLearningRate(SHORT, 0.1)
    plan = make_plan(rate, replicas=2, device=device, frames_per_core=96)
    assert plan["rates"]["decode_cores"] == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"clips_per_second": 0, "parameters": 1}, "`clips_per_second` must be a positive number"),
        ({"clips_per_second": True, "parameters": 1}, "`clips_per_second` must be a positive"),
        ({"clips_per_second": 1, "parameters": 1.5}, "`parameters` must be a positive integer"),
    ],
)
def test_devices_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Device(**settings)


def test_frames_per_core_are_for_rates():
    with pytest.raises(ValueError, match="need a `device`"):
        make_plan(PUBLISHED, frames_per_core=300)
    device = Device(clips_per_second=1, parameters=1)
    with pytest.raises(ValueError, match="`frames_per_core` must be a positive number"):
        make_plan(PUBLISHED, device=device, frames_per_core=-1)


TOOL = pathlib.Path(keras_multigrid.__file__).parents[1] / "tools" / "plan.py"


def call(*flags):
    return processes.run(TOOL, *flags)


def test_command_line(tmp_path):
    (tmp_path / "kinetics.gin").write_text(GIN)
    gin_file = f"--gin_file={tmp_path / 'kinetics.gin'}"
    growth = (
        "--gin_param=multigrid_schedule.MultigridSchedule.batch_growth=0.5",
        "--gin_param=learning_rate.MultigridLearningRate.scaling='sqrt'",
    )
    done = call(gin_file, "--json", f"--png={tmp_path / 'plan.png'}", "--replicas=6", *growth)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["totals"]["baseline_steps"] == 868_765
    # Three times 66, which is 64 rounded; the rate grows by the roots of 66 / 64 and 3.
    assert plan["phases"][0]["base"] == {"batch_size": 198, "num_frames": 8, "crop_size": 158}
    assert plan["phases"][0]["first_learning_rate"] == pytest.approx(0.1 * 1.0155048 * 1.7320508)
    assert plan["rates"] is None
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_rates_without_a_network(tmp_path):
    (tmp_path / "kinetics.gin").write_text(GIN)
    done = call(f"--gin_file={tmp_path / 'kinetics.gin'}", "--clips_per_second=30")
    assert done.returncode == 2
    assert "no runs.Model.model" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_network_is_that_of_the_experiment():
    done = call("--gin_file=gin/slowfast_kinetics.gin", "--clips_per_second=30", "--json")
    assert done.returncode == 0, done.stderr
    # As published, with 400 classes.
    assert json.loads(done.stdout)["rates"]["device"]["parameters"] == 34_566_488


def test_the_work_of_a_model():
    plan = make_plan(MultigridLearningRate(SHORT, 0.1), multiply_adds=lambda t, s: t * s**2)
    assert plan["totals"]["model_work"] == pytest.approx(plan["totals"]["work"])
    # Padded to 4 pixels more: 32 x 4 x 12², 16 x 4 x 15² and 8 x 4 x 20² of 12,800.
    plan = make_plan(MultigridLearningRate(SHORT, 0.1), multiply_adds=lambda t, s: t * (s + 4) ** 2)
    assert [grid["model_work"] for grid in plan["grids"]] == [1.44, 1.125, 1.0]
    # Three turns of three steps: 3, 2 and 2 of each.
    assert plan["totals"]["model_work"] == pytest.approx(3 * 1.44 + 2 * 1.125 + 2)
    assert "a step 1.00 (8 x 4 x 16²) to 1.44 (32 x 4 x 8²)" in format_plan(plan)
    assert "model's work" not in format_plan(make_plan(MultigridLearningRate(SHORT, 0.1)))
