import json
import random

import keras
import numpy as np
import pytest

from keras_multigrid.learning_rate import (
    MultigridLearningRate,
    half_cosine,
    needed_warmup,
    step_at_epoch,
)
from keras_multigrid.schedule import Grid, MultigridSchedule

KINETICS = {
    "base": Grid(batch_size=64, num_frames=32, crop_size=224),
    "num_clips": 239_975,
    "epochs": 239,
    "boundaries": (94, 154, 196),
    "round_to_epochs": True,
}
CHARADES = {
    "base": Grid(batch_size=16, num_frames=64, crop_size=224),
    "num_clips": 7_985,
    "epochs": 57,
    "boundaries": (41, 49),
    "round_to_epochs": True,
}
TOY = {
    "base": Grid(batch_size=16, num_frames=8, crop_size=112),
    "num_clips": 239_975,
    "epochs": 16,
    "boundaries": (8, 12),
    "round_to_epochs": True,
}
# (schedule, (learning_rate, warmup_epochs, warmup_start)) and what the reference implementation
# prints for it: (epoch, learning rate at its start, at its middle).
REFERENCE = {
    "kinetics": (
        KINETICS,
        (0.1, 34.0, 0.01),
        (
            (0, 0.01, 0.02161764705882353),
            (1, 0.03323529411764706, 0.04485294117647059),
            (17, 0.405, 0.41661764705882354),
            (33, 0.7767647058823529, 0.7883823529411765),
            (34, 0.8, 0.8),
            (72, 0.8, 0.8),
            (73, 0.4, 0.4),
            (142, 0.1, 0.1),
            (158, 0.08, 0.08),
            (259, 0.008, 0.008),
            (328, 0.001, 0.001),
            (342, 0.001, 0.001),
            (343, 0.0001, 0.0001),
            (357, 0.0001, 0.0001),
        ),
    ),
    "kinetics, factor 1": (
        {**KINETICS, "epoch_factor": 1.0},
        (0.1, 34.0, 0.01),
        (
            (0, 0.01, 0.02161764705882353),
            (17, 0.405, 0.41661764705882354),
            (33, 0.7767647058823529, 0.7883823529411765),
            (34, 0.8, 0.8),
            (48, 0.8, 0.8),
            (49, 0.4, 0.4),
            (94, 0.2, 0.2),
            (104, 0.1, 0.1),
            (105, 0.08, 0.08),
            (194, 0.004, 0.004),
            (218, 0.001, 0.001),
            (229, 0.0001, 0.0001),
            (238, 0.0001, 0.0001),
        ),
    ),
    "kinetics, short only": (
        {**KINETICS, "long_cycle": ()},
        (0.1, 34.0, 0.01),
        (
            (0, 0.01, 0.011323529411764706),
            (1, 0.012647058823529412, 0.013970588235294118),
            (17, 0.055, 0.05632352941176471),
            (33, 0.0973529411764706, 0.0986764705882353),
            (34, 0.1, 0.1),
            (35, 0.1, 0.1),
            (140, 0.1, 0.1),
            (141, 0.01, 0.01),
            (230, 0.01, 0.01),
            (231, 0.001, 0.001),
            (293, 0.001, 0.001),
            (294, 0.0001, 0.0001),
            (357, 0.0001, 0.0001),
        ),
    ),
    "charades": (
        CHARADES,
        (0.0375, 4.0, 0.0001),
        (
            (0, 0.0001, 0.0375875),
            (1, 0.075075, 0.1125625),
            (3, 0.225025, 0.2625125),
            (4, 0.3, 0.3),
            (30, 0.3, 0.3),
            (31, 0.15, 0.15),
            (60, 0.0375, 0.0375),
            (67, 0.03, 0.03),
            (76, 0.0075, 0.0075),
            (79, 0.00375, 0.00375),
            (82, 0.00375, 0.00375),
            (83, 0.000375, 0.000375),
            (85, 0.000375, 0.000375),
        ),
    ),
    "toy": (
        TOY,
        (0.1, 1.0, 0.01),
        (
            (0, 0.01, 0.405),
            (1, 0.8, 0.8),
            (6, 0.8, 0.8),
            (7, 0.4, 0.4),
            (10, 0.2, 0.2),
            (13, 0.1, 0.1),
            (14, 0.08, 0.08),
            (17, 0.04, 0.04),
            (19, 0.02, 0.02),
            (20, 0.01, 0.01),
            (21, 0.01, 0.01),
            (22, 0.001, 0.001),
            (23, 0.001, 0.001),
        ),
    ),
}


