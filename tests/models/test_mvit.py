"""Multiscale transformers: against figures of the reference (mvit.npz), and on any grid."""

import hashlib
import pathlib

import formula
import keras
import ml_dtypes
import numpy as np
import pytest
import transformer_formula

from keras_multigrid import models, runs
from keras_multigrid.models.weights.published import (
    load_published_weights,
    published_arrays,
    published_shapes,
)
from keras_multigrid.optimizers import LayerDecay, not_bias_or_normalization
from keras_multigrid.runs.frozen import freeze

PUBLISHED = np.load(pathlib.Path(__file__).parent / "mvit.npz")
SMALL = {"classes": 3, "blocks": (1, 1, 1, 1), "width": 8, "base": (8, 48)}
V1 = {
    "pools_all_queries": False,
    "residual_pooling": False,
    "positions": "absolute",
    "widens_in": "perceptron",
}
KINDS = {"v2": {}, "v1": V1, "no token": {"class_token": False}}
# torch.nn.functional.interpolate of the squares of 1 to 64: 8 x 8 to 12 x 12, bicubic.
FIRST_ROW = [-6.084301, -5.4774327, -3.7726371, -1.6995914]
SIXTH_ROW = [892.36, 927.03857, 970.93976]
CLIP = formula.clip(48, frames=8, seed=1)


def make(kind="v2", **settings):
    keras.utils.set_random_seed(0)
    return models.MViT(**{**SMALL, **KINDS[kind], **settings})


def array(tensor):
    return keras.ops.convert_to_numpy(tensor).astype("float32")


def run(network, clip=CLIP):
    return array(network(clip, training=False))


# The reference.


@pytest.fixture(scope="module")
def published():
    network = models.create("mvitv2_s_16x4", classifier_activation=None)
    load_published_weights(network, transformer_formula.arrays(published_shapes(network)))
    return network


