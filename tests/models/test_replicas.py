"""Statistics shared between replicas, in a process of its own with four devices."""

import os
import pathlib
import textwrap

import processes
import pytest

from keras_multigrid.schedule import Grid, MultigridSchedule

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = """
    import sys
    import numpy as np
    import tensorflow as tf
    from keras_multigrid.models import SubBatchNormalization

    shared = int(sys.argv[1])
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    clips = np.random.default_rng(0).normal(size=(8, 2, 3, 3, 5)).astype("float32")
    clips *= np.arange(1, 9, dtype="float32")[:, None, None, None, None]
    clips = tf.constant(clips)
    weights = tf.random.normal(clips.shape, seed=1)

    def make(groups, synchronized):
        layer = SubBatchNormalization()
        layer.build((None, None, None, None, 5))
        layer.groups.assign(groups)
        layer.synchronizes = synchronized > 1
        layer.synchronized_replicas.assign(synchronized)
        layer.gamma.assign([0.5, 1.0, 2.0, -1.0, 3.0])
        return layer

    def step(layer, clips, weights):
        with tf.GradientTape() as tape:
            tape.watch(clips)
            outputs = layer(clips, training=True)
            loss = tf.reduce_sum(weights * outputs**2)
        return outputs, tape.gradient(loss, clips)

    strategy = tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(4)])
    with strategy.scope():
        layer = make(1, shared)

    def of_replica(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: values[2 * context.replica_id_in_sync_group :][:2])

    run = tf.function(lambda *args: strategy.run(lambda *a: step(layer, *a), args=args))
    results = run(of_replica(clips), of_replica(weights))
    outputs, gradients = (
        np.concatenate([v.numpy() for v in strategy.experimental_local_results(r)])
        for r in results
    )
    # The same on one device: as many groups as there are sets of replicas.
    expected, expected_gradients = step(make(4 // shared, 1), clips, weights)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradients, expected_gradients, rtol=1e-3, atol=1e-3)
    print("done")
"""


@pytest.mark.parametrize("synchronized", [1, 2, 4])
def test_replicas_share_statistics(tmp_path, synchronized):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = processes.run(script, synchronized, env=env, timeout=120)
    assert "done" in result.stdout, result.stderr[-3000:]


# Clips a replica in the four phases of a stage: groups, replicas that share statistics.
@pytest.mark.parametrize(
    ("replicas", "batch_size", "expected"),
    [
        (8, 64, {64: (8, 1), 32: (4, 1), 16: (2, 1), 8: (1, 1)}),
        (8, 16, {16: (2, 1), 8: (1, 1), 4: (1, 2), 2: (1, 4)}),
        # One device has nobody to share with.
        (1, 2, {16: (2, 1), 8: (1, 1), 4: (1, 1), 2: (1, 1)}),
        (1, 8, {64: (8, 1), 32: (4, 1), 16: (2, 1), 8: (1, 1)}),
        (2, 2, {8: (1, 1), 4: (1, 2), 2: (1, 2), 1: (1, 2)}),
    ],
)
def test_groups_and_shared_statistics_in_every_phase(replicas, batch_size, expected):
    schedule = MultigridSchedule(
        base=Grid(batch_size=batch_size, num_frames=32, crop_size=224),
        num_clips=240_000,
        epochs=239,
        boundaries=(94, 154, 196),
    )
    found = {}
    for phase in schedule.phases:
        clips = phase.base.batch_size // replicas
        rule = phase.groups(replicas), phase.synchronized_replicas(replicas)
        assert found.setdefault(clips, rule) == rule
    assert found == expected


# What replicas exchange in a training step of three normalization layers.
EXCHANGES = """
    import sys
    import keras
    import numpy as np
    import tensorflow as tf
    from keras_multigrid import SubBatchNormalization, distribute

    shared, prepares = int(sys.argv[1]), sys.argv[2] == "True"
    strategy = distribute.find_strategy("mirrored", logical_cpus=2)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((None, None, None, 3))])
        for number in range(3):
            model.add(keras.layers.Conv3D(4, 1))
            model.add(SubBatchNormalization())
        model.add(keras.layers.GlobalAveragePooling3D())
        model.add(keras.layers.Dense(2, activation="softmax"))
        model.compile("sgd", "sparse_categorical_crossentropy")
        for layer in model.layers[1::2][:3]:
            layer.synchronizes = shared > 1
            layer.synchronized_replicas.assign(shared)
    if prepares:
        distribute.prepare(model)
    exchanges = []
    all_reduce = tf.distribute.ReplicaContext.all_reduce

    def counted(self, reduce_op, value, *args, **kwargs):
        exchanges.append(value)
        return all_reduce(self, reduce_op, value, *args, **kwargs)

    tf.distribute.ReplicaContext.all_reduce = counted
    clips = np.random.default_rng(0).normal(size=(4, 2, 4, 4, 3)).astype("float32")
    labels = np.array([0, 1, 1, 0])
    data = tf.data.Dataset.from_tensor_slices((clips, labels)).batch(4).repeat()
    model.fit(data, steps_per_epoch=1, verbose=0)
    # Each replica is traced.
    traced = len(exchanges) // 2
    model.fit(data, steps_per_epoch=3, verbose=0)
    statistics = [layer.moving_variance.numpy() for layer in model.layers[1::2][:3]]
    print(traced, " ".join(str(value) for value in np.concatenate(statistics)))
"""


def exchanges(folder, *, shared, prepares):
    """All-reduces in the graph of a step, and moving variances after four steps."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(EXCHANGES))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = processes.run(script, shared, prepares, env=env, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]
    count, *statistics = result.stdout.split()[-13:]
    return int(count), [float(value) for value in statistics]


def test_all_layers_exchange_their_statistics_once(tmp_path):
    count, statistics = exchanges(tmp_path, shared=1, prepares=True)
    # Gradients, statistics.
    assert count == 2
    apart, same_statistics = exchanges(tmp_path, shared=1, prepares=False)
    assert apart == 4
    assert statistics == pytest.approx(same_statistics, rel=1e-6)


def test_shared_statistics_take_one_exchange_a_layer_and_direction(tmp_path):
    count, _ = exchanges(tmp_path, shared=2, prepares=True)
    assert count == 2 + 3 * 2