def _step_at_epoch(schedule: MultigridSchedule, epoch: float) -> float:
    for phase in schedule.phases:
        if phase.first_epoch <= epoch < phase.end_epoch:
            share = (epoch - phase.first_epoch) / (phase.end_epoch - phase.first_epoch)
            return phase.first_step + share * phase.num_steps
    raise AssertionError(f"No phase at epoch {epoch}.")


@pytest.mark.parametrize("run", REFERENCE)
def test_learning_rates_of_the_reference(run):
    config, settings, rows = REFERENCE[run]
    schedule = MultigridSchedule(**config)
    learning_rate = MultigridLearningRate(schedule, *settings)
    # JAX has only 32 bits.
    precision = 1e-5 if keras.backend.backend() == "jax" else 1e-7
    for epoch, start, middle in rows:
        for time, expected in ((epoch, start), (epoch + 0.5, middle)):
            value = float(learning_rate(_step_at_epoch(schedule, time)))
            assert value == pytest.approx(expected, rel=precision), f"epoch {time}"


# Without boundaries: four phases of 93 steps, 15 * 1000 / (5.75 * 7) = 372.7 in all.
PLAIN = {"base": Grid(batch_size=7, num_frames=8, crop_size=112), "num_clips": 1000, "epochs": 10}
# The relative batch of the long cycle; the short cycle never changes the rate.
RELATIVE = (8, 4, 2, 1)


def _policy(learning_rate, **settings):
    return MultigridLearningRate(MultigridSchedule(**PLAIN), learning_rate, **settings)


@pytest.mark.parametrize(
    "constant", [0.1, keras.optimizers.schedules.ExponentialDecay(0.1, 100, decay_rate=1.0)]
)
def test_constant_policy(constant):
    learning_rate = _policy(constant)
    for phase, relative in zip(learning_rate.schedule.phases, RELATIVE, strict=True):
        for step in (*range(phase.first_step, phase.first_step + 4), phase.end_step - 1):
            assert float(learning_rate(step)) == pytest.approx(0.1 * relative, rel=1e-6)
    assert float(learning_rate(10**6)) == pytest.approx(0.1, rel=1e-6)


def test_cosine_policy():
    baseline_steps = 1429  # 10 * 1000 / 7.
    learning_rate = _policy(keras.optimizers.schedules.CosineDecay(0.1, baseline_steps))
    assert learning_rate.schedule.baseline_steps == baseline_steps
    starts = [float(learning_rate(p.first_step)) for p in learning_rate.schedule.phases]
    # (1 + cos(x)) / 2 = 1, 0.8535534, 0.5, 0.1464466 at x = 0, 45, 90, 135 degrees.
    assert starts == pytest.approx([0.8, 0.34142136, 0.1, 0.01464466], rel=1e-5)
    middles = [
        float(learning_rate((p.first_step + p.end_step) / 2)) for p in learning_rate.schedule.phases
    ]
    # 0.9619398, 0.6913417, 0.3086583, 0.0380602 at 22.5, 67.5, 112.5, 157.5 degrees.
    assert middles == pytest.approx([0.7695518, 0.27653669, 0.06173166, 0.00380602], rel=1e-5)
    total_steps = learning_rate.schedule.total_steps
    assert float(learning_rate(total_steps)) == pytest.approx(0, abs=1e-8)
    assert float(learning_rate(2 * total_steps)) == pytest.approx(0, abs=1e-8)


