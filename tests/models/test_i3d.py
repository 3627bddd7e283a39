import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization
from keras_multigrid.models.i3d import I3D
from keras_multigrid.models.resnet3d import Blocks


@pytest.fixture(scope="module")
def published():
    """I3D 8x8 R50 as published, with scores instead of probabilities."""
    return I3D(classifier_activation=None)


@pytest.fixture(scope="module")
def small():
    return _small()


def _small(**settings) -> I3D:
    return I3D(**{"classes": 5, "blocks": (1, 1, 2, 1), "width": 4, **settings})


def test_parameters_of_the_published_model(published):
    assert sum(int(np.prod(v.shape)) for v in published.trainable_weights) == 28_043_472


@pytest.mark.parametrize(
    "name, shape",
    [
        ("s1-pathway0_stem-conv", (5, 7, 7, 3, 64)),
        ("s2-pathway0_res0-branch1", (1, 1, 1, 64, 256)),
        ("s2-pathway0_res2-branch2-a", (3, 1, 1, 256, 64)),
        ("s3-pathway0_res0-branch2-b", (1, 3, 3, 128, 128)),
        ("s3-pathway0_res1-branch2-a", (1, 1, 1, 512, 128)),
        ("s4-pathway0_res4-branch2-a", (3, 1, 1, 1024, 256)),
        ("s4-pathway0_res5-branch2-a", (1, 1, 1, 1024, 256)),
        ("s5-pathway0_res0-branch2-a", (1, 1, 1, 1024, 512)),
        ("s5-pathway0_res1-branch2-a", (3, 1, 1, 2048, 512)),
        ("s5-pathway0_res2-branch2-c", (1, 1, 1, 512, 2048)),
        ("head-projection", (2048, 400)),
    ],
)
def test_kernels_of_the_published_model(published, name, shape):
    assert published.get_layer(name).kernel.shape == shape


@pytest.mark.parametrize(
    "name, channels",
    [
        ("s1-pathway0_stem-bn", 64),
        ("s2-pathway0_res0-branch1_bn", 256),
        ("s4-pathway0_res5-branch2-b_bn", 256),
        ("s5-pathway0_res2-branch2-c_bn", 2048),
    ],
)
def test_normalization_of_the_published_model(published, name, channels):
    layer = published.get_layer(name)
    assert isinstance(layer, SubBatchNormalization)
    assert layer.gamma.shape == (channels,)


def test_keys_of_the_published_model(published):
    # Of the 320 keys 53 count batches. 53 normalizations of four arrays, 53 convolutions of one
    # and two arrays of the classifier make up the others.
    normalizations = [x for x in published.layers if isinstance(x, SubBatchNormalization)]
    convolutions = [x for x in published.layers if isinstance(x, keras.layers.Conv3D)]
    assert (len(normalizations), len(convolutions)) == (53, 53)


def test_r101_repeats_the_temporal_kernels():
    model = I3D(depth=101, width=1, classes=1)
    kernels = [
        model.get_layer(f"s4-pathway0_res{block}-branch2-a").kernel.shape[0] for block in range(23)
    ]
    assert kernels == [3, 1] * 11 + [3]


@pytest.mark.parametrize(
    "shape, expected",
    [
        # Ones on each pixel: windows (0 1 1), (1 1 1). "same" would give (1 1 1), (1 1 0).
        ((1, 1, 4, 4, 1), [[4, 6], [6, 9]]),
        ((1, 1, 5, 5, 1), [[4, 6, 4], [6, 9, 6], [4, 6, 4]]),
    ],
)
def test_strided_convolutions_are_padded_on_both_sides(shape, expected):
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, Blocks().conv(inputs, 1, (1, 3, 3), stride=(1, 2, 2), name="conv"))
    model.get_layer("conv").kernel.assign(np.ones((1, 3, 3, 1, 1)))
    np.testing.assert_allclose(np.array(model(np.ones(shape)))[0, 0, :, :, 0], expected)


def test_stem_is_padded_on_both_sides():
    inputs = keras.Input((None, None, None, 1))
    outputs = Blocks().stem(inputs, width=1, temporal_kernel=5, name="stem")
    model = keras.Model(inputs, outputs)
    model.get_layer("stem_stem-conv").kernel.assign(np.ones((5, 7, 7, 1, 1)))
    ones = np.ones((1, 3, 16, 16, 1))
    convolved = keras.Model(inputs, model.get_layer("stem_stem-conv").output)
    # Three frames seen by every temporal window; 4, 6, 7, ..., 7, 5 of the 7 columns and rows.
    columns = np.array([4, 6, 7, 7, 7, 7, 7, 5])
    expected = 3 * np.outer(columns, columns)
    np.testing.assert_allclose(np.array(convolved(ones))[0, 1, :, :, 0], expected)
    # The largest of columns (-1 0 1), (1 2 3), (3 4 5), (5 6 7).
    pooled = np.array([6, 7, 7, 7])
    np.testing.assert_allclose(
        np.array(model(ones))[0, 1, :, :, 0], 3 * np.outer(pooled, pooled), rtol=1e-4
    )


