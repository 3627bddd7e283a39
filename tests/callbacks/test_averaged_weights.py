"""Averages are evaluated and saved with their own statistics; training goes on untouched."""

import dataclasses

import keras
import numpy as np
import pytest
from small_fit import make_batches, make_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_multigrid import (
    AveragedWeights,
    Grid,
    MultigridCallback,
    MultigridCheckpoint,
    MultigridLearningRate,
    MultigridSchedule,
    PreciseBatchStatistics,
)
from keras_multigrid.callbacks.checkpoint_folder import load_checkpoint

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=4, crop_size=8), num_clips=24, epochs=2, boundaries=(1,)
)
PLAIN = dataclasses.replace(SCHEDULE, long_cycle=(), short_cycle=())
STEPS = SCHEDULE.total_steps


def compiled(**settings):
    keras.utils.set_random_seed(0)
    model = make_model(None)
    rate = MultigridLearningRate(SCHEDULE, 0.05)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, **settings)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def averaged():
    return AveragedWeights(PreciseBatchStatistics(make_batches(PLAIN, seed=1), 2))


def fit(model, *callbacks, log_dir=None, validated=True, start_step=0):
    validation = make_batches(PLAIN, seed=2).take(2) if validated else None
    return model.fit(
        make_batches(SCHEDULE, start_step=start_step),
        validation_data=validation,
        steps_per_epoch=2,
        epochs=-(-STEPS // 2),
        verbose=0,
        callbacks=[MultigridCallback(log_dir=log_dir), *callbacks],
    )


def arrays(model):
    return [keras.ops.convert_to_numpy(v).copy() for v in model.weights]


def assert_equal(first, second):
    for value, expected in zip(first, second, strict=True):
        np.testing.assert_array_equal(value, expected)


class Trained(keras.callbacks.Callback):
    """The weights at the end of each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(arrays(self.model))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model, trained = compiled(use_ema=True, ema_momentum=0.5), Trained()
    history = fit(
        model, averaged(), trained, MultigridCheckpoint(folder), log_dir=str(folder / "logs")
    )
    return folder, model, trained.weights, history


def test_training_is_the_same_without_validations(run):
    trained = Trained()
    fit(compiled(use_ema=True, ema_momentum=0.5), trained, validated=False)
    for validated, plain in zip(run[2], trained.weights, strict=True):
        assert_equal(validated, plain)


def test_the_model_is_left_as_it_was_validated(run):
    _, model, trained, history = run
    assert history.epoch[-1] + 1 == len(history.history["val_loss"])
    results = model.evaluate(make_batches(PLAIN, seed=2).take(2), verbose=0, return_dict=True)
    assert results["loss"] == history.history["val_loss"][-1]
    # Not what the weights that trained give.
    assert any(np.any(a != b) for a, b in zip(arrays(model), trained[-1], strict=True))


def test_a_checkpoint_holds_both(run):
    folder, model, trained, _ = run
    resumed = compiled(use_ema=True, ema_momentum=0.5)
    assert MultigridCheckpoint(folder).restore(resumed) == STEPS
    assert_equal(arrays(resumed), trained[-1])
    used = make_model(None)
    load_checkpoint(used, str(folder))
    assert_equal(arrays(used), arrays(model))
    # A run that was saved before its end was written takes them from there.
    averaged().apply(resumed)
    assert_equal(arrays(resumed), arrays(model))


def test_tensorboard_tells_which_weights_a_validation_saw(run, tmp_path):
    def points(folder):
        events = EventAccumulator(str(folder)).Reload()
        return [event.value for event in events.Scalars("validation/averaged_weights")]

    assert points(run[0] / "logs") == [1.0] * -(-STEPS // 2)
    fit(compiled(use_ema=True), log_dir=str(tmp_path))
    assert points(tmp_path) == [0.0] * -(-STEPS // 2)


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_validation_saves_what_it_trains(run, tmp_path):
    class Killed(MultigridCheckpoint):
        def on_test_batch_end(self, batch, logs=None):
            self._save(2, [], results=None)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(compiled(use_ema=True, ema_momentum=0.5), averaged(), Killed(tmp_path))
    model, checkpoint, trained = (
        compiled(use_ema=True, ema_momentum=0.5),
        MultigridCheckpoint(tmp_path),
        Trained(),
    )
    step = checkpoint.restore(model)
    assert step == 2
    assert_equal(arrays(model), run[2][1])
    fit(model, averaged(), trained, checkpoint, start_step=step)
    for resumed, whole in zip(trained.weights, run[2][2:], strict=True):
        assert_equal(resumed, whole)
    assert_equal(arrays(model), arrays(run[1]))


def test_averages_without_statistics_of_their_own_are_warned_of(recwarn):
    fit(compiled(use_ema=True), validated=False)
    assert any("Without AveragedWeights" in str(warned.message) for warned in recwarn)


def test_an_optimizer_without_averages_is_refused():
    with pytest.raises(ValueError, match="use_ema=True"):
        fit(compiled(), averaged())
    with pytest.raises(ValueError, match="statistics of batch normalization of their own"):
        fit(compiled(use_ema=True), AveragedWeights())
