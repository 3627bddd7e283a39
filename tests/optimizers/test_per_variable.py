"""Learning rate and weight decay by variable, against the same by hand."""

import keras
import numpy as np
import pytest

from keras_multigrid import ReferenceSGD, optimizers
from keras_multigrid.models import I3D
from keras_multigrid.optimizers import (
    SGD,
    AdamW,
    Lamb,
    LayerDecay,
    Lion,
    Muon,
    PerVariable,
    not_bias_or_normalization,
)

RATES = LayerDecay(0.5, stages=("s1", "head"))


def make_model():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, name="s1"),
            keras.layers.BatchNormalization(name="s1-bn"),
            keras.layers.Dense(2, name="head"),
        ]
    )
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    return model


def step(model, optimizer, gradients):
    variables = model.trainable_variables
    before = [keras.ops.convert_to_numpy(variable) for variable in variables]
    optimizer.build(variables)
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients])
    after = [keras.ops.convert_to_numpy(variable) for variable in variables]
    # Without the name of the model.
    paths = ["/".join(variable.path.split("/")[-2:]) for variable in variables]
    return {
        path: (old, new, gradient)
        for path, old, new, gradient in zip(paths, before, after, gradients, strict=True)
    }


def ones(model, value=1.0):
    return [np.full(variable.shape, value, np.float32) for variable in model.trainable_variables]


@pytest.mark.parametrize("optimizer_class", [SGD, ReferenceSGD])
def test_sgd_by_hand(optimizer_class):
    model = make_model()
    optimizer = optimizer_class(
        0.1, weight_decay=0.5, rate_multiplier=RATES, decays=not_bias_or_normalization
    )
    for path, (old, new, gradient) in step(model, optimizer, ones(model)).items():
        rate = 0.05 if path.startswith("s1") else 0.1
        decay = 0.5 if path.endswith("kernel") else 0.0
        np.testing.assert_allclose(new, old - rate * decay * old - rate * gradient, rtol=1e-6)


def test_gradients_are_clipped_together():
    model = make_model()
    optimizer = SGD(0.1, global_clipnorm=1.0, rate_multiplier=RATES)
    # 12 + 3 + 3 + 3 + 6 + 2 = 29 gradients of 2.
    for path, (old, new, _) in step(model, optimizer, ones(model, 2.0)).items():
        rate = 0.05 if path.startswith("s1") else 0.1
        np.testing.assert_allclose(old - new, rate / np.sqrt(29), rtol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lamb", "Lion"])
def test_without_settings_an_optimizer_is_that_of_keras(name):
    ours, theirs = (
        step(model, getattr(place, name)(0.1, weight_decay=0.02), ones(model))
        for place, model in (
            (optimizers, make_model()),
            (keras.optimizers, make_model()),
        )
    )
    for path, (_, new, _) in ours.items():
        np.testing.assert_array_equal(new, theirs[path][1])


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lamb", "Lion"])
def test_decay_by_variable_is_that_of_keras_where_all_decay(name):
    from keras_multigrid import optimizers

    settings = {"weight_decay": 0.02}
    ours = step(
        make_model(), getattr(optimizers, name)(0.1, **settings, decays=lambda path: True), DATA
    )
    theirs = step(make_model(), getattr(keras.optimizers, name)(0.1, **settings), DATA)
    for path, (_, new, _) in ours.items():
        np.testing.assert_allclose(new, theirs[path][1], rtol=1e-6)


DATA = ones(make_model(), 0.3)


@pytest.mark.parametrize("optimizer_class", [SGD, AdamW, Lamb, Lion, Muon, ReferenceSGD])
def test_settings_are_saved_and_read(optimizer_class):
    optimizer = optimizer_class(
        0.1, weight_decay=0.1, rate_multiplier=RATES, decays=not_bias_or_normalization
    )
    read = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(read) is optimizer_class
    assert read.rate_multiplier("s1/kernel") == 0.5
    assert read.decays is not_bias_or_normalization
    # Checkpoints of before have neither.
    assert not {"rate_multiplier", "decays"} & {*optimizer_class(0.1).get_config()}


def test_rates_of_a_published_network():
    network = I3D(classes=5, blocks=(1, 1, 1, 1), width=4)
    rates = {v.path: LayerDecay(0.5)(v.path) for v in network.trainable_variables}
    assert rates["s1-pathway0_stem-conv/kernel"] == 1 / 32
    assert rates["s5-pathway0_res0-branch1/kernel"] == 0.5
    assert rates["head-projection/bias"] == 1
    with pytest.raises(ValueError, match=r"of a stage\. Received: s10-conv/kernel"):
        LayerDecay(0.5)("s10-conv/kernel")


def test_bad_settings():
    model = make_model()
    with pytest.raises(ValueError, match=r"`factor` must be in \(0, 1\]"):
        LayerDecay(2)
    with pytest.raises(ValueError, match=r"positive number\. Received: 0 for .*s1/kernel"):
        SGD(0.1, rate_multiplier=lambda path: 0).build(model.trainable_variables)
    with pytest.raises(ValueError, match="has no effect"):
        SGD(0.1, decays=not_bias_or_normalization).exclude_from_weight_decay(var_names=["bias"])
    # Keras's own way stays.
    optimizer = SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    old, new, gradient = step(model, optimizer, ones(model))["head/bias"]
    np.testing.assert_allclose(new, old - 0.1 * gradient, rtol=1e-6)


def test_any_optimizer_takes_the_settings():
    @keras.saving.register_keras_serializable("test")
    class Nadam(PerVariable, keras.optimizers.Nadam):
        pass

    model = make_model()
    changes = step(model, Nadam(0.1, rate_multiplier=RATES), ones(model))
    steps = {path: float(np.max(old - new)) for path, (old, new, _) in changes.items()}
    assert steps["s1/kernel"] == pytest.approx(steps["head/kernel"] / 2, rel=1e-4)
