"""How long the phases are, against the reference implementation and by hand."""

import itertools

import pytest
from hypothesis import given
from schedule_recipes import CHARADES, CYCLES, KINETICS, SMALL, TOY, random_schedules, schedules

from keras_multigrid.schedule import SHORT_CYCLE, Grid, MultigridSchedule

# What the reference implementation prints for its own settings. For each run the shapes of the long
# cycle (batch, frames, crop and the (batch, crop) of the short cycle), then, for each phase, its
# end in epochs, the index of its shape and its relative learning rate.
KINETICS_SHAPES = (
    (512, 8, 158, ((1024, 112), (512, 158), (512, 158))),
    (256, 16, 158, ((512, 112), (256, 158), (256, 158))),
    (128, 16, 224, ((512, 112), (256, 158), (128, 224))),
    (64, 32, 224, ((256, 112), (128, 158), (64, 224))),
)
CHARADES_SHAPES = (
    (128, 16, 158, ((256, 112), (128, 158), (128, 158))),
    (64, 32, 158, ((128, 112), (64, 158), (64, 158))),
    (32, 32, 224, ((128, 112), (64, 158), (32, 224))),
    (16, 64, 224, ((64, 112), (32, 158), (16, 224))),
)
TOY_SHAPES = (
    (128, 2, 79, ((256, 56), (128, 79), (128, 79))),
    (64, 4, 79, ((128, 56), (64, 79), (64, 79))),
    (32, 4, 112, ((128, 56), (64, 79), (32, 112))),
    (16, 8, 112, ((64, 56), (32, 79), (16, 112))),
)
THREE_STAGES = ((0, 8), (1, 4), (2, 2), (3, 1), (0, 0.8), (1, 0.4), (2, 0.2), (3, 0.1))
THREE_STAGES += ((0, 0.08), (1, 0.04), (2, 0.02), (3, 0.01), (3, 0.01), (3, 0.001))
TWO_STAGES = (*THREE_STAGES[:8], (3, 0.1), (3, 0.01))
KINETICS_ENDS = (73, 110, 142, 158, 205, 228, 248, 259, 291, 308, 322, 329, 343, 358)
QUICK_ENDS = (49, 73, 95, 105, 136, 152, 166, 172, 194, 205, 215, 219, 229, 239)
REFERENCE = {
    "kinetics": (KINETICS, KINETICS_SHAPES, KINETICS_ENDS, THREE_STAGES),
    "kinetics, factor 1": (
        {**KINETICS, "epoch_factor": 1.0},
        KINETICS_SHAPES,
        QUICK_ENDS,
        THREE_STAGES,
    ),
    "kinetics, short only": (
        {**KINETICS, "long_cycle": ()},
        KINETICS_SHAPES,
        (141, 231, 294, 358),
        ((3, 1), (3, 0.1), (3, 0.01), (3, 0.001)),
    ),
    "charades": (
        CHARADES,
        CHARADES_SHAPES,
        (31, 47, 60, 67, 73, 76, 79, 80, 83, 86),
        TWO_STAGES,
    ),
    "toy": (TOY, TOY_SHAPES, (7, 10, 13, 14, 17, 19, 20, 21, 22, 24), TWO_STAGES),
}


@pytest.mark.parametrize("run", REFERENCE)
def test_phases_of_the_reference(run):
    config, shapes, ends, shapes_and_rates = REFERENCE[run]
    phases = MultigridSchedule(**config, round_to_epochs=True).phases
    assert tuple(phase.end_epoch for phase in phases) == ends
    assert tuple(phase.first_epoch for phase in phases) == (0, *ends[:-1])
    for phase, (shape, rate) in zip(phases, shapes_and_rates, strict=True):
        batch, frames, crop, short_cycle = shapes[shape]
        assert phase.base == Grid(batch_size=batch, num_frames=frames, crop_size=crop)
        assert phase.short_cycle == tuple(
            Grid(batch_size=batch, num_frames=frames, crop_size=crop) for batch, crop in short_cycle
        )
        assert phase.relative_learning_rate == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    "run, total_steps, baseline_steps",
    [
        ("kinetics", 261_659, 896_011),
        ("kinetics, factor 1", 172_833, 896_011),
        ("kinetics, short only", 574_948, 896_011),
        ("toy", 73_107, 239_968),
        # The reference counts 8,177, as each of its 8 replicas rounds up its share of the videos.
        # Here a batch is one over all replicas.
        ("charades", 8_147, 28_443),
    ],
)
def test_steps_of_the_reference(run, total_steps, baseline_steps):
    schedule = MultigridSchedule(**REFERENCE[run][0], round_to_epochs=True)
    assert schedule.total_steps == total_steps
    assert schedule.baseline_steps == baseline_steps


