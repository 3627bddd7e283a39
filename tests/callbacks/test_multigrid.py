"""MultigridCallback in stock `model.fit`, on real batches."""

import keras
import numpy as np
import pytest
from small_fit import SCHEDULE, make_batches, make_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_multigrid import MultigridCallback, MultigridLearningRate, SubBatchNormalization


class TracedModel(keras.Sequential):
    """Counts how often its train step is traced."""

    traces = 0

    def train_step(self, data):
        type(self).traces += 1
        return super().train_step(data)


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


def test_it_holds_a_log(run):
    _, log_dir, callback = run
    events = EventAccumulator(str(log_dir)).Reload()
    assert {"multigrid/learning_rate", "train/loss"} <= set(events.Tags()["scalars"])
    assert {"schedule", "throughput"} <= set(events.Tags()["images"])
    assert set(callback.clips_per_second) == set(SCHEDULE.grids)
    assert set(callback.input_wait_shares) == set(SCHEDULE.grids)


@pytest.mark.parametrize(("given", "expected"), [(None, [8]), (4, [16])])
def test_the_clips_of_a_group_are_the_schedules_unless_given(given, expected):
    model = make_model()
    recorder = Recorder(model.layers[1])
    callback = MultigridCallback(log_dir=None, clips_per_group=given)
    model.fit(make_batches(), steps_per_epoch=1, verbose=0, callbacks=[callback, recorder])
    assert recorder.groups == expected


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
    # fit makes the last of its Keras epochs alone.
    left, model = SCHEDULE.total_steps, make_model()
    settings = {"steps_per_epoch": 2, "epochs": left, "initial_epoch": left - 1, "verbose": 0}
    with pytest.warns(UserWarning, match=rf"after 2 steps, .* \(epochs - {left - 1}\) >= {left}"):
        model.fit(make_batches(), callbacks=[callback], **settings)


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