def test_half_cosine_is_over_the_steps_of_the_baseline():
    policy = half_cosine(MultigridSchedule(**PLAIN), 0.1)
    assert policy.get_config()["decay_steps"] == 1429
    # Half of 1,429 steps is 714.5.
    assert float(policy(714.5)) == pytest.approx(0.05)
    assert float(policy(1429)) == pytest.approx(0, abs=1e-8)


def test_half_cosine_after_the_warmup():
    schedule = MultigridSchedule(**PLAIN).baseline()
    cosine = half_cosine(schedule, 0.1, end=0.01, after_epochs=2)
    rate = MultigridLearningRate(schedule, cosine, warmup_epochs=2, warmup_start=0.002)
    # 10 epochs are 1,429 steps: the warm-up takes 285.8, and half of the rest lies at 857.4.
    assert float(rate(0)) == pytest.approx(0.002)
    assert float(rate(142.9)) == pytest.approx(0.051)
    assert float(rate(285.8)) == pytest.approx(0.1)
    assert float(rate(857.4)) == pytest.approx(0.055)
    assert float(rate(1429)) == pytest.approx(0.01)


def test_half_cosine_after_the_warmup_of_a_multigrid_schedule():
    schedule = MultigridSchedule(**PLAIN)
    cosine = half_cosine(schedule, 0.1, end=0.01, after_epochs=2)
    rate = MultigridLearningRate(schedule, cosine, warmup_epochs=2, warmup_start=0.002)
    step = step_at_epoch(schedule, 2)
    # In the first phase, of eight times the batch; at the end, of the baseline's.
    assert schedule.phase(int(step)).relative_batch_size == 8
    assert float(rate(step)) == pytest.approx(0.8, rel=1e-4)
    assert float(rate(schedule.total_steps)) == pytest.approx(0.01)


def test_rates_scale_from_the_batch_that_they_are_stated_for():
    settings = {"warmup_epochs": 2, "warmup_start": 0.01}
    # Stated for 28 clips: a quarter at 7, and the warm-up's start, too.
    learning_rate = _policy(0.4, reference_batch_size=28, **settings)
    assert float(learning_rate(0)) == pytest.approx(0.0025)
    last = learning_rate.schedule.phases[-1]
    assert float(learning_rate(last.first_step)) == pytest.approx(0.1)
    same = _policy(0.4, reference_batch_size=7, **settings)
    assert float(same(0)) == pytest.approx(0.01)
    copy = MultigridLearningRate.from_config(learning_rate.get_config())
    assert copy.reference_batch_size == 28


# 8, 4, 2 and 1 times the clips.
SCALED = {"linear": (8, 4, 2, 1), "sqrt": (2.8284271, 2, 1.4142136, 1), "none": (1, 1, 1, 1)}


@pytest.mark.parametrize("scaling", SCALED)
@pytest.mark.parametrize(
    "constant", [0.1, keras.optimizers.schedules.ExponentialDecay(0.1, 100, decay_rate=1.0)]
)
def test_scaling(constant, scaling):
    learning_rate = _policy(constant, scaling=scaling)
    rates = [float(learning_rate(p.first_step)) for p in learning_rate.schedule.phases]
    assert rates == pytest.approx([0.1 * times for times in SCALED[scaling]], rel=1e-6)


def test_scaling_leaves_the_cuts_as_they_are():
    learning_rate = MultigridLearningRate(MultigridSchedule(**TOY), 0.1, scaling="sqrt")
    rates = [float(learning_rate(phase.first_step)) for phase in learning_rate.schedule.phases]
    expected = [0.28284271, 0.2, 0.14142136, 0.1, 0.028284271, 0.02, 0.014142136, 0.01, 0.01, 0.001]
    assert rates == pytest.approx(expected, rel=1e-6)


