"""The rule from a set to a schedule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_multigrid.schedule import Grid, MultigridSchedule, suggest

BASE = Grid(batch_size=8, num_frames=16, crop_size=64)


def test_a_small_set_of_small_videos_by_hand():
    schedule = MultigridSchedule.suggest(BASE, num_clips=60, epochs=40)
    # 64 / sqrt(2) is 45.3. Clips of 45 pixels and 4, 8, 8 and 16 frames: 8, 4, 2, 1 times the
    # baseline's batch; a short crop has twice that of 64 pixels, so means of 8, 4, 10 / 3, 5 / 3 in
    # all 4.25. With the last quarter of the steps at the base grid, that is 3 / 4 * 4.25 + 1 / 4 =
    # 3.44: so many times the baseline's epochs are as many steps, 300.
    assert (schedule.epoch_factor, schedule.min_crop, schedule.min_frames) == (3.44, 45, 1)
    last = schedule.phases[-1]
    assert (set(last.short_cycle), last.num_steps) == ({BASE}, 75)
    assert min(grid.crop_size for grid in schedule.grids) == 45
    assert schedule.total_steps == pytest.approx(300, abs=2)
    assert schedule.total_work == pytest.approx(300, rel=0.03)


def test_a_short_training_gets_the_steps_that_learning_takes():
    schedule = MultigridSchedule.suggest(BASE, num_clips=120, epochs=40)
    # Half of the factor above for twice the steps of the baseline.
    assert schedule.epoch_factor == pytest.approx(1.72, abs=0.01)
    assert schedule.total_steps == pytest.approx(300, abs=2)


def test_a_large_set_trains_as_published():
    base = Grid(batch_size=64, num_frames=32, crop_size=224)
    schedule = MultigridSchedule.suggest(base, num_clips=239_975, epochs=239)
    published = MultigridSchedule.one_pass(base, num_clips=239_975, epochs=239)
    assert schedule.phases == published.phases


def test_settings_win_over_the_rule():
    schedule = MultigridSchedule.suggest(BASE, 60, 40, batch_growth=0.0, epoch_factor=1.0)
    assert (schedule.batch_growth, schedule.epoch_factor, schedule.min_crop) == (0.0, 1.0, 45)


@pytest.mark.parametrize(
    ("frames", "crop", "least"),
    [(8, 64, 8), (4, 96, 4), (2, 64, 2), (9, 64, 1), (8, 112, 1), (5, 112, 2), (1, 64, 1)],
)
def test_few_frames_of_a_small_crop_are_kept(frames, crop, least):
    rule = suggest(Grid(batch_size=8, num_frames=frames, crop_size=crop), 1000, 10)
    assert rule.settings["min_frames"] == least
    assert ("all clips have" in str(rule)) == (least > 1 and crop < 112)


def test_one_frame_has_a_long_cycle_of_crops():
    schedule = MultigridSchedule.suggest(Grid(batch_size=8, num_frames=1, crop_size=64), 1000, 10)
    assert {(grid.num_frames, grid.crop_size) for grid in schedule.grids} == {(1, 45), (1, 64)}
    # Decided otherwise, there is none.
    short = MultigridSchedule.suggest(schedule.base, 1000, 10, long_cycle=())
    assert len(short.phases) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"long_cycle": ()},
        {"short_cycle": ()},
        {"min_crop": 1},
        {"min_crop": 64, "min_frames": 16},
        {"batch_growth": 0.0},
        {"base_share": 0.0},
        {"phase_shares": (1, 1, 1, 4)},
        {"replicas": 3},
    ],
)
@pytest.mark.parametrize("num_clips", [60, 6000])
def test_the_length_goes_with_what_is_given(given, num_clips):
    rule = suggest(BASE, num_clips, 40, **given)
    assert not rule.settings.keys() & given.keys()
    schedule = MultigridSchedule.suggest(BASE, num_clips, 40, **given)
    baseline = num_clips * 40 / schedule.baseline_grid.batch_size
    # At least 300 steps, if they are not more work than the baseline's.
    assert schedule.total_work <= 1.02 * baseline
    assert schedule.total_steps >= 298 or schedule.total_work >= 0.98 * baseline
    assert f"{rule.settings['epoch_factor']:g}" in str(rule)


def test_a_rate_of_stages_gets_no_end_at_the_base_grid():
    rule = suggest(BASE, 1000, 40, boundaries=(20, 30))
    assert rule.settings["base_share"] == 0
    assert "one pass" not in str(rule)
    assert MultigridSchedule.suggest(BASE, 1000, 40, boundaries=(20, 30)).boundaries == (20, 30)


@pytest.mark.parametrize("cycle", [0.5, None, (0.5, 1.0), ((0.25,), (1.0, 1.0)), (("a", 1.0),)])
def test_given_settings_are_checked(cycle):
    with pytest.raises(ValueError, match=r"`long_cycle` must .*Received"):
        suggest(BASE, 500, 40, long_cycle=cycle)


def test_the_steps_of_whole_epochs_are_those_of_the_schedule():
    schedule = MultigridSchedule.suggest(BASE, 1000, 3, round_to_epochs=True)
    rule = suggest(BASE, 1000, 3, round_to_epochs=True)
    assert f": {schedule.total_steps} steps, the work of {schedule.total_work:.0f} of" in str(rule)


def test_without_cycles_there_is_nothing_to_choose():
    rule = suggest(BASE, 60, 40, long_cycle=(), short_cycle=())
    assert (rule.settings, rule.reasons[0]) == ({}, "no cycles: the baseline")


@pytest.mark.parametrize("optimizer, scaling", [("sgd", "linear"), ("adamw", "sqrt")])
def test_each_choice_has_its_reason(optimizer, scaling):
    rule = suggest(BASE, 60, 40, optimizer)
    assert rule.scaling == scaling
    for words in ("one pass", "epoch_factor=3.44", "no crop below 45", scaling):
        assert words in str(rule)
    assert ("measured with a small MViT alone" in rule.reasons[-1]) == (optimizer == "adamw")
    assert "not measured here" in str(suggest(BASE, 60, 40, "lion"))


def test_a_baseline_of_few_steps_is_as_long():
    rule = suggest(Grid(batch_size=64, num_frames=8, crop_size=64), 100, 100)
    # 156.25 steps at 64 pixels. At 45, a clip twice is 1.1 % less work, so these are a little more.
    assert "158 steps, the work of 157 of the baseline's 156, as shorter" in str(rule)


def test_two_frames_are_kept():
    base = Grid(batch_size=8, num_frames=2, crop_size=64)
    schedule = MultigridSchedule.suggest(base, num_clips=500, epochs=40)
    assert {grid.num_frames for grid in schedule.grids} == {2}


@given(
    clips=st.integers(60, 100_000),
    epochs=st.integers(10, 100),
    frames=st.integers(4, 64),
    crop=st.integers(16, 256),
)
def test_any_set_gets_a_schedule_above_its_floors(clips, epochs, frames, crop):
    base = Grid(batch_size=8, num_frames=frames, crop_size=crop)
    rule = suggest(base, clips, epochs)
    schedule = MultigridSchedule.suggest(base, clips, epochs)
    assert schedule.phases[-1].base == base
    assert all(grid.num_frames >= 2 for grid in schedule.grids)
    assert len(rule.reasons) == (6 if rule.settings["min_frames"] > 1 else 5)
    assert rule.settings["base_share"] == (0.25 if crop < 112 else 0)


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"base": (8, 16, 64)}, "base"),
        ({"num_clips": 0}, "num_clips"),
        ({"epochs": 1.5}, "epochs"),
        ({"optimizer": "rmsprop"}, "optimizer"),
    ],
)
def test_wrong_argument(arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received"):
        suggest(**{"base": BASE, "num_clips": 60, "epochs": 40, **arguments})
