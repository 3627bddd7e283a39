"""VideoMAE: against figures of transformers' (videomae.npz), on any grid, and its weights' forms.

The figures are those of transformers 5.24 and PyTorch 2.13 for `VideoMAEForVideoClassification` of
four blocks, with weights and clips of the formulas. Its last normalization had the epsilon of the
official code, 1e-6; transformers leaves PyTorch's.
"""

import pathlib

import checkpoint_files
import formula
import keras
import numpy as np
import pytest
import transformer_formula

from keras_multigrid import layers, models, runs
from keras_multigrid.models.weights.published import (
    load_published_weights,
    published_arrays,
    published_shapes,
)
from keras_multigrid.optimizers import LayerDecay, not_bias_or_normalization
from keras_multigrid.runs.frozen import freeze

PUBLISHED = np.load(pathlib.Path(__file__).parent / "videomae.npz")
SMALL = {"classes": 5, "blocks": (1, 1, 1, 1), "width": 32, "heads": 2, "base": (8, 48)}
CLIP = np.concatenate([formula.clip(48, frames=8, seed=seed) for seed in (1, 2)])


def make(**settings):
    keras.utils.set_random_seed(0)
    return models.VideoMAE(**{**SMALL, "init_scale": 10.0, **settings})


def array(tensor):
    return keras.ops.convert_to_numpy(tensor).astype("float32")


def run(network, clip=CLIP):
    return array(network(clip, training=False))


def hugging_face_arrays():
    """Weights by the keys of transformers, which the figures were made with."""
    sizes = {
        "attention.attention.query": (32, 32),
        "attention.attention.key": (32, 32),
        "attention.attention.value": (32, 32),
        "attention.output.dense": (32, 32),
        "intermediate.dense": (128, 32),
        "output.dense": (32, 128),
        "layernorm_before": (32,),
        "layernorm_after": (32,),
    }
    layer = "videomae.encoder.layer.{}.{}"
    weights = {layer.format(n, name): size for n in range(4) for name, size in sizes.items()}
    weights["videomae.embeddings.patch_embeddings.projection"] = (32, 3, 2, 16, 16)
    weights |= {"fc_norm": (32,), "classifier": (5, 32)}
    shapes = {}
    for name, size in weights.items():
        shapes[f"{name}.weight"] = size
        if not name.endswith("attention.key"):
            shapes[f"{name}.bias"] = size[:1]
    return transformer_formula.arrays(shapes)


@pytest.fixture(scope="module")
def published():
    network = make(classifier_activation=None)
    load_published_weights(network, hugging_face_arrays())
    return network


# The reference.


def test_outputs_of_the_reference(published):
    share = 1e-4 if keras.backend.backend() == "tensorflow" else 2e-4
    names = ("s1-positions", *(f"s{n + 2}-blocks-{n}" for n in range(4)))
    states = [published.get_layer(name).output for name in names]
    *states, logits = keras.Model(published.inputs, [*states, published.output])(CLIP)
    np.testing.assert_allclose(array(logits), PUBLISHED["logits"], rtol=0, atol=share)
    for state, stats in zip(states, PUBLISHED["stats"], strict=True):
        state = array(state)
        actual = [state.mean(), state.std(), np.abs(state).max(), *state.ravel()[:5]]
        np.testing.assert_allclose(actual, stats, rtol=0, atol=share * stats[2])


def test_positions_are_the_published_table():
    table = array(layers.SinusoidalPositions((8, 14, 14))(np.zeros((1, 8, 14, 14, 768))))
    # Of transformers: places 0, 1, 777 and 1567; channels 0, 1, 2, 400 and 767.
    expected = [
        [0.0, 1.0, 0.0, 0.0, 1.0],
        [0.8414709568023682, 0.5403022766113281, 0.8284307718276978, 0.008253947831690311, 1.0],
        [-0.8555511832, -0.5177181959, -0.9940164685, 0.1298376173, 0.9968346954],
        [0.6089484096, -0.7932098508, 0.0932316259, 0.3594822288, 0.9871468544],
    ]
    actual = table.reshape(1568, 768)[[0, 1, 777, 1567]][:, [0, 1, 2, 400, 767]]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-7)