def test_whole_epochs_hold_as_many_whole_steps_as_their_clips_fill():
    schedule = MultigridSchedule(**KINETICS, round_to_epochs=True)
    # 239,975 clips over 682.67, 341.33, 298.67 and 149.33 clips a step.
    steps = [phase.num_steps / (phase.end_epoch - phase.first_epoch) for phase in schedule.phases]
    assert steps == [351, 703, 803, 1606] * 3 + [1606] * 2


def test_exact_phases_end_at_the_nearest_step():
    # With mean relative batches 32/3, 16/3, 14/3, 7/3 and 358.5 epochs, in exact fractions. Every
    # shape gets as many steps as the others of its stage: 25,738.3, then 16,428.7, then 11,500.0.
    epochs = (73.218903, 109.828354, 141.861624, 157.878259, 204.613729, 227.981464, 248.428232)
    epochs += (258.651616, 291.366445, 307.723859, 322.036597, 329.192966, 343.846483, 358.5)
    steps = (25738.339, 51476.678, 77215.017, 102953.357, 119382.084, 135810.811, 152239.538)
    steps += (168668.265, 180168.374, 191668.483, 203168.592, 214668.701, 238216.543, 261764.385)
    schedule = MultigridSchedule(**KINETICS)
    assert [phase.end_epoch for phase in schedule.phases] == pytest.approx(epochs, abs=1e-6)
    assert [phase.end_step for phase in schedule.phases] == [round(step) for step in steps]
    assert schedule.total_steps == 261_764
    assert schedule.baseline_steps == 896_157  # 239 * 239,975 / 64


@pytest.mark.parametrize("config", [KINETICS, CHARADES, TOY], ids=["kinetics", "charades", "toy"])
@pytest.mark.parametrize("cycles", CYCLES)
def test_exact_phases_consume_the_clips_of_their_epochs(config, cycles):
    schedule = MultigridSchedule(**{**config, **CYCLES[cycles]})
    epochs = config["epochs"] * (1.0 if cycles == "none" else 1.5)
    phases = schedule.phases
    assert phases[-1].end_epoch == pytest.approx(epochs, rel=1e-12)
    assert phases[-1].end_progress == pytest.approx(1.0, rel=1e-12)
    for phase in phases:
        # Rounding moves a phase's ends by half a step each; its last turn may be incomplete.
        clips = phase.clips_before(phase.end_step) - phase.first_clip
        expected = (phase.end_epoch - phase.first_epoch) * config["num_clips"]
        assert abs(clips - expected) <= max(grid.batch_size for grid in phase.short_cycle)
    assert schedule.total_clips == pytest.approx(
        epochs * config["num_clips"], rel=0.01 if config is CHARADES else 1e-3
    )


@pytest.mark.parametrize("short_cycle", [SHORT_CYCLE, ()], ids=["both", "long only"])
def test_shapes_of_a_stage_share_its_steps(short_cycle):
    phases = MultigridSchedule(**KINETICS, short_cycle=short_cycle).phases
    for first in (0, 4, 8):
        steps = [phase.num_steps for phase in phases[first : first + 4]]
        assert max(steps) - min(steps) <= 1
    assert abs(phases[12].num_steps - phases[13].num_steps) <= 1


def test_long_cycle_only():
    schedule = MultigridSchedule(**KINETICS, short_cycle=())
    # Means 8, 4, 2, 1: 358.5 epochs / (196 + 43 / 3.75) * 94 / 15 * 239,975 / 64 steps.
    assert schedule.phases[0].num_steps == 40_603
    assert [str(grid) for grid in schedule.grids] == [
        "512 x 8 x 158²",
        "256 x 16 x 158²",
        "128 x 16 x 224²",
        "64 x 32 x 224²",
    ]
    assert schedule.grid(0) == schedule.grid(1) == schedule.phases[0].base


