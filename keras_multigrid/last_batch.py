"""The mini-batch that a model was trained on last."""

from collections.abc import Callable
from typing import Any

import keras


class LastBatch:
    """The mini-batch that `fit` trained on last.

    Args:
        model: that `fit` trains.
        is_replicated: whether it was made in the scope of a strategy.
    """

    def __init__(self, model: "keras.Model", *, is_replicated: bool):
        self._shape = None
        self._strategy = getattr(model, "distribute_strategy", None)
        self._is_replicated = is_replicated
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Variables, as the step is a compiled graph; of int64, which a GPU has, too.
            with self._strategy.scope():
                self._shape, self._begun = (
                    tf.Variable(
                        value,
                        dtype=tf.int64,
                        trainable=False,
                        synchronization=tf.VariableSynchronization.ON_READ,
                        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                    )
                    for value in ([0] * 5, 0)
                )

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(b, t, h, w, c) on the first replica of this process; None if there are no clips."""
        shape = self._shape
        if self._strategy is not None:
            shape = self._strategy.experimental_local_results(shape)[0].numpy()
        return None if shape is None or not any(shape) else tuple(int(n) for n in shape)

    @property
    def steps_begun(self) -> int | None:
        """Training steps whose batch has come; in any thread.

        As long as they are the steps that have ended, the model is as the last one left it. None on
        other backends, and where other processes have replicas, too.
        """
        strategy = self._strategy
        if strategy is None:
            return None
        count = strategy.num_replicas_in_sync
        if count > 1 and len(strategy.extended.worker_devices) < count:
            return None
        return max(int(part.numpy()) for part in strategy.experimental_local_results(self._begun))

    def note(self, batch: Any) -> None:
        """Note the shape of the one array of clips in a batch, if there is one."""
        inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
        clips = [x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ())) == 5]
        shape = keras.ops.shape(clips[0]) if len(clips) == 1 else (0,) * 5
        if self._strategy is None:
            self._shape = tuple(shape)
        else:
            import tensorflow as tf

            self._shape.assign(tf.stack([tf.cast(n, tf.int64) for n in shape]))

    def then(self, train_step: Callable, *, run_eagerly: bool) -> Callable:
        """A `train_step` of TensorFlow that counts itself when its batch has come, then begins.

        `fit` waits for a batch and trains on it in one call. By itself, TensorFlow does meanwhile
        what needs no batch, such as drawing random numbers or decaying weights.
        """
        import tensorflow as tf

        if not self._is_replicated and not run_eagerly:
            # A call that is not inlined begins when all its inputs are there. In a strategy, whose
            # replicas meet inside the step (one replica, too), there is no such call.
            attributes = {"_noinline": True}
            train_step = tf.function(
                train_step,
                autograph=False,
                reduce_retracing=True,
                experimental_attributes=attributes,
            )

        def after_its_batch(data):
            parts = tf.nest.flatten(data, expand_composites=True)
            with tf.control_dependencies([part for part in parts if part is not None]):
                begun = self._begun.assign_add(1, read_value=False)
            with tf.control_dependencies([begun]):
                return train_step(data)

        return after_its_batch
