"""TrainingLog in stock `fit`, on real batches: what TensorBoard is given."""

import contextlib
import dataclasses
import io
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small_fit import SCHEDULE, make_batches, make_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_multigrid import MultigridLearningRate, figures, resample
from keras_multigrid.callbacks import TrainingLog
from keras_multigrid.data.input import training_batches
from keras_multigrid.monitor import StreamMonitor, open_monitor


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One whole run: the log folder, the callback."""
    log_dir = tmp_path_factory.mktemp("logs")
    callback = TrainingLog(log_dir=str(log_dir), log_every=5, texts={"config": "a = 1"})
    make_model().fit(
        make_batches(), steps_per_epoch=SCHEDULE.total_steps, verbose=0, callbacks=[callback]
    )
    return log_dir, callback


def test_tensorboard_shows_every_curve_by_step(run):
    log_dir, _ = run
    events = EventAccumulator(str(log_dir)).Reload()
    names = (
        "learning_rate",
        "batch_size",
        "frames",
        "crop",
        "work",
        "clips_per_second",
        "input_wait_share",
    )
    assert {f"multigrid/{name}" for name in names} <= set(events.Tags()["scalars"])
    assert {"train/loss", "train/accuracy"} <= set(events.Tags()["scalars"])
    assert {"schedule", "throughput"} <= set(events.Tags()["images"])
    policy = MultigridLearningRate(SCHEDULE, 0.01)
    for event in events.Scalars("multigrid/learning_rate"):
        assert event.value == pytest.approx(float(policy(event.step)), rel=1e-6)
    for event in events.Scalars("multigrid/batch_size"):
        assert event.value == SCHEDULE.grid(event.step).batch_size
    assert [event.step for event in events.Scalars("multigrid/crop")][:3] == [4, 9, 14]
    # Of all steps up to the point, its own included.
    work = {event.step: event.value for event in events.Scalars("multigrid/work")}
    voxels = [SCHEDULE.grid(step).voxels for step in range(15)]
    assert work[4] == pytest.approx(sum(voxels[:5]) / SCHEDULE.base.voxels)
    assert work[14] == pytest.approx(sum(voxels) / SCHEDULE.base.voxels)
    assert all(0 <= event.value <= 1 for event in events.Scalars("multigrid/input_wait_share"))
    (text,) = [tag for tag in events.Tags()["tensors"] if tag.startswith("config")]
    assert events.Tensors(text)


def test_tensorboard_shows_the_clips_of_the_first_step_at_each_grid(run):
    log_dir, _ = run
    events = EventAccumulator(str(log_dir), size_guidance={"images": 0}).Reload()
    tags = [tag for tag in events.Tags()["images"] if tag.startswith("clips/")]
    grids = (f"{g.batch_size}x{g.num_frames}x{g.crop_size}" for g in SCHEDULE.grids)
    assert sorted(tags) == sorted(f"clips/{name}" for name in grids)
    steps = []
    whole = make_batches().take(SCHEDULE.total_steps)
    batches = [clips for clips, _ in whole.as_numpy_iterator()]
    for tag in tags:
        (event,) = events.Images(tag)
        picture = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        clips = batches[event.step]
        assert tag == "clips/{}x{}x{}".format(*clips.shape[:3])
        np.testing.assert_array_equal(picture, figures.film_strips(figures.stretched(clips[:4])))
        steps.append(event.step)
    # The first two phases: 8 and 11 pixels of 16, at 2 and 4 frames.
    second = SCHEDULE.phases[1].first_step
    assert {0, 1, second, second + 1} <= set(steps)


def test_tensorboard_counts_replaced_clips(videos, tmp_path):
    plain = dataclasses.replace(SCHEDULE.baseline(), num_clips=24, epochs=4, boundaries=())
    spoilt = [*videos[:-1], dataclasses.replace(videos[-1], path="none.mp4")]
    counts = []
    for name in ("first", "second"):
        model = make_model(plain)
        model.fit(
            training_batches([dataclasses.replace(v, label=0) for v in spoilt], plain, seed=0),
            steps_per_epoch=12,
            verbose=0,
            callbacks=[TrainingLog(log_dir=str(tmp_path / name), log_every=3)],
        )
        events = EventAccumulator(str(tmp_path / name)).Reload()
        counts.append([event.value for event in events.Scalars("multigrid/replaced_clips")])
    for values in counts:
        # One clip an epoch, unless a replacement is bad itself; some batches are read ahead.
        assert len(values) == 4
        assert values == sorted(values)
        assert all(epoch <= value <= 12 for epoch, value in enumerate(values, start=1))


def test_the_share_of_waiting_is_large_where_the_input_is_slow():
    plain = dataclasses.replace(SCHEDULE.baseline(), num_clips=8, epochs=8, boundaries=())

    def slow(video, label):
        tf.numpy_function(lambda: time.sleep(0.05), [], [])
        return video, label

    videos = tf.data.Dataset.from_tensor_slices((np.zeros((8, 12, 20, 24, 3), np.uint8), [0] * 8))
    callback = TrainingLog(log_dir=None)
    model = make_model(plain)
    batches = videos.map(slow).apply(resample(plain))
    model.fit(batches, steps_per_epoch=8, verbose=0, callbacks=[callback])
    # 0.4 s a batch, while the first step is traced in a few seconds.
    assert 0.2 < callback.input_wait_shares[plain.base] <= 1


def test_throughput_by_grid(run):
    _, callback = run
    assert set(callback.clips_per_second) == set(SCHEDULE.grids)
    assert set(callback.input_wait_shares) == set(SCHEDULE.grids)
    assert all(0 <= share <= 1 for share in callback.input_wait_shares.values())
    assert min(callback.clips_per_second.values()) > 0


class ReadsOtherBatches(keras.callbacks.Callback):
    """Reads two batches of a stream of its own between Keras epochs, as precise statistics do."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs=None):
        for _ in self.batches.take(2):
            pass

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_begin()


@pytest.mark.parametrize("is_given", [True, False])
def test_other_open_streams_are_not_taken_for_the_one_that_is_trained_on(tmp_path, is_given):
    monitor = StreamMonitor() if is_given else None
    before = make_batches(seed=1)
    with monitor.attached() if is_given else contextlib.nullcontext():
        batches = make_batches(seed=2)
    others = ReadsOtherBatches(make_batches(seed=3))
    for _ in before.take(2):
        pass
    log = TrainingLog(log_dir=str(tmp_path), monitor=monitor)
    make_model().fit(batches, steps_per_epoch=2, epochs=3, verbose=0, callbacks=[log, others])
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    tags = [tag for tag in events.Tags()["images"] if tag.startswith("clips/")]
    assert len(tags) == 4
    expected = list(batches.take(6).as_numpy_iterator())
    for tag in tags:
        (event,) = events.Images(tag)
        picture = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        clips = expected[event.step][0][:4]
        np.testing.assert_array_equal(picture, figures.film_strips(figures.stretched(clips)))


def test_the_wait_for_other_streams_between_keras_epochs_is_not_the_inputs():
    trained_on, other = open_monitor(), open_monitor()

    class Reads(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            other.add_batch(0, 1000.0, None)

        def on_train_batch_begin(self, batch, logs=None):
            trained_on.add_batch(batch, 1e-9, None)

        def on_epoch_end(self, epoch, logs=None):
            other.add_batch(0, 1000.0, None)

    log = TrainingLog(SCHEDULE, log_dir=None)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 1)), np.ones(4), 1, epochs=2, verbose=0, callbacks=[log, Reads()])
    assert log.input_wait_shares
    assert all(0 < share < 1e-3 for share in log.input_wait_shares.values())
