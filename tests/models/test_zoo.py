"""The published networks against figures of the reference implementation (published.npz)."""

import hashlib
import pathlib

import formula
import keras
import numpy as np
import pytest

from keras_multigrid import models
from keras_multigrid.models.weights.published import load_published_weights, published_shapes

PUBLISHED = np.load(pathlib.Path(__file__).parent / "published.npz")
# Keys of the published checkpoints without those that count batches, and a digest of them all.
KEYS = {
    "i3d_8x8_r50": (267, "0f4bb1c8bad615b25ac72cfa1e7995ebbb99f0717dea43944ef4ebfa991c85a1"),
    "i3d_nln_8x8_r50": (327, "45ea5d59eddbd887e11814220f4ab4be1960446f58fe17ef20df9767c4f092ee"),
    "slow_8x8_r50": (267, "87bfe719985318951b56014615daddfa48a5f2ddbf90e645626971e7f10f2acd"),
    "slowfast_8x8_r50": (552, "fee2c0c6b509c022fe5fa4d1c368c5b00668cbc8b59a0d248f67b915ce1dae61"),
}
# Size of the test clips: that of training, and a larger one.
CLIPS = {"train_size": (64, 1), "test_size": (96, 2)}


@pytest.fixture(scope="module", params=KEYS)
def pair(request):
    """A network of each kind and the same without softmax, with weights by the formula."""
    networks = [
        models.create(request.param, classifier_activation=activation)
        for activation in ("softmax", None)
    ]
    arrays = formula.arrays(published_shapes(networks[0]))
    for network in networks:
        load_published_weights(network, arrays)
    return networks


def clip_for(network, size):
    side, seed = CLIPS[size]
    frames = 32 if network.name.startswith("slowfast") else 8
    return formula.clip(side, frames=frames, seed=seed)


def run(network, clip):
    return keras.ops.convert_to_numpy(network(clip, training=False))


def assert_close(actual, expected, share):
    """Within a share of the largest magnitude."""
    actual = np.asarray(actual)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=share * np.abs(expected).max())


def test_keys_and_shapes(pair):
    network = pair[0]
    lines = sorted(f"{key} {shape}" for key, shape in published_shapes(network).items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(lines), digest) == KEYS[network.name]


@pytest.mark.parametrize("size", CLIPS)
def test_outputs(pair, size):
    for network, figure in zip(pair, ("probs", "mean_logits"), strict=True):
        clip = clip_for(network, size)
        tested = network.fully_convolutional(clip.shape[1], CLIPS["train_size"][0])
        expected = PUBLISHED[f"{network.name}/{size}_{figure}"]
        assert_close(run(tested, clip), expected, 1e-3)
        if size == "train_size":
            assert_close(run(network, clip), expected, 1e-3)


@pytest.mark.parametrize("size", CLIPS)
def test_stages(pair, size):
    network = pair[0]
    clip = clip_for(network, size)
    stages = {}
    for layer in network.layers:
        stage, _, rest = layer.name.partition("-")
        if (rest.startswith("pathway") and not rest.endswith("_pool")) or rest.endswith(
            "stem-pool"
        ):
            stages[f"{stage}_p{rest[7]}"] = layer.output
    assert len(stages) == (10 if network.name.startswith("slowfast") else 5)
    features = keras.Function(network.inputs, stages)([clip])
    for stage, values in features.items():
        values = keras.ops.convert_to_numpy(values)
        # Channels first, as printed.
        first = np.moveaxis(values, -1, 1).ravel()[:5]
        actual = [values.mean(), values.std(), np.abs(values).max(), *first]
        expected = PUBLISHED[f"{network.name}/{size}_{stage}_stats"]
        np.testing.assert_allclose(actual[:3], expected[:3], rtol=1e-3, err_msg=stage)
        np.testing.assert_allclose(actual[3:], expected[3:], rtol=0, atol=1e-3 * expected[2])


# Parameters and multiply-adds as published.

SIZES = {
    # name: frames, parameters, billions of multiply-adds at 224 and at 256
    "c2d_8x8_r50": (8, 24_327_632, 19.62, 25.63),
    "i3d_8x8_r50": (8, 28_043_472, 28.54, 37.28),
    "i3d_nln_8x8_r50": (8, 35_401_936, 36.68, 49.10),
    "i3d_8x8_r101": (8, 51_754_192, 47.13, 61.56),
    "slow_4x16_r50": (4, 32_454_096, 20.96, 27.38),
    "slow_8x8_r50": (8, 32_454_096, 41.92, 54.75),
    "slowfast_4x16_r50": (32, 34_480_216, 27.82, 36.34),
    "slowfast_8x8_r50": (32, 34_566_488, 50.58, 66.07),
    "slowfast_8x8_r101_50_50": (32, 53_774_808, 81.94, 107.03),
    "slowfast_8x8_r101_101_101": (32, 62_826_968, 96.79, 126.43),
    "slowfast_nln_16x8_r101_50_50": (64, 60_080_088, 183.79, 243.07),
}


@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_multiply_adds(name):
    frames, parameters, at_224, at_256 = SIZES[name]
    network = models.create(name)
    assert network.name == name
    assert network.parameter_count == parameters
    assert network.multiply_adds(frames, 224) == pytest.approx(at_224 * 1e9, rel=0.01)
    assert network.multiply_adds(frames, 256) == pytest.approx(at_256 * 1e9, rel=0.01)


def test_parameters_with_other_classes():
    assert models.create("slowfast_16x8_r50", classes=157).parameter_count == 34_006_373


@pytest.mark.parametrize("name", ["i3d_8x8_r50", "slowfast_8x8_r50"])
def test_misspelt_arguments(name):
    with pytest.raises(TypeError, match="no argument 'widht'; did you mean 'width'"):
        models.create(name, classes=3, blocks=(1, 1, 1, 1), widht=8)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"one of 'c2d_8x8_r50', .*Received: name='i3d'"):
        models.create("i3d")
    assert {"slowfast_16x8_r50", "slow_nln_8x8_r50", *SIZES} <= set(models.names())
