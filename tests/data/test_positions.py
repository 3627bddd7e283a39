"""Which worker reads which clip: literals by hand, and rules that hold for every schedule."""

import dataclasses

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
    """Some of the worker's own batches, in order."""
    batch_of = positions.batches(schedule, share)
    return [batch_of(tf.constant(number, tf.int64)) for number in range(first, first + count)]


def test_the_second_of_two_workers_with_two_devices():
    share = Share(first=2, count=2, total=4)
    batches = read(SHORT, share, 0, 6)
    # Steps of 32, 16 and 8 clips: the third and the last quarter of each.
    assert [batch.positions.numpy().tolist() for batch in batches] == [
        list(range(*bounds))
        for bounds in ((16, 24), (24, 32), (40, 44), (44, 48), (52, 54), (54, 56))
    ]
    assert [int(batch.size) for batch in batches] == [8, 8, 4, 4, 2, 2]
    assert [int(batch.crop_size) for batch in batches] == [8, 8, 11, 11, 16, 16]


def test_workers_share_batches_that_grow_less():
    # Clips of 8 and 11 of 16 pixels, 4 and 2.1 times less work: 2 and 1 times the 8 clips.
    half = dataclasses.replace(SHORT, batch_growth=0.5)
    batches = read(half, Share(first=2, count=2, total=4), 0, 6)
    assert [batch.positions.numpy().tolist() for batch in batches] == [
        list(range(*bounds))
        for bounds in ((8, 12), (12, 16), (20, 22), (22, 24), (28, 30), (30, 32))
    ]


def test_the_share_of_an_input_context():
    context = tf.distribute.InputContext(
        num_input_pipelines=2, input_pipeline_id=1, num_replicas_in_sync=8
    )
    assert Share.of(context) == Share(first=4, count=4, total=8)
    assert Share.of(None) == Share(first=0, count=1, total=1)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"multiple of the 3 replicas.*replicas=3"):
        positions.batches(SHORT, Share(count=3, total=3))


def test_validation_videos_of_two_workers_with_two_devices_each():
    grid = Grid(batch_size=8, num_frames=1, crop_size=1)
    found = []
    for first in (0, 2):
        share = Share(first=first, count=2, total=4)
        indices = [
            positions.evaluation_indices(tf.constant(n, tf.int64), grid, share) for n in range(4)
        ]
        found.append([own.numpy().tolist() for own in indices])
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
    found = {}
    for worker in range(workers):
        share = Share(first=worker * count, count=count, total=replicas)
        # The first and the last one.
        for place in sorted({0, count - 1}):
            (batch,) = read(schedule, share, step * count + place, 1)
            assert (batch.size, batch.num_frames) == (grid.batch_size // replicas, grid.num_frames)
            assert batch.crop_size == grid.crop_size
            found[worker * count + place] = batch.positions
    # One after the other, without gaps: the batch that one worker reads.
    begin, size = schedule.clips_before(step), grid.batch_size // replicas
    for replica, own in found.items():
        np.testing.assert_array_equal(own, begin + replica * size + np.arange(size))


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
        steps = next(n for n in range(10**6) if schedule.clips_before(n) >= (epoch + 1) * num_clips)
        mine = tf.concat([batch.positions for batch in read(schedule, share, 0, steps)], axis=0)
        mine = tf.boolean_mask(mine, mine // num_clips == epoch)
        if len(mine):
            videos += list(random_draws.video_indices(mine, num_clips, seed).numpy())
    assert sorted(videos) == list(range(num_clips))


def test_random_numbers_of_scattered_positions():
    at = tf.constant([5, 6, 700, 701, 10**12], tf.int64)
    found = random_draws.draws_at(3, at, 6).numpy()
    for column, position in zip(found.T, at.numpy(), strict=True):
        block = random_draws.draws(3, tf.constant(position // 256), 6).numpy()
        np.testing.assert_array_equal(column, block[:, position % 256])