def test_short_cycle_only():
    schedule = MultigridSchedule(**KINETICS, long_cycle=())
    assert [phase.end_epoch for phase in schedule.phases] == [141, 231, 294, 358.5]
    assert schedule.total_steps == 576_101  # 358.5 * 239,975 / 149.33
    assert [schedule.grid(step).shape for step in range(4)] == [
        (256, 32, 112, 112, 3),
        (128, 32, 158, 158, 3),
        (64, 32, 224, 224, 3),
        (256, 32, 112, 112, 3),
    ]
    assert {phase.relative_batch_size for phase in schedule.phases} == {1}


def test_no_cycle_is_the_baseline():
    schedule = MultigridSchedule(**KINETICS, long_cycle=(), short_cycle=())
    assert schedule == MultigridSchedule(**KINETICS).baseline()
    assert schedule.grids == (KINETICS["base"],)
    assert schedule.total_steps == schedule.baseline_steps == 896_157
    assert [phase.end_epoch for phase in schedule.phases] == [94, 154, 196, 239]
    assert [phase.relative_learning_rate for phase in schedule.phases] == pytest.approx(
        [1, 0.1, 0.01, 0.001]
    )
    rounded = MultigridSchedule(**KINETICS, long_cycle=(), short_cycle=(), round_to_epochs=True)
    assert rounded.total_steps == rounded.baseline_steps == 896_011


@pytest.mark.parametrize("turns, steps", [(1, 58_445), (3, 19_482)])
def test_without_boundaries_the_long_cycle_runs_as_often_as_told(turns, steps):
    schedule = MultigridSchedule(**{**KINETICS, "boundaries": ()}, long_cycles=turns)
    phases = schedule.phases
    # 358.5 epochs * 239,975 / (5.75 * 64) = 233,780 steps, in equal parts.
    assert schedule.total_steps == 233_780
    assert [phase.relative_batch_size for phase in phases] == [8, 4, 2, 1] * turns
    assert all(abs(phase.num_steps - steps) <= 1 for phase in phases)
    assert {phase.lr_stage for phase in phases} == {0}
    assert [phase.end_progress for phase in phases] == pytest.approx(
        [(index + 1) / (4 * turns) for index in range(4 * turns)]
    )


def test_progress_maps_stages_to_those_of_the_baseline():
    schedule = MultigridSchedule(**KINETICS)
    # Fine-tuning is cut in the middle of the baseline's last stage, 217.5 = (196 + 239) / 2.
    epochs = (23.5, 47, 70.5, 94, 109, 124, 139, 154, 164.5, 175, 185.5, 196, 217.5, 239)
    assert [phase.end_progress for phase in schedule.phases] == pytest.approx(
        [epoch / 239 for epoch in epochs]
    )
    assert schedule.progress(0) == 0
    assert schedule.progress(schedule.total_steps) == 1
    assert schedule.progress(10 * schedule.total_steps) == 1


SHORT_RECIPE = {
    "base": Grid(batch_size=16, num_frames=8, crop_size=112),
    "num_clips": 10_000,
    "epochs": 4,
    "boundaries": (1, 2),
}


def test_whole_epochs_erase_phases_of_a_short_recipe():
    # Real ends: 0.99 1.48 1.92 2.13 | 3.12 3.62 4.05 4.27 | 6, the last in two halves.
    phases = MultigridSchedule(**SHORT_RECIPE, round_to_epochs=True).phases
    assert [(phase.end_epoch, phase.relative_batch_size, phase.lr_stage) for phase in phases] == [
        (1, 8, 0),
        (2, 2, 0),
        (3, 8, 1),
        (4, 4, 1),
        (5, 1, 1),
        (6, 1, 2),
    ]
    assert [phase.num_steps for phase in phases] == [58, 133, 58, 117, 267, 267]


def test_exact_phases_keep_every_phase_of_a_short_recipe():
    phases = MultigridSchedule(**SHORT_RECIPE).phases
    assert [phase.relative_batch_size for phase in phases] == [8, 4, 2, 1] * 2 + [1, 1]
    assert [phase.lr_stage for phase in phases] == [0] * 4 + [1] * 5 + [2]
    # 2.134 / 23 epochs * 10,000 clips / 16 = 58 steps for every shape of a stage of one epoch.
    assert [phase.num_steps for phase in phases[:8]] == [58] * 8


def test_phases_without_a_step_are_left_out():
    schedule = MultigridSchedule(**{**SMALL, "num_clips": 20})
    steps = [phase.num_steps for phase in schedule.phases]
    assert len(steps) < 10
    assert min(steps) > 0


