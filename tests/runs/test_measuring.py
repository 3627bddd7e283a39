"""`measure()` on real encoded videos, with tiny networks."""

import dataclasses
import functools
import json
import os

import keras
import pytest
from small_run import tiny

from keras_multigrid import Grid, MultigridLearningRate, MultigridSchedule, ReferenceSGD
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.lists.folders import class_folders
from keras_multigrid.data.synthetic.videos import write_videos
from keras_multigrid.runs import Data, Logging, Model, Optimization, Settings, measure
from keras_multigrid.runs.costs import GridCost, RunCost
from keras_multigrid.runs.measuring import shortened
from keras_multigrid.runs.plan_table import format_costs

BASE = Grid(batch_size=4, num_frames=8, crop_size=32)
SCHEDULE = MultigridSchedule(BASE, num_clips=24, epochs=40, boundaries=(20, 30))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root = tmp_path_factory.mktemp("measure")
    write_videos(root, num_train=24, num_validation=12, processes=1)
    return Settings(
        run_dir=str(root / "run"),
        data=Data(
            videos=class_folders(root / "train", validation=root / "validation"),
            sampling=ClipSampling(flip=False),
            keep_decoded=True,
        ),
        model=Model(model=functools.partial(tiny, dropout=0.0)),
        optimization=Optimization(
            schedule=SCHEDULE,
            learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.01),
            optimizer=functools.partial(ReferenceSGD, momentum=0.9),
            precise_batches=3,
        ),
        logging=Logging(validations=5, still_control=True),
    )


def of_network(settings, model, schedule=SCHEDULE):
    optimization = dataclasses.replace(settings.optimization, schedule=schedule, precise_batches=0)
    return dataclasses.replace(settings, model=Model(model=model), optimization=optimization)


def test_every_grid_of_a_run_is_measured(settings):
    costs = measure(settings, turns=2)
    steps = {}
    for phase in SCHEDULE.phases:
        for grid, count in phase.steps_by_grid().items():
            steps[grid] = steps.get(grid, 0) + count
    assert {cost.grid: cost.steps for cost in costs.grids} == steps
    assert sum(steps.values()) == SCHEDULE.total_steps
    for cost in costs.grids:
        assert cost.seconds > 0 and cost.clips_read_per_second > 0 and 0 <= cost.wait_share <= 1
        # TensorFlow alone takes as much.
        assert cost.memory > 100e6
    # The first grid is traced: that takes longer than many steps.
    assert costs.grids[0].first_seconds > costs.grids[0].seconds
    assert costs.decoding_seconds > 0
    assert (costs.validations, costs.statistics) == (5 + 1 + 1, 5)
    assert costs.kept_memory >= 0 and costs.statistics_seconds > 0
    assert (costs.base, costs.baseline_steps, costs.too_large) == (BASE, 240, None)
    json.dumps(costs.values())
    # Nothing of it is left where the run will be.
    assert not os.path.exists(settings.run_dir)


class Hungry(keras.layers.Layer):
    """Takes more memory than there is for more than two clips."""

    def call(self, clips):
        rows = keras.ops.where(keras.ops.shape(clips)[0] > 2, 2**30, 1)
        colours = keras.ops.broadcast_to(clips[0, 0, 0, 0, 0], (rows, 2**20))
        return clips + 1e-9 * keras.ops.mean(colours)


def hungry(classes, classifier_activation):
    clips = keras.Input((None, None, None, 3))
    pooled = keras.layers.GlobalAveragePooling3D()(Hungry()(clips))
    return keras.Model(clips, keras.layers.Dense(classes, activation=classifier_activation)(pooled))


@pytest.mark.slow
def test_a_batch_that_fits_is_found(settings):
    schedule = MultigridSchedule(BASE, 24, 4, long_cycle=(), short_cycle=())
    costs = measure(of_network(settings, hungry, schedule))
    assert costs.too_large == BASE
    assert costs.base == dataclasses.replace(BASE, batch_size=2)
    assert "4 x 8 x 32² does not fit in memory; batch_size=2" in format_costs(costs)


# TensorFlow waits some seconds for memory before it gives up.
@pytest.mark.every
def test_without_a_batch_that_fits_it_says_what_to_do(settings):
    base = dataclasses.replace(BASE, batch_size=1)
    schedule = MultigridSchedule(base, 24, 8, short_cycle=(), long_cycle=((0.5, 0.5), (1.0, 1.0)))
    with pytest.raises(MemoryError, match=r"8 x 4 x 16² does not fit in memory.*smaller CROP_SIZE"):
        measure(of_network(settings, hungry, schedule))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"boundaries": (94, 154, 196), "round_to_epochs": True},
        {"batch_growth": 0.0, "min_crop": 160},
        {"long_cycle": ()},
        {"short_cycle": ()},
        {"phase_shares": (1, 1, 1, 20)},
        {"replicas": 8},
    ],
)
def test_a_short_schedule_has_all_grids_of_the_whole(settings):
    base = Grid(batch_size=64, num_frames=32, crop_size=224)
    whole = MultigridSchedule(base, num_clips=239_975, epochs=239, **settings)
    short = shortened(whole, turns=4)
    assert set(short.grids) == set(whole.grids)
    turns = 4 * sum(len(phase.short_cycle) for phase in short.phases)
    assert short.total_steps == pytest.approx(turns, abs=2)
    assert short.num_clips == whole.num_clips


COARSE = Grid(batch_size=16, num_frames=4, crop_size=32)


def costs(**changes):
    def cost(grid, steps, seconds, first):
        return GridCost(
            grid=grid,
            steps=steps,
            seconds=seconds,
            first_seconds=first,
            wait_share=0.5 if grid == BASE else 0.0,
            clips_read_per_second=80.0,
            memory=2_000_000_000 if grid == BASE else 1_000_000_000,
        )

    values = {
        "grids": [cost(COARSE, 100, 0.5, 5.0), cost(BASE, 200, 1.0, 10.0)],
        "decoding_seconds": 20.0,
        "kept_memory": 500_000_000,
        "validation_seconds": 2.0,
        "validations": 5,
        "statistics_seconds": 1.5,
        "statistics": 2,
        "first_validation_seconds": 2.0,
        "base": BASE,
        "baseline_steps": 1000,
        "is_device_memory": False,
    }
    return RunCost(**{**values, **changes})


def test_totals_by_hand():
    # Steps 50 + 200, first ones 15, decoding 20, validations 15.
    assert costs().seconds == 300
    # 1000 steps, 10 for the first, decoding 20, validations 15.
    assert costs().baseline_seconds == 1045
    assert costs().memory == 2_500_000_000
    assert costs(is_device_memory=True).memory == 2_000_000_000
    # Half of 200 of 250 seconds.
    assert costs().wait_share == 0.4


def test_the_table_says_what_limits():
    text = format_costs(costs())
    assert "16 x 4 x 32²    100      0.5    5.0       32          80       0%   1,000" in text
    assert "5 min: 4 min of steps, 15 s of first steps, 20 s of decoding, 15 s of 5 v" in text
    assert "17 min with as many validations, 3.48 times this" in text
    assert "2.5 GB of this process" in text
    assert "40% of the time waiting: reading is the limit." in text
