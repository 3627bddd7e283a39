"""The layers of transformers, alone."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_multigrid.layers import (
    ClassToken,
    DropPath,
    HeadPooling,
    PooledAttention,
    RelativePositions,
    ResizedPositions,
)
from keras_multigrid.layers.relative_positions import table_rows
from keras_multigrid.models.multiscale_block import MultiscaleBlock, max_pooled


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def in_a_graph(function, *arguments):
    """Called with sizes that are known when it runs alone, where the backend has such graphs."""
    if keras.backend.backend() != "tensorflow":
        return array(function(*arguments))
    import tensorflow as tf

    specs = [
        tf.TensorSpec((None,) * np.ndim(x), tf.as_dtype(np.asarray(x).dtype)) for x in arguments
    ]
    return tf.function(function, input_signature=specs)(*arguments).numpy()


# Drop path.


def test_samples_are_dropped_whole_and_together():
    layer = DropPath(0.25, seed=0)
    features, token = layer([ops.ones((400, 2, 3)), ops.ones((400, 1))], training=True)
    features, token = array(features), array(token)
    np.testing.assert_allclose(np.unique(features), [0, 1 / 0.75], rtol=1e-6)
    np.testing.assert_array_equal(features.min(axis=(1, 2)), features.max(axis=(1, 2)))
    np.testing.assert_array_equal(features[:, 0, 0], token[:, 0])
    # Five standard deviations.
    assert abs(np.mean(token > 0) - 0.75) < 0.11


def test_nothing_is_dropped_in_validation():
    np.testing.assert_array_equal(DropPath(0.9)(np.ones((8, 2)), training=False), np.ones((8, 2)))
    assert DropPath(0.0).variables == []


def test_the_random_numbers_are_a_variable():
    layers = [DropPath(0.5, seed=3) for _ in range(2)]
    layers[0](np.ones((2, 4)), training=True)
    layers[1].variables[0].assign(layers[0].variables[0])
    for _ in range(2):
        one, other = (array(layer(np.ones((64, 4)), training=True)) for layer in layers)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5])
def test_rates_that_are_none(rate):
    with pytest.raises(ValueError, match="`rate` must be"):
        DropPath(rate)


# Positions.


@pytest.mark.parametrize(
    ("queries", "keys", "first_rows"),
    [
        (4, 2, [[2, 0], [3, 1], [4, 2], [5, 3]]),
        (2, 4, [[3, 2, 1, 0], [5, 4, 3, 2]]),
        (5, 3, [[3, 1, 0], [4, 2, 1], [5, 3, 2], [6, 4, 3], [7, 5, 4]]),
        (14, 4, [[10, 7, 3, 0], [11, 8, 4, 1], [12, 9, 5, 2]]),
        # Without rounding, query 1 and key 5 would have row 1.
        (13, 6, [[10, 8, 6, 4, 2, 0], [11, 9, 7, 5, 3, 0]]),
    ],
)
def test_rows_of_the_reference(queries, keys, first_rows):
    rows = array(table_rows(queries, keys))
    np.testing.assert_array_equal(rows[: len(first_rows)], first_rows)
    sizes = np.int32(queries), np.int32(keys)
    np.testing.assert_array_equal(in_a_graph(lambda q, k: table_rows(q, k), *sizes), rows)


def test_absolute_positions_by_hand():
    layer = ResizedPositions((2, 2, 2))
    layer.build((None, None, None, None, 1))
    layer.spatial.assign(np.array([0, 10, 20, 30.0]).reshape(1, 4, 1))
    layer.temporal.assign(np.array([0, 1.0]).reshape(1, 2, 1))
    same = array(layer(np.zeros((1, 2, 2, 2, 1))))[0, ..., 0]
    np.testing.assert_allclose(same, [[[0, 10], [20, 30]], [[1, 11], [21, 31]]])
    # 2 rows as 3: the first, the mean, the last. 2 frames as 1: the mean.
    resized = array(layer(np.zeros((1, 1, 3, 1, 1))))[0, ..., 0]
    np.testing.assert_allclose(resized, [[[5.5], [15.5], [25.5]]])
    np.testing.assert_allclose(
        in_a_graph(layer, np.zeros((1, 1, 3, 1, 1), "float32"))[0, ..., 0], resized
    )


def test_relative_positions_by_hand():
    layer = RelativePositions((1, 2, 1))
    layer.build((None, 1, None, None, None, 1))
    for table, values in zip(layer.tables, ([1], [10, 20, 30], [100]), strict=True):
        table.assign(np.array(values, "float32")[:, None])
    queries = np.array([1, 2.0], "float32").reshape(1, 1, 1, 2, 1, 1)
    # A frame, two rows, a column: query 0 is 1, and key 1 lies behind it.
    terms = array(layer(queries, key_grid=(1, 2, 1)))[0, 0, 0, :, 0]
    np.testing.assert_allclose(terms, [[1, 20, 10, 100], [2, 60, 40, 200]])
    # A table of 3 rows for 3 queries and keys, as 5: 10, 14, 20, 26, 30.
    queries = np.ones((1, 1, 1, 3, 1, 1), "float32")
    terms = array(layer(queries, key_grid=(1, 3, 1)))[0, 0, 0, :, 0, 1:4]
    np.testing.assert_allclose(terms, [[20, 14, 10], [26, 20, 14], [30, 26, 20]], rtol=1e-6)


# Pooling.


def test_heads_share_a_kernel():
    layer = HeadPooling((3, 3, 3), stride=2)
    x = noise(1, 2, 5, 5, 1, 4)
    one = array(layer(x))
    assert one.shape == (1, 2, 3, 3, 1, 4)
    both = array(layer(np.concatenate([x, 2 * x], axis=4)))
    np.testing.assert_allclose(both, np.concatenate([one, 2 * one], axis=4), rtol=1e-4, atol=1e-6)


def test_max_pooling_is_centred_and_pads_nothing_that_counts():
    x = -np.arange(1.0, 17, dtype="float32").reshape(1, 1, 4, 4, 1)
    np.testing.assert_array_equal(array(max_pooled(x, 2))[0, 0, ..., 0], [[-1, -2], [-5, -6]])


# Attention.


def naive_attention(layer, features, token):
    """By the definition, one head, position by position."""
    x = np.concatenate([array(token), array(features).reshape(1, -1, features.shape[-1])], axis=1)[
        0
    ]
    kernel, bias = (array(v) for v in (layer.qkv.kernel, layer.qkv.bias))
    grid, units = features.shape[1:4], layer.units
    q, k, v = np.split(x @ kernel + bias, 3, axis=1)
    pooled = []
    for name, values in zip("qkv", (q, k, v), strict=True):
        pool, norm = getattr(layer, f"pool_{name}"), getattr(layer, f"norm_{name}")
        patches = array(pool(values[1:].reshape(1, *grid, 1, units)))[0]
        values = np.concatenate([values[:1], patches.reshape(-1, units)])
        pooled.append((array(norm(values)), patches.shape[:3]))
    (q, query_grid), (k, key_grid), (v, _) = pooled
    logits = (q * units**-0.5) @ k.T
    tables = [array(table) for table in layer.rel_pos.tables]
    for n, place in enumerate(np.ndindex(*query_grid)):
        for m, other in enumerate(np.ndindex(*key_grid)):
            for axis, table in enumerate(tables):
                row = int(ROWS[query_grid[axis], key_grid[axis]][place[axis]][other[axis]])
                logits[n + 1, m + 1] += q[n + 1] @ table[row]
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outputs = weights @ v
    outputs[1:] += q[1:]
    outputs = outputs @ array(layer.proj.kernel) + array(layer.proj.bias)
    return outputs[1:].reshape(1, *query_grid, units), outputs[:1]


ROWS = {
    (2, 2): [[1, 0], [2, 1]],
    (4, 2): [[2, 0], [3, 1], [4, 2], [5, 3]],
    (3, 2): [[1, 0], [2, 1], [3, 2]],
}


def test_attention_by_its_definition():
    keras.utils.set_random_seed(0)
    layer = PooledAttention(
        8, query_pooling=(3, 3, 3, 1), key_pooling=(3, 3, 3, 2), positions=(2, 4, 3)
    )
    features, token = noise(1, 2, 4, 3, 6), noise(1, 1, 6, seed=1)
    layer(features, token)
    for index, weight in enumerate(layer.weights):
        weight.assign(noise(*weight.shape, seed=index) * 0.5)
    expected = naive_attention(layer, features, token)
    for actual, values in zip(layer(features, token), expected, strict=True):
        np.testing.assert_allclose(
            array(actual), values.reshape(actual.shape), rtol=1e-3, atol=1e-4
        )


def test_heads_attend_apart():
    """Two heads of the same weights give what one gives."""
    one, two = (PooledAttention(4 * heads, heads, key_pooling=(1, 3, 3, 2)) for heads in (1, 2))
    x = noise(1, 2, 5, 5, 6)
    one(x), two(x)
    for name in ("kernel", "bias"):
        weight = array(getattr(one.qkv, name))
        parts = np.split(weight, 3, axis=-1)
        getattr(two.qkv, name).assign(np.concatenate([p for p in parts for _ in range(2)], axis=-1))
    for layer in (one, two):
        layer.proj.kernel.assign(np.eye(layer.units))
    for name in ("pool_k", "pool_v", "norm_k", "norm_v"):
        getattr(two, name).set_weights(getattr(one, name).get_weights())
    expected = np.concatenate([array(one(x))] * 2, axis=-1)
    np.testing.assert_allclose(array(two(x)), expected, rtol=1e-4, atol=1e-5)


def test_in_a_model_of_open_sizes():
    inputs = keras.Input((None, None, None, 6))
    x = PooledAttention(8, 2, query_pooling=(3, 3, 3, 2), positions=(4, 8, 8))(inputs)
    assert x.shape == (None, None, None, None, 8)
    x, token = ResizedPositions((4, 4, 4))(x, ClassToken()(x))
    attention = {"units": 8, "heads": 2, "key_pooling": (3, 3, 3, 2)}
    x, token = MultiscaleBlock(16, attention, drop_path=0.1)(x, token)
    assert (x.shape[-1], token.shape) == (16, (None, 1, 16))
    model = keras.Model(inputs, [x, token])
    features, token = model(noise(2, 3, 7, 5, 6))
    assert features.shape == (2, 3, 4, 3, 16)
    assert token.shape == (2, 1, 16)
    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(array(copy(noise(2, 3, 7, 5, 6))[1]), array(token), rtol=1e-5)


def test_wrong_widths():
    with pytest.raises(ValueError, match="`units` must be a multiple of `heads`"):
        PooledAttention(9, 2)
    with pytest.raises(ValueError, match="may change in attention or in the perceptron"):
        MultiscaleBlock(16, {"units": 8})(noise(1, 2, 4, 4, 6))
