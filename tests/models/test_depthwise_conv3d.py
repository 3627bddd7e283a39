"""Depth-wise convolution and its gradients, on the backend in use."""

import keras
import numpy as np
import pytest

from keras_multigrid.layers import DepthwiseConv3D


def array(tensor):
    tensor = keras.ops.stop_gradient(tensor)
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def direct(x, kernel, stride):
    """The definition, tap by tap, in float64."""
    kt, kh, kw = kernel.shape[:3]
    frames, height, width = x.shape[1:4]
    around = [(0, 0), *((size // 2,) * 2 for size in kernel.shape[:3]), (0, 0)]
    x = np.pad(x.astype("float64"), around)
    return sum(
        x[:, i : i + frames, j : j + height : stride, k : k + width : stride] * kernel[i, j, k, 0]
        for i, j, k in np.ndindex(kt, kh, kw)
    )


def made(kernel_size, stride, channels, dtype=None):
    layer = DepthwiseConv3D(kernel_size, spatial_stride=stride, dtype=dtype)
    layer.build((None, None, None, None, channels))
    kernel = np.random.default_rng(1).normal(size=(*kernel_size, 1, channels))
    layer.kernel.assign(kernel.astype("float32"))
    return layer, kernel


CASES = [
    # kernel, stride, clips
    ((3, 3, 3), 1, (2, 4, 6, 5, 3)),
    ((3, 3, 3), 2, (2, 4, 6, 6, 3)),
    ((3, 3, 3), 2, (2, 3, 7, 5, 3)),
    ((3, 3, 3), 1, (1, 1, 1, 1, 2)),
    ((3, 3, 3), 2, (3, 1, 2, 1, 2)),
    ((5, 1, 1), 1, (2, 4, 3, 5, 3)),
    ((5, 1, 1), 1, (2, 1, 3, 2, 3)),
    ((5, 3, 1), 3, (1, 1, 8, 7, 2)),
    ((1, 5, 3), 2, (2, 2, 9, 8, 2)),
    ((1, 1, 1), 2, (2, 2, 4, 5, 2)),
]


def test_a_filter_worked_out_by_hand():
    layer = DepthwiseConv3D((3, 3, 3), spatial_stride=2, kernel_initializer="ones")
    # Ones: 2 of 3 frames, and (2, 3) of 3 rows and columns.
    outputs = array(layer(np.ones((1, 2, 4, 4, 1), "float32")))
    np.testing.assert_allclose(outputs[0, :, :, :, 0], [[[8, 12], [12, 18]]] * 2)
    layer = DepthwiseConv3D((3, 1, 1))
    layer.build((None, None, None, None, 2))
    layer.kernel.assign(np.reshape([[1, 0], [10, 1], [100, 0]], (3, 1, 1, 1, 2)))
    clip = np.reshape([[1, 5], [2, 6], [3, 7]], (1, 3, 1, 1, 2)).astype("float32")
    # The kernel's first tap is on the frame before: 10 * 1 + 100 * 2, and so on.
    np.testing.assert_allclose(array(layer(clip))[0, :, 0, 0], [[210, 5], [321, 6], [32, 7]])


@pytest.mark.parametrize(("kernel_size", "stride", "shape"), CASES)
def test_outputs(kernel_size, stride, shape):
    layer, kernel = made(kernel_size, stride, shape[-1])
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    outputs = layer(x)
    assert tuple(outputs.shape) == layer.compute_output_shape(shape)
    np.testing.assert_allclose(array(outputs), direct(x, kernel, stride), atol=1e-5)


@pytest.mark.parametrize(("kernel_size", "stride", "shape"), CASES)
def test_gradients_in_a_training_step(kernel_size, stride, shape):
    """SGD's steps of the filters, and of what scales the input, are the gradients."""
    inputs = keras.Input((None, None, None, shape[-1]))
    layer, kernel = made(kernel_size, stride, shape[-1])
    position_bias = PositionBias(shape[1:])
    model = keras.Model(inputs, layer(position_bias(inputs)))
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype("float32")
    upstream = random.normal(size=layer.compute_output_shape(shape)).astype("float32")
    # Half the squared distance from what makes `upstream` the gradient of the outputs.
    targets = (direct(x, kernel, stride) - upstream).astype("float32")
    model.compile(
        keras.optimizers.SGD(1.0),
        loss=lambda y_true, y: 0.5 * keras.ops.sum((y - y_true) ** 2)[None],
        jit_compile=keras.backend.backend() == "jax",
    )
    model.train_on_batch(x, targets)
    kernel_gradient, input_gradient = np.zeros_like(kernel), np.zeros(shape)
    for place in np.ndindex(kernel.shape):
        one = np.zeros(kernel.shape)
        one[place] = 1
        kernel_gradient[place] = np.sum(direct(x, one, stride) * upstream)
    for place in np.ndindex(shape[1:]):
        one = np.zeros(shape)
        one[(slice(None), *place)] = 1
        input_gradient[(slice(None), *place)] = np.sum(
            direct(one, kernel, stride) * upstream, axis=(1, 2, 3, 4)
        )
    scale = np.abs(kernel_gradient).max()
    np.testing.assert_allclose(kernel - array(layer.kernel), kernel_gradient, atol=2e-5 * scale)
    np.testing.assert_allclose(-array(position_bias.bias), input_gradient.sum(0), atol=1e-4)


class PositionBias(keras.layers.Layer):
    """Adds a number of its own to each position: its gradient is that of the input."""

    def __init__(self, shape):
        super().__init__()
        self.bias = self.add_weight(shape=shape, initializer="zeros")

    def call(self, x):
        return x + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape


def test_sizes_left_open_and_saved(tmp_path):
    inputs = keras.Input((None, None, None, 2))
    layer, kernel = made((3, 3, 3), 2, 2)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, None, 2)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert copy.layers[-1].get_config() == layer.get_config()
    for shape in ((1, 2, 5, 5, 2), (3, 1, 4, 8, 2)):
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        expected = direct(x, kernel, 2)
        np.testing.assert_allclose(copy.predict(x, verbose=0), expected, atol=1e-5)


def test_initial_filters_have_the_fans_of_grouped_convolutions():
    he_normal = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=0)
    layer = DepthwiseConv3D((3, 3, 3), kernel_initializer=he_normal)
    layer.build((None, None, None, None, 64))
    assert layer.kernel.shape == (3, 3, 3, 1, 64)
    # 27 * 64 outputs.
    assert array(layer.kernel).std() == pytest.approx((2 / 1728) ** 0.5, rel=0.05)


def test_half_precision():
    layer, kernel = made((3, 3, 3), 1, 3, dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 6, 3)).astype("float32")
    outputs = layer(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    expected = direct(x, kernel, 1)
    np.testing.assert_allclose(array(outputs), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("kernel_size", [(3, 3), (3, 2, 3), (3, 0, 3), (3, 3, 1.0)])
def test_wrong_kernels(kernel_size):
    with pytest.raises(ValueError, match=r"`kernel_size` must hold three odd .* Received: kernel"):
        DepthwiseConv3D(kernel_size)


def test_wrong_stride_and_input():
    with pytest.raises(ValueError, match=r"at least 1. Received: spatial_stride=0. Use 2"):
        DepthwiseConv3D((3, 3, 3), spatial_stride=0)
    with pytest.raises(ValueError, match=r"channels must be known. Received: input_shape=\("):
        DepthwiseConv3D((3, 3, 3)).build((None, None, None, None, None))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's graphs")
def test_graphs_go_with_their_models():
    """A gradient of one's own stays in TensorFlow's register, and its graph and weights with it."""
    import tensorflow as tf

    layer, _ = made((3, 3, 3), 2, 3)
    kept = tf.function(layer).get_concrete_function(tf.zeros((1, 2, 6, 6, 3))).graph
    assert "IdentityN" not in {operation.type for operation in kept.get_operations()}