def test_keys_and_shapes(published):
    lines = sorted(f"{key} {shape}" for key, shape in published_shapes(published).items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert len(lines) == 397
    assert digest == "055dd4655c200da8f952545a1da4850a4e9214cb6cd91b75825402f17c4b8a2c"


@pytest.mark.parametrize(
    ("figure", "frames", "crop"),
    [("train_size_b", 16, 224), ("t4_s160", 4, 160), ("t4_s158_direct", 4, 158)],
)
def test_outputs_of_the_reference(published, figure, frames, crop):
    share = 1e-4 if keras.backend.backend() == "tensorflow" else 2e-4
    blocks = [layer.output for layer in published.layers if "-blocks-" in layer.name]
    of_all = keras.Model(published.inputs, [blocks, published.output])
    clip = formula.clip(crop, frames=frames, seed=2)
    # JAX compiles either the whole or each operation apart, which takes longer.
    is_compiled = keras.backend.backend() == "jax"
    states, logits = of_all.predict_on_batch(clip) if is_compiled else of_all(clip, training=False)
    expected = PUBLISHED[f"{figure}_mean_logits"]
    np.testing.assert_allclose(array(logits), expected, rtol=0, atol=share * np.abs(expected).max())
    grids = [tuple(features.shape[1:4]) for features, token in states]
    np.testing.assert_array_equal(grids, PUBLISHED[f"{figure}_blocks_thw"])
    for (features, token), stats in zip(states, PUBLISHED[f"{figure}_blocks_stats"], strict=True):
        width = features.shape[-1]
        tokens = np.concatenate([array(token), array(features).reshape(1, -1, width)], axis=1)
        actual = [tokens.mean(), tokens.std(), np.abs(tokens).max(), *tokens.ravel()[:5]]
        np.testing.assert_allclose(actual, stats, rtol=0, atol=share * stats[2])


@pytest.mark.parametrize(
    ("name", "parameters", "entries", "costs"),
    [
        (
            "mvitv2_s_16x4",
            34_537_744,
            397,
            # Convolutions, linear layers and products of attention, in 10^9, by fvcore.
            {
                (16, 224): (1.605, 47.895, 14.526),
                (8, 160): (0.409, 12.244, 0.957),
                (4, 112): (0.103, 3.118, 0.071),
            },
        ),
        (
            "mvitv2_b_32x3",
            51_230_128,
            589,
            {(32, 224): (3.709, 140.164, 80.009), (8, 112): (0.239, 9.1, 0.396)},
        ),
        (
            "mvit_b_16x4_conv",
            36_610_672,
            313,
            {(16, 224): (1.336, 54.833, 14.43), (4, 160): (0.17, 7.025, 0.238)},
        ),
        ("mvit_b_32x3_conv", 53_115_280, 439, {}),
    ],
)
def test_parameters_and_multiply_adds(name, parameters, entries, costs):
    network = models.create(name)
    assert network.name == name
    assert network.parameter_count == parameters
    assert len(published_shapes(network)) == entries
    for size, parts in costs.items():
        # Each of the three is rounded.
        assert network.multiply_adds(*size) / 1e9 == pytest.approx(sum(parts), abs=0.0016)


def test_tables_of_a_model_that_is_built_for_another_size():
    # As the reference counts them.
    assert models.create("mvitv2_s_16x4", base=(4, 112)).parameter_count == 34_464_016
    assert models.create("mvit_b_16x4_conv", base=(8, 160)).parameter_count == 36_462_832


# Weights.


def test_tables_of_another_size_are_interpolated():
    shapes = published_shapes(make("v1", base=(4, 32)))
    assert shapes["pos_embed_spatial"] == (1, 64, 8)
    arrays = transformer_formula.arrays(shapes)
    # Squares of 1 to 64, by rows.
    arrays["pos_embed_spatial"] = np.repeat(np.arange(1, 65.0)[None, :, None] ** 2, 8, axis=2)
    arrays["pos_embed_temporal"] = np.repeat(np.array([0.0, 1])[None, :, None], 8, axis=2)
    network = make("v1", base=(8, 48))
    load_published_weights(network, arrays)
    loaded = published_arrays(network)
    np.testing.assert_allclose(
        loaded["pos_embed_temporal"][0, :, 0], [0, 0.25, 0.75, 1], rtol=0, atol=1e-6
    )
    spatial = loaded["pos_embed_spatial"][0, :, 0].reshape(12, 12)
    np.testing.assert_allclose(spatial[0, :4], FIRST_ROW, rtol=0, atol=1e-3)
    np.testing.assert_allclose(spatial[5, 5:8], SIXTH_ROW, rtol=1e-5)
    np.testing.assert_array_equal(loaded["cls_token"], arrays["cls_token"])


# NumPy has no bfloat16 of its own.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), (ml_dtypes.bfloat16, 0.01)])
def test_relative_tables_of_another_size_are_interpolated(dtype, tolerance):
    arrays = published_arrays(make(base=(8, 32)))
    key = "blocks.0.attn.rel_pos_h"
    assert arrays[key].shape == (15, 8)
    arrays[key] = np.repeat(np.arange(15.0)[:, None], 8, axis=1).astype(dtype)
    network = make(base=(8, 48))
    load_published_weights(network, arrays)
    loaded = published_arrays(network)[key]
    # Rows of 15 at the centres of 23.
    expected = np.clip((np.arange(23) + 0.5) * 15 / 23 - 0.5, 0, 14)
    np.testing.assert_allclose(loaded[:, 3], expected, rtol=tolerance)


def test_what_does_not_fit_is_refused():
    network = make("v1")
    arrays = published_arrays(make("v1", width=16))
    with pytest.raises(ValueError, match=r"pos_embed_spatial: \(1, 144, 16\), expected"):
        load_published_weights(network, arrays)
    arrays = published_arrays(network)
    arrays["pos_embed_spatial"] = arrays["pos_embed_spatial"][:, :143]
    with pytest.raises(ValueError, match=r"1 of another shape:\n  pos_embed_spatial"):
        load_published_weights(network, arrays)
    del arrays["pos_embed_spatial"], arrays["blocks.3.attn.pool_k.weight"]
    with pytest.raises(ValueError, match=r"2 missing:\n  blocks.3.attn.pool_k.weight\n  pos_"):
        load_published_weights(network, arrays)


def test_another_classifier():
    arrays = published_arrays(make())
    network = make(classes=5)
    with pytest.warns(UserWarning, match="keeps its own weights"):
        load_published_weights(network, arrays, skip_head=None)
    np.testing.assert_array_equal(published_arrays(network)["norm.bias"], arrays["norm.bias"])


def test_initial_weights():
    arrays = published_arrays(models.create("mvitv2_s_16x4"))
    for key, values in arrays.items():
        if key == "patch_embed.proj.bias":
            # Uniform over 1 / sqrt(3 * 7 * 7 * 3).
            assert 0.03 < np.abs(values).max() <= 0.04763
        elif key.endswith("bias"):
            np.testing.assert_allclose(values, 0.02)
        elif values.ndim == 1:
            np.testing.assert_array_equal(values, 1)
        else:
            assert values.std() == pytest.approx(0.02, rel=0.3), key


# Grids.


@pytest.mark.parametrize("kind", KINDS)
def test_any_grid(kind):
    network = make(kind)
    for frames, crop in ((2, 32), (3, 33), (5, 45), (9, 79)):
        network.check_clip_size(frames, crop)
        clip = formula.clip(crop, frames=frames, seed=1)
        outputs = run(network, clip)
        assert outputs.shape == (1, 3)
        # One graph of open sizes on TensorFlow, one for each grid on JAX.
        np.testing.assert_allclose(network.predict_on_batch(clip), outputs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 48), (8, 31)])
