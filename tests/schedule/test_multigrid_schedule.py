import dataclasses
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_recipes import CYCLES, KINETICS, SMALL, random_schedules, schedules

from keras_multigrid.schedule import LONG_CYCLE, SHORT_CYCLE, Grid, MultigridSchedule


@pytest.mark.parametrize("round_to_epochs", [False, True], ids=["exact", "whole epochs"])
@pytest.mark.parametrize("cycles", CYCLES)
def test_grid_clips_and_phase_of_every_step(cycles, round_to_epochs):
    schedule = MultigridSchedule(**{**SMALL, **CYCLES[cycles]}, round_to_epochs=round_to_epochs)
    clips = 0
    expected_phase = (phase for phase in schedule.phases for _ in range(phase.num_steps))
    for step, phase in zip(range(schedule.total_steps), expected_phase, strict=True):
        assert schedule.phase(step) is phase
        assert schedule.clips_before(step) == clips
        turn = (step - phase.first_step) % len(phase.short_cycle)
        assert schedule.grid(step) == phase.short_cycle[turn]
        clips += schedule.grid(step).batch_size
    assert schedule.total_clips == clips
    # Beyond the end the last phase goes on.
    for step in range(schedule.total_steps, schedule.total_steps + 7):
        assert schedule.phase(step) is schedule.phases[-1]
        assert schedule.clips_before(step) == clips
        clips += schedule.grid(step).batch_size


def test_grids_are_listed_once_each_in_order_of_first_use():
    assert [str(grid) for grid in MultigridSchedule(**SMALL).grids] == [
        "64 x 2 x 16²",
        "32 x 2 x 23²",
        "32 x 4 x 16²",
        "16 x 4 x 23²",
        "8 x 4 x 32²",
        "16 x 8 x 16²",
        "8 x 8 x 23²",
        "4 x 8 x 32²",
    ]


@pytest.mark.parametrize("method", ["phase", "grid", "clips_before", "epoch", "progress"])
def test_negative_step(method):
    with pytest.raises(ValueError, match=r"`step` must not be negative. Received: step=-1"):
        getattr(MultigridSchedule(**SMALL), method)(-1)


def test_first_steps_of_grids():
    schedule = MultigridSchedule(**KINETICS, round_to_epochs=True)
    first_steps = schedule.first_steps()
    assert list(first_steps) == list(schedule.grids)
    # The first phase ends at step 25,623.
    assert list(first_steps.items())[:4] == [
        (Grid(batch_size=1024, num_frames=8, crop_size=112), 0),
        (Grid(batch_size=512, num_frames=8, crop_size=158), 1),
        (Grid(batch_size=512, num_frames=16, crop_size=112), 25_623),
        (Grid(batch_size=256, num_frames=16, crop_size=158), 25_624),
    ]
    # One step before the border, at the last grid of a turn.
    assert list(schedule.first_steps(25_622).values())[:2] == [25_622, 25_623]
    # A grid that does not come again is left out.
    end = schedule.total_steps
    assert schedule.first_steps(end - 1) == {schedule.base: end - 1}
    assert schedule.first_steps(end) == {}


@random_schedules
@given(schedules(), st.lists(st.floats(0, 1.2), min_size=2, max_size=20).map(sorted))
def test_clips_epoch_and_progress_of_any_schedule_rise(schedule, shares):
    steps = sorted({int(share * schedule.total_steps) for share in shares})
    for step in steps:
        batch = schedule.clips_before(step + 1) - schedule.clips_before(step)
        assert batch == schedule.grid(step).batch_size
        assert 0 <= schedule.progress(step) <= 1
    for first, second in itertools.pairwise(steps):
        assert schedule.clips_before(first) < schedule.clips_before(second)
        assert schedule.epoch(first) < schedule.epoch(second)
        assert schedule.progress(first) <= schedule.progress(second)


def test_schedule_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MultigridSchedule(**SMALL).epochs = 3


def test_lists_make_the_same_schedule_as_tuples():
    lists = MultigridSchedule(
        **{**SMALL, "boundaries": [3, 5]},
        long_cycle=[list(shape) for shape in LONG_CYCLE],
        short_cycle=list(SHORT_CYCLE),
    )
    assert lists == MultigridSchedule(**SMALL)
    assert hash(lists) == hash(MultigridSchedule(**SMALL))
    assert lists != MultigridSchedule(**SMALL, epoch_factor=1.0)


@random_schedules
@given(schedules())
def test_any_schedule_comes_back_from_its_json(schedule):
    copy = MultigridSchedule.from_config(json.loads(json.dumps(schedule.get_config())))
    assert copy == schedule
    assert hash(copy) == hash(schedule)
    assert copy.phases == schedule.phases


def test_checkpoints_of_the_first_version_hold_the_same_config():
    # What `get_config` gave before groups had a size.
    old = {
        "base": {"batch_size": 4, "num_frames": 8, "crop_size": 32},
        "num_clips": 500,
        "epochs": 6,
        "boundaries": (3, 5),
        "decay": 0.1,
        "epoch_factor": 1.5,
        "long_cycle": LONG_CYCLE,
        "short_cycle": SHORT_CYCLE,
        "round_to_epochs": False,
        "long_cycles": 1,
        "replicas": 1,
    }
    assert MultigridSchedule(**SMALL, clips_per_group=8).get_config() == old
    assert MultigridSchedule.from_config(old).clips_per_group == 8
    four = MultigridSchedule(**SMALL, clips_per_group=4)
    assert four.get_config() == {**old, "clips_per_group": 4}
    assert MultigridSchedule.from_config(four.get_config()) == four
    assert four.baseline().clips_per_group == 4


