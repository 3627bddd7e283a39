"""Several streams, each with its own monitor; what one reports is in data/test_pipeline.py."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid import Grid, MultigridSchedule, monitor, resample

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=8),
    num_clips=8,
    epochs=8,
    boundaries=(),
    long_cycle=(),
    short_cycle=(),
)


@pytest.fixture
def stream():
    return monitor.StreamMonitor()


def make_videos(seed=0):
    videos = np.random.default_rng(seed).integers(0, 255, (8, 6, 10, 10, 3)).astype(np.uint8)
    return tf.data.Dataset.from_tensor_slices((videos, np.zeros(8)))


def make_batches(seed=0, start_step=0):
    return make_videos(seed).apply(resample(SCHEDULE, start_step=start_step))


def take(batches, count):
    return list(batches.take(count).as_numpy_iterator())


def test_streams_report_to_their_own_monitor():
    first, second = monitor.StreamMonitor(), monitor.StreamMonitor()
    with first.attached():
        batches = make_batches(seed=1)
    with second.attached():
        others = make_batches(seed=2)
    for stream in (first, second):
        stream.ask_for_clips([0])
    expected = take(batches, 1)
    assert (first.last_read > 0, second.last_read) == (True, 0)
    assert (first.seconds_waited > 0, second.seconds_waited) == (True, 0)
    take(others, 1)
    assert second.last_read > first.last_read
    np.testing.assert_array_equal(first.take_clips(0), expected[0][0])


@pytest.mark.parametrize(
    "distributed", [False, True], ids=["transformed", "distribute_datasets_from_function"]
)
def test_what_follows_a_stream_leaves_it_its_monitor(stream, distributed):
    def make(_=None):
        return make_batches().map(lambda clips, labels: (clips, labels + 1)).prefetch(1)

    with stream.attached():
        if distributed:
            strategy = tf.distribute.OneDeviceStrategy("CPU:0")
            batches = strategy.distribute_datasets_from_function(make)
        else:
            batches = make()
    next(iter(batches))
    assert stream.last_read
    assert stream in monitor.open_monitors()


def test_streams_are_open_as_long_as_something_reads_them():
    gc.collect()
    before = set(monitor.open_monitors())
    batches = make_batches().prefetch(1)
    (stream,) = set(monitor.open_monitors()) - before
    iterator = iter(batches)
    del batches, stream
    gc.collect()
    next(iterator)
    assert len(monitor.open_monitors()) == len(before) + 1
    # The one that was read last comes first.
    assert monitor.open_monitors()[0] not in before
    del iterator
    gc.collect()
    assert set(monitor.open_monitors()) <= before


def test_a_replaced_clip_is_reported_to_all_open_streams(stream):
    with stream.attached():
        batches = make_batches()
    others = make_batches()
    counts = [s.replaced_clips for s in monitor.open_monitors()]
    monitor.add_replaced_clip()
    assert stream.replaced_clips == 1
    assert [s.replaced_clips for s in monitor.open_monitors()] == [n + 1 for n in counts]
    del batches, others
