"""One table for Python numbers, NumPy arrays and the tensors of every backend."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from schedule_recipes import KINETICS, random_schedules, schedules

from keras_multigrid.schedule import MultigridSchedule, PhaseTable

PHASES = MultigridSchedule(**KINETICS, round_to_epochs=True).phases


def of_numpy(phases):
    return PhaseTable(
        phases,
        count=lambda values, x: np.sum(x[..., None] >= np.asarray(values), axis=-1),
        take=lambda values, index: np.asarray(values)[index],
    )


def of_keras(phases):
    def constant(values):
        return ops.convert_to_tensor(values, "int32")

    return PhaseTable(
        phases,
        count=lambda values, x: ops.sum(
            ops.cast(x[..., None] >= constant(values), "int32"), axis=-1
        ),
        take=lambda values, index: ops.take(constant(values), index, axis=0),
    )


def of_tensorflow(phases):
    tf = pytest.importorskip("tensorflow")
    return PhaseTable(
        phases,
        count=lambda values, x: tf.reduce_sum(tf.cast(x[..., None] >= values, tf.int32), axis=-1),
        take=lambda values, index: tf.gather(tf.constant(values), index),
    )


TABLES = {
    "numpy": (of_numpy, np.asarray),
    "keras": (of_keras, lambda steps: ops.convert_to_tensor(steps, "int32")),
    "tensorflow": (of_tensorflow, lambda steps: pytest.importorskip("tensorflow").constant(steps)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_steps_of_the_published_schedule(kind):
    make, array = TABLES[kind]
    # The first phase has 25,623 steps of 1024, 512 and 512 clips in turn: 17,491,968 clips.
    steps = array([0, 1, 3, 25_622, 25_623, 25_624])
    phase = make(PHASES).at(steps)

    def check(values, expected):
        np.testing.assert_array_equal(np.asarray(values), expected)

    check(phase.first_step, [0, 0, 0, 0, 25_623, 25_623])
    check(phase.num_steps, [25_623] * 4 + [37 * 703] * 2)
    check(phase.relative_batch_size, [8, 8, 8, 8, 4, 4])
    check(phase.clips_before(steps), [0, 1024, 2048, 17_491_456, 17_491_968, 17_492_480])
    grid = phase.grid(steps)
    check(grid.batch_size, [1024, 512, 1024, 512, 512, 256])
    check(grid.num_frames, [8, 8, 8, 8, 16, 16])
    check(grid.crop_size, [112, 158, 112, 158, 112, 158])
    clips = array([0, 1023, 1024, 2047, 17_491_967, 17_491_968])
    check(make(PHASES).at_clip(clips).step_of(clips), [0, 0, 1, 2, 25_622, 25_623])


@pytest.mark.parametrize("kind", TABLES)
def test_a_scalar_gives_scalars(kind):
    make, array = TABLES[kind]
    step = array(30_001)
    phase = make(PHASES).at(step)
    assert phase.first_step.shape == phase.grid(step).batch_size.shape == ()
    assert int(phase.grid(step).batch_size) == 256


def test_a_python_number_gives_the_phase_itself():
    table = PhaseTable(PHASES)
    assert table.at(0) is table.at(25_622.5) is table.at_clip(17_491_967) is PHASES[0]
    assert table.at(25_623) is table.at_clip(17_491_968) is table.at_epoch(73) is PHASES[1]
    assert table.at(10**9) is table.at_clip(10**12) is table.at_epoch(1000) is PHASES[-1]


def test_only_the_columns_that_are_used_are_gathered():
    taken = []

    def take(values, index):
        taken.append(values)
        return np.asarray(values)[index]

    table = PhaseTable(PHASES, lambda values, x: np.searchsorted(values, x, side="right"), take)
    phase = table.at(np.array([30_000]))
    assert taken == []
    np.testing.assert_allclose(phase.epoch(30_000), 73 + 4377 / 703)
    # first_step once, though two terms hold it.
    assert len(taken) == 4


def test_an_unknown_column():
    with pytest.raises(AttributeError, match="'Phase' object has no attribute 'crop'"):
        _ = of_numpy(PHASES).at(np.array([0])).crop


@random_schedules
@given(schedules(), st.lists(st.floats(0, 1.2), min_size=1, max_size=20))
def test_arrays_give_what_numbers_give(schedule, shares):
    steps = np.array([int(share * schedule.total_steps) for share in shares])
    phase = of_numpy(schedule.phases).at(steps)
    numbers = [schedule.phase(int(step)) for step in steps]
    for name in ("first_step", "end_epoch", "relative_learning_rate", "clips_per_cycle"):
        assert getattr(phase, name).tolist() == [getattr(number, name) for number in numbers]
    for name in ("clips_before", "epoch"):
        expected = [getattr(schedule, name)(int(step)) for step in steps]
        assert getattr(phase, name)(steps).tolist() == expected
    grid, grids = phase.grid(steps), [schedule.grid(int(step)) for step in steps]
    assert grid.batch_size.tolist() == [grid.batch_size for grid in grids]
    assert grid.crop_size.tolist() == [grid.crop_size for grid in grids]


@random_schedules
@given(schedules(), st.floats(0, 1.2), st.floats(0, 1, exclude_max=True))
def test_the_step_of_a_clip_is_the_inverse_of_the_clips_before_a_step(schedule, share, within):
    step = int(share * schedule.total_steps)
    clip = schedule.clips_before(step) + int(within * schedule.grid(step).batch_size)
    for table in (PhaseTable(schedule.phases), of_numpy(schedule.phases)):
        assert table.at_clip(np.asarray(clip)).step_of(clip) == step


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traced by TensorFlow")
def test_one_trace_serves_all_steps():
    import tensorflow as tf

    table = of_tensorflow(PHASES)
    traces = []

    @tf.function
    def clips_before(step):
        traces.append(step)
        return table.at(step).clips_before(step)

    found = [int(clips_before(tf.constant(step))) for step in (1, 25_622, 25_624)]
    assert found == [1024, 17_491_456, 17_492_480]
    assert len(traces) == 1
