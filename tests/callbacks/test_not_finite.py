"""RaiseOnNotFinite in stock `fit`."""

import keras
import numpy as np
import pytest

from keras_multigrid import Grid, MultigridLearningRate, MultigridSchedule
from keras_multigrid.callbacks import DivergedError, RaiseOnNotFinite

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=1, num_frames=4, crop_size=8), num_clips=8, epochs=4, boundaries=()
)


def fit(learning_rate, callback, spoilt_step=3):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate), "mse")
    x = np.ones((6, 1))
    x[spoilt_step] = np.inf
    model.fit(x, np.ones(6), batch_size=1, shuffle=False, verbose=0, callbacks=[callback])


def test_a_loss_that_is_not_finite_names_step_and_learning_rate():
    with pytest.raises(DivergedError, match=r"step 3 is not finite: \w+ \(learning rate 0\.25\)"):
        fit(0.25, RaiseOnNotFinite())


@pytest.mark.parametrize("given", [None, SCHEDULE])
def test_the_grid_is_named_where_there_is_a_schedule(given):
    rate = MultigridLearningRate(SCHEDULE, 0.25) if given is None else 0.25
    with pytest.raises(DivergedError, match=r"step 0 is not finite: \w+ \(grid \d+ x \d x \d²"):
        fit(rate, RaiseOnNotFinite(given), spoilt_step=0)


def test_a_finite_loss_is_passed_over():
    fit(0.01, RaiseOnNotFinite(), spoilt_step=slice(0, 0))
