"""PreciseBatchStatistics: statistics of many batches together; training stays the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_multigrid
from keras_multigrid import SubBatchNormalization
from keras_multigrid.callbacks import PreciseBatchStatistics


def make_normalized_model(layer=None, dropout=0.0):
    inputs = keras.Input((None, None, None, 3))
    x = layer or SubBatchNormalization(name="norm")
    x = keras.layers.Dropout(dropout)(x(inputs))
    x = keras.layers.GlobalAveragePooling3D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def clip_batches(count, batch_size=8):
    random = np.random.default_rng(0)
    return [
        (random.normal(number, 1 + number, (batch_size, 2, 3, 3, 3)).astype("float32"), 0)
        for number in range(count)
    ]


@pytest.mark.parametrize("layer", [SubBatchNormalization, keras.layers.BatchNormalization])
def test_precise_statistics_are_those_of_all_batches(layer):
    batches = clip_batches(5)
    model = make_normalized_model(layer(name="norm"))
    PreciseBatchStatistics(batches, num_batches=4).update(model)
    clips = np.concatenate([clips for clips, _ in batches[:4]])
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, clips.mean((0, 1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, clips.var((0, 1, 2, 3)), rtol=1e-4)


def test_precise_statistics_use_the_groups_of_their_own_batches():
    model = make_normalized_model()
    norm = model.get_layer("norm")
    norm.groups.assign(8)
    outputs = []
    norm_call = norm.call
    norm.call = lambda x, training=False: (
        outputs.append(int(norm.groups)),
        norm_call(x, training),
    )[1]
    model.run_eagerly = True
    PreciseBatchStatistics(clip_batches(2, batch_size=16)).update(model)
    assert outputs == [2, 2]
    assert int(norm.groups) == 8


def test_training_is_the_same_with_precise_statistics(tmp_path):
    """Weights, random states and groups; only evaluation and what is saved differ."""
    results = {}
    for name in ("plain", "precise"):
        keras.utils.set_random_seed(1)
        model = make_normalized_model(dropout=0.5)
        data = tf.data.Dataset.from_tensor_slices(
            (np.random.default_rng(3).normal(2, 1, (16, 2, 3, 3, 3)), np.arange(16) % 2)
        ).batch(4)
        path = str(tmp_path / f"{name}.weights.h5")
        saving = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
        precise = [PreciseBatchStatistics(data, 4)] if name == "precise" else []
        history = model.fit(
            data, epochs=3, validation_data=data, verbose=0, callbacks=[*precise, saving]
        )
        copy = make_normalized_model()
        copy.load_weights(path)
        mean = np.array(copy.get_layer("norm").moving_mean)
        results[name] = history.history, model.trainable_variables, mean
    (plain, weights, mean), (precise, same_weights, precise_mean) = results.values()
    assert plain["loss"] == precise["loss"]
    for weight, same in zip(weights, same_weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert plain["val_loss"] != precise["val_loss"]
    # 12 steps of momentum 0.9 leave 0.28 of zero.
    np.testing.assert_allclose(precise_mean, 2, atol=0.1)
    assert np.all(mean < 1.6)


def test_precise_statistics_of_nothing():
    with pytest.raises(ValueError, match="`batches` holds no batch"):
        PreciseBatchStatistics([]).update(make_normalized_model())
    with pytest.raises(ValueError, match="no layer with moving statistics"):
        PreciseBatchStatistics([]).update(make_normalized_model(keras.layers.ReLU()))
    with pytest.raises(ValueError, match="Received: num_batches=0"):
        PreciseBatchStatistics([], num_batches=0)


def test_the_former_name_warns():
    with pytest.warns(DeprecationWarning, match="now named PreciseBatchStatistics"):
        assert keras_multigrid.PreciseBatchNormalization is PreciseBatchStatistics
    with pytest.raises(AttributeError, match="has no attribute 'Precise'"):
        _ = keras_multigrid.callbacks.Precise
