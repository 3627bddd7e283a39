"""Moving statistics of normalization layers, the same on all replicas.

A network has some 50 to 110 normalization layers, whose statistics are a few hundred numbers each:
an exchange between replicas takes as long for one layer as for all. So a training step collects
them, and exchanges them once, at its end.
"""

import contextlib
import threading

import keras

_thread = threading.local()


def move(layer, mean, variance) -> None:
    """Let the moving statistics of a layer follow those of a batch.

    Under a distribution strategy they follow those of all replicas' values: at once, or at the end
    of `exchanged_together` inside of one.

    Args:
        layer: has `moving_mean` and `moving_variance`, (c,) float32, and `momentum`.
        mean, variance: (c,) float32, of the values on this replica.
    """
    mean, variance = keras.ops.stop_gradient(mean), keras.ops.stop_gradient(variance)
    if _num_replicas() == 1:
        _assign(layer, mean, variance)
        return
    step = getattr(_thread, "step", None)
    if step is None or not step.takes_tensors_of_now():
        step = _Step()
        step.add(layer, mean, variance)
        step.exchange()
    else:
        step.add(layer, mean, variance)


@contextlib.contextmanager
def exchanged_together():
    """Inside, layers leave the statistics of their batches; one all-reduce at the end takes all.

    For the body of a training step, on each replica:

    >>> with exchanged_together():
    ...     logs = model.train_step(data)
    """
    # Each replica is traced in a thread of its own.
    before, step = getattr(_thread, "step", None), _Step()
    _thread.step = step
    try:
        yield
    finally:
        _thread.step = before
    step.exchange()


class _Step:
    """What the layers have left in a step, on this replica."""

    def __init__(self):
        self._graph = _current_graph()
        self._moves = []

    def takes_tensors_of_now(self) -> bool:
        """False inside of a branch or loop of TensorFlow, whose tensors nobody outside can use."""
        return self._graph is _current_graph()

    def add(self, layer, mean, variance) -> None:
        self._moves.append((layer, mean, variance))

    def exchange(self) -> None:
        if not self._moves:
            return
        if _num_replicas() == 1:
            for layer, mean, variance in self._moves:
                _assign(layer, mean, variance)
            return
        import tensorflow as tf

        layers, means, variances = zip(*self._moves, strict=True)
        sizes = [mean.shape[0] for mean in means]
        # Not far from the means, and the same on all replicas: keeps rounding small.
        near = tf.concat([tf.convert_to_tensor(layer.moving_mean) for layer in layers], 0)
        distance = tf.concat(means, 0) - near
        moments = tf.stack([distance, tf.concat(variances, 0) + distance**2])
        context = tf.distribute.get_replica_context()
        # All have as many values: the moments of all are the averages of each one's.
        moments = context.all_reduce(tf.distribute.ReduceOp.SUM, moments / _num_replicas())
        distance, square = tf.unstack(moments)
        mean, variance = near + distance, tf.maximum(square - distance**2, 0.0)
        for values in zip(layers, tf.split(mean, sizes), tf.split(variance, sizes), strict=True):
            _assign(*values)


def _assign(layer, mean, variance) -> None:
    kept = layer.momentum
    layer.moving_mean.assign(layer.moving_mean * kept + mean * (1.0 - kept))
    layer.moving_variance.assign(layer.moving_variance * kept + variance * (1.0 - kept))


def _num_replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def _current_graph():
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
