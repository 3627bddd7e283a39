"""Batch normalization of groups of clips, by the fastest way that each backend has.

Normalization reads and writes every feature; written in small operations it takes a third of the
time of the convolutions on a CPU. TensorFlow and PyTorch have one operation for it, without groups:
groups become channels, or are taken in turn. JAX compiles the small operations into few.
"""

from collections.abc import Callable

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of

# The most groups that a batch is cut into.
_MAX_GROUPS = 64


def normalize_groups(x, gamma, beta, groups, epsilon: float, *, synchronized_replicas=None):
    """Normalize runs of neighbouring clips, each by its own statistics.

    There are as many groups, all of one size, as the largest divisor of the number of clips that is
    at most `groups`.

    Args:
        x: (b, ..., c), floating point.
        gamma, beta: (c,) float32.
        groups: scalar int32.
        epsilon: added to variances.
        synchronized_replicas: scalar int32, neighbouring replicas of a distribution strategy that
            share statistics over all their clips, if more than one; None for never.

    Returns:
        The output, of the shape and type of `x`; and of the whole batch the mean (c,) and the
        variance (c,) in float32: group means are averaged, and so are group variances, to which the
        variance of the means is added.
    """
    divisors = ops.arange(1, _MAX_GROUPS + 1, dtype="int32")
    fits = (divisors <= groups) & (sizes_of(x)[0] % divisors == 0)
    groups = ops.max(ops.where(fits, divisors, 1))
    normalize = _implementation()
    if synchronized_replicas is None or keras.backend.backend() != "tensorflow":
        return normalize(x, gamma, beta, groups, epsilon)
    return _tensorflow_synchronized(x, gamma, beta, groups, epsilon, synchronized_replicas)


def _implementation() -> Callable:
    return {"tensorflow": _tensorflow, "torch": _torch}.get(keras.backend.backend(), _general)


def _tensorflow(x, gamma, beta, groups, epsilon):
    import tensorflow as tf

    channels = x.shape[-1]
    # Groups as channels: (groups, values, channels) to (1, values, 1, groups * channels). With one
    # group that copies nothing.
    grouped = tf.reshape(x, (groups, -1, channels))
    values = tf.shape(grouped)[1]
    y, means, variances, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(tf.transpose(grouped, (1, 0, 2)), (1, values, 1, -1)),
        scale=tf.tile(gamma, [groups]),
        offset=tf.tile(beta, [groups]),
        mean=[],
        variance=[],
        epsilon=epsilon,
    )
    y = tf.transpose(tf.reshape(y, (values, groups, channels)), (1, 0, 2))
    # The operation's variance is an estimate over one value less.
    count = tf.cast(values, tf.float32)
    means = tf.reshape(means, (groups, channels))
    variances = tf.reshape(variances, (groups, channels)) * ((count - 1) / count)
    return tf.reshape(y, tf.shape(x)), *_of_batch(means, variances)


def _tensorflow_synchronized(x, gamma, beta, groups, epsilon, synchronized_replicas):
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    channels, positions = x.shape[-1], tuple(range(len(x.shape) - 1))
    is_shared = synchronized_replicas > 1

    def own_statistics():
        return tf.stack(tf.nn.moments(tf.cast(x, tf.float32), positions))

    own = tf.cond(is_shared, own_statistics, lambda: tf.zeros((2, channels)))
    # Replicas must meet outside of branches. Each one fills its own row.
    number = context.replica_id_in_sync_group
    row = tf.one_hot(number, replicas)[:, None, None] * own
    means, variances = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, row), axis=1)

    def shared():
        together = tf.range(replicas) // synchronized_replicas == number // synchronized_replicas
        weights = tf.cast(together, tf.float32)[:, None]
        weights /= tf.reduce_sum(weights)
        mean = tf.reduce_sum(weights * means, axis=0)
        variance = tf.reduce_sum(weights * (variances + (means - mean) ** 2), axis=0)
        scale = gamma * tf.math.rsqrt(variance + epsilon)
        y = tf.cast(x, tf.float32) * scale + (beta - mean * scale)
        return tf.cast(y, x.dtype), mean, variance

    x, gamma, beta = (tf.convert_to_tensor(value) for value in (x, gamma, beta))
    return tf.cond(is_shared, shared, lambda: _tensorflow(x, gamma, beta, groups, epsilon))


def _torch(x, gamma, beta, groups, epsilon):
    import torch

    outputs, means, variances = [], [], []
    for part in torch.chunk(x, int(groups)):
        y, mean, inverse = torch.native_batch_norm(
            torch.movedim(part, -1, 1), gamma, beta, None, None, True, 0.0, epsilon
        )
        outputs.append(torch.movedim(y, 1, -1))
        means.append(mean)
        variances.append(inverse**-2 - epsilon)
    y = torch.cat(outputs) if outputs[1:] else outputs[0]
    return y, *_of_batch(torch.stack(means), torch.stack(variances))


def _general(x, gamma, beta, groups, epsilon):
    """In small operations of any backend."""
    features = ops.cast(x, "float32")
    positions = tuple(range(1, len(x.shape) - 1))
    same_group = _same_group(sizes_of(x)[0], groups)
    mean = _average_over(same_group, ops.mean(features, axis=positions, keepdims=True))
    centred = features - mean
    clip_variances = ops.mean(ops.square(centred), axis=positions, keepdims=True)
    variance = _average_over(same_group, clip_variances)
    y = centred * (gamma * ops.rsqrt(variance + epsilon)) + beta
    means, variances = (ops.reshape(v, (-1, x.shape[-1])) for v in (mean, variance))
    return ops.cast(y, x.dtype), *_of_batch(means, variances)


def _of_batch(means, variances):
    """Statistics of the batch from those (n, c) of its groups, or of the group of each clip."""
    mean = ops.mean(means, axis=0)
    return mean, ops.mean(variances + ops.square(means - mean), axis=0)


def _same_group(batch_size, groups):
    """(batch, batch) weights that average a clip's group: a matrix, as its size is no constant."""
    group = ops.arange(batch_size, dtype="int32") * groups // batch_size
    same = ops.cast(group[:, None] == group[None, :], "float32")
    return same / ops.sum(same, axis=1, keepdims=True)


def _average_over(same_group, values):
    """Averages over groups: (b, b) weights, (b, 1, ..., c) values."""
    flat = ops.reshape(values, (-1, values.shape[-1]))
    return ops.reshape(ops.matmul(same_group, flat), sizes_of(values))
