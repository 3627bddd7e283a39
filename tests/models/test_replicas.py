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