def test_positions_are_interpolated():
    layer = layers.SinusoidalPositions((1, 2, 2))
    # Sines and cosines of 0, 1, 2 and 3 at the corners.
    sines, cosines = [0, 0.841471, 0.909297, 0.14112], [1, 0.540302, -0.416147, -0.989992]
    whole = array(layer(np.zeros((1, 1, 2, 2, 2))))
    np.testing.assert_allclose(whole[0, 0, ..., 0].ravel(), sines, rtol=0, atol=1e-6)
    np.testing.assert_allclose(whole[0, 0, ..., 1].ravel(), cosines, rtol=0, atol=1e-6)
    # A column lies between two.
    rows = array(layer(np.zeros((1, 3, 2, 1, 2))))
    np.testing.assert_allclose(rows[0, 2, :, 0, 0], [0.4207355, 0.5252085], rtol=0, atol=1e-6)
    # The first and the last of four rows are at the ends; those between, a quarter of the way in.
    rows = array(layer(np.zeros((1, 1, 4, 1, 2))))[0, 0, :, 0, 0]
    expected = [0.4207355, 0.44685375, 0.49909025, 0.5252085]
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters", "giga"),
    # Published: 22 and 87 million, 57 and 180 GFLOPs a view.
    [("videomae_s_16x4", 22_033_936, 56.878), ("videomae_b_16x4", 86_534_800, 180.345)],
)
def test_parameters_and_multiply_adds(name, parameters, giga):
    network = models.create(name)
    assert network.name == name
    assert network.parameter_count == parameters
    assert network.multiply_adds(16, 224) / 1e9 == pytest.approx(giga, abs=0.001)
    # A quarter of the frames and half the crop.
    assert network.multiply_adds(4, 112) < network.multiply_adds(16, 224) / 16
    assert network.multiply_adds(3, 97) == network.multiply_adds(4, 112)
    if name == "videomae_s_16x4":
        assert published_shapes(network) == official_shapes(384, classes=400)


def official_shapes(width, classes):
    """Keys and shapes of the official repository's classifier of 12 blocks."""
    of_block = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.q_bias": (width,),
        "attn.v_bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
    }
    blocks = {f"blocks.{n}.{key}": shape for n in range(12) for key, shape in of_block.items()}
    return blocks | {
        "patch_embed.proj.weight": (width, 3, 2, 16, 16),
        "patch_embed.proj.bias": (width,),
        "fc_norm.weight": (width,),
        "fc_norm.bias": (width,),
        "head.weight": (classes, width),
        "head.bias": (classes,),
    }


def test_initial_weights():
    arrays = published_arrays(make(init_scale=0.001))
    for key, values in arrays.items():
        if key.endswith("bias"):
            np.testing.assert_array_equal(values, 0)
        elif values.ndim == 1:
            np.testing.assert_array_equal(values, 1)
        else:
            stddev = 2e-5 if key == "head.weight" else 0.02
            assert values.std() == pytest.approx(stddev, rel=0.1), key


# Weights.


def official_arrays():
    """The same weights by the keys of the official classifiers."""
    network = make()
    load_published_weights(network, hugging_face_arrays())
    return published_arrays(network)


def test_official_keys_and_older_ones_of_transformers(published):
    arrays = official_arrays()
    assert arrays["blocks.3.attn.qkv.weight"].shape == (96, 32)
    older = {
        key.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): values
        for key, values in hugging_face_arrays().items()
    }
    assert "videomae.encoder.layer.0.attention.attention.q_bias" in older
    for source in (arrays, older, {f"module.{key}": values for key, values in arrays.items()}):
        network = make(classifier_activation=None)
        load_published_weights(network, source)
        np.testing.assert_array_equal(run(network), run(published))


@pytest.mark.parametrize("where", ["model", "module", "model_state"])
def test_official_files(where, tmp_path):
    path, arrays = str(tmp_path / "checkpoint.pth"), official_arrays()
    # Of the training, which is not read.
    settings = checkpoint_files.Settings(batch_size=6, opt_betas=[0.9, 0.999])
    checkpoint_files.write_pytorch(path, arrays, where=where, args=settings, names={3})
    network = make()
    load_published_weights(network, path)
    for key, values in published_arrays(network).items():
        np.testing.assert_array_equal(values, arrays[key])


