"""Batch normalization over groups of clips, whatever the size of the mini-batch."""

import keras
from keras import ops

from keras_multigrid.layers import moving_statistics
from keras_multigrid.layers.fused_normalization import normalize_groups


@keras.saving.register_keras_serializable(package="keras_multigrid")
class SubBatchNormalization(keras.layers.Layer):
    """Normalizes each group of clips by its own statistics, with one scale and offset for all.

    Multigrid batches are up to 16 times larger than the baseline's; statistics over so many clips
    regularize less and differ from those of the last, small batches. So a batch is cut into
    `groups` runs of neighbouring clips, which are normalized apart (paper, section 3.4). Where
    `groups` does not divide the number of clips, its largest divisor below does instead.

    `groups` is a variable, 1 at the start: `layer.groups.assign(8)` takes effect at the next step
    without a rebuild. `MultigridCallback` does it at the borders of phases. A layer
    whose weights are loaded has one group.

    Where replicas of a distribution strategy have too few clips for statistics of their own,
    `synchronized_replicas`, a variable like `groups`, says how many neighbours share them; for it,
    set `layer.synchronizes = True` before the first step, as `MultigridCallback` does.

    The moving statistics are those of the whole batch: group means are averaged, and so are group
    variances, to which the variance of the means is added. With one group the layer is
    `keras.layers.BatchNormalization`. Under a distribution strategy they are those of all replicas'
    clips, the same on each.

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
        # Whether statistics may be shared between replicas: communication in every step.
        self.synchronizes = False
        # What the variables begin with: a model may be built when `fit` has begun.
        self.initial_groups = self.initial_synchronized_replicas = 1
        # XLA of TensorFlow needs the number of groups when it compiles.
        self.supports_jit = keras.backend.backend() != "tensorflow"

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
        self.groups = self._count("groups", self.initial_groups)
        self.synchronized_replicas = self._count(
            "synchronized_replicas", self.initial_synchronized_replicas
        )

    def call(self, inputs, training=False):
        # A frozen layer neither moves its statistics nor depends on the batch, as in Keras.
        if training and self.trainable:
            outputs, mean, variance = normalize_groups(
                inputs,
                self.gamma,
                self.beta,
                self.groups,
                self.epsilon,
                synchronized_replicas=self.synchronized_replicas if self.synchronizes else None,
            )
            # Every replica holds the same: evaluation and what is saved depend on none of them.
            moving_statistics.move(self, mean, variance)
            return outputs
        outputs = ops.batch_normalization(
            ops.cast(inputs, "float32"),
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

    def load_own_variables(self, store):
        super().load_own_variables(store)
        # How batches are cut is a matter of the schedule, which a file outlives.
        self.groups.assign(1)
        self.synchronized_replicas.assign(1)

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }

    def _count(self, name, value):
        return self.add_weight(
            name=name,
            shape=(),
            dtype="int32",
            initializer=keras.initializers.Constant(value),
            trainable=False,
        )

    def _statistic(self, name, shape, initializer, *, trainable):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype="float32",
            initializer=initializer,
            trainable=trainable,
            autocast=False,
        )
