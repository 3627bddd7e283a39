"""One step for batches, learning rate, checkpoints and callbacks: that of the mini-batch."""

import dataclasses

import keras
import numpy as np
import pytest
from small_fit import SCHEDULE, make_batches, make_model, make_videos

from keras_multigrid import (
    MultigridCallback,
    MultigridCheckpoint,
    MultigridLearningRate,
    SubBatchNormalization,
    resample,
)

FEW = {"verbose": 0, "steps_per_epoch": 2}


def compiled(optimizer_class=keras.optimizers.SGD, scaled=False, **settings):
    model = make_model()
    optimizer = optimizer_class(MultigridLearningRate(SCHEDULE, 0.01), **settings)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**127)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def callback(**settings):
    return MultigridCallback(log_dir=None, **settings)


class Rates(keras.callbacks.Callback):
    """The learning rate that Keras has for each step."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.mark.parametrize("settings", [{"gradient_accumulation_steps": 4}, {"scaled": True}])
def test_every_batch_of_the_schedule_is_trained_once(settings, tmp_path):
    model, rates = compiled(**settings), Rates()
    callbacks = [callback(), MultigridCheckpoint(tmp_path, keep=99), rates]
    history = model.fit(
        make_batches(), steps_per_epoch=20, epochs=99, verbose=0, callbacks=callbacks
    )
    total = SCHEDULE.total_steps
    assert len(rates.rates) == total
    policy = MultigridLearningRate(SCHEDULE, 0.01)
    np.testing.assert_array_equal(rates.rates, [float(policy(step)) for step in range(total)])
    assert len(history.epoch) == -(-total // 20)
    assert [saved.step for saved in callbacks[1].saved()] == [*range(20, total, 20), total]


def test_a_run_with_accumulation_resumes_at_its_batch(tmp_path):
    settings = {"gradient_accumulation_steps": 4}
    keras.utils.set_random_seed(0)
    whole = compiled(**settings)
    start = whole.get_weights()
    # In the middle of a window of four.
    whole.fit(make_batches(), steps_per_epoch=5, epochs=2, verbose=0, callbacks=[callback()])

    first = compiled(**settings)
    first.set_weights(start)
    checkpoint = MultigridCheckpoint(tmp_path)
    first.fit(make_batches(), steps_per_epoch=5, verbose=0, callbacks=[callback(), checkpoint])
    resumed, checkpoint = compiled(**settings), MultigridCheckpoint(tmp_path)
    step = checkpoint.restore(resumed)
    assert step == 5
    callbacks = [callback(), checkpoint]
    batches = make_batches(start_step=step)
    resumed.fit(batches, steps_per_epoch=5, epochs=2, verbose=0, callbacks=callbacks)
    for got, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("same_batches", [True, False])
def test_batches_that_begin_anew_are_refused(same_batches):
    model, batches = make_model(), make_batches()
    model.fit(batches, **FEW, callbacks=[callback()])
    batches = batches if same_batches else make_batches()
    with pytest.raises(ValueError, match=r"Step 2 .* start_step=2\)"):
        model.fit(batches, **FEW, callbacks=[callback()])


def test_batches_that_begin_elsewhere_are_refused_at_their_first():
    start = SCHEDULE.phases[1].first_step
    with pytest.raises(ValueError, match=r"Step 0 must .* a batch of 128x2x8x8 .* 64x4x8x8\. Give"):
        make_model().fit(make_batches(start_step=start), **FEW, callbacks=[callback()])


def test_batches_of_another_schedule_are_refused():
    other = dataclasses.replace(SCHEDULE, long_cycle=())
    with pytest.raises(ValueError, match=r"Step 0 .* of the same schedule"):
        make_model().fit(make_batches(other), **FEW, callbacks=[callback()])


def test_batches_that_are_not_resampled_are_refused():
    videos = make_videos().repeat().batch(8)
    videos = videos.map(lambda clips, labels: (keras.ops.cast(clips, "float32"), labels))
    with pytest.raises(ValueError, match=r"Received: 8x12x20x24"):
        make_model().fit(videos, **FEW, callbacks=[callback()])
    model = make_model()
    model.fit(videos, **FEW, callbacks=[callback(check_batches=False)])
    assert model.optimizer.iterations == 2


def test_a_callback_of_another_schedule_than_the_rates_is_refused():
    other = dataclasses.replace(SCHEDULE, epochs=9)
    with pytest.raises(ValueError, match="must have one schedule"):
        make_model().fit(make_batches(other), **FEW, callbacks=[MultigridCallback(other)])


def test_nothing_is_trained_after_the_end():
    model = make_model()
    model.optimizer.iterations.assign(SCHEDULE.total_steps)
    before = model.get_weights()
    with pytest.warns(UserWarning, match="Nothing is trained"):
        history = model.fit(make_batches(), **FEW, callbacks=[callback()])
    assert history.epoch == []
    assert model.optimizer.iterations == SCHEDULE.total_steps
    for value, unchanged in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, unchanged)
    # The next fit is one of its own again.
    model.optimizer.iterations.assign(0)
    assert model.fit(make_batches(), **FEW, callbacks=[callback()]).epoch == [0]


def test_what_another_callback_restores_is_followed(tmp_path):
    """`BackupAndRestore` sets the step after training has begun."""
    step = SCHEDULE.phases[1].first_step

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise InterruptedError

    def fit(batches, *callbacks):
        model = make_model()
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        settings = {"steps_per_epoch": step, "epochs": 2, "verbose": 0}
        model.fit(batches, callbacks=[callback(), backup, *callbacks], **settings)
        return model

    with pytest.raises(InterruptedError):
        fit(make_batches(), Stop())
    with pytest.raises(ValueError, match=rf"Step {step} .* start_step={step}\)"):
        fit(make_batches())
    assert fit(make_batches(start_step=step)).optimizer.iterations == 2 * step


def test_a_model_that_outlives_its_schedule_has_one_group(tmp_path):
    model = make_model()
    model.fit(make_batches(), **FEW, callbacks=[callback()])
    assert int(model.layers[1].groups) == 1
    # As files of before hold them.
    model.layers[1].groups.assign(8)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[1], SubBatchNormalization)
    assert int(loaded.layers[1].groups) == 1


@pytest.mark.parametrize("name", ["Adafactor", "AdamW", "Lamb", "Lion", "Muon", "SGD"])
def test_optimizers_take_the_rate(name):
    model = compiled(getattr(keras.optimizers, name))
    model.fit(make_videos().apply(resample(SCHEDULE)), **FEW, callbacks=[callback()])
    assert model.optimizer.iterations == 2
    assert model.optimizer.learning_rate.dtype == "float32"
