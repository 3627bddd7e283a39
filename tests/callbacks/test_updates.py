"""Mini-batches and updates: windows of accumulated gradients, updates that float16 skips."""

import dataclasses

import keras
import numpy as np
import pytest
from small_fit import SCHEDULE, make_batches, make_model

from keras_multigrid import (
    Grid,
    MultigridCallback,
    MultigridCheckpoint,
    MultigridLearningRate,
    MultigridSchedule,
    RaiseOnNotFinite,
)
from keras_multigrid.callbacks import ChangedSettingsError, DivergedError

THIRTEEN = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=16),
    num_clips=15,
    epochs=7,
    long_cycle=((0.25, 0.7071), (0.5, 1.0), (1.0, 1.0)),
)


class Kernels(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(self.model.layers[-1].kernel.numpy().ravel()[0])


def test_an_update_has_the_rate_of_its_last_batch():
    """Accumulation over 4 of 13 mini-batches, the gradient of each of which is 1."""
    model = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(1, use_bias=False),
        ]
    )
    policy, kernels = MultigridLearningRate(THIRTEEN, 0.5), Kernels()
    optimizer = keras.optimizers.SGD(policy, gradient_accumulation_steps=4)
    model.compile(optimizer, lambda labels, outputs: keras.ops.mean(outputs))
    batches = make_batches(THIRTEEN).map(lambda clips, labels: (keras.ops.ones_like(clips), labels))
    start = model.layers[-1].kernel.numpy().ravel()[0]
    with pytest.warns(UserWarning, match="last 1 of 13 mini-batches are part of no update"):
        model.fit(
            batches,
            steps_per_epoch=13,
            verbose=0,
            callbacks=[MultigridCallback(log_dir=None), kernels],
        )
    expected = np.zeros(13)
    for last in (3, 7, 11):
        expected[last:] -= float(policy(last))
    np.testing.assert_allclose(np.array(kernels.values) - start, expected, atol=1e-5)


def no_gradient(labels, outputs):
    """A finite loss whose gradient is NaN."""
    return 0.5 + keras.ops.mean(keras.ops.sqrt(keras.ops.square(outputs) * 0.0))


def scaled(loss, initial_scale=2.0**15):
    model = make_model()
    optimizer = keras.optimizers.SGD(MultigridLearningRate(SCHEDULE, 0.01))
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer, initial_scale), loss)
    return model


def test_a_short_run_that_skips_all_updates_ends_in_an_error():
    with pytest.raises(DivergedError, match=r"None of the 29 updates was applied"):
        scaled(no_gradient).fit(
            make_batches(),
            steps_per_epoch=SCHEDULE.total_steps,
            verbose=0,
            callbacks=[MultigridCallback(log_dir=None)],
        )


def test_a_run_that_skips_all_updates_ends_early():
    with pytest.raises(DivergedError, match="None of the 15 updates was applied"):
        scaled(no_gradient, initial_scale=1.0).fit(
            make_batches(), steps_per_epoch=99, verbose=0, callbacks=[RaiseOnNotFinite()]
        )


def test_more_epochs_on_a_finished_run_are_refused(tmp_path):
    """A longer schedule has other phases at the steps already made."""
    model = make_model()
    model.fit(
        make_batches(),
        steps_per_epoch=2,
        verbose=0,
        callbacks=[MultigridCallback(log_dir=None), MultigridCheckpoint(tmp_path)],
    )
    longer = dataclasses.replace(SCHEDULE, epochs=SCHEDULE.epochs + 2)
    with pytest.raises(ChangedSettingsError, match="epochs: 8 is now 10"):
        MultigridCheckpoint(tmp_path).restore(make_model(longer))
