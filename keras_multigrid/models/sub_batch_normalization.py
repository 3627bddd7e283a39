"""Batch normalization over groups of clips, whatever the size of the mini-batch."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_multigrid")
class SubBatchNormalization(keras.layers.Layer):
    """Normalizes each group of clips by its own statistics, with one scale and offset for all.

    Multigrid batches are up to 16 times larger than the baseline's; statistics over so many clips
    regularize less and differ from those of the last, small batches. So a batch is cut into
    `groups` runs of neighbouring clips, which are normalized apart (paper, section 3.4). Clip `i`
    of `b` belongs to group `floor(i * groups / b)`: `b` need not divide.

    `groups` is a variable, 1 at the start: `layer.groups.assign(8)` takes effect at the next step
    without a rebuild. `MultigridCallback` does it at the borders of phases.

    The moving statistics are those of the whole batch: group means are averaged, and so are group
    variances, to which the variance of the means is added. With one group the layer is
    `keras.layers.BatchNormalization`.

    Args:
        momentum: of the moving statistics, in Keras's sense: the share that is kept.
        epsilon: added to the variance.
        gamma_initializer: of the scale; "zeros" for the last one of a residual block.

    Input: (batch, ..., channels), any rank from 3. Output: the same shape and dtype. Statistics are
    taken in float32 under every dtype policy.

    Example:

    >>> layer = SubBatchNormalization()
    >>> layer.build((None, None, None, None, 16))
    >>> layer.groups.assign(4)
    >>> y = layer(keras.random.normal((32, 8, 28, 28, 16)), training=True)
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, gamma_initializer="ones", **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.supports_masking = False

    def build(self, input_shape):
        if len(input_shape) < 3 or input_shape[-1] is None:
            raise ValueError(
                "The input must be (batch, ..., channels) with a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}."
            )
        shape = (input_shape[-1],)
        self.gamma = self._statistic("gamma", shape, self.gamma_initializer, trainable=True)
        self.beta = self._statistic("beta", shape, "zeros", trainable=True)
        self.moving_mean = self._statistic("moving_mean", shape, "zeros", trainable=False)
        self.moving_variance = self._statistic("moving_variance", shape, "ones", trainable=False)
        # A variable, not a constant of the compiled step: phases share grids but not groups.
        self.groups = self.add_weight(
            name="groups", shape=(), dtype="int32", initializer="ones", trainable=False
        )

    def call(self, inputs, training=False):
        x = ops.cast(inputs, "float32")
        # A frozen layer neither moves its statistics nor depends on the batch, as in Keras.
        if training and self.trainable:
            outputs = self._normalize_groups(x)
        else:
            outputs = ops.batch_normalization(
                x,
                mean=self.moving_mean,
                variance=self.moving_variance,
                axis=-1,
                offset=self.beta,
                scale=self.gamma,
                epsilon=self.epsilon,
            )
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }

    def _normalize_groups(self, x):
        positions = tuple(range(1, len(x.shape) - 1))
        same_group = self._same_group(ops.shape(x)[0])
        clip_means = ops.mean(x, axis=positions, keepdims=True)
        mean = _average_over(same_group, clip_means)
        centred = x - mean
        clip_variances = ops.mean(ops.square(centred), axis=positions, keepdims=True)
        variance = _average_over(same_group, clip_variances)
        self._update_moving_statistics(mean, variance)
        return centred * (self.gamma * ops.rsqrt(variance + self.epsilon)) + self.beta

    def _same_group(self, batch_size):
        """(batch, batch) weights that average a clip's group: a matrix, so that no size divides."""
        group = ops.arange(batch_size, dtype="int32") * self.groups // batch_size
        same = ops.cast(group[:, None] == group[None, :], "float32")
        return same / ops.sum(same, axis=1, keepdims=True)

    def _update_moving_statistics(self, mean, variance):
        """`mean` and `variance`: of each clip's group, (batch, 1, ..., channels)."""
        clips = tuple(range(len(mean.shape) - 1))
        batch_mean = ops.mean(mean, axis=clips)
        batch_variance = ops.mean(variance + ops.square(mean - batch_mean), axis=clips)
        for moving, value in (
            (self.moving_mean, batch_mean),
            (self.moving_variance, batch_variance),
        ):
            value = ops.stop_gradient(value)
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))

    def _statistic(self, name, shape, initializer, *, trainable):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype="float32",
            initializer=initializer,
            trainable=trainable,
            autocast=False,
        )


def _average_over(same_group, values):
    """Averages over groups: (b, b) weights, (b, 1, ..., c) values."""
    flat = ops.reshape(values, (-1, values.shape[-1]))
    return ops.reshape(ops.matmul(same_group, flat), ops.shape(values))
