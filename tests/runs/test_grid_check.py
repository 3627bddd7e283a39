"""The layer that cannot take a grid, in models that people write."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_multigrid import Grid, MultigridSchedule
from keras_multigrid.layers import FoldFrames
from keras_multigrid.models import I3D, FrameModel, MViT
from keras_multigrid.runs import check_grids, refuse_grids

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=8, crop_size=32),
    num_clips=16,
    epochs=4,
    long_cycle=((0.25, 0.5), (1.0, 1.0)),
    short_cycle=(),
)
COARSE, FINE = Grid(batch_size=32, num_frames=2, crop_size=16), SCHEDULE.base
OPEN, FIXED = (None, None, None, 3), (8, 32, 32, 3)


class Positions(layers.Layer):
    """A table as large as the clips that it was built for."""

    def build(self, input_shape):
        self.table = self.add_weight(shape=(1, *input_shape[1:]), name="table")

    def call(self, x):
        return x + self.table


class Tokens(layers.Layer):
    """Positions of a fixed number of tokens, as most transformers have."""

    def build(self, input_shape):
        self.table = self.add_weight(shape=(1, 2 * 8 * 8, input_shape[-1]), name="table")

    def call(self, x):
        return keras.ops.reshape(x, (keras.ops.shape(x)[0], -1, x.shape[-1])) + self.table


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.body = sequential(layers.Conv3D(4, 3, strides=4, padding="same"))
        self.flat = layers.Flatten(name="all_of_it")
        self.scores = layers.Dense(2, name="scores")

    def call(self, clips):
        return self.scores(self.flat(self.body(clips)))


def sequential(*parts, clips=OPEN):
    return keras.Sequential([keras.Input(clips), *parts])


def patches():
    return layers.Conv3D(4, 3, strides=4, padding="same")


def head(pool=layers.GlobalAveragePooling3D):
    return pool(), layers.Dense(2, name="scores")


def with_operations():
    clips = keras.Input(OPEN)
    tokens = keras.ops.reshape(patches()(clips), (-1, 2 * 8 * 8, 4))
    return keras.Model(clips, layers.Dense(2)(layers.GlobalAveragePooling1D()(tokens)))


def with_pictures_of_one_size():
    picture = keras.Input((32, 32, 3))
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(picture))
    pictures = keras.Model(picture, features, name="vit")
    return sequential(FoldFrames(), pictures, layers.Dense(2))


MODELS = {
    "flattened": (
        lambda: sequential(patches(), layers.Flatten(name="all"), *head()[1:], clips=FIXED),
        "scores (Dense)",
        "Replace all by global average pooling",
    ),
    "subclassed": (Subclassed, "scores (Dense)", "Replace all_of_it by"),
    "flattened frames before an LSTM": (
        lambda: sequential(
            layers.TimeDistributed(layers.Flatten()), layers.LSTM(4), *head()[1:], clips=FIXED
        ),
        "lstm (LSTM)",
        "global average pooling",
    ),
    "positions": (
        lambda: sequential(patches(), Positions(name="places"), *head(), clips=FIXED),
        "places (Positions)",
        "interpolated",
    ),
    "positions of tokens": (
        lambda: sequential(patches(), Tokens(name="pos"), *head(layers.GlobalAveragePooling1D)),
        "pos (Tokens)",
        "ResizedPositions",
    ),
    "a window longer than the clip": (
        lambda: sequential(layers.Conv3D(4, (3, 3, 3), name="conv"), *head()),
        "conv (Conv3D)",
        "min_frames",
    ),
    "a pool longer than the clip": (
        lambda: sequential(patches(), layers.MaxPooling3D((2, 1, 1), name="pool"), *head()),
        "pool (MaxPooling3D)",
        "padding='same'",
    ),
    "reshaped": (
        lambda: sequential(
            patches(), layers.Reshape((2, 256), name="rows"), layers.GRU(4), clips=FIXED
        ),
        "rows (Reshape)",
        "Its sizes are fixed",
    ),
    "reshaped by an operation": (with_operations, "(Reshape)", "Its sizes are fixed"),
    "pictures of one size": (with_pictures_of_one_size, "vit (Functional)", "sizes left open"),
    "an input of one size": (
        lambda: sequential(patches(), *head(), clips=FIXED),
        "(InputLayer)",
        "keras.Input((None, None, None, 3))",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_layer_is_named(name):
    make, layer, remedy = MODELS[name]
    model = make()
    if not model.built:
        model(np.zeros((1, *FIXED), np.float32))
    (problem,) = check_grids(model, SCHEDULE)
    assert problem.grids == (COARSE,)
    assert f"{layer} cannot take 32 x 2 x 16²: " in str(problem)
    assert remedy in problem.remedy
    with pytest.raises(ValueError, match="every grid of the schedule") as error:
        refuse_grids(model, SCHEDULE)
    assert str(problem) in str(error.value)


def test_a_model_of_any_size():
    parts = layers.TimeDistributed(layers.GlobalAveragePooling2D()), layers.LSTM(4), *head()[1:]
    model = sequential(*parts)
    assert check_grids(model, SCHEDULE) == ()
    # Its own graph is as before.
    assert model.layers[1].output.shape == (None, 4)


def with_several_inputs():
    clips, flow, person = (keras.Input(x) for x in (OPEN, (None, None, None, 2), (5,)))
    # Not all that an operation is given is a tensor.
    pooled = [layers.GlobalAveragePooling3D()(patches()(x)) for x in (clips[:, ::2] * 0.5, flow)]
    return keras.Model([clips, flow, person], layers.Dense(2)(layers.Concatenate()(pooled)))


def test_inputs_with_channels_of_their_own_and_operations_on_parts_of_clips():
    assert check_grids(with_several_inputs(), SCHEDULE) == ()


def test_a_part_of_the_clip_that_coarse_ones_do_not_have():
    clips = keras.Input(OPEN)
    few = keras.Model(clips, layers.Dense(2)(layers.GlobalAveragePooling3D()(clips[:, 4:])))
    (problem,) = check_grids(few, SCHEDULE)
    assert "(GetItem) cannot take 32 x 2 x 16²: Its output would be empty" in str(problem)


def test_clips_whose_channels_come_first():
    first = {"data_format": "channels_first"}
    model = sequential(
        layers.Conv3D(4, 3, **first), layers.GlobalAveragePooling3D(**first), clips=(3, *OPEN[:3])
    )
    (problem,) = check_grids(model, SCHEDULE)
    assert problem.grids == (COARSE, FINE) and "channels last" in problem.remedy


def test_what_takes_no_clips():
    pictures = sequential(layers.Conv2D(4, 3), clips=(None, None, 3))
    (problem,) = check_grids(pictures, SCHEDULE)
    assert problem.layer_type == "InputLayer" and "FrameModel" in problem.remedy
    with pytest.raises(ValueError, match=r"must be a Keras model\. Received: <class"):
        check_grids(Subclassed, SCHEDULE)


def test_a_functional_model_of_one_size():
    clips = keras.Input(FIXED)
    scores = layers.Dense(2, name="scores")(layers.Flatten(name="all")(patches()(clips)))
    model = keras.Model(clips, scores)
    # A copy of it could not be compiled.
    model.compile("sgd", loss=lambda labels, scores: keras.ops.mean(scores))
    (problem,) = check_grids(model, SCHEDULE)
    assert problem.layer == "scores" and "Replace all by" in problem.remedy


def test_networks_of_the_package():
    pictures = sequential(layers.Conv2D(4, 3, strides=4, padding="same"), clips=(None, None, 3))
    for model in (FrameModel(pictures, units=4), I3D(blocks=(1, 1, 1, 1), width=4)):
        assert check_grids(model, SCHEDULE) == ()


def test_a_model_that_is_not_built_is_built_at_the_baseline():
    model = Subclassed()
    (problem,) = check_grids(model, SCHEDULE)
    assert model.built and problem.layer == "scores"


def test_a_network_says_itself_what_it_takes():
    """Its layers would take a frame."""
    network = MViT(classes=2, blocks=(1, 1, 1, 1), width=32, base=(8, 64), name="mine")
    schedule = MultigridSchedule(Grid(batch_size=8, num_frames=4, crop_size=64), 64, 6)
    (problem,) = check_grids(network, schedule)
    assert (problem.layer, problem.layer_type) == ("mine", "MViT")
    assert {grid.num_frames for grid in problem.grids} == {1}
    assert problem.error == "MViT takes clips of at least 2 frames. Received: 1 frames."
    assert problem.remedy.startswith("Use a base grid of more frames")


def test_a_model_that_is_not_built_and_cannot_take_the_base_grid():
    model = keras.Sequential([layers.Conv3D(4, 16, name="wide"), layers.GlobalAveragePooling3D()])
    (problem,) = check_grids(model, SCHEDULE)
    assert (problem.layer, problem.grids) == ("wide", (FINE,))
    assert "padding='same'" in problem.remedy
