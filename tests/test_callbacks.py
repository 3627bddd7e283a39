"""MultigridCallback in stock `model.fit`, on real batches."""

import dataclasses
import io
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_multigrid import (
    Grid,
    MultigridCallback,
    MultigridLearningRate,
    MultigridSchedule,
    SubBatchNormalization,
    figures,
    resample,
)
from keras_multigrid.data.pipeline import training_batches

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=8, num_frames=8, crop_size=16), num_clips=96, epochs=8, boundaries=(4, 6)
)


class TracedModel(keras.Sequential):
    """Counts how often its train step is traced."""

    traces = 0

    def train_step(self, data):
        type(self).traces += 1
        return super().train_step(data)


def make_model(
    schedule=SCHEDULE,
    learning_rate=0.01,
    normalization=SubBatchNormalization,
    model_class=keras.Sequential,
):
    model = model_class(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(4, 3, padding="same", groups=1),
            normalization(),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    if schedule is not None:
        learning_rate = MultigridLearningRate(schedule, learning_rate)
    model.compile(
        keras.optimizers.SGD(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def make_batches(schedule=SCHEDULE, start_step=0):
    videos = np.random.default_rng(0).integers(0, 255, (schedule.num_clips, 12, 20, 24, 3))
    labels = np.arange(schedule.num_clips) % 2
    videos = tf.data.Dataset.from_tensor_slices((videos.astype(np.uint8), labels))
    return videos.apply(resample(schedule, start_step=start_step))


class Recorder(keras.callbacks.Callback):
    """The groups of a layer at each step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.groups = []

    def on_train_batch_begin(self, batch, logs=None):
        self.groups.append(int(self.layer.groups.numpy()))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One whole run: the groups by step, the log folder, the callback."""
    log_dir = tmp_path_factory.mktemp("logs")
    model = make_model(model_class=TracedModel)
    recorder = Recorder(model.layers[1])
    callback = MultigridCallback(log_dir=str(log_dir), log_every=5, texts={"config": "a = 1"})
    model.fit(
        make_batches(),
        steps_per_epoch=SCHEDULE.total_steps,
        verbose=0,
        callbacks=[callback, recorder],
    )
    return recorder.groups, log_dir, callback


def test_groups_follow_the_long_cycle_alone(run):
    groups, *_ = run
    assert groups == [
        SCHEDULE.phase(step).base.batch_size // 8 for step in range(SCHEDULE.total_steps)
    ]
    assert sorted(set(groups)) == [1, 2, 4, 8]


def test_few_traces_for_all_shapes(run):
    assert len(SCHEDULE.grids) > 4
    assert 1 <= TracedModel.traces <= 4


def test_a_model_that_fit_builds_has_the_groups_of_the_first_phase():
    model = keras.Sequential([SubBatchNormalization(), keras.layers.GlobalAveragePooling3D()])
    model.add(keras.layers.Dense(2, activation="softmax"))
    optimizer = keras.optimizers.SGD(MultigridLearningRate(SCHEDULE, 0.01))
    model.compile(optimizer, "sparse_categorical_crossentropy")
    assert not model.built
    recorder = Recorder(model.layers[0])
    recorder.on_train_batch_begin = lambda *_, **__: None
    recorder.on_train_batch_end = lambda *_, **__: recorder.groups.append(
        int(model.layers[0].groups)
    )
    callback = MultigridCallback(log_dir=None)
    # Ahead of the callback: the groups that the step had.
    model.fit(make_batches(), steps_per_epoch=1, verbose=0, callbacks=[recorder, callback])
    assert recorder.groups == [8]


def test_training_ends_with_the_schedule():
    model = make_model()
    model.fit(
        make_batches(),
        steps_per_epoch=40,
        epochs=50,
        verbose=0,
        callbacks=[MultigridCallback(log_dir=None)],
    )
    assert model.optimizer.iterations == SCHEDULE.total_steps


def test_tensorboard_shows_every_curve_by_step(run):
    _, log_dir, _ = run
    events = EventAccumulator(str(log_dir)).Reload()
    names = (
        "learning_rate",
        "batch_size",
        "frames",
        "crop",
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
    assert all(0 <= event.value <= 1 for event in events.Scalars("multigrid/input_wait_share"))
    (text,) = [tag for tag in events.Tags()["tensors"] if tag.startswith("config")]
    assert events.Tensors(text)


def test_tensorboard_shows_the_clips_of_the_first_step_at_each_grid(run):
    _, log_dir, _ = run
    events = EventAccumulator(str(log_dir), size_guidance={"images": 0}).Reload()
    tags = [tag for tag in events.Tags()["images"] if tag.startswith("clips/")]
    grids = (f"{g.batch_size}x{g.num_frames}x{g.crop_size}" for g in SCHEDULE.grids)
    assert sorted(tags) == sorted(f"clips/{name}" for name in grids)
    steps = []
    for tag in tags:
        (event,) = events.Images(tag)
        picture = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        ((clips, _),) = make_batches(start_step=event.step).take(1).as_numpy_iterator()
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
            callbacks=[MultigridCallback(log_dir=str(tmp_path / name), log_every=3)],
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
    callback = MultigridCallback(log_dir=None)
    model = make_model(plain)
    batches = videos.map(slow).apply(resample(plain))
    model.fit(batches, steps_per_epoch=8, verbose=0, callbacks=[callback])
    # 0.4 s a batch, while the first step is traced in a few seconds.
    assert 0.2 < callback.input_wait_shares[plain.base] <= 1


def test_throughput_by_grid(run):
    *_, callback = run
    assert set(callback.clips_per_second) == set(SCHEDULE.grids)
    assert set(callback.input_wait_shares) == set(SCHEDULE.grids)
    assert all(0 <= share <= 1 for share in callback.input_wait_shares.values())
    assert min(callback.clips_per_second.values()) > 0


def test_a_late_start_sets_the_groups_of_that_phase():
    start = SCHEDULE.phases[1].first_step + 1
    model = make_model()
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(start)
    recorder = Recorder(model.layers[1])
    callbacks = [MultigridCallback(log_dir=None), recorder]
    model.fit(make_batches(start_step=start), steps_per_epoch=1, verbose=0, callbacks=callbacks)
    assert recorder.groups == [4]


def test_plain_batch_normalization_trains():
    model = make_model(normalization=keras.layers.BatchNormalization)
    model.fit(
        make_batches(), steps_per_epoch=3, verbose=0, callbacks=[MultigridCallback(log_dir=None)]
    )
    assert model.optimizer.iterations == 3


def test_several_steps_in_one_call_are_refused():
    model = make_model()
    model.compile(
        keras.optimizers.SGD(MultigridLearningRate(SCHEDULE, 0.01)),
        "sparse_categorical_crossentropy",
        steps_per_execution=2,
    )
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
        model.fit(make_batches(), steps_per_epoch=2, verbose=0, callbacks=[MultigridCallback()])


def test_a_given_schedule_needs_no_multigrid_learning_rate():
    model = make_model(schedule=None)
    callback = MultigridCallback(SCHEDULE, log_dir=None)
    model.fit(make_batches(), steps_per_epoch=2, verbose=0, callbacks=[callback])
    assert callback.schedule == SCHEDULE


def test_no_schedule_is_an_error_that_names_the_remedy():
    model = make_model(schedule=None)
    with pytest.raises(ValueError, match="MultigridLearningRate"):
        model.fit(make_batches(), steps_per_epoch=1, verbose=0, callbacks=[MultigridCallback()])


def test_a_grid_of_too_few_frames_is_refused_before_the_first_step():
    model = make_model()

    def check_clip_size(num_frames, crop_size):
        if num_frames < 4:
            raise ValueError(f"At least 4 frames. Received: {num_frames}.")

    model.check_clip_size = check_clip_size
    with pytest.raises(ValueError, match=r"At least 4 .* The schedule has the grid 128 x 2 x 8²"):
        model.fit(make_batches(), steps_per_epoch=1, verbose=0, callbacks=[MultigridCallback()])
    assert model.optimizer.iterations == 0


def test_a_fit_that_ends_early_is_warned_of():
    model = make_model()
    callback = MultigridCallback(log_dir=None)
    with pytest.warns(UserWarning, match="before the schedule does"):
        model.fit(make_batches(), steps_per_epoch=2, verbose=0, callbacks=[callback])


def test_two_runs_with_one_seed_give_the_same_weights():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        model = make_model()
        model.fit(
            make_batches(),
            steps_per_epoch=40,
            verbose=0,
            callbacks=[MultigridCallback(log_dir=None)],
        )
        weights.append([variable.numpy() for variable in model.variables])
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
