"""What TensorFlow alone does with the networks: graphs for other programs, and their traces."""

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from test_saving import make, run

from keras_multigrid import MultigridCallback, MultigridLearningRate
from keras_multigrid.schedule import Grid, MultigridSchedule

# With non-local blocks, two pathways, depth-wise convolutions: the others have the same layers.
PATHWAYS = ("i3d", "slowfast", "x3d")


@pytest.mark.parametrize("kind", ["i3d", pytest.param("slowfast", marks=pytest.mark.slow), "x3d"])
def test_exported_to_a_saved_model(kind, tmp_path):
    network = make(kind)
    network.export(str(tmp_path / "exported"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    for frames, crop in ((8, 40), (4, 32)):
        clip = np.random.default_rng(0).normal(size=(2, frames, crop, crop, 3)).astype("float32")
        np.testing.assert_allclose(served.serve(clip), run(network, clip), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["slowfast", pytest.param("x3d", marks=pytest.mark.slow)])
def test_exported_to_onnx(kind, tmp_path):
    network = make(kind)
    path = str(tmp_path / "exported.onnx")
    # Keras exports to ONNX what has been called.
    run(network, np.zeros((1, 8, 40, 40, 3), "float32"))
    network.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    for frames, crop in ((8, 40), (4, 32)):
        clip = np.random.default_rng(0).normal(size=(2, frames, crop, crop, 3)).astype("float32")
        (scores,) = session.run(None, {session.get_inputs()[0].name: clip})
        np.testing.assert_allclose(scores, run(network, clip), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("i3d", marks=pytest.mark.every), "slowfast"])
def test_all_grids_without_a_trace_for_each(kind):
    """Kinetics' schedule in small, every phase of it, training and prediction."""
    traces = []

    @keras.saving.register_keras_serializable(package="tests")
    class Traced(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs.shape)
            return inputs

    inputs = keras.Input((None, None, None, 3))
    # One block a stage: others have nothing more that could be traced anew.
    fewer = {"i3d": {"non_local": ((), (0,), (0,), ())}}
    network = make(kind, blocks=(1, 1, 1, 1), **fewer.get(kind, {}))
    model = keras.Model(inputs, Traced()(network(inputs)))
    schedule = MultigridSchedule(
        base=Grid(batch_size=1, num_frames=8, crop_size=40),
        num_clips=12,
        epochs=8,
        boundaries=(3, 5),
    )
    model.compile(
        keras.optimizers.SGD(MultigridLearningRate(schedule, 0.01)),
        "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)

    def batches():
        for step in range(schedule.total_steps):
            grid = schedule.grid(step)
            yield tf.random.normal(grid.shape), tf.zeros(grid.batch_size, tf.int32)

    spec = tf.TensorSpec((None, None, None, None, 3)), tf.TensorSpec((None,), tf.int32)
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    traces.clear()
    model.fit(
        data,
        steps_per_epoch=schedule.total_steps,
        verbose=0,
        shuffle=False,
        callbacks=[MultigridCallback(log_dir=None)],
    )
    assert int(model.optimizer.iterations) == schedule.total_steps
    assert len(schedule.grids) > 6
    assert len(traces) <= 4
    traces.clear()
    assert model.predict(data.map(lambda x, y: x), verbose=0).shape[1] == 3
    assert len(traces) <= 4


@pytest.mark.parametrize(
    ("kind", "num_frames", "message"),
    [
        ("slowfast", 4, "at least 2 frames, a multiple of 2. Received: 1 frames"),
        ("i3d", 4, "at least 2 frames. Received: 1 frames"),
    ],
)
def test_grids_of_too_few_frames_are_refused_before_the_first_step(kind, num_frames, message):
    network = make(kind)
    schedule = MultigridSchedule(
        base=Grid(batch_size=1, num_frames=num_frames, crop_size=40),
        num_clips=64,
        epochs=8,
        boundaries=(4,),
    )
    network.compile(
        keras.optimizers.SGD(MultigridLearningRate(schedule, 0.01)),
        "sparse_categorical_crossentropy",
    )
    with pytest.raises(ValueError, match=message):
        network.fit(
            tf.data.Dataset.from_tensors((tf.zeros((1, 8, 40, 40, 3)), tf.zeros(1))).repeat(),
            steps_per_epoch=1,
            verbose=0,
            callbacks=[MultigridCallback(log_dir=None)],
        )
    assert network.optimizer.iterations == 0