def test_files_of_safetensors(published, tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint_files.write_safetensors(str(path), hugging_face_arrays())
    network = make(classifier_activation=None)
    load_published_weights(network, path)
    np.testing.assert_array_equal(run(network), run(published))


@pytest.mark.parametrize("form", ["official", "transformers"])
def test_networks_that_learnt_to_fill_in(form):
    """The decoder is left out, and so is the encoder's normalization; the head is new."""
    ones = np.ones(32, "float32")
    if form == "official":
        arrays = {f"module.encoder.{key}": values for key, values in official_arrays().items()}
        heads = ("module.encoder.fc_norm", "module.encoder.head")
        others = ("module.encoder.norm.weight", "module.decoder.blocks.0.norm1.weight")
        others += ("module.encoder_to_decoder.weight", "module.mask_token")
    else:
        arrays, heads = hugging_face_arrays(), ("fc_norm", "classifier")
        others = ("videomae.layernorm.bias", "decoder.norm.weight", "mask_token")
    arrays = {key: values for key, values in arrays.items() if not key.startswith(heads)}
    arrays |= dict.fromkeys(others, ones)
    network = make()
    before = published_arrays(network)
    with pytest.raises(ValueError, match=r"4 missing:\n  fc_norm.bias\n  fc_norm.weight\n  head"):
        load_published_weights(network, arrays)
    for skip_head in (None, True):
        with pytest.warns(UserWarning, match="keeps its own weights"):
            load_published_weights(network, arrays, skip_head=skip_head)
    expected = official_arrays()
    for key, values in published_arrays(network).items():
        is_head = key.startswith(("head", "fc_norm"))
        np.testing.assert_array_equal(values, (before if is_head else expected)[key])


def test_another_classifier():
    arrays, network = official_arrays(), make(classes=7)
    with pytest.raises(ValueError, match=r"trained on 5 classes, video_mae\w* has 7. Use skip_he"):
        load_published_weights(network, arrays)
    with pytest.warns(UserWarning, match="keeps its own weights"):
        load_published_weights(network, arrays, skip_head=None)
    np.testing.assert_array_equal(
        published_arrays(network)["fc_norm.weight"], arrays["fc_norm.weight"]
    )
    features = make(include_top=False)
    load_published_weights(features, arrays, skip_head=None)
    assert run(features).shape == (2, 32)


def test_what_does_not_fit_is_refused():
    arrays = official_arrays()
    arrays["pos_embed"] = np.zeros((1, 36, 32), "float32")
    del arrays["blocks.2.attn.qkv.weight"]
    with pytest.raises(ValueError, match=r"1 missing:\n  blocks.2.attn.qkv.*\n1 unexpected:\n "):
        load_published_weights(make(), arrays)
    arrays = hugging_face_arrays()
    del arrays["videomae.encoder.layer.1.attention.attention.key.weight"]
    with pytest.raises(ValueError, match=r"missing:\n  blocks.1.attn.qkv.weight"):
        load_published_weights(make(), arrays)


@pytest.mark.parametrize("other", ["module.head.bias", "encoder.head.bias", "classifier.bias"])
def test_two_arrays_for_one_are_refused(other):
    arrays = official_arrays()
    with pytest.raises(ValueError, match=rf"stand for head\.bias: head\.bias and {other}"):
        load_published_weights(make(), {**arrays, other: 0 * arrays["head.bias"]})


@pytest.mark.parametrize("rows", [(16, 48, 32), (0, 64, 32)])
def test_queries_keys_and_values_of_other_sizes_are_refused(rows):
    """Together they have the right size."""
    arrays = hugging_face_arrays()
    stem = "videomae.encoder.layer.0.attention.attention"
    for name, size in zip(("query", "key", "value"), rows, strict=True):
        arrays[f"{stem}.{name}.weight"] = np.zeros((size, 32), "float32")
    with pytest.raises(ValueError, match=r"missing:\n  blocks.0.attn.qkv.weight"):
        load_published_weights(make(), arrays)


def test_queries_in_both_forms_are_refused():
    stem = "blocks.0.attn"
    both = dict.fromkeys((f"{stem}.{n}.weight" for n in ("query", "key", "value")), np.eye(32))
    with pytest.raises(ValueError, match=rf"unexpected:\n  {stem}\.key\.weight"):
        load_published_weights(make(), {**official_arrays(), **both})


# Grids.


def test_any_grid():
    network = make()
    for frames, crop in ((2, 32), (3, 33), (9, 79)):
        network.check_clip_size(frames, crop)
        clip = formula.clip(crop, frames=frames, seed=1)
        outputs = run(network, clip)
        assert outputs.shape == (1, 5)
        # One graph of open sizes on TensorFlow, one for each grid on JAX.
        np.testing.assert_allclose(network.predict_on_batch(clip), outputs, rtol=0, atol=1e-5)


def test_tubelets_cover_the_clip():
    """Edges are repeated: the last frame, and rows and columns on both sides."""
    network = make()
    clip = formula.clip(45, frames=5, seed=1)
    whole = np.pad(clip, ((0, 0), (0, 1), (1, 2), (1, 2), (0, 0)), mode="edge")
    assert whole.shape == (1, 6, 48, 48, 3)
    np.testing.assert_allclose(run(network, clip), run(network, whole), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 48), (8, 31)])