def test_scaling_from_the_batch_that_rates_are_stated_for():
    # Stated for 28 clips, trained with 7: a quarter, half, or as it is; the warm-up's start, too.
    for scaling, share in (("linear", 0.25), ("sqrt", 0.5), ("none", 1.0)):
        learning_rate = _policy(
            0.4, reference_batch_size=28, warmup_epochs=2, warmup_start=0.01, scaling=scaling
        )
        assert float(learning_rate(0)) == pytest.approx(0.01 * share)
        last = learning_rate.schedule.phases[-1]
        assert float(learning_rate(last.first_step)) == pytest.approx(0.4 * share)
        # 7 clips on 2 replicas are 8.
        of_two = learning_rate.on_replicas(2)
        rate = float(of_two(of_two.schedule.phases[-1].first_step))
        times = {"linear": 8 / 28, "sqrt": (8 / 28) ** 0.5, "none": 1}[scaling]
        assert rate == pytest.approx(0.4 * times)


def test_the_rate_grows_as_the_batch_does():
    # Clips of the base grids are 8.04, 4.02, 2 and 1 times less work: their roots are 3, 2, 1, 1.
    schedule = MultigridSchedule(**PLAIN, batch_growth=0.5)
    for scaling, times in (("linear", (3, 2, 1, 1)), ("sqrt", (1.7320508, 1.4142136, 1, 1))):
        learning_rate = MultigridLearningRate(schedule, 0.1, scaling=scaling)
        rates = [float(learning_rate(phase.first_step)) for phase in schedule.phases]
        assert rates == pytest.approx([0.1 * value for value in times], rel=1e-6)


def test_a_batch_that_stays_keeps_the_baselines_rate_and_warmup():
    schedule = MultigridSchedule(**PLAIN, batch_growth=0.0)
    cosine = half_cosine(schedule, 0.1)
    learning_rate = MultigridLearningRate(schedule, cosine, warmup_epochs=2)
    # 2 epochs of 1,000 videos in batches of 7 are 285.7 steps, as in the baseline.
    assert float(learning_rate(142.857)) == pytest.approx(
        float(learning_rate(285.7143)) / 2, rel=1e-4
    )
    # Half of 15 epochs is the middle of the cosine.
    assert schedule.total_steps == 2143
    assert float(learning_rate(1071.5)) == pytest.approx(0.05, rel=1e-3)


def test_policy_in_steps_of_the_baseline():
    # The baseline's cut lies after 80 % of its steps: in the last phase, at a fifth of it.
    cut = keras.optimizers.schedules.PiecewiseConstantDecay([1143], [0.1, 0.01])
    learning_rate = _policy(cut)
    last = learning_rate.schedule.phases[-1]
    assert float(learning_rate(last.first_step + 0.19 * last.num_steps)) == pytest.approx(0.1)
    assert float(learning_rate(last.first_step + 0.21 * last.num_steps)) == pytest.approx(0.01)


def test_policy_is_not_cut_at_boundaries_too():
    policy = keras.optimizers.schedules.ExponentialDecay(0.1, 100, decay_rate=1.0)
    schedule = MultigridSchedule(**TOY)
    rates = [float(MultigridLearningRate(schedule, policy)(p.first_step)) for p in schedule.phases]
    assert rates == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.8, 0.4, 0.2, 0.1, 0.1, 0.1], rel=1e-6)


def test_schedule_without_cycles_keeps_the_baselines_rates():
    schedule = MultigridSchedule(**PLAIN, boundaries=(5,), long_cycle=(), short_cycle=())
    learning_rate = MultigridLearningRate(schedule, 0.2)
    # The boundary is step 5 * 1000 / 7 = 714.3 of 1428.6.
    rates = [float(learning_rate(step)) for step in (0, 713, 714, 1428)]
    assert rates == pytest.approx([0.2, 0.2, 0.02, 0.02])


def test_warmup_ends_at_the_rate_that_follows():
    learning_rate = _policy(0.1, warmup_epochs=2, warmup_start=0.2)
    schedule = learning_rate.schedule
    rates = [float(learning_rate(_step_at_epoch(schedule, epoch))) for epoch in (0, 0.5, 1, 1.9, 2)]
    assert rates == pytest.approx([0.2, 0.35, 0.5, 0.77, 0.8])


