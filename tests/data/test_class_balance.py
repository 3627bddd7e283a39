"""Draws by class: literals by hand, and rules that hold for every set, seed and place."""

import dataclasses
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_multigrid.data.class_balance import (
    ClassBalance,
    class_counts,
    period_places,
    single_labels,
)
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import Input, training_batches
from keras_multigrid.data.records import serving
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.schedule import Grid, MultigridSchedule

RULES = ["inverse", "inverse_square_root", "effective_number"]


def test_the_drawn_example():
    balance = ClassBalance.of(np.array([0, 0, 0, 0, 0, 0, 1, 1]), "inverse")
    names = ["a0", "a1", "a2", "a3", "a4", "a5", "b0", "b1"]
    found = " ".join(names[video] for video in drawn(balance, np.arange(16)))
    assert found == "b1 b0 a0 b1 a3 b0 a5 a4 a4 b0 b0 a1 a2 b1 a3 b1"


def drawn(balance, positions, seed=0):
    positions = tf.constant(np.asarray(positions), tf.int64)
    return balance.video_indices(positions, seed).numpy()


def test_places_of_a_period():
    assert period_places("inverse", np.array([6, 2])).tolist() == [4, 4]
    # 7 places for 3 classes; the first of equal remainders.
    assert period_places("inverse", np.array([5, 0, 1, 1])).tolist() == [3, 0, 2, 2]
    # In proportion to the roots, 3 : 1, of 10.
    assert period_places("inverse_square_root", np.array([9, 1])).tolist() == [8, 2]
    # Each class has one at least.
    rare = period_places(lambda counts: counts**3, np.array([97, 1, 1, 1]))
    assert rare.tolist() == [97, 1, 1, 1]


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_each_period_has_its_places_and_each_pass_every_video_once(counts, rule, seed, data):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    balance = ClassBalance.of(labels, rule)
    # Trailing classes without videos are not known.
    counts = np.bincount(labels)
    num_videos, places = len(labels), balance.places
    assert places.sum() == num_videos
    assert np.all((places > 0) == (counts > 0))
    periods = 6
    found = drawn(balance, np.arange(periods * num_videos), seed)
    by_period = labels[found].reshape(periods, num_videos)
    for classes in by_period:
        np.testing.assert_array_equal(np.bincount(classes, minlength=len(counts)), places)
    for number in np.flatnonzero(counts):
        # Whole passes; a period's order mixes the end of one with the beginning of the next.
        times = np.bincount(found[labels[found] == number], minlength=num_videos)
        times = times[labels == number]
        assert times.sum() == periods * places[number]
        assert set(times) <= {times.min(), times.min() + 1}
    # Any few of them are the same as all.
    some = data.draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=20))
    np.testing.assert_array_equal(drawn(balance, some, seed), found[some])


def test_orders_differ_by_pass_period_class_and_seed():
    labels = np.repeat([0, 1], 50)
    balance = ClassBalance.of(labels, "inverse")
    found = drawn(balance, np.arange(400)).reshape(4, 100)
    assert len({tuple(labels[period]) for period in found}) == 4
    passes = [list(period[labels[period] == number] % 50) for period in found for number in (0, 1)]
    assert len({tuple(one) for one in passes}) == 8
    assert not np.array_equal(found[0], drawn(balance, np.arange(100), seed=1))
    # No place after the other: a position far away needs nothing before it.
    far = drawn(balance, np.arange(100) + 100 * 10**12)
    assert sorted(far) == list(range(100))


# In the stream.