def test_short_crops_are_never_larger_than_the_base_grids():
    schedule = MultigridSchedule(**SMALL, short_cycle=(0.5, 0.9))
    assert [grid.crop_size for grid in schedule.phases[0].short_cycle] == [16, 23, 23]
    assert [grid.crop_size for grid in schedule.phases[3].short_cycle] == [16, 29, 32]


@pytest.mark.parametrize("config", [KINETICS, CHARADES, TOY], ids=["kinetics", "charades", "toy"])
def test_work_of_a_step_is_constant(config):
    for grid in MultigridSchedule(**config).grids:
        assert grid.voxels == pytest.approx(config["base"].voxels, rel=0.01)


@random_schedules
@given(schedules())
def test_any_schedule_is_made_of_whole_batches(schedule):
    for grid in schedule.grids:
        assert grid.batch_size % schedule.base.batch_size == 0
        assert grid.batch_size >= schedule.base.batch_size
        assert 1 <= grid.num_frames <= schedule.base.num_frames
        assert 1 <= grid.crop_size <= schedule.base.crop_size


@random_schedules
@given(schedules())
def test_any_schedules_phases_follow_one_another(schedule):
    first = schedule.phases[0]
    assert first.first_step == first.first_epoch == first.first_clip == first.first_progress == 0
    assert schedule.phases[-1].end_step == schedule.total_steps
    for before, after in itertools.pairwise(schedule.phases):
        assert before.end_step == after.first_step
        assert before.end_epoch == after.first_epoch
        assert before.end_progress == after.first_progress
        assert before.clips_before(before.end_step) == after.first_clip
    for phase in schedule.phases:
        assert phase.num_steps > 0
        assert phase.end_epoch > phase.first_epoch
        assert phase.short_cycle[-1] == phase.base


def test_schedule_without_steps():
    with pytest.raises(ValueError, match=r"no steps: no phase lasts half .* Use more epochs"):
        MultigridSchedule(base=KINETICS["base"], num_clips=10, epochs=1)


def test_whole_epochs_need_a_step_each():
    with pytest.raises(ValueError, match=r"num_clips=10 at batches of 683 clips"):
        MultigridSchedule(base=KINETICS["base"], num_clips=10, epochs=1, round_to_epochs=True)


# ---- Shares of the phases ------------------------------------------------------------------------


def test_each_base_grid_gets_its_share_of_the_steps():
    base = Grid(batch_size=8, num_frames=16, crop_size=112)
    settings = {"base": base, "num_clips": 9600, "epochs": 64, "short_cycle": ()}
    schedule = MultigridSchedule.one_pass(**settings, phase_shares=(2, 1, 1, 4))
    steps = [phase.end_step - phase.first_step for phase in schedule.phases]
    # Of 8 parts, 2 have 64 clips, 1 has 32, 1 has 16 and 4 have 8: 208 clips for 8 steps. 96 epochs
    # of 9,600 clips are 35,446 steps.
    assert schedule.total_steps == 35_446
    assert steps == [8862, 4430, 4431, 17_723]
    assert schedule.total_clips == pytest.approx(96 * 9600, rel=1e-3)
    assert [phase.end_progress for phase in schedule.phases] == [0.25, 0.375, 0.5, 1.0]
    equal = MultigridSchedule.one_pass(**settings, phase_shares=(3, 3, 3, 3))
    assert equal.total_steps == MultigridSchedule.one_pass(**settings).total_steps
    assert MultigridSchedule.from_config(schedule.get_config()) == schedule
    # Precise statistics and comparisons need it; shares are of phases that it does not have.
    plain = MultigridSchedule(**settings).baseline()
    assert schedule.baseline().phases == plain.phases


@pytest.mark.parametrize("more", [{"boundaries": (3,)}, {"long_cycles": 2}])
def test_one_pass_takes_nothing_that_makes_it_several(more):
    base = Grid(batch_size=8, num_frames=16, crop_size=112)
    with pytest.raises(TypeError, match=next(iter(more))):
        MultigridSchedule.one_pass(base, num_clips=500, epochs=10, **more)