def test_warmup_into_the_second_phase():
    # The first phase ends after 15 * 10.67 / 23 = 6.96 epochs: the ramp goes on to 0.4.
    learning_rate = _policy(0.1, warmup_epochs=8)
    schedule = learning_rate.schedule
    rates = [float(learning_rate(_step_at_epoch(schedule, epoch))) for epoch in (0, 4, 7.5, 8)]
    assert rates == pytest.approx([0.0, 0.2, 0.375, 0.4])


def test_warmup_to_a_cosine():
    policy = keras.optimizers.schedules.CosineDecay(0.1, 1429)
    learning_rate = _policy(policy, warmup_epochs=3.4782609)  # Half of the first phase.
    rates = [float(learning_rate(step)) for step in (0, 23.25, 46.5)]
    assert rates == pytest.approx([0.0, 0.7695518 / 2, 0.7695518], rel=1e-5)


def test_any_step_without_earlier_ones():
    schedule = MultigridSchedule(**TOY)
    learning_rate = MultigridLearningRate(schedule, 0.1, 1.0, 0.01)
    steps = [0, 702, *(step + d for step in (1406, 9842, 32_000) for d in (-1, 0, 1)), 73_106]
    in_order = {step: float(learning_rate(step)) for step in steps}
    assert in_order[703 - 1] == pytest.approx(0.01 + 0.79 * 702 / 1406)
    random.Random(0).shuffle(steps)
    for step in steps:
        fresh = MultigridLearningRate(schedule, 0.1, 1.0, 0.01)
        assert float(fresh(step)) == in_order[step]


def test_an_array_of_steps():
    # Phases of 93 steps: the last of the first, the first of the second, one after the end.
    rates = keras.ops.convert_to_numpy(_policy(0.1)(np.array([[92, 93], [371, 1000]])))
    np.testing.assert_allclose(rates, [[0.8, 0.4], [0.1, 0.1]], rtol=1e-6)


def test_traced_once():
    tf = pytest.importorskip("tensorflow")
    learning_rate = _policy(0.1, warmup_epochs=1)
    traces = []

    @tf.function
    def traced(step):
        traces.append(step)
        return learning_rate(step)

    for step in (0, 1, 20, 93, 200, 372, 1000):
        value = traced(tf.constant(step, tf.int64))
        assert float(value) == pytest.approx(float(learning_rate(step)), rel=1e-12)
    assert len(traces) == 1


@pytest.mark.parametrize(
    "policy", [0.05, keras.optimizers.schedules.CosineDecay(0.05, 1429, alpha=0.1)]
)
def test_config_round_trip(policy):
    schedule = MultigridSchedule(**{**PLAIN, "long_cycles": 2}, batch_growth=0.5)
    learning_rate = MultigridLearningRate(schedule, policy, 1.5, 0.001, scaling="sqrt")
    as_json = json.loads(json.dumps(keras.optimizers.schedules.serialize(learning_rate)))
    for copy in (
        MultigridLearningRate.from_config(json.loads(json.dumps(learning_rate.get_config()))),
        keras.optimizers.schedules.deserialize(as_json),
    ):
        assert copy.schedule == schedule
        assert copy.get_config() == learning_rate.get_config()
        for step in (0, 10, 100, 300):
            assert float(copy(step)) == float(learning_rate(step))


@pytest.mark.parametrize(
    "cycles, scaling, share",
    [
        # The first phase's batch is 8 times the baseline's, and the cube root of 8 is 2.
        ({}, "linear", 0.2),
        ({}, "sqrt", 0.1 * 2**0.5),
        ({}, "none", 0.1),
        ({"long_cycle": ()}, "linear", 0.1),
        ({"batch_growth": 0.0}, "linear", 0.1),
        ({"batch_growth": 0.5}, "linear", 0.1 * 3 ** (1 / 3)),
    ],
)
def test_warmup_that_the_first_phase_needs(cycles, scaling, share):
    base = Grid(batch_size=8, num_frames=16, crop_size=64)
    schedule = MultigridSchedule(base, num_clips=800, epochs=20, **cycles)
    learning_rate = MultigridLearningRate(schedule, 0.1, warmup_epochs="auto", scaling=scaling)
    assert learning_rate.warmup_epochs == pytest.approx(share * 30)
    # Saved as a number, which other devices do not change.
    assert learning_rate.get_config()["warmup_epochs"] == learning_rate.warmup_epochs
    assert learning_rate.on_replicas(4).warmup_epochs == learning_rate.warmup_epochs