def test_growth_and_floors_are_saved_where_they_are_set():
    settings = {**SMALL, "boundaries": ()}
    old = MultigridSchedule(**settings).get_config()
    assert not {"batch_growth", "min_frames", "min_crop"} & set(old)
    for name, value in (
        ("batch_growth", 0.5),
        ("min_frames", 4),
        ("min_crop", 23),
        ("base_share", 0.25),
    ):
        changed = MultigridSchedule(**settings, **{name: value})
        assert changed.get_config() == {**old, name: value}
        assert MultigridSchedule.from_config(changed.get_config()) == changed
    # gin may give an integer.
    assert MultigridSchedule(**settings, batch_growth=1).get_config() == old


def test_groups_of_the_phases_hold_the_clips_that_are_set():
    # Base grids of 512, 256, 128 and 64 clips.
    phases = MultigridSchedule(**KINETICS).phases[:4]
    assert [phase.groups(8) for phase in phases] == [8, 4, 2, 1]
    assert [phase.groups(8, clips_per_group=4) for phase in phases] == [16, 8, 4, 2]
    assert [phase.synchronized_replicas(32) for phase in phases] == [1, 1, 2, 4]
    phases = MultigridSchedule(**KINETICS, clips_per_group=16).phases[:4]
    assert [phase.groups(8) for phase in phases] == [4, 2, 1, 1]
    assert [phase.synchronized_replicas(8) for phase in phases] == [1, 1, 1, 2]
    assert [phase.synchronized_replicas(8, 32) for phase in phases] == [1, 1, 2, 4]


def test_schedule_needs_the_standard_library_only():
    code = (
        "import sys, keras_multigrid.schedule; "
        "print(sorted({'tensorflow', 'keras', 'numpy', 'absl'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, cwd=root, capture_output=True, text=True).stdout == "[]\n"


WRONG = [
    ("base", (64, 32, 224)),
    ("base", None),
    ("num_clips", 0),
    ("num_clips", 100.0),
    ("num_clips", True),
    ("epochs", 0),
    ("epochs", -3),
    ("epochs", 6.5),
    ("epochs", "6"),
    ("boundaries", 5),
    ("boundaries", None),
    ("boundaries", "35"),
    ("boundaries", (5, 3)),
    ("boundaries", (3, 3)),
    ("boundaries", (3, 6)),
    ("boundaries", (3, 7)),
    ("boundaries", (0, 3)),
    ("boundaries", (3, "5")),
    ("boundaries", (True, 3)),
    ("boundaries", (3, math.nan)),
    ("decay", 0),
    ("decay", -0.1),
    ("decay", math.inf),
    ("decay", "0.1"),
    ("epoch_factor", math.nan),
    ("epoch_factor", 0.0),
    ("epoch_factor", True),
    ("epoch_factor", None),
    ("long_cycles", 2),  # SMALL has boundaries.
    ("long_cycles", 0),
    ("long_cycles", 1.0),
    ("long_cycle", ((0.25, 0.7), (0.5, 1.0))),
    ("long_cycle", ((1.0, 1.0), (0.5, 1.0))),
    ("long_cycle", ((0.5,), (1.0, 1.0))),
    ("long_cycle", ((0.5, 0.5, 0.5), (1.0, 1.0))),
    ("long_cycle", ((2.0, 1.0), (1.0, 1.0))),
    ("long_cycle", ((0.0, 1.0), (1.0, 1.0))),
    ("long_cycle", ((0.05, 1.0), (1.0, 1.0))),  # 0.4 frames.
    ("long_cycle", ((0.5, 0.01), (1.0, 1.0))),  # 0.32 pixels.
    ("long_cycle", ((0.5, math.nan), (1.0, 1.0))),
    ("long_cycle", (("0.5", 1.0), (1.0, 1.0))),
    ("long_cycle", (0.5, 1.0)),
    ("long_cycle", 0.5),
    ("long_cycle", True),
    ("long_cycle", None),
    ("short_cycle", (0.7, 0.5)),
    ("short_cycle", (0.5, 1.5)),
    ("short_cycle", (0, 0.5)),
    ("short_cycle", (0.01,)),  # 0.32 pixels.
    ("short_cycle", (True,)),
    ("short_cycle", ("0.5",)),
    ("short_cycle", 0.5),
    ("short_cycle", False),
    ("short_cycle", None),
    ("round_to_epochs", "no"),
    ("clips_per_group", 0),
    ("clips_per_group", 8.0),
    ("batch_growth", -0.1),
    ("batch_growth", 1.5),
    ("batch_growth", math.nan),
    ("batch_growth", True),
    ("batch_growth", "1"),
    ("batch_growth", None),
    ("min_frames", 0),
    ("min_frames", 9),  # SMALL has 8 frames.
    ("min_frames", 2.0),
    ("min_crop", 33),  # And 32 pixels.
    ("min_crop", None),
]


@pytest.mark.parametrize("name, value", WRONG, ids=[f"{name}={value}" for name, value in WRONG])
def test_wrong_setting(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` .*\bReceived: "):
        MultigridSchedule(**{**SMALL, name: value})
