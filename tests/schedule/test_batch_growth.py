"""Batches that grow less than the paper's, and floors under the grids: by hand, and for any."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_recipes import CHARADES, KINETICS, SMALL, TOY, random_schedules, schedules

from keras_multigrid.schedule import Grid, MultigridSchedule

# Worked out by hand for 64 x 32 x 224². A clip of the four base grids is so many times less work
# than the baseline's, with crops of 158 pixels in the first two:
#
#     32 * 224² / (8 * 158²) = 8.0397,  32 * 224² / (16 * 158²) = 4.0199,  2,  1
#
# and a short crop, relative to the base grid's: 112 in 158: 1.9901; 112 in 224: 4; 158 in 224:
# 2.0099; 158 in 158: 1.
#
# growth 1: factors 8 4 2 1, short 2; 4; 2; 1.    growth 0: all 1.
# growth 0.5: roots 2.8354 2.0050 1.4142 1, short 1.4107; 2; 1.4177; 1: rounded 3 2 1 1, 1; 2; 1; 1.
CYCLES = {
    1.0: (
        ((1024, 112), (512, 158), (512, 158)),
        ((512, 112), (256, 158), (256, 158)),
        ((512, 112), (256, 158), (128, 224)),
        ((256, 112), (128, 158), (64, 224)),
    ),
    0.5: (
        ((192, 112), (192, 158), (192, 158)),
        ((128, 112), (128, 158), (128, 158)),
        ((128, 112), (64, 158), (64, 224)),
        ((128, 112), (64, 158), (64, 224)),
    ),
    0.0: (
        ((64, 112), (64, 158), (64, 158)),
        ((64, 112), (64, 158), (64, 158)),
        ((64, 112), (64, 158), (64, 224)),
        ((64, 112), (64, 158), (64, 224)),
    ),
}
FRAMES = (8, 16, 16, 32)
# Means of the rows above over 64, m: 32/3 16/3 14/3 7/3; 3 2 4/3 4/3; 1 1 1 1. A stage of d epochs
# of the baseline lasts d x epochs, each grid its share m / sum(m) of them; the last 43 epochs last
# 43 x m4 / mean(m). Together 239 * 1.5 = 358.5:
#
#     growth 1: x = 358.5 / (196 + 43 * 7/3 / 5.75)      (tests/schedule/test_phase_lengths.py)
#     growth 0.5: x = 358.5 / (196 + 43 * 4/3 / (23/12)) = 358.5 * 23 / 5196 = 1.586894
#     growth 0: x = 1.5
#
# Ends of the phases of the first stage in epochs: 94 x m / sum(m), summed up.
EPOCHS = {
    1.0: (73.2189, 109.8284, 141.8616, 157.8783),
    0.5: (58.3701, 97.2835, 123.2258, 149.1680),  # 9/23, 6/23, 4/23, 4/23 of 149.1680.
    0.0: (35.25, 70.5, 105.75, 141.0),
}
# Steps of each grid in the three stages, then those of fine-tuning: x d / sum(m) and 43 x / mean(m)
# times the baseline's 239,975 / 64 = 3,749.61 steps an epoch.
STEPS = {
    1.0: (25_738.34, 16_428.73, 11_500.11, 2 * 23_547.84),
    0.5: (72_955.02, 46_567.03, 32_596.92, 133_492.16),
    0.0: (132_173.73, 84_366.21, 59_056.35, 241_849.80),
}
# Mean work of a step over the short cycle, relative to the baseline's 64 x 32 x 224²: with 112² a
# quarter and 158² 0.4975287 of 224²,
#
#     growth 0.5: 192 is 3 * 64, 8 frames a quarter: (3/16 + 2 * 0.3731465) / 3 = 0.311264
#                 (0.25 + 2 * 0.4975287) / 3 = 0.415019
#                 (0.25 + 0.2487644 + 0.5) / 3 = 0.332922
#                 (0.5 + 0.4975287 + 1) / 3 = 0.665843
#     growth 0:   (0.0625 + 2 * 0.1243822) / 3 = 0.103755
#                 (0.125 + 2 * 0.2487644) / 3 = 0.207510
#                 (0.125 + 0.2487644 + 0.5) / 3 = 0.291255
#                 (0.25 + 0.4975287 + 1) / 3 = 0.582510
WORK = {
    1.0: (0.996705, 0.996705, 0.998352, 0.998352),
    0.5: (0.311264, 0.415019, 0.332922, 0.665843),
    0.0: (0.103755, 0.207510, 0.291255, 0.582510),
}
# Of the steps above: 53,667.18 * 3.990114 + 47,095.68 * 0.998352, and so on.
TOTAL_WORK = {1.0: 261_156, 0.5: 351_297, 0.0: 467_469}
TOTAL_STEPS = {1.0: 261_764, 0.5: 741_968, 0.0: 1_344_235}


@pytest.mark.parametrize("growth", CYCLES)
def test_growth_by_hand(growth):
    schedule = MultigridSchedule(**KINETICS, batch_growth=growth)
    phases = schedule.phases
    for phase, frames, cycle in zip(phases, FRAMES * 3, CYCLES[growth] * 3, strict=False):
        assert phase.short_cycle == tuple(
            Grid(batch_size=batch, num_frames=frames, crop_size=crop) for batch, crop in cycle
        )
        assert phase.relative_batch_size == cycle[-1][0] / 64
    assert [phase.end_epoch for phase in phases[:4]] == pytest.approx(EPOCHS[growth], abs=1e-4)
    assert phases[-1].end_epoch == pytest.approx(358.5)
    first, second, third, last = STEPS[growth]
    expected = [*[first] * 4, *[second] * 4, *[third] * 4, last / 2, last / 2]
    assert [phase.num_steps for phase in phases] == pytest.approx(expected, abs=1.01)
    assert schedule.total_steps == TOTAL_STEPS[growth]
    assert schedule.baseline_steps == 896_157


@pytest.mark.parametrize("growth", CYCLES)
def test_work_by_hand(growth):
    schedule = MultigridSchedule(**KINETICS, batch_growth=growth)
    for phase, mean in zip(schedule.phases[:4], WORK[growth], strict=True):
        work = schedule.work_before(phase.end_step) - schedule.work_before(phase.first_step)
        assert work / phase.num_steps == pytest.approx(mean, rel=1e-4)
    assert schedule.total_work == pytest.approx(TOTAL_WORK[growth], rel=2e-5)


def test_work_step_by_step():
    # 16 x 8 x 112²: crops of 56 and 79 pixels with 4 and 2 times the clips.
    short = MultigridSchedule(**TOY, long_cycle=())
    work_of_79 = 2 * 79**2 / 112**2
    assert [short.work_before(step) for step in range(5)] == pytest.approx(
        [0, 1, 1 + work_of_79, 2 + work_of_79, 3 + work_of_79]
    )
    # At growth 0 a quarter and a half of the work.
    cheap = dataclasses.replace(short, batch_growth=0.0)
    of_79 = work_of_79 / 2
    assert [cheap.work_before(step) for step in range(5)] == pytest.approx(
        [0, 0.25, 0.25 + of_79, 1.25 + of_79, 1.5 + of_79]
    )
    with pytest.raises(ValueError, match="`step` must not be negative"):
        short.work_before(-1)


def test_the_baseline_trains_at_one_unit_of_work_a_step():
    for growth, replicas in ((1.0, 1), (0.5, 6)):
        baseline = MultigridSchedule(**KINETICS, batch_growth=growth, replicas=replicas).baseline()
        assert baseline.work_before(1000) == 1000
        assert baseline.total_work == baseline.total_steps


@pytest.mark.parametrize("config", [KINETICS, CHARADES, TOY], ids=["kinetics", "charades", "toy"])
def test_a_phases_share_of_the_steps_does_not_depend_on_growth(config):
    published = MultigridSchedule(**config)
    for growth in (0.0, 0.3, 0.5, 0.8):
        schedule = MultigridSchedule(**config, batch_growth=growth)
        for phase, other in zip(schedule.phases, published.phases, strict=True):
            share = phase.end_step / schedule.total_steps
            assert share == pytest.approx(other.end_step / published.total_steps, abs=2e-4)
            assert phase.end_progress == pytest.approx(other.end_progress)
            assert phase.lr_stage == other.lr_stage


def test_groups_follow_the_batch():
    # 24, 16, 8 and 8 clips on each of 8 devices, in groups of 8.
    half = MultigridSchedule(**KINETICS, batch_growth=0.5, replicas=8)
    assert [phase.groups(8) for phase in half.phases[:4]] == [3, 2, 1, 1]
    same = MultigridSchedule(**KINETICS, batch_growth=0.0, replicas=8)
    assert {phase.groups(8) for phase in same.phases} == {1}


def test_whole_epochs():
    schedule = MultigridSchedule(**KINETICS, batch_growth=0.0, round_to_epochs=True)
    # Real ends: a quarter of 141 each, then of 90 and 63; 294 + 32.25 and 64.5.
    ends = [35, 70, 106, 141, 164, 186, 208, 231, 247, 262, 278, 294, 326, 358]
    assert [phase.end_epoch for phase in schedule.phases] == ends
    # 239,975 // 64 steps an epoch.
    assert schedule.total_steps == 358 * 3749


def test_floors_by_hand():
    floors = {"min_frames": 16, "min_crop": 120}
    schedule = MultigridSchedule(**KINETICS, **floors)
    # A clip of 16 x 158² is 4.02 times less work, whatever the long cycle asks for. 120 pixels in
    # 158: 1.73 times less, twice the clips; 120 in 224: 3.48, three times; 158 in 224: twice.
    cycles = [[str(grid) for grid in phase.short_cycle] for phase in schedule.phases[:4]]
    assert cycles == [
        ["512 x 16 x 120²", "256 x 16 x 158²", "256 x 16 x 158²"],
        ["512 x 16 x 120²", "256 x 16 x 158²", "256 x 16 x 158²"],
        ["384 x 16 x 120²", "256 x 16 x 158²", "128 x 16 x 224²"],
        ["192 x 32 x 120²", "128 x 32 x 158²", "64 x 32 x 224²"],
    ]
    # Means 16/3, 16/3, 4 and 2: 50/3 in all, 25/6 on average. Steps of a grid in the first stage:
    # 94 * 358.5 / (196 + 43 * 2 / (25/6)) / (50/3) * 239,975 / 64.
    assert [phase.num_steps for phase in schedule.phases[:4]] == pytest.approx(
        [34_995.87] * 4, abs=1.01
    )
    same = MultigridSchedule(**KINETICS, **floors, batch_growth=0.0)
    assert [phase.base.batch_size for phase in same.phases] == [64] * 14


def test_floors_may_leave_nothing_but_the_baselines_grid():
    schedule = MultigridSchedule(**KINETICS, min_frames=32, min_crop=224)
    assert schedule.grids == (KINETICS["base"],)
    assert schedule.total_work == schedule.total_steps == round(1.5 * 239 * 239_975 / 64)


# 23 pixels is the long cycle's small crop, 16 the short cycle's smallest; 2 frames are a quarter.
@pytest.mark.parametrize(
    "config",
    [SMALL, {**SMALL, "short_cycle": (0.6,)}, {**SMALL, "long_cycle": ()}],
    ids=["both", "an odd crop", "short only"],
)
def test_floors_that_no_grid_meets_change_nothing(config):
    floors = {"min_frames": 2, "min_crop": 16}
    assert MultigridSchedule(**config, **floors).phases == MultigridSchedule(**config).phases
    crop = 24 if "short_cycle" in config else 17
    met = MultigridSchedule(**config, min_frames=2, min_crop=crop)
    assert met.phases != MultigridSchedule(**config).phases


@random_schedules
@given(
    st.sampled_from([KINETICS, CHARADES, TOY]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 16),
    st.sampled_from([(), (0.5, 0.7071), (0.6,)]),
)
def test_any_growth_and_floors(config, growth, frames, crop, replicas, short_cycle):
    base = config["base"]
    schedule = MultigridSchedule(
        **config,
        batch_growth=growth,
        min_frames=1 + int(frames * (base.num_frames - 1)),
        min_crop=1 + int(crop * (base.crop_size - 1)),
        replicas=replicas,
        short_cycle=short_cycle,
    )
    clips = schedule.baseline_grid.batch_size
    for grid in schedule.grids:
        assert grid.num_frames >= schedule.min_frames
        assert grid.crop_size >= schedule.min_crop
        assert grid.batch_size % replicas == 0
        assert grid.batch_size % clips == 0
    stages = len(config["boundaries"])
    for first in range(0, 4 * stages, 4):
        steps = [phase.num_steps for phase in schedule.phases[first : first + 4]]
        # As published, odd crops give grids of a stage a few percent more or fewer steps. Ends are
        # rounded to even: 1,597 steps from 0.5 on are 1,598, the next 1,597 are 1,596.
        if not schedule.has_published_batches:
            assert max(steps) - min(steps) <= 2
    assert schedule.phases[-1].end_epoch == pytest.approx(1.5 * config["epochs"])


@random_schedules
@given(schedules())
def test_work_adds_up(schedule):
    work = sum(
        grid.voxels * steps
        for phase in schedule.phases
        for grid, steps in phase.steps_by_grid().items()
    )
    assert schedule.total_work == pytest.approx(work / schedule.baseline_grid.voxels, rel=1e-12)
    last = schedule.total_steps - 1
    steps = {0, *(phase.end_step for phase in schedule.phases[:-1]), last // 2, last}
    for step in steps:
        more = schedule.work_before(step + 1) - schedule.work_before(step)
        expected = schedule.grid(step).voxels / schedule.baseline_grid.voxels
        assert more == pytest.approx(expected, abs=1e-6)


def test_less_growth_is_more_steps_and_larger_batches_less():
    sizes = []
    for growth in (0.0, 0.25, 0.5, 0.75, 1.0):
        schedule = MultigridSchedule(**KINETICS, batch_growth=growth)
        sizes.append((-schedule.total_steps, [phase.base.batch_size for phase in schedule.phases]))
    assert all(first <= second for first, second in itertools.pairwise(sizes))