COUNTS = (9, 3, 0, 2)
LABELS = np.repeat(np.arange(4), COUNTS)
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=4, crop_size=16),
    num_clips=len(LABELS),
    epochs=12,
    boundaries=(4, 8),
    replicas=2,
)
SAMPLING = ClipSampling(flip=False, stride=1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of pictures for each video."""
    folder, videos = tmp_path_factory.mktemp("pictures"), []
    for number, label in enumerate(LABELS):
        (folder / f"{number}").mkdir()
        for frame in range(6):
            colour = np.random.default_rng([number, frame]).integers(0, 255, (20, 24, 3), np.uint8)
            jpeg = tf.io.encode_jpeg(colour, quality=95).numpy()
            (folder / f"{number}" / f"{frame}.jpg").write_bytes(jpeg)
        videos.append(VideoRecord(path=str(folder / f"{number}"), label=int(label)))
    return VideoSet(train=videos, validation=videos[:2], class_names=tuple("abcd"))


@pytest.fixture(scope="module")
def records(videos, tmp_path_factory):
    root = str(tmp_path_factory.mktemp("records"))
    form = RecordFormat(short_sides=(None,), videos_per_shard=5)
    prepare(videos, root=root, form=form, workers=1)
    return recorded_videos(root)


def batches(videos, steps=12, schedule=SCHEDULE, **settings):
    settings = {"seed": 3, "balance": "inverse", "sampling": SAMPLING} | settings
    data = training_batches(videos.train, schedule, **settings)
    return list(data.take(steps).as_numpy_iterator())


def assert_same(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        for array, other_array in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, other_array)


@pytest.fixture(scope="module")
def whole(videos):
    return batches(videos)


def test_an_epoch_has_as_many_clips_of_each_class(whole):
    labels = np.concatenate([labels for _, labels in whole])
    labels = labels[: len(labels) // 14 * 14].reshape(-1, 14)
    assert len(labels) > 5
    for epoch in labels:
        # 14 places for 3 classes: 4 and 2/3 each.
        assert np.bincount(epoch).tolist() == [5, 5, 0, 4]


def test_records_give_the_same_clips(records, whole):
    assert_same(batches(records), whole)


def test_kept_videos_come_in_the_same_order(videos, whole):
    # Pictures may be decoded at another size before they are scaled: labels alone are equal.
    kept = batches(videos, keep_decoded=True)
    assert_same([[labels] for _, labels in kept], [[labels] for _, labels in whole])


@pytest.mark.slow
def test_an_input_service_gives_the_same_clips(records, whole, monkeypatch):
    monkeypatch.setattr(serving, "_IDLE", 0.5)
    dispatcher = tf.data.experimental.service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    config = tf.data.experimental.service.WorkerConfig(dispatcher_address=address)
    worker = tf.data.experimental.service.WorkerServer(config)
    try:
        assert_same(batches(records, service=dispatcher.target), whole)
        for thread in threading.enumerate():
            if thread.name == "input_service":
                thread.join(timeout=30)
    finally:
        del worker, dispatcher


def test_any_step_to_begin_at_and_any_number_of_workers(videos, whole):
    assert_same(batches(videos, steps=3, start_step=9), whole[9:])
    halves = []
    for number in range(2):
        context = tf.distribute.InputContext(2, number, 2)
        halves.append(batches(videos, steps=4, input_context=context))
    joined = [
        [np.concatenate(parts) for parts in zip(first, second, strict=True)]
        for first, second in zip(*halves, strict=True)
    ]
    assert_same(joined, whole[:4])


def test_repeated_videos_are_balanced_too(videos):
    schedule = dataclasses.replace(SCHEDULE, num_clips=2 * len(LABELS))
    sampling = dataclasses.replace(SAMPLING, repeats=2)
    found = batches(videos, steps=6, schedule=schedule, sampling=sampling)
    labels = np.concatenate([labels for _, labels in found])[:28]
    assert np.array_equal(labels[::2], labels[1::2])
    assert np.bincount(labels).tolist() == [10, 10, 0, 8]


def test_without_balance_nothing_changes(videos):
    plain = batches(videos, steps=4, balance=None)
    labels = np.concatenate([labels for _, labels in plain])[:14]
    assert sorted(labels) == sorted(LABELS)


def test_clips_to_look_at_are_those_of_training(videos, whole):
    source = Input(videos=videos, sampling=SAMPLING, balance="inverse")
    for place, (_, _, clip) in enumerate(source.training_clips(SCHEDULE, step=7, count=3, seed=3)):
        np.testing.assert_array_equal(clip, whole[7][0][place])


def test_labels_of_lists_and_records(videos, records):
    np.testing.assert_array_equal(single_labels(videos.train), LABELS)
    np.testing.assert_array_equal(single_labels(records.train), LABELS)
    assert class_counts(records.train, 5).tolist() == [*COUNTS, 0]
    several = [VideoRecord(path="a", label=(0, 2, 2)), VideoRecord(path="b", label=())]
    assert class_counts(several, 3).tolist() == [1, 0, 1]
    assert class_counts([], 2).tolist() == [0, 0]


def test_records_without_their_labels_file(records, tmp_path):
    for number, change in enumerate(("missing", "damaged", "longer")):
        root = tmp_path / change
        shutil.copytree(records.train.root, root)
        path = root / "train.labels"
        content = path.read_bytes()
        # 4 bytes a label, and the checksum.
        assert len(content) == 14 * 4 + 32
        path.write_bytes([b"", b"\1" + content[1:], content + b"\0"][number])
        if change == "missing":
            path.unlink()
        found = recorded_videos(str(root))
        assert found.train.labels == LABELS.tolist()
        np.testing.assert_array_equal(single_labels(found.train), LABELS)
        assert found.validation.labels.tolist() == [0, 0]


def test_errors(videos):
    several = VideoSet(train=[], validation=[], class_names=("a", "b"), multi_label=True)
    with pytest.raises(ValueError, match=r"one class each.*MultiLabel.*Optimization\.class_weight"):
        Input(videos=several, balance="inverse")
    with pytest.raises(ValueError, match="`balance` must be one of 'inverse'"):
        Input(videos=videos, balance="equal")