def test_scaling_is_saved_where_it_is_set():
    # Checkpoints of earlier versions hold these settings, and are compared with those of now.
    assert set(_policy(0.1).get_config()) == {
        "schedule",
        "learning_rate",
        "warmup_epochs",
        "warmup_start",
        "reference_batch_size",
    }
    assert _policy(0.1, scaling="none").get_config()["scaling"] == "none"


def _fit_one_step(model) -> None:
    model.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0)


def test_optimizer_follows_and_is_saved(tmp_path):
    learning_rate = _policy(0.05)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(learning_rate), "mse")
    _fit_one_step(model)
    # The gradient of (w - 1)² at w = 0 is -2, the rate 0.05 * 8.
    assert float(model.layers[0].kernel[0, 0]) == pytest.approx(0.8)
    model.save(tmp_path / "model.keras")

    copy = keras.models.load_model(tmp_path / "model.keras")
    assert copy.optimizer.get_config() == model.optimizer.get_config()
    assert int(copy.optimizer.iterations) == 1
    copy.optimizer.iterations.assign(93)
    _fit_one_step(copy)
    # In the second phase: gradient 2 * (0.8 - 1), rate 0.05 * 4.
    assert float(copy.layers[0].kernel[0, 0]) == pytest.approx(0.88)


WRONG = [
    ("schedule", None),
    ("schedule", "kinetics"),
    ("learning_rate", 0),
    ("learning_rate", -0.1),
    ("learning_rate", float("nan")),
    ("learning_rate", float("inf")),
    ("learning_rate", True),
    ("learning_rate", "0.1"),
    ("learning_rate", None),
    ("warmup_epochs", -1),
    ("warmup_epochs", "1"),
    ("warmup_epochs", "long"),
    ("warmup_epochs", None),
    ("warmup_epochs", float("nan")),
    ("warmup_epochs", 15),  # The schedule's own length.
    ("warmup_epochs", 100),
    ("warmup_start", -0.1),
    ("warmup_start", True),
    ("warmup_start", None),
    ("reference_batch_size", 0),
    ("reference_batch_size", 6.5),
    ("scaling", "square root"),
    ("scaling", None),
    ("scaling", 0.5),
]


@pytest.mark.parametrize("name, value", WRONG, ids=[f"{name}={value}" for name, value in WRONG])
def test_wrong_setting(name, value):
    settings = {"schedule": MultigridSchedule(**PLAIN), "learning_rate": 0.1, name: value}
    with pytest.raises(ValueError, match=rf"(?s)`{name}` must be .*\bReceived: {name}="):
        MultigridLearningRate(**settings)


@pytest.mark.parametrize("num_clips, epochs", [(60, 40), (1440, 6), (100_000, 20)])
def test_the_warmup_has_as_many_steps_with_an_end_at_the_base_grid(num_clips, epochs):
    """Its long cycle has fewer epochs for as many steps: by epochs alone it would be too short."""
    base = Grid(batch_size=8, num_frames=16, crop_size=64)
    without = MultigridSchedule.one_pass(base, num_clips=num_clips, epochs=epochs)
    ending = MultigridSchedule.one_pass(
        base, num_clips=num_clips, epochs=epochs, epoch_factor=1.2, base_share=0.25
    )
    # Of schedules of equal lengths in steps.
    expected = needed_warmup(without) * ending.total_steps / without.total_steps
    assert needed_warmup(ending) == pytest.approx(expected, rel=0.05)
    assert needed_warmup(ending.baseline()) == pytest.approx(0.1 * epochs)
