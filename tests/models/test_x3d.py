"""X3D: against figures of the reference (x3d_s.npz), and what is its own beside other networks."""

import hashlib
import pathlib

import formula
import keras
import numpy as np
import pytest

from keras_multigrid import models
from keras_multigrid.models.x3d import squeezed

FIGURES = np.load(pathlib.Path(__file__).parent / "x3d_s.npz")
# Frames, crop and seed of the clips that the reference was given.
CLIPS = {
    "train_size": (13, 160, 1),
    "test_size": (13, 182, 2),
    "t6_s113": (6, 113, 2),
    "t3_s80": (3, 80, 2),
}
TOLERANCE = 1e-4 if keras.backend.backend() == "tensorflow" else 2e-4
SMALL = {"classes": 3, "blocks": (1, 1, 3, 1), "width": 8, "head_width": 64}


@pytest.fixture(scope="module")
def published():
    network = models.create("x3d_s")
    models.load_published_weights(network, formula.x3d_arrays(models.published_shapes(network)))
    return network


def make(**settings):
    keras.utils.set_random_seed(0)
    return models.X3D(**{**SMALL, **settings})


def awakened(network):
    """With weights of the formula: a new network's blocks pass on what they get."""
    arrays = formula.x3d_arrays(models.published_shapes(network))
    models.load_published_weights(network, arrays)
    return network


def clip(frames, crop, seed):
    return formula.clip(crop, frames=frames, seed=seed)


def array(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.stop_gradient(tensor), "float32"))