def test_clips_that_are_too_small(size):
    with pytest.raises(ValueError, match=r"MViT takes clips of at least (2 frames|32 pixels)"):
        make().check_clip_size(*size)


def test_the_size_of_the_tables_leaves_what_is_seen_alike():
    # On a constant table, interpolation changes nothing.
    small, large = make("v1", base=(4, 32)), make("v1", base=(8, 48))
    arrays = published_arrays(small)
    for key in arrays:
        if key.startswith("pos_embed"):
            arrays[key] = np.full_like(arrays[key], 0.3)
    for network in (small, large):
        load_published_weights(network, arrays)
    np.testing.assert_allclose(run(small), run(large), rtol=1e-5)


def test_larger_clips_are_seen_whole():
    network = make()
    assert network.fully_convolutional(8, 32) is network
    with pytest.raises(ValueError, match="use include_top=True"):
        make(include_top=False).fully_convolutional(8, 32)


@pytest.mark.parametrize(("kind", "features"), [("v2", 64), ("no token", 64)])
def test_features_without_classifier(kind, features):
    assert run(make(kind, include_top=False)).shape == (1, features)


# Training.


def train(network, steps=2):
    network.compile(
        keras.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        jit_compile=keras.backend.backend() == "jax",
    )
    clips = np.repeat(CLIP, 4, axis=0) * np.array([1, -1, 2, 0.5])[:, None, None, None, None]
    labels = np.array([0, 1, 2, 0])
    return [float(network.train_on_batch(clips, labels)) for _ in range(steps)]


