"""Networks outside of training: saved, loaded, exported, in other precisions."""

import formula
import keras
import numpy as np
import pytest

from keras_multigrid import models

SMALL = {"classes": 3, "blocks": (1, 1, 2, 1), "width": 8}
KINDS = {
    "c2d": (models.C2D, {}),
    "i3d": (models.I3D, {"non_local": ((), (0,), (1,), ())}),
    "slow": (models.Slow, {"non_local": ((), (0,), (), ())}),
    "x3d": (models.X3D, {}),
    "slowfast": (models.SlowFast, {"alpha": 2, "fusion_kernel": 5, "temporal_blocks": (1, 2)}),
}
CLIP = formula.clip(40, frames=8, seed=1)


def make(kind, **settings):
    keras.utils.set_random_seed(0)
    network, others = KINDS[kind]
    return network(**{**SMALL, **others, **settings})


def run(network, clip=CLIP):
    return keras.ops.convert_to_numpy(network(clip, training=False)).astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(kind, dtype, tmp_path):
    network = make(kind, dtype=dtype)
    frozen = "s3-pathway0_res0-branch2-a"
    network.get_layer(frozen).trainable = False
    expected = run(network)
    network.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy) is type(network)
    assert copy.get_config() == network.get_config()
    np.testing.assert_array_equal(run(copy), expected)
    assert copy.get_layer(frozen).compute_dtype == network.compute_dtype
    assert [x.name for x in copy.layers if not x.trainable] == [frozen]
    assert len(copy.trainable_variables) == len(network.trainable_variables)
    assert (copy.min_frames, copy.frame_multiple) == (network.min_frames, network.frame_multiple)


# Of their layers, each is in the other two.
FEW = [pytest.param(k, marks=pytest.mark.every) if k in ("c2d", "slow") else k for k in KINDS]


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", FEW)
def test_mixed_precision(kind, dtype):
    if dtype == "mixed_float16" and keras.backend.backend() == "tensorflow":
        # TensorFlow has no pooling of float16 over frames on the CPU.
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            pytest.skip("float16 pooling needs a GPU on TensorFlow")
    policy = keras.config.dtype_policy()
    network, full = make(kind, dtype=dtype), make(kind)
    assert keras.config.dtype_policy() == policy
    full.set_weights(network.get_weights())
    assert {weight.dtype for weight in network.trainable_variables} == {"float32"}
    assert network.get_layer("s2-pathway0_res0-branch2-a").compute_dtype == dtype[6:]
    outputs = network(CLIP, training=False)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    np.testing.assert_allclose(run(network), run(full), atol=0.02)
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    assert np.isfinite(network.train_on_batch(np.repeat(CLIP, 2, 0), np.array([0, 1])))


def test_features_without_classifier():
    network = make("slowfast", include_top=False)
    # 32 times the width of the slow pathway, and an eighth of that.
    assert run(network).shape == (1, 8 * 32 + 32)
    with pytest.raises(ValueError, match="use include_top=True"):
        network.fully_convolutional(8, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_clip_in_training_size_windows(kind):
    network = make(kind)
    tested = network.fully_convolutional(8, 40)
    np.testing.assert_allclose(run(tested), run(network), rtol=1e-4, atol=1e-6)
    larger = formula.clip(72, frames=8, seed=2)
    assert np.abs(run(tested, larger) - run(network, larger)).max() > 1e-6
    assert run(tested, larger).sum() == pytest.approx(1, abs=1e-4)


# Sizes.


@pytest.mark.parametrize(
    ("kind", "refused", "taken"),
    [
        ("c2d", [(1, 32)], [(2, 8)]),
        ("i3d", [(1, 32), (8, 16)], [(2, 17), (3, 32)]),
        ("slow", [(4, 8)], [(1, 9)]),
        ("x3d", [(0, 32), (4, 0)], [(1, 1), (3, 45)]),
        ("slowfast", [(1, 32), (5, 32)], [(2, 8), (6, 32)]),
    ],
)
def test_sizes_that_a_network_takes(kind, refused, taken):
    network = make(kind)
    for frames, crop in refused:
        with pytest.raises(ValueError, match=r"takes clips of at least .*Received: \d+ "):
            network.check_clip_size(frames, crop)
    for frames, crop in taken:
        network.check_clip_size(frames, crop)
        outputs = run(network, formula.clip(crop, frames=frames, seed=1))
        assert np.all(np.isfinite(outputs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"non_local": ((), (), ())}, "`non_local` must hold .* four stages"),
        ({"non_local": ((), (1,), (), ())}, "`non_local` must hold"),
        ({"non_local": True, "blocks": (1, 1, 1, 1)}, "none of which is there"),
        ({"depth": 34, "blocks": None}, r"one of 50, 101. Received: depth=34"),
        ({"blocks": (1, 1)}, "`blocks` must hold"),
    ],
)
@pytest.mark.parametrize("kind", ["slow", "slowfast"])
def test_wrong_settings(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        make(kind, **settings)


def test_wrong_width_and_attention():
    with pytest.raises(ValueError, match=r"`width` must be a multiple of `beta`.*width=12, beta=8"):
        make("slowfast", width=12)
    with pytest.raises(ValueError, match="`attention` must be one of"):
        models.non_local.NonLocalAttention("gaussian")


def test_initial_weights():
    for kind in KINDS:
        network = make(kind)
        for layer in network.layers:
            if isinstance(layer, models.SubBatchNormalization):
                last = layer.name.endswith("branch2-c_bn") or "nonlocal" in layer.name
                np.testing.assert_array_equal(layer.gamma, 0 if last else 1)


def test_published_places_of_non_local_blocks_that_there_are():
    network = models.I3D(classes=2, blocks=(1, 2, 2, 1), width=4, non_local=True)
    config = network.get_config()
    assert config["non_local"] == ((), (1,), (1,), ())
    assert models.I3D.from_config(config).get_config() == config