def assert_close(actual, expected):
    """Within a share of the largest magnitude."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


# Against the reference.


@pytest.mark.parametrize(
    "size", ["train_size", pytest.param("t6_s113", marks=pytest.mark.slow), "t3_s80"]
)
def test_logits_and_blocks_of_the_reference(published, size):
    blocks = [layer for layer in published.layers if layer.name.endswith("-relu")]
    blocks = [layer.output for layer in blocks if "_res" in layer.name]
    head = published.get_layer("head-projection")
    outputs = keras.Model(published.inputs, [*blocks, head.input])
    *features, last = outputs.predict_on_batch(clip(*CLIPS[size]))
    logits = last @ array(head.kernel) + array(head.bias)
    assert_close(logits, FIGURES[f"{size}_mean_logits"])
    expected = FIGURES[f"{size}_blocks_stats"]
    assert len(features) == len(expected) == 26
    for values, figures in zip(features, expected, strict=True):
        # Mean, standard deviation, largest magnitude; first values, channels first.
        first = np.moveaxis(values, -1, 1).ravel()[:5]
        assert_close([values.mean(), values.std(), np.abs(values).max(), *first], figures)


def test_probabilities_of_the_reference_at_the_test_size(published):
    frames, crop, _ = CLIPS["train_size"]
    tested = published.fully_convolutional(frames, crop)
    probabilities = tested.predict_on_batch(clip(*CLIPS["test_size"]))
    assert_close(probabilities, FIGURES["test_size_probs"])


def test_keys_of_the_published_checkpoints(published):
    shapes = models.published_shapes(published)
    lines = sorted(f"{key} {shape}" for key, shape in shapes.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    # The 568 entries of the checkpoint without those that count batches.
    assert len(lines) == 484
    assert digest == "08d54e0a5f3af8c6e7586d551c4717e2d6cf9d4e459c9c0c3c51dfbbd4209d60"
    assert shapes["s2.pathway0_res0.branch2.b.weight"] == (54, 1, 3, 3, 3)
    assert shapes["s4.pathway0_res10.branch2.se.fc2.weight"] == (216, 16, 1, 1, 1)
    assert shapes["head.lin_5.weight"] == (2048, 432, 1, 1, 1)
    # Squeeze-and-excitation in even blocks, shortcuts with weights in first ones.
    assert "s4.pathway0_res9.branch2.se.fc2.weight" not in shapes
    assert "s4.pathway0_res1.branch1.weight" not in shapes


# Parameters and multiply-adds as published.

SIZES = {
    # name: frames, crop, parameters, billions of multiply-adds (convolutions and classifier)
    "x3d_xs": (4, 160, 3_794_322, 0.605),
    "x3d_s": (13, 160, 3_794_322, 1.963),
    "x3d_m": (16, 224, 3_794_322, 4.732),
    "x3d_l": (16, 312, 6_153_432, 18.368),
}


@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_multiply_adds(name):
    frames, crop, parameters, multiply_adds = SIZES[name]
    network = models.create(name)
    assert network.name == name
    assert network.parameter_count == parameters
    assert network.multiply_adds(frames, crop) / 1e9 == pytest.approx(multiply_adds, abs=1e-3)
    if name == "x3d_s":
        # On coarse grids, of the reference.
        for grid, expected in {(6, 160): 0.907, (13, 113): 1.172, (3, 80): 0.126}.items():
            assert network.multiply_adds(*grid) / 1e9 == pytest.approx(expected, abs=1e-3)


def test_squeezed_channels():
    # 3.4, 6.8, 13.5 and 27: 24 would be less than 0.9 of the last.
    assert [squeezed(channels) for channels in (54, 108, 216, 432, 8)] == [8, 8, 16, 32, 8]


# Weights.


def test_weights_that_do_not_fit_are_listed_at_once():
    network = make()
    arrays = formula.x3d_arrays(models.published_shapes(network))
    del arrays["s2.pathway0_res0.branch2.se.fc1.weight"]
    arrays["s3.pathway0_res0.branch2.b.weight"] = np.zeros((36, 1, 1, 3, 3))
    arrays["head.lin_5.bias"] = np.zeros(64)
    before = [array(weight) for weight in network.weights]
    with pytest.raises(ValueError, match="Nothing was loaded") as error:
        models.load_published_weights(network, arrays)
    message = str(error.value)
    assert "1 missing:\n  s2.pathway0_res0.branch2.se.fc1.weight\n" in message
    assert "1 unexpected:\n  head.lin_5.bias\n" in message
    assert "branch2.b.weight: (36, 1, 1, 3, 3), expected (36, 1, 3, 3, 3)" in message
    for weight, same in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(array(weight), same)


def test_a_classifier_of_other_classes():
    arrays = formula.x3d_arrays(models.published_shapes(make()))
    network = make(classes=5)
    kernel = array(network.get_layer("head-projection").kernel)
    with pytest.raises(ValueError, match=r"trained on 3 classes, .* has 5. Use skip_head=True"):
        models.load_published_weights(network, arrays)
    with pytest.warns(UserWarning, match="keeps its own weights"):
        models.load_published_weights(network, arrays, skip_head=True)
    np.testing.assert_array_equal(array(network.get_layer("head-projection").kernel), kernel)
    lin_5 = array(network.get_layer("head-lin_5").kernel)
    np.testing.assert_array_equal(lin_5, arrays["head.lin_5.weight"][:, :, 0, 0, 0].T)


def test_initial_weights():
    network = make()
    for layer in network.layers:
        if isinstance(layer, models.SubBatchNormalization):
            expected = 0 if layer.name.endswith("branch2-c_bn") else 1
            np.testing.assert_array_equal(array(layer.gamma), expected)
    # Standard deviations: sqrt(2 / fan out), that of depth-wise filters being 27 x channels.
    for name, std in {
        "s5-pathway0_res0-branch2-b": (2 / (27 * 144)) ** 0.5,
        "s5-pathway0_res0-branch2-a": (2 / 144) ** 0.5,
        "s5-pathway0_res0-branch2-se-fc2": (2 / 144) ** 0.5,
        "head-lin_5": (2 / 64) ** 0.5,
    }.items():
        assert array(network.get_layer(name).kernel).std() == pytest.approx(std, rel=0.1)
    fc1 = network.get_layer("s5-pathway0_res0-branch2-se-fc1")
    np.testing.assert_array_equal(array(fc1.bias), 0)
    assert array(network.get_layer("head-projection").kernel).std() == pytest.approx(0.01, rel=0.2)


def test_weight_decay_leaves_normalization_alone_out():
    network = make(weight_decay=0.01)
    expected = sum(
        0.005 * np.sum(np.square(array(weight), dtype="float64"))
        for weight in network.trainable_weights
        if weight.name in ("kernel", "bias")
    )
    total = sum(float(array(loss)) for loss in network.losses)
    assert total == pytest.approx(expected, rel=1e-5)
    assert make(weight_decay=0).losses == []


# Sizes and groups. tests/models/test_saving.py has precisions and files.


@pytest.mark.slow
def test_any_size():
    network = make(blocks=(1, 1, 1, 1))
    network.compile("sgd", "sparse_categorical_crossentropy")
    for batch, frames, crop in ((1, 1, 45), (2, 2, 80), (1, 3, 113), (3, 4, 7)):
        network.check_clip_size(frames, crop)
        shape = (batch, frames, crop, crop, 3)
        clips = np.random.default_rng(0).normal(size=shape).astype("float32")
        # Graphs of predictions: test_sizes_of_the_stages, and test_export.py for many sizes.
        scores = array(network(clips, training=False))
        np.testing.assert_allclose(scores.sum(axis=1), np.ones(batch), rtol=1e-5)
        assert np.isfinite(network.train_on_batch(clips, np.arange(batch) % 3))


def test_sizes_of_the_stages():
    network = make()
    outputs = [network.get_layer(f"s{n}-pathway0_res0-relu").output for n in (2, 3, 4, 5)]
    features = keras.Model(network.inputs, outputs).predict_on_batch(clip(3, 45, 1))
    # Halved and rounded up: 23 after the stem.
    assert [tuple(x.shape) for x in features] == [
        (1, 3, 12, 12, 8),
        (1, 3, 6, 6, 16),
        (1, 3, 3, 3, 32),
        (1, 3, 2, 2, 64),
    ]


def test_features_without_classifier():
    network = make(include_top=False)
    assert network(clip(2, 45, 1)).shape == (1, 64)
    with pytest.raises(ValueError, match="use include_top=True"):
        network.fully_convolutional(2, 45)


def test_larger_clips_in_training_size_windows():
    network = awakened(make())
    tested = network.fully_convolutional(4, 64)
    assert_close(array(tested(clip(4, 64, 1))), array(network(clip(4, 64, 1))))
    # Stage 5 has 2 x 2 positions at 64 pixels, 3 x 3 at 65.
    larger = array(tested(clip(4, 65, 2)))
    assert larger.sum() == pytest.approx(1, abs=1e-4)
    assert np.abs(larger - array(network(clip(4, 65, 2)))).max() > 1e-6


def test_groups_are_normalized_apart():
    """In training, clips of one group do not see those of another."""
    network = awakened(make(dropout=0.0))
    for layer in network.layers:
        if isinstance(layer, models.SubBatchNormalization):
            layer.groups.assign(2)
    clips = np.random.default_rng(0).normal(size=(4, 2, 32, 32, 3)).astype("float32")
    others = np.concatenate([clips[:2], clips[2:] + 1])
    scores, same = (array(network(x, training=True)) for x in (clips, others))
    np.testing.assert_allclose(scores[:2], same[:2], atol=1e-5)
    assert np.abs(scores[2:] - same[2:]).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (1, 1)}, "`blocks` must hold .* four stages"),
        ({"blocks": None, "depth": 0}, r"`depth` must be positive. Received: depth=0. .* is 2.2"),
        ({"width": -8}, r"`width` must be positive. Received: width=-8. The published one is 24"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_misspelt_and_foreign_arguments():
    with pytest.raises(TypeError, match="non_local"):
        models.create("x3d_s", non_local=True)