@pytest.mark.slow
def test_activations_that_are_computed_twice():
    """The same steps, also where random numbers are drawn."""
    networks = [make(remat=remat, drop_path=0.5, dropout=0.0) for remat in (False, True)]
    start = published_arrays(networks[0])
    losses = [train(network) for network in networks]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    one, other = map(published_arrays, networks)
    for key, values in one.items():
        np.testing.assert_allclose(values, other[key], rtol=1e-4, atol=1e-6)
    still = {key for key, values in one.items() if np.abs(values - start[key]).max() < 1e-7}
    # The first adds the same number to all logits of a query. The others concern the patches of the
    # last block alone, which the class token does not see.
    last = "blocks.3.attn."
    unseen = {f"{last}pool_q.weight", *(f"{last}rel_pos_{axis}" for axis in "thw")}
    assert all(key.endswith("norm_k.bias") or key in unseen for key in still), still


def test_stages_freeze_and_learn_at_their_rates():
    network = make()
    freeze(network, runs.AllBut(("s5", "head")))
    learning = {variable.path.split("/")[0] for variable in network.trainable_variables}
    assert learning == {"s5-blocks-3", "head-norm", "head-projection"}
    rates = {v.path.split("/")[0]: LayerDecay(0.5)(v.path) for v in network.weights}
    assert rates["s1-cls_token"] == 1 / 32
    assert rates["s3-blocks-1"] == 1 / 8
    assert rates["head-norm"] == 1
    # By blocks.
    stages = ("s1", *(f"s.-blocks-{index}" for index in range(16)), "head")
    assert LayerDecay(0.5, stages)("s4-blocks-13/mlp-fc1/kernel") == 1 / 8


def test_what_weight_decay_applies_to():
    decayed = {v.name for v in make("v1").weights if not_bias_or_normalization(v.path)}
    # Positions and class token as published.
    assert decayed == {"kernel", "token", "spatial", "temporal", "class"}
    decayed = {v.name for v in make().weights if not_bias_or_normalization(v.path)}
    assert decayed == {"kernel", "token", "t", "h", "w"}


def test_a_penalty_for_kernels():
    network = make(weight_decay=0.1)
    kernels = sum(np.sum(array(v) ** 2) for v in network.weights if v.name == "kernel")
    assert float(sum(network.losses)) == pytest.approx(0.05 * kernels, rel=1e-4)


# Precision, files.


@pytest.mark.parametrize(
    ("kind", "dtype"), [("v2", "mixed_bfloat16"), ("v1", "float32"), ("no token", "float32")]
)
def test_saved_and_loaded(kind, dtype, tmp_path):
    network = make(kind, dtype=dtype)
    network.get_layer("s3-blocks-1").trainable = False
    block = network.get_layer("s2-blocks-0")
    # Inside of a layer, one of two with its name.
    block.attn.proj.trainable = False
    network.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy) is models.MViT
    assert copy.get_config() == network.get_config()
    np.testing.assert_array_equal(run(copy), run(network))
    assert [layer.name for layer in copy.layers if not layer.trainable] == ["s3-blocks-1"]
    read = copy.get_layer("s2-blocks-0")
    assert not read.attn.proj.trainable and read.attn.qkv.trainable and read.trainable
    assert len(copy.trainable_variables) == len(network.trainable_variables)


def test_bfloat16():
    network, full = make(dtype="mixed_bfloat16"), make()
    assert {weight.dtype for weight in network.trainable_variables} == {"float32"}
    assert network.get_layer("s3-blocks-1").attn.qkv.compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(network(CLIP).dtype) == "float32"
    np.testing.assert_allclose(run(network), run(full), atol=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (1, 1)}, "`blocks` must hold"),
        ({"blocks": 4}, "`blocks` must hold"),
        ({"base": (8, 48, 48)}, "`base` must be frames and crop"),
        ({"width": 9, "heads": 2}, "`width` must be a multiple of `heads`"),
        ({"kernel": (2, 3, 3)}, "`kernel` must be three odd sizes"),
        ({"positions": "sine"}, "`positions` must be one of 'relative', 'absolute'"),
        ({"widens_in": "mlp"}, "`widens_in` must be one of"),
        ({"drop_path": 1}, "`rate` must be below 1"),
        ({"base": (8, 31)}, "`base crop` must be an integer of at least 32"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)