def test_clips_that_are_too_small(size):
    with pytest.raises(ValueError, match=r"VideoMAE takes clips of at least (2 frames|32 pixels)"):
        make().check_clip_size(*size)


def test_larger_clips_are_seen_whole():
    network = make()
    assert network.fully_convolutional(8, 32) is network
    with pytest.raises(ValueError, match="use include_top=True"):
        make(include_top=False).fully_convolutional(8, 32)


# Training.


def train(network, steps=2):
    network.compile(
        keras.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        jit_compile=keras.backend.backend() == "jax",
    )
    clips = np.repeat(CLIP[:1], 4, axis=0)
    clips = clips * np.array([1, -1, 2, 0.5])[:, None, None, None, None]
    return [float(network.train_on_batch(clips, np.array([0, 1, 2, 0]))) for _ in range(steps)]


def test_activations_that_are_computed_twice():
    """The same steps, also where random numbers are drawn; and all weights learn."""
    networks = [make(remat=remat, drop_path=0.5) for remat in (False, True)]
    start = published_arrays(networks[0])
    losses = [train(network) for network in networks]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    one, other = map(published_arrays, networks)
    for key, values in one.items():
        np.testing.assert_allclose(values, other[key], rtol=1e-4, atol=1e-6)
        assert np.abs(values - start[key]).max() > 0, key


def test_stages_freeze_and_learn_at_their_rates():
    network = make()
    freeze(network, runs.AllBut(("s5", "head")))
    learning = {variable.path.split("/")[0] for variable in network.trainable_variables}
    assert learning == {"s5-blocks-3", "head-norm", "head-projection"}
    rates = {v.path.split("/")[0]: LayerDecay(0.5)(v.path) for v in network.weights}
    assert rates == {
        "s1-patch_embed": 1 / 32,
        "s2-blocks-0": 1 / 16,
        "s3-blocks-1": 1 / 8,
        "s4-blocks-2": 1 / 4,
        "s5-blocks-3": 1 / 2,
        "head-norm": 1,
        "head-projection": 1,
    }


def test_what_weight_decay_applies_to():
    decayed = {v.name for v in make().weights if not_bias_or_normalization(v.path)}
    assert decayed == {"kernel"}


def test_a_penalty_for_kernels():
    network = make(weight_decay=0.1)
    kernels = sum(np.sum(array(v) ** 2) for v in network.weights if v.name == "kernel")
    assert float(sum(network.losses)) == pytest.approx(0.05 * kernels, rel=1e-4)


# Precision, files.


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_saved_and_loaded(dtype, tmp_path):
    network = make(dtype=dtype, weight_decay=0.1)
    network.get_layer("s3-blocks-1").trainable = False
    network.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy) is models.VideoMAE
    assert copy.get_config() == network.get_config()
    np.testing.assert_array_equal(run(copy), run(network))
    assert [layer.name for layer in copy.layers if not layer.trainable] == ["s3-blocks-1"]


def test_bfloat16():
    network, full = make(dtype="mixed_bfloat16"), make()
    assert {weight.dtype for weight in network.trainable_variables} == {"float32"}
    assert network.get_layer("s3-blocks-1").attn.qkv.compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(network(CLIP).dtype) == "float32"
    np.testing.assert_allclose(run(network), run(full), atol=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (1, 1)}, "`blocks` must hold"),
        ({"blocks": 4}, "`blocks` must hold"),
        ({"base": (8, 48, 48)}, "`base` must be frames and crop"),
        ({"width": 9, "heads": 2}, "`width` must be a multiple of `heads`"),
        ({"drop_path": 1}, "`rate` must be below 1"),
        ({"init_scale": 0}, "`init_scale` must be"),
        ({"base": (1, 48)}, "`base frames` must be an integer of at least 2"),
        ({"base": (8, 31)}, "`base crop` must be an integer of at least 32"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)