def test_shares_within_the_stages_of_a_stepwise_rate():
    base = Grid(batch_size=8, num_frames=16, crop_size=112)
    settings = {"num_clips": 9600, "epochs": 64, "boundaries": (32, 48), "short_cycle": ()}
    schedule = MultigridSchedule.published(base, **settings, phase_shares=(1, 1, 1, 2))
    steps = [phase.end_step - phase.first_step for phase in schedule.phases[:4]]
    assert steps[3] == pytest.approx(2 * steps[0], rel=0.05)
    assert schedule.round_to_epochs
    assert [phase.lr_stage for phase in schedule.phases] == [0] * 4 + [1] * 5 + [2]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((1, 2), r"a share for each base grid.*Received: phase_shares=\(1, 2\), 4 base grids"),
        ((1, 1, 0, 1), "`phase_shares` must be a positive number"),
        (2, r"`phase_shares` must be a tuple"),
    ],
)
def test_wrong_shares_are_refused(shares, message):
    base = Grid(batch_size=8, num_frames=16, crop_size=112)
    with pytest.raises(ValueError, match=message):
        MultigridSchedule.one_pass(base, num_clips=500, epochs=10, phase_shares=shares)


def test_the_last_steps_at_the_base_grid_alone():
    base = Grid(batch_size=8, num_frames=16, crop_size=112)
    settings = {"base": base, "num_clips": 9600, "epochs": 64, "short_cycle": ()}
    schedule = MultigridSchedule.one_pass(**settings, base_share=0.2)
    # The long cycle has 64, 32, 16 and 8 clips, a fifth of the steps each, and so has the end:
    # 128 clips for 5 steps. 96 epochs of 9,600 clips are 36,000 steps.
    assert [phase.end_step for phase in schedule.phases] == [7200, 14_400, 21_600, 28_800, 36_000]
    assert [phase.end_progress for phase in schedule.phases] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1]
    )
    assert schedule.phases[-1].base == base

    both = MultigridSchedule.one_pass(**{**settings, "short_cycle": SHORT_CYCLE}, base_share=0.2)
    assert set(both.phases[-1].short_cycle) == {base}
    assert len(set(both.phases[-2].short_cycle)) == 3
    last = both.phases[-1]
    assert last.num_steps == pytest.approx(0.2 * both.total_steps, abs=1)
    assert both.steps_by_grid()[base] == pytest.approx(
        last.num_steps + both.phases[-2].num_steps / 3, abs=1
    )
    assert both.total_clips == pytest.approx(96 * 9600, rel=1e-3)
    # Training without cycles is at the base grid anyway.
    assert both.baseline().phases == MultigridSchedule(**settings).baseline().phases


@pytest.mark.parametrize("share", [0.05, 0.25])
@pytest.mark.parametrize("form", ["one_pass", "short_only"])
def test_the_end_at_the_base_grid_in_whole_epochs(form, share):
    base = Grid(batch_size=8, num_frames=16, crop_size=64)
    make = getattr(MultigridSchedule, form)
    settings = {"num_clips": 1800, "epochs": 10, "round_to_epochs": True}
    schedule, without = (make(base, **settings, base_share=of) for of in (share, 0.0))
    last = schedule.phases[-1]
    assert set(last.short_cycle) == {base}
    assert last.end_epoch == without.phases[-1].end_epoch == 15
    # A twentieth of the steps would be less than half an epoch.
    assert last.end_epoch - last.first_epoch >= 1
    assert last.end_progress == 1


@pytest.mark.parametrize("form", ["one_pass", "short_only"])
def test_a_single_epoch_is_all_at_the_base_grid(form):
    base = Grid(batch_size=8, num_frames=16, crop_size=64)
    schedule = getattr(MultigridSchedule, form)(
        base, num_clips=1800, epochs=1, epoch_factor=1.0, round_to_epochs=True, base_share=0.5
    )
    assert schedule.grids == (base,)
    assert schedule.total_steps == 225


def test_the_end_at_the_base_grid_goes_without_boundaries():
    message = r"`base_share` is for training without `boundaries`.*base_share=0\.1.*Leave one"
    with pytest.raises(ValueError, match=message):
        MultigridSchedule(**KINETICS, base_share=0.1)


@pytest.mark.parametrize("share, message", [(1, "must be below 1"), (-0.1, "not negative")])
def test_wrong_shares_of_the_base_grid(share, message):
    with pytest.raises(ValueError, match=f"`base_share` .*{message}|{message}"):
        MultigridSchedule(**{**TOY, "boundaries": ()}, base_share=share)


def test_the_short_cycle_alone():
    base = Grid(batch_size=8, num_frames=16, crop_size=112)
    schedule = MultigridSchedule.short_only(base, num_clips=500, epochs=10)
    assert {grid.num_frames for grid in schedule.grids} == {16}
    assert [grid.crop_size for grid in schedule.grids] == [56, 79, 112]
