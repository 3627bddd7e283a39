import keras
import numpy as np
import pytest

from keras_multigrid import models
from keras_multigrid.runs.activation_maps import activation_maps


def linear(weights):
    """Scores of the mean colour: weights (3, classes)."""
    inputs = keras.Input((None, None, None, 3))
    x = keras.layers.GlobalAveragePooling3D()(inputs)
    dense = keras.layers.Dense(len(weights[0]), activation="softmax")
    model = keras.Model(inputs, dense(x))
    dense.set_weights([np.array(weights, np.float32), np.ones(len(weights[0]), np.float32)])
    return model


def test_a_map_is_what_each_position_adds():
    clips = np.zeros((2, 1, 2, 2, 3), np.float32)
    clips[0, 0, 0, 1] = (1, 2, 3)
    clips[1, 0, 1, 0] = (1, 0, 0)
    maps = activation_maps(linear([[1, 10], [2, 20], [3, 30]]), clips, [0, 1])
    # 1 * 1 + 2 * 2 + 3 * 3, and 10 * 1, without the bias.
    assert maps.tolist() == [[[[0, 14], [0, 0]]], [[[0, 0], [10, 0]]]]


def test_coarse_maps_are_interpolated():
    inputs = keras.Input((None, None, None, 3))
    x = keras.layers.AveragePooling3D((1, 2, 2))(inputs)
    x = keras.layers.GlobalAveragePooling3D()(x)
    x = keras.layers.Dropout(0.5)(x)
    dense = keras.layers.Dense(1)
    model = keras.Model(inputs, dense(x))
    dense.set_weights([np.array([[1], [0], [0]], np.float32), np.zeros(1, np.float32)])
    clips = np.zeros((1, 1, 2, 4, 3), np.float32)
    clips[..., 2:, :] = 4
    # Two positions of 0 and 4, whose centres lie at pixels 0.5 and 2.5.
    assert activation_maps(model, clips, [0])[0, 0].tolist() == [[0, 1, 3, 4]] * 2


@pytest.mark.parametrize("name, frames", [("i3d_small", 4), ("slowfast_8x8_r50", 8)])
def test_the_mean_of_a_map_is_the_score(name, frames):
    options = {} if name == "i3d_small" else {"blocks": (1, 1, 1, 1), "width": 8}
    model = models.create(name, classes=3, classifier_activation=None, **options)
    clips = np.random.default_rng(0).random((2, frames, 32, 32, 3), np.float32)
    maps = activation_maps(model, clips, [0, 2])
    assert maps.shape == (2, frames, 32, 32)
    scores = keras.ops.convert_to_numpy(model(clips))
    np.testing.assert_allclose(maps.mean((1, 2, 3)), scores[[0, 1], [0, 2]], rtol=1e-4)


def test_layers_between_pooling_and_classifier_work_on_positions():
    inputs = keras.Input((None, None, None, 3))
    x = keras.layers.GlobalAveragePooling3D()(inputs)
    hidden, dense = keras.layers.Dense(1, activation="relu"), keras.layers.Dense(2)
    model = keras.Model(inputs, dense(hidden(x)))
    hidden.set_weights([np.array([[1], [0], [0]], np.float32), np.array([-1], np.float32)])
    dense.set_weights([np.array([[5, 7]], np.float32), np.zeros(2, np.float32)])
    clips = np.zeros((1, 1, 1, 2, 3), np.float32)
    clips[0, 0, 0, :, 0] = 0.5, 3
    assert activation_maps(model, clips, [1]).tolist() == [[[[0, 14]]]]


def test_other_networks_have_none():
    inputs = keras.Input((2, 4, 4, 3))
    flat = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    clips = np.zeros((1, 2, 4, 4, 3), np.float32)
    assert activation_maps(flat, clips, [0]) is None
    pooled = keras.Model(inputs, keras.layers.GlobalAveragePooling3D()(inputs))
    assert activation_maps(pooled, clips, [0]) is None
