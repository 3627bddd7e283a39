"""Muon: convolutions are matrices, the rest is AdamW's."""

import keras
import numpy as np
import pytest

from keras_multigrid.optimizers import LayerDecay, Muon


def make_model():
    return keras.Sequential(
        [
            keras.Input((None, None, None, 2)),
            keras.layers.Conv3D(4, 3, name="s1"),
            keras.layers.Conv3D(4, 3, groups=4, name="s2"),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(5, use_bias=False, name="s3"),
            keras.layers.Dense(3, name="head"),
        ]
    )


def short(path):
    """Without the name of the model."""
    return "/".join(path.split("/")[-2:])


def changes(model, optimizer, gradients):
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients])
    return {
        short(v.path): old - keras.ops.convert_to_numpy(v)
        for v, old in zip(model.trainable_variables, before, strict=True)
    }


def random_gradients(model):
    random = np.random.default_rng(0)
    return [random.normal(size=v.shape).astype("float32") for v in model.trainable_variables]


def test_a_convolution_moves_along_an_orthogonal_matrix():
    model = make_model()
    change = changes(
        model,
        Muon(0.1, weight_decay=None, adam_weight_decay=None, rms_rate=None),
        random_gradients(model),
    )
    kernel = change["s1/kernel"].reshape(3 * 3 * 3 * 2, 4) / 0.1
    singular = np.linalg.svd(kernel, compute_uv=False)
    # Five Newton-Schulz steps: near 1, all of them.
    assert np.all((singular > 0.6) & (singular < 1.3))
    # The first step of Adam: the sign of the gradient.
    for path in ("s1/bias", "s2/kernel", "head/kernel", "head/bias"):
        np.testing.assert_allclose(np.abs(change[path]), 0.1, rtol=1e-2)


def test_a_matrix_is_that_of_keras():
    settings = {"weight_decay": 0.1, "momentum": 0.9}
    ours, theirs = make_model(), make_model()
    theirs.set_weights(ours.get_weights())
    gradients = random_gradients(ours)
    change = changes(ours, Muon(0.1, **settings), gradients)["s3/kernel"]
    keras_muon = keras.optimizers.Muon(0.1, exclude_layers=["head"], **settings)
    expected = changes(theirs, keras_muon, gradients)["s3/kernel"]
    np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-6)


def test_weight_decay_of_either_kind():
    model = make_model()
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape, np.float32))
    rates = LayerDecay(0.5, stages=("s1", "s2", "s3", "head"))
    optimizer = Muon(0.1, weight_decay=0.2, adam_weight_decay=0.4, rate_multiplier=rates)
    zeros = [np.zeros(v.shape, np.float32) for v in model.trainable_variables]
    change = changes(model, optimizer, zeros)
    np.testing.assert_allclose(change["s1/kernel"], 0.1 * 0.2 / 8, rtol=1e-4)
    np.testing.assert_allclose(change["head/kernel"], 0.1 * 0.4, rtol=1e-4)


def test_the_classifier_must_be_named():
    model = make_model()
    with pytest.raises(ValueError, match=r"must name the classifier.*\['classes'\]"):
        Muon(0.1, exclude_layers=["classes"]).build(model.trainable_variables)
    Muon(0.1, exclude_layers=[]).build(model.trainable_variables)
