import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization


def _clips(batch_size: int, channels: int = 3) -> np.ndarray:
    """Clips that differ in mean and spread, so that every grouping gives other statistics."""
    random = np.random.default_rng(0)
    size = (batch_size, 2, 3, 4, channels)
    mean, spread = random.normal(size=(2, batch_size, 1, 1, 1, channels))
    return (random.normal(size=size) * (1 + spread**2) + mean).astype("float32")


def _layer(groups: int, channels: int = 3, **settings) -> SubBatchNormalization:
    layer = SubBatchNormalization(**settings)
    layer.build((None, None, None, None, channels))
    layer.groups.assign(groups)
    layer.gamma.assign(np.linspace(0.5, 2, channels))
    layer.beta.assign(np.linspace(-1, 1, channels))
    return layer


def _normalized_apart(layer, clips: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Every run of neighbouring clips through plain batch normalization, in float64."""
    outputs = []
    for group in np.split(clips.astype("float64"), np.cumsum(sizes)[:-1]):
        mean, variance = group.mean((0, 1, 2, 3)), group.var((0, 1, 2, 3))
        normal = (group - mean) / np.sqrt(variance + layer.epsilon)
        outputs.append(normal * np.array(layer.gamma) + np.array(layer.beta))
    return np.concatenate(outputs)


def test_one_group_is_batch_normalization():
    layer = _layer(groups=1, momentum=0.8, epsilon=1e-3)
    keras_layer = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-3)
    keras_layer.build((None, None, None, None, 3))
    keras_layer.gamma.assign(layer.gamma)
    keras_layer.beta.assign(layer.beta)
    for scale in (1, 1.5):
        clips = scale * _clips(4)
        np.testing.assert_allclose(
            layer(clips, training=True), keras_layer(clips, training=True), rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(layer.moving_mean, keras_layer.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, keras_layer.moving_variance, rtol=1e-5)
    np.testing.assert_allclose(layer(clips), keras_layer(clips), rtol=1e-4, atol=1e-5)


def test_defaults_are_the_published_ones():
    layer = SubBatchNormalization()
    layer.build((None, 4, 4, 4, 3))
    assert (layer.momentum, layer.epsilon, int(layer.groups)) == (0.9, 1e-5, 1)
    assert [v.name for v in layer.trainable_variables] == ["gamma", "beta"]


@pytest.mark.parametrize(
    "groups, sizes",
    [
        (1, [10]),
        (2, [5, 5]),
        (5, [2, 2, 2, 2, 2]),
        (10, [1] * 10),
        # The largest number up to that many which divides 10.
        (3, [5, 5]),
        (4, [5, 5]),
        (7, [2] * 5),
        (9, [2] * 5),
        # More groups than clips: every clip by itself.
        (16, [1] * 10),
    ],
)
def test_groups_are_normalized_apart(groups, sizes):
    clips = _clips(10)
    layer = _layer(groups)
    expected = _normalized_apart(layer, clips, sizes)
    np.testing.assert_allclose(layer(clips, training=True), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4, 3])
def test_moving_statistics_are_those_of_the_whole_batch(groups):
    clips = _clips(8)
    layer = _layer(groups)
    layer(clips, training=True)
    # The mean of group variances and the variance of group means add up to the whole variance.
    np.testing.assert_allclose(layer.moving_mean, 0.1 * clips.mean((0, 1, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(
        layer.moving_variance, 0.9 + 0.1 * clips.var((0, 1, 2, 3)), rtol=1e-5
    )


def test_literal_statistics():
    # Groups (1, 3) and (10, 20): means 2, 15, variances 1, 25. Moving: mean 8.5 and variance
    # 13 + 6.5² = 55.25, of which a tenth counts.
    layer = SubBatchNormalization(epsilon=0.0)
    clips = np.reshape([1.0, 3.0, 10.0, 20.0], (4, 1, 1))
    layer.build(clips.shape)
    layer.groups.assign(2)
    np.testing.assert_allclose(np.ravel(layer(clips, training=True)), [-1, 1, -1, 1], rtol=1e-6)
    assert float(layer.moving_mean[0]) == pytest.approx(0.85)
    assert float(layer.moving_variance[0]) == pytest.approx(0.9 + 5.525)


def test_inference_uses_moving_statistics_whatever_the_groups():
    layer = _layer(groups=4)
    layer.moving_mean.assign([1, 2, 3])
    layer.moving_variance.assign([4, 9, 16])
    clips = _clips(6)
    normal = (clips - [1, 2, 3]) / np.sqrt(np.array([4, 9, 16]) + 1e-5)
    expected = normal * [0.5, 1.25, 2] + [-1, 0, 1]
    np.testing.assert_allclose(layer(clips, training=False), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(clips), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, [1, 2, 3])


def test_groups_change_without_a_retrace():
    layer = _layer(groups=1)
    traces = []

    @tf.function
    def step(clips):
        traces.append(clips)
        return layer(clips, training=True)

    clips = _clips(8)
    for groups in (1, 4, 2):
        layer.groups.assign(groups)
        expected = _normalized_apart(layer, clips, [8 // groups] * groups)
        np.testing.assert_allclose(step(tf.constant(clips)), expected, rtol=1e-4, atol=1e-5)
    assert len(traces) == 1


def test_a_model_is_not_compiled_by_xla():
    inputs = keras.Input((2, 3, 4, 3))
    model = keras.Model(inputs, SubBatchNormalization()(inputs))
    with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
        model.compile("sgd", "mse", jit_compile=True)
    model.train_on_batch(_clips(8), _clips(8))


def test_any_number_of_clips_meets_any_number_of_groups():
    layer = _layer(groups=1)
    step = tf.function(
        lambda clips: layer(clips, training=True),
        input_signature=[tf.TensorSpec((None, 2, 3, 4, 3))],
    )
    for groups in (1, 2, 3, 8, 16, 64, 1000):
        layer.groups.assign(groups)
        for count in (1, 2, 3, 7, 12, 16, 64, 130):
            size = min(
                d for d in range(1, count + 1) if count % d == 0 and count // d <= min(groups, 64)
            )
            clips = _clips(count)
            expected = _normalized_apart(layer, clips, [size] * (count // size))
            np.testing.assert_allclose(step(clips), expected, rtol=1e-3, atol=1e-4)


def test_groups_change_in_a_compiled_model_without_a_retrace():
    traces = []

    @keras.saving.register_keras_serializable(package="tests")
    class Traced(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs)
            return inputs

    inputs = keras.Input((2, 3, 4, 3))
    layer = SubBatchNormalization()
    outputs = Traced()(layer(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), lambda y_true, y_pred: keras.ops.mean(y_pred**3))
    clips = _clips(8)
    losses = []
    for groups in (1, 4, 1):
        layer.groups.assign(groups)
        losses.append(model.train_on_batch(clips, clips))
        if len(losses) == 1:
            after_first = len(traces)
    expected = [
        np.mean(_normalized_apart(layer, clips, sizes) ** 3) for sizes in ([8], [2] * 4, [8])
    ]
    assert losses == pytest.approx(expected, rel=1e-4)
    assert abs(losses[0] - losses[1]) > 0.01
    assert len(traces) == after_first


@pytest.mark.parametrize("groups, sizes", [(1, [8]), (4, [2] * 4), (3, [4, 4])])
def test_gradients_are_those_of_groups_normalized_apart(groups, sizes):
    clips = tf.constant(_clips(8))
    weights = tf.constant(np.random.default_rng(1).normal(size=clips.shape), tf.float32)
    layer = _layer(groups)
    gamma, beta = tf.constant(layer.gamma.numpy()), tf.constant(layer.beta.numpy())

    with tf.GradientTape() as tape:
        tape.watch(clips)
        loss = tf.reduce_sum(weights * layer(clips, training=True) ** 2)
    gradients = tape.gradient(loss, [clips, layer.gamma.value, layer.beta.value])

    with tf.GradientTape() as tape:
        tape.watch([clips, gamma, beta])
        apart = []
        for group in tf.split(clips, sizes):
            mean, variance = tf.nn.moments(group, (0, 1, 2, 3))
            apart.append(tf.nn.batch_normalization(group, mean, variance, beta, gamma, 1e-5))
        loss = tf.reduce_sum(weights * tf.concat(apart, 0) ** 2)
    for ours, plain in zip(gradients, tape.gradient(loss, [clips, gamma, beta]), strict=True):
        assert np.all(np.isfinite(ours))
        np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-3)


def test_gradients_are_finite_without_any_variance():
    layer = _layer(groups=2)
    clips = tf.ones((4, 2, 3, 4, 3))
    with tf.GradientTape() as tape:
        tape.watch(clips)
        loss = tf.reduce_sum(layer(clips, training=True) ** 2)
    for gradient in tape.gradient(loss, [clips, layer.gamma.value]):
        assert np.all(np.isfinite(gradient))


def test_mixed_float16_takes_statistics_in_float32():
    # In float16 the squares, about 400², would overflow.
    clips = (400 + 20 * _clips(8)).astype("float16")
    half = _layer(groups=2, dtype="mixed_float16")
    full = _layer(groups=2)
    outputs = half(clips, training=True)
    assert outputs.dtype == tf.float16
    assert {v.dtype for v in (half.gamma, half.beta, half.moving_variance)} == {"float32"}
    np.testing.assert_allclose(outputs, full(clips.astype("float32"), training=True), atol=4e-3)
    np.testing.assert_allclose(half.moving_variance, full.moving_variance, rtol=1e-5)
    assert half(clips, training=False).dtype == tf.float16


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 2, 4, 3), (6, 2, 2, 2, 2, 3)])
def test_any_rank(shape):
    layer = SubBatchNormalization()
    layer.build(shape)
    layer.groups.assign(3)
    outputs = np.array(layer(np.random.default_rng(0).normal(size=shape), training=True))
    assert outputs.shape == shape == layer.compute_output_shape(shape)
    for group in np.split(outputs, 3):
        axes = tuple(range(group.ndim - 1))
        np.testing.assert_allclose(group.mean(axes), 0, atol=1e-5)
        np.testing.assert_allclose(group.var(axes), 1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(None, 3), (None, 4, 4, None)])
def test_wrong_input(shape):
    with pytest.raises(ValueError, match=r"must be \(batch, ..., channels\).* Received: input_sh"):
        SubBatchNormalization().build(shape)


def test_config_round_trip():
    layer = SubBatchNormalization(0.7, 1e-3, gamma_initializer="zeros", name="last")
    copy = SubBatchNormalization.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.momentum, copy.epsilon, copy.name) == (0.7, 1e-3, "last")
    copy.build((None, 4, 3))
    np.testing.assert_array_equal(copy.gamma, 0)


def test_save_and_load(tmp_path):
    inputs = keras.Input((2, 3, 4, 3))
    model = keras.Model(inputs, SubBatchNormalization(name="norm")(inputs))
    clips = _clips(8)
    model.get_layer("norm").groups.assign(4)
    model(clips, training=True)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy(clips), model(clips))
    # The groups are the schedule's, which the file outlives.
    model.get_layer("norm").groups.assign(1)
    np.testing.assert_array_equal(copy(clips, training=True), model(clips, training=True))
