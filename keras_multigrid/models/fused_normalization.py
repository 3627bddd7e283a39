"""Batch normalization of groups of clips, by the fastest way that each backend has.

Normalization reads and writes every feature; written in small operations it takes about as long as
the convolutions on a CPU. TensorFlow and PyTorch have one operation for it, without groups; JAX
compiles the small operations into few. The one file of the models that imports a backend.
"""

import itertools
from collections.abc import Callable

import keras
from keras import ops

# Numbers of groups that get the fused operation in TensorFlow's graphs, which must hold them all.
_FUSED_GROUPS = (1, 2, 4, 8)


def normalize_groups(x, gamma, beta, groups, epsilon: float):
    """Normalize each of `groups` runs of neighbouring clips by its own statistics.

    Clip `i` of `b` belongs to group `floor(i * groups / b)`.

    Args:
        x: (b, ..., c), floating point.
        gamma, beta: (c,) float32.
        groups: scalar int32.
        epsilon: added to variances.

    Returns:
        The output, of the shape and type of `x`; and of the whole batch the mean (c,) and the
        variance (c,) in float32: group means are averaged, and so are group variances, to which the
        variance of the means is added.
    """
    return _implementation()(x, gamma, beta, groups, epsilon)


def _implementation() -> Callable:
    return {"tensorflow": _tensorflow, "torch": _torch}.get(keras.backend.backend(), _general)


def _tensorflow(x, gamma, beta, groups, epsilon):
    import tensorflow as tf

    def fused(part):
        # (b, positions, 1, c): pictures, whatever the rank.
        shape = tf.shape(part)
        pictures = tf.reshape(part, (shape[0], -1, 1, part.shape[-1]))
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=pictures, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon
        )
        # The operation's variance is an estimate over one value less.
        values = tf.cast(tf.size(pictures) // part.shape[-1], tf.float32)
        return tf.reshape(y, shape), mean, variance * ((values - 1) / values)

    def fused_groups(count):
        y, means, variances = zip(*(fused(part) for part in tf.split(x, count)), strict=True)
        if count == 1:
            return y[0], means[0], variances[0]
        return tf.concat(y, 0), *_of_batch(tf.stack(means), tf.stack(variances))

    def branch(count):
        return lambda: fused_groups(count)

    x, gamma, beta = (tf.convert_to_tensor(value) for value in (x, gamma, beta))
    groups = tf.convert_to_tensor(groups)
    fits = tf.shape(x)[0] % groups == 0
    is_fused = [fits & (groups == count) for count in _FUSED_GROUPS]
    # The first that holds, or the number after the last.
    index = tf.argmax(tf.stack([*is_fused, True]), output_type=tf.int32)
    branches = [branch(count) for count in _FUSED_GROUPS]
    return tf.switch_case(index, [*branches, lambda: _general(x, gamma, beta, groups, epsilon)])


def _torch(x, gamma, beta, groups, epsilon):
    import torch

    size, count = x.shape[0], int(groups)
    starts = sorted({-(-size * group // count) for group in range(count + 1)})
    outputs, means, variances, shares = [], [], [], []
    for start, end in itertools.pairwise(starts):
        part = torch.movedim(x[start:end], -1, 1)
        y, mean, inverse = torch.native_batch_norm(
            part, gamma, beta, None, None, True, 0.0, epsilon
        )
        outputs.append(torch.movedim(y, 1, -1))
        means.append(mean)
        variances.append(inverse**-2 - epsilon)
        shares.append((end - start) / size)
    shares = torch.tensor(shares, device=x.device)[:, None]
    return torch.cat(outputs), *_of_batch(torch.stack(means), torch.stack(variances), shares)


def _general(x, gamma, beta, groups, epsilon):
    """In small operations of any backend, for any number of groups."""
    features = ops.cast(x, "float32")
    positions = tuple(range(1, len(x.shape) - 1))
    same_group = _same_group(ops.shape(x)[0], groups)
    mean = _average_over(same_group, ops.mean(features, axis=positions, keepdims=True))
    centred = features - mean
    clip_variances = ops.mean(ops.square(centred), axis=positions, keepdims=True)
    variance = _average_over(same_group, clip_variances)
    y = centred * (gamma * ops.rsqrt(variance + epsilon)) + beta
    clips = tuple(range(len(x.shape) - 1))
    batch_mean = ops.mean(mean, axis=clips)
    batch_variance = ops.mean(variance + ops.square(mean - batch_mean), axis=clips)
    return ops.cast(y, x.dtype), batch_mean, batch_variance


def _of_batch(means, variances, shares=None):
    """Statistics of the batch from those (groups, c) of its groups, which hold `shares` of it."""
    shares = 1 / means.shape[0] if shares is None else shares
    mean = ops.sum(means * shares, axis=0)
    return mean, ops.sum((variances + ops.square(means - mean)) * shares, axis=0)


def _same_group(batch_size, groups):
    """(batch, batch) weights that average a clip's group: a matrix, so that no size divides."""
    group = ops.arange(batch_size, dtype="int32") * groups // batch_size
    same = ops.cast(group[:, None] == group[None, :], "float32")
    return same / ops.sum(same, axis=1, keepdims=True)


def _average_over(same_group, values):
    """Averages over groups: (b, b) weights, (b, 1, ..., c) values."""
    flat = ops.reshape(values, (-1, values.shape[-1]))
    return ops.reshape(ops.matmul(same_group, flat), ops.shape(values))
