"""Runs and tests that begin with published weights by name."""

import functools

import checkpoint_files
import formula
import numpy as np
import pytest

from keras_multigrid import Grid, models
from keras_multigrid.runs.building import load_initial_weights
from keras_multigrid.runs.evaluation import trained_network
from keras_multigrid.runs.settings import Model, MultiViewTest
from keras_multigrid.task import SingleLabel

STEM = "s1-pathway0_stem-conv_xy"


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """Of a published file in a folder of weights."""
    arrays = formula.arrays(models.published_shapes(models.create("x3d_xs")))
    checkpoint_files.write_pytorch(str(tmp_path / "x3d_xs.pyth"), arrays)
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(tmp_path))
    return arrays


def settings(name="x3d_xs"):
    make = functools.partial(models.create, name)
    return Model(model=make, initial_weights="kinetics400")


def assert_holds(network, arrays):
    kernel = np.transpose(network.get_layer(STEM).kernel, (4, 3, 0, 1, 2))
    np.testing.assert_array_equal(kernel, arrays["s1.pathway0_stem.conv_xy.weight"])


def test_a_run_begins_with_published_weights(arrays):
    network = models.create("x3d_xs", classes=5)
    with pytest.warns(UserWarning, match="keeps its own weights"):
        load_initial_weights(network, settings())
    assert_holds(network, arrays)


def test_weights_that_are_not_there(arrays):
    network = models.create("x3d_m", classes=5)
    with pytest.raises(models.WeightsUnavailable, match=r"x3d_m\.pyth"):
        load_initial_weights(network, settings("x3d_m"))
    network = models.X3D(classes=5, blocks=(1, 1, 1, 1), width=8, head_width=16, name="mine")
    with pytest.raises(ValueError, match="no published weights of 'mine'"):
        load_initial_weights(network, settings("x3d_m"))


def test_published_weights_are_tested(arrays):
    task = SingleLabel(tuple(map(str, range(400))))
    grid = Grid(batch_size=1, num_frames=4, crop_size=32)
    test = MultiViewTest(run_dir="none", grid=grid, weights="kinetics400")
    network = trained_network(settings(), task, test)
    assert_holds(network, arrays)
    projection = network.get_layer("head-projection").bias
    np.testing.assert_array_equal(projection, arrays["head.projection.bias"])
