"""What training needs of each backend: KERAS_BACKEND=jax, torch or tensorflow."""

import pathlib

import keras
import numpy as np
import pytest

from keras_multigrid.callbacks.multigrid import MultigridCallback
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.models import I3D, SubBatchNormalization
from keras_multigrid.optimizers.reference_sgd import ReferenceSGD
from keras_multigrid.schedule import Grid, MultigridSchedule

FIGURES = np.load(pathlib.Path(__file__).parent / "sub_batch_norm.npz")
# There clip j of 8 belongs to group j mod 4.
ORDER = [0, 4, 1, 5, 2, 6, 3, 7]


def published_layer(dtype=None):
    layer = SubBatchNormalization(dtype=dtype)
    layer.build((None, None, None, None, 3))
    layer.groups.assign(4)
    layer.gamma.assign(FIGURES["weight"])
    layer.beta.assign(FIGURES["bias"])
    return layer


def clips():
    return np.moveaxis(FIGURES["x"], 1, -1)[ORDER]


def published_output(name="y_train_step1"):
    return np.moveaxis(FIGURES[name], 1, -1)[ORDER]


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_sub_batch_normalization_of_the_reference():
    layer = published_layer()
    outputs = array(layer(clips(), training=True))
    np.testing.assert_allclose(outputs, published_output(), rtol=0, atol=1e-5)
    outputs = array(layer(1.5 * clips(), training=True))
    np.testing.assert_allclose(
        outputs, published_output("y_train_step2_on_1p5x"), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        array(layer.moving_mean), FIGURES["agg_running_mean"], rtol=0, atol=1e-6
    )
    # The reference adds the variance of the running means, this layer that of each step's means.
    difference = array(layer.moving_variance) - FIGURES["agg_running_var"]
    assert 0.1 < difference.max() < 0.43


def test_precise_statistics_are_those_of_the_reference():
    # After one step that counts fully, there is no running mean that lags.
    layer = published_layer()
    layer.momentum = 0.0
    layer(clips(), training=True)
    groups = clips().reshape(4, -1, 3)
    reference = groups.var(axis=1, ddof=1).mean(axis=0) + groups.mean(axis=1).var(axis=0)
    np.testing.assert_allclose(array(layer.moving_mean), groups.mean((0, 1)), rtol=1e-5)
    # It estimates variances over one value less of 64.
    np.testing.assert_allclose(array(layer.moving_variance), reference, rtol=1 / 64)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8, 16])
def test_gradients_in_a_training_step(groups):
    """The loss of a step falls by its learning rate times the squared gradient."""
    inputs = keras.Input((2, 4, 4, 3))
    layer = SubBatchNormalization()
    x = keras.layers.Conv3D(3, 1, name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling3D()(keras.layers.ReLU()(layer(x)))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    keras.utils.set_random_seed(0)
    for weight in model.trainable_variables:
        weight.assign(keras.random.normal(weight.shape, seed=3) * 0.5 + 0.1)
    rate = 1e-3
    model.compile(keras.optimizers.SGD(rate), "mse", jit_compile="auto")
    layer.groups.assign(groups)
    targets = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    before = [array(weight) for weight in model.trainable_variables]
    losses = [float(model.train_on_batch(clips(), targets))]
    squares = sum(
        np.sum(((array(weight) - start) / rate) ** 2)
        for weight, start in zip(model.trainable_variables, before, strict=True)
    )
    losses.append(float(model.train_on_batch(clips(), targets)))
    assert losses[0] - losses[1] == pytest.approx(rate * squares, rel=0.1)


def test_training_through_a_schedule():
    schedule = MultigridSchedule(
        base=Grid(batch_size=2, num_frames=8, crop_size=16),
        num_clips=64,
        epochs=8,
        boundaries=(5,),
        # JAX compiles every grid; the next test has those of the short cycle.
        long_cycle=((0.25, 0.7071), (1.0, 1.0)),
        short_cycle=(),
    )
    keras.utils.set_random_seed(0)
    model = I3D(classes=2, blocks=(1, 1, 1, 1), width=4, dropout=0.0)
    policy = MultigridLearningRate(schedule, 0.02, warmup_epochs=1)
    model.compile(
        ReferenceSGD(policy, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy"
    )
    random = np.random.default_rng(0)
    losses = []
    for step in range(schedule.total_steps):
        assert float(array(model.optimizer.learning_rate)) == pytest.approx(
            float(array(policy(step))), rel=1e-5
        )
        grid = schedule.grid(step)
        labels = np.arange(grid.batch_size) % 2
        noise = random.normal(size=grid.shape)
        batch = (noise + labels[:, None, None, None, None]).astype("float32")
        losses.append(float(model.train_on_batch(batch, labels)))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def small_network(schedule):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            layers.Conv3D(4, 3, padding="same"),
            SubBatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling3D(),
            layers.Dense(2),
        ]
    )
    model.compile(
        keras.optimizers.SGD(MultigridLearningRate(schedule, 0.01), momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def fit_batches(schedule):
    random = np.random.default_rng(0)
    for step in range(schedule.total_steps):
        grid = schedule.grid(step)
        clips = random.normal(size=grid.shape).astype("float32")
        yield clips, np.arange(grid.batch_size, dtype="int32") % 2


def as_fit_takes_them(batches):
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    spec = tf.TensorSpec((None, None, None, None, 3)), tf.TensorSpec((None,), tf.int32)
    return tf.data.Dataset.from_generator(lambda: batches, output_signature=spec)


def test_fit_with_the_callback_is_a_loop_that_follows_the_schedule():
    schedule = MultigridSchedule(
        base=Grid(batch_size=2, num_frames=4, crop_size=8),
        num_clips=32,
        epochs=6,
        boundaries=(4,),
        short_cycle=(),
    )
    by_hand = small_network(schedule)
    for step, (clips, labels) in enumerate(fit_batches(schedule)):
        by_hand.layers[1].groups.assign(schedule.phase(step).groups(1, 2))
        by_hand.train_on_batch(clips, labels)
    fitted = small_network(schedule)
    fitted.fit(
        as_fit_takes_them(fit_batches(schedule)),
        # Two Keras epochs, to hand the state over between them.
        steps_per_epoch=-(-schedule.total_steps // 2),
        epochs=2,
        callbacks=[MultigridCallback(log_dir=None, clips_per_group=2)],
        shuffle=False,
        verbose=0,
    )
    assert int(array(fitted.optimizer.iterations)) == schedule.total_steps
    for ours, theirs in zip(fitted.variables, by_hand.variables, strict=True):
        np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-3, atol=1e-5)