@pytest.mark.parametrize("grid", [(4, 2, 23), (2, 4, 32), (1, 8, 32), (3, 5, 16), (2, 3, 33)])
def test_any_grid(small, grid):
    batch_size, frames, crop = grid
    outputs = np.array(small(np.ones((batch_size, frames, crop, crop, 3)), training=True))
    assert outputs.shape == (batch_size, 5)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


def test_smallest_number_of_frames(small):
    assert small.min_frames == 2


def test_shape_of_each_stage(small):
    outputs = [small.get_layer(f"s{stage}-pathway0_res0-relu").output for stage in (2, 3, 4, 5)]
    features = keras.Model(small.input, outputs)(np.zeros((2, 8, 64, 64, 3)))
    # The pooling after stage 2 halves the frames.
    assert [tuple(x.shape) for x in features] == [
        (2, 8, 16, 16, 16),
        (2, 4, 8, 8, 32),
        (2, 4, 4, 4, 64),
        (2, 4, 2, 2, 128),
    ]


def test_without_top():
    model = _small(include_top=False)
    assert model(np.zeros((2, 4, 32, 32, 3))).shape == (2, 128)
    assert model.output_shape == (None, 128)


def test_last_gammas_start_at_zero(small):
    for layer in small.layers:
        if isinstance(layer, SubBatchNormalization):
            expected = 0 if layer.name.endswith("branch2-c_bn") else 1
            np.testing.assert_array_equal(layer.gamma, expected)


def test_weight_decay_leaves_normalization_out():
    model = _small(weight_decay=0.01)
    with tf.GradientTape() as tape:
        loss = tf.add_n(model.losses)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        if variable.name in ("kernel", "bias"):
            np.testing.assert_allclose(gradient, 0.01 * variable.numpy(), rtol=1e-5)
        else:
            assert gradient is None, variable.path
    assert _small(weight_decay=0.0).losses == []


def test_scores_are_float32_under_mixed_precision():
    previous = keras.config.dtype_policy()
    # TensorFlow pools no float16 on a CPU.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _small()
    finally:
        keras.config.set_dtype_policy(previous)
    assert model(np.zeros((2, 4, 16, 16, 3))).dtype == tf.float32
    assert model.get_layer("s5-pathway0_res0-relu").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


def test_config_round_trip():
    model = _small(
        classifier_activation="sigmoid", input_shape=(4, 32, 32, 3), dropout=0.2, name="tiny"
    )
    copy = I3D.from_config(model.get_config())
    assert copy.get_config() == model.get_config()
    assert copy.name == "tiny"
    assert copy.input_shape == (None, 4, 32, 32, 3)
    assert copy.get_layer("head-dropout").rate == 0.2
    assert [v.path for v in copy.weights] == [v.path for v in model.weights]


def _scores_that_depend_on_the_clip(model) -> np.ndarray:
    for layer in model.layers:
        if isinstance(layer, SubBatchNormalization):
            layer.gamma.assign(np.ones(layer.gamma.shape))
    clips = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3))
    return np.array(model(clips))


def test_save_and_load(tmp_path):
    model = _small()
    model.get_layer("s1-pathway0_stem-bn").groups.assign(4)
    outputs = _scores_that_depend_on_the_clip(model)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-6
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(copy, I3D)
    # Of the schedule, which the file outlives.
    assert int(copy.get_layer("s1-pathway0_stem-bn").groups) == 1
    np.testing.assert_array_equal(_scores_that_depend_on_the_clip(copy), outputs)

    model.save_weights(tmp_path / "model.weights.h5")
    copy = _small(weights=tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(_scores_that_depend_on_the_clip(copy), outputs)


@pytest.mark.parametrize("depth", [18, 0, "50"])
def test_wrong_depth(depth):
    with pytest.raises(ValueError, match=r"`depth` must be one of 50, 101. Received: depth="):
        I3D(depth=depth)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (1, 1, 1, 1, 1), (1, 0, 1, 1), ()])
def test_wrong_blocks(blocks):
    with pytest.raises(ValueError, match=r"`blocks` must hold .* Received: blocks=\("):
        I3D(blocks=blocks)
