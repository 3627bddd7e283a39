"""Which worker reads which clip: literals by hand, and rules that hold for every schedule."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_multigrid import Grid, MultigridSchedule
from keras_multigrid.data import positions
from keras_multigrid.data.clips import draws as random_draws
from keras_multigrid.data.positions import Share

# 7 steps of 32, 16, 8, 32, 16, 8 and 32 clips.
SHORT = MultigridSchedule(
    base=Grid(batch_size=8, num_frames=4, crop_size=16),
    num_clips=64,
    epochs=2,
    epoch_factor=1.0,
    long_cycle=(),
)


def read(schedule, share, first, count):
    numbers = tf.range(first, first + count, dtype=tf.int64)
    return positions.places(schedule, share)(numbers)


def test_the_second_of_two_workers_with_two_devices():
    share = Share(first=2, count=2, total=4)
    places = read(SHORT, share, 0, 28)
    # Steps of 32, 16 and 8 clips: the second half of each.
    expected = [*range(16, 32), *range(40, 48), *range(52, 56)]
    np.testing.assert_array_equal(places.position, expected)
    np.testing.assert_array_equal(places.batch_size, [8] * 16 + [4] * 8 + [2] * 4)
    np.testing.assert_array_equal(places.crop_size, [8] * 16 + [11] * 8 + [16] * 4)
    assert positions.clips_before(SHORT, 3, share) == 28


def test_the_share_of_an_input_context():
    context = tf.distribute.InputContext(
        num_input_pipelines=2, input_pipeline_id=1, num_replicas_in_sync=8
    )
    assert Share.of(context) == Share(first=4, count=4, total=8)
    assert Share.of(None) == Share(first=0, count=1, total=1)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"multiple of the 3 replicas.*replicas=3"):
        positions.places(SHORT, Share(count=3, total=3))


def test_validation_videos_of_two_workers_with_two_devices_each():
    grid = Grid(batch_size=8, num_frames=1, crop_size=1)
    found = []
    for first in (0, 2):
        share = Share(first=first, count=2, total=4)
        indices = positions.evaluation_indices(grid, share)
        found.append([indices(tf.constant(n, tf.int64)).numpy().tolist() for n in range(4)])
        for number, own in enumerate(found[-1]):
            assert positions.evaluation_number(own[0], grid, share) == number
    assert found == [[[0, 1], [2, 3], [8, 9], [10, 11]], [[4, 5], [6, 7], [12, 13], [14, 15]]]


@st.composite
def schedules(draw, replicas):
    boundaries = draw(st.sampled_from([(), (2,), (1, 3)]))
    cycles = draw(st.sampled_from([{}, {"long_cycle": ()}, {"short_cycle": ()}]))
    return MultigridSchedule(
        base=Grid(
            batch_size=draw(st.integers(1, 3000)),
            num_frames=draw(st.sampled_from([4, 8, 32])),
            crop_size=draw(st.sampled_from([16, 64, 224])),
        ),
        num_clips=draw(st.integers(1, 10**6)),
        epochs=draw(st.integers(4000, 5000)),
        boundaries=boundaries,
        replicas=replicas,
        **cycles,
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data(), replicas=st.integers(1, 1024))
def test_every_batch_is_shared_evenly_and_rounded_to_the_nearest(data, replicas):
    schedule = data.draw(schedules(replicas))
    assert all(grid.batch_size % replicas == 0 for grid in schedule.grids)
    difference = abs(schedule.baseline_grid.batch_size - schedule.base.batch_size)
    assert 2 * difference <= replicas or schedule.baseline_grid.batch_size == replicas
    shared = schedule.baseline_grid.batch_size
    assert all(grid.batch_size % shared == 0 for grid in schedule.grids)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), replicas=st.integers(1, 1024))
def test_workers_together_read_every_clip_once_and_in_order(data, replicas):
    schedule = data.draw(schedules(replicas))
    divisors = [n for n in range(1, replicas + 1) if replicas % n == 0 and n <= 16]
    workers = data.draw(st.sampled_from(divisors))
    step = data.draw(st.integers(0, schedule.total_steps))
    count = replicas // workers
    grid = schedule.grid(step)
    slices = []
    for worker in range(workers):
        share = Share(first=worker * count, count=count, total=replicas)
        first = positions.clips_before(schedule, step, share)
        # Ends are enough of large batches.
        own = grid.batch_size // workers
        numbers = tf.constant([first, first + own // 2, first + own - 1], tf.int64)
        places = positions.places(schedule, share)(numbers)
        assert set(places.batch_size.numpy()) == {grid.batch_size // replicas}
        assert set(places.num_frames.numpy()) == {grid.num_frames}
        assert set(places.crop_size.numpy()) == {grid.crop_size}
        low, middle, high = places.position.numpy()
        assert (middle - low, high - low) == (own // 2, own - 1)
        slices.append((low, high + 1))
    # One after the other, without gaps: the batch that one worker reads.
    begin = schedule.clips_before(step)
    ends = [begin + n * grid.batch_size // workers for n in range(workers + 1)]
    assert slices == list(itertools.pairwise(ends))


@settings(max_examples=20, deadline=None)
@given(
    num_clips=st.integers(1, 500),
    replicas=st.sampled_from([1, 2, 3, 8]),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_an_epoch_takes_every_video_once(num_clips, replicas, epoch, seed):
    schedule = MultigridSchedule(
        base=Grid(batch_size=8, num_frames=4, crop_size=16),
        num_clips=num_clips,
        epochs=600,
        replicas=replicas,
    )
    videos = []
    for worker in range(replicas):
        share = Share(first=worker, total=replicas)
        places = read(schedule, share, 0, 4 * num_clips // replicas + 600)
        mine = tf.boolean_mask(places.position, places.position // num_clips == epoch)
        if len(mine):
            videos += list(random_draws.video_indices(mine, num_clips, seed).numpy())
    assert sorted(videos) == list(range(num_clips))


@settings(max_examples=30, deadline=None)
@given(data=st.data(), replicas=st.sampled_from([1, 2, 3, 4, 6, 64]))
def test_own_positions_are_those_of_the_places(data, replicas):
    schedule = data.draw(schedules(replicas))
    first = data.draw(st.integers(0, replicas - 1))
    share = Share(first=first, count=1, total=replicas)
    begin = schedule.clips_before(data.draw(st.integers(0, 50)))
    at = tf.range(begin, begin + 2000, dtype=tf.int64)
    own = tf.boolean_mask(at, positions.is_own(schedule, share)(at)).numpy()
    expected = read(schedule, share, begin // replicas, 2000).position.numpy()
    np.testing.assert_array_equal(own, expected[: len(own)])


def test_random_numbers_of_scattered_positions():
    at = tf.constant([5, 6, 700, 701, 10**12], tf.int64)
    found = random_draws.draws_at(3, at, 6).numpy()
    for column, position in zip(found.T, at.numpy(), strict=True):
        block = random_draws.draws(3, tf.constant(position // 256), 6).numpy()
        np.testing.assert_array_equal(column, block[:, position % 256])
