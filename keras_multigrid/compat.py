"""Every use of what Keras and TensorFlow keep to themselves, with the reason for each.

A new release may change any of it. tests/test_compat.py holds one test per function, so that it
fails there and nowhere else. Needs neither Keras nor TensorFlow until a function is called.
"""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_multigrid.last_batch import LastBatch

# ---- Models and optimizers -----------------------------------------------------------------------


def flatten_layers(
    layer: "keras.layers.Layer", *, recursive: bool = True
) -> "list[keras.layers.Layer]":
    """A layer or model and all layers inside it, at any depth; or the outermost ones inside alone.

    `model.layers` holds the outermost ones only: a `SubBatchNormalization` inside a block of the
    user's would never get its groups.
    """
    return list(layer._flatten_layers(include_self=recursive, recursive=recursive))


def learning_rate_of(optimizer: "keras.optimizers.Optimizer") -> Any:
    """The learning rate as the optimizer was given it: a `LearningRateSchedule` or a variable.

    `optimizer.learning_rate` is the value at the current step, `get_config()` the schedule's
    settings. Under mixed precision a `LossScaleOptimizer` wraps the optimizer with the schedule.
    """
    return getattr(getattr(optimizer, "inner_optimizer", optimizer), "_learning_rate", None)


def variable_index(optimizer: "keras.optimizers.Optimizer", variable: "keras.Variable") -> int:
    """Position of a trainable variable's slots, such as `optimizer.momentums`.

    Every optimizer with slots needs it in `update_step`; Keras documents no other way.
    """
    return optimizer._get_variable_index(variable)


def step_counter(optimizer: "keras.optimizers.Optimizer") -> "keras.Variable":
    """The variable that a `LearningRateSchedule` is called with.

    It counts mini-batches; `optimizer.iterations` updates, fewer where gradients accumulate.
    """
    return getattr(optimizer, "inner_optimizer", optimizer)._iterations


def averages_of(optimizer: "keras.optimizers.Optimizer") -> "list[keras.Variable | None]":
    """The moving average of each trainable variable (`use_ema=True`), in their order.

    None for one that has none. Keras has no other way to them than to overwrite the weights.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return optimizer._model_variables_moving_average if optimizer.use_ema else []


def leave_decay_to_update_step(optimizer: "keras.optimizers.Optimizer") -> None:
    """Let an optimizer decay no weights of itself: it would decay all at one learning rate."""
    optimizer._apply_weight_decay = lambda variables: None


def choose_adamw(optimizer: "keras.optimizers.Muon", is_for: Callable) -> None:
    """Let a Muon treat by AdamW the variables that a function says; before it is built.

    Keras's own rule takes all that is not 2-D, so every convolution.
    """
    optimizer._should_use_adamw = is_for


# ---- Inside fit ----------------------------------------------------------------------------------


def watch_batches(model: "keras.Model") -> "LastBatch":
    """Let `fit` count every mini-batch as a step, and note the shape of its clips.

    Keras shows callbacks no batch, and moves its counter only where the optimizer does: not in a
    step whose float16 gradients overflow, and twice where a `train_step` of the user's updates
    twice. For `set_model`: `fit` makes its training function after it.
    """
    from keras_multigrid.last_batch import LastBatch

    if model not in _watched:
        _watched[model] = LastBatch(model, is_replicated=is_replicated(model))
        if _backend() == "jax":
            make, note = model.make_train_function, _watched[model].note
            model.make_train_function = functools.partial(_noting_on_jax, model, make, note)
        train_step = _counted(model, model.train_step, _watched[model])
        if _backend() == "tensorflow":
            train_step = _watched[model].then(train_step, run_eagerly=model.run_eagerly)
        model.train_step = train_step
        # One that was compiled for an earlier `fit` would not be watched.
        model.train_function = None
    if is_replicated(model):
        _update_from_whole_batches(model.optimizer)
    return _watched[model]


# Not an attribute of the model: Keras would save it.
_watched: "weakref.WeakKeyDictionary[keras.Model, LastBatch]" = weakref.WeakKeyDictionary()


def batches_counted(model: "keras.Model") -> int:
    """Mini-batches that a model was trained on, also between two steps of `fit`."""
    return int(_now(model, step_counter(model.optimizer)))


def loss_scale(model: "keras.Model") -> float | None:
    """What a `LossScaleOptimizer` multiplies the loss by, also between two steps of `fit`.

    None if the optimizer is none, or has not made its variables yet.
    """
    variable = getattr(model.optimizer, "dynamic_scale", None)
    return None if variable is None else float(_now(model, variable))


def _now(model: "keras.Model", variable: Any) -> "np.ndarray":
    """The value of an optimizer's variable: on JAX `fit` carries it in an array of its own."""
    import keras

    state = getattr(model, "_jax_state", None) or {}
    if "optimizer_variables" in state and not model._jax_state_synced:
        variable = state["optimizer_variables"][_position(model, variable)]
    return keras.ops.convert_to_numpy(variable)


def _counted(model: "keras.Model", train_step: Callable, last: "LastBatch") -> Callable:
    """A `train_step` that moves the counter by one, whatever the optimizer did."""

    @functools.wraps(train_step)
    def step_on_jax(state, data):
        logs, (trainable, others, optimizer, metrics) = train_step(state, data)
        position, optimizer = _position(model, step_counter(model.optimizer)), list(optimizer)
        after = state[2][position] + 1
        keep = 1 - _cuts_window(model.optimizer, after, optimizer[position])
        for sum_ in _window_sums(model.optimizer):
            place = _position(model, sum_)
            optimizer[place] = optimizer[place] * keep.astype(optimizer[place].dtype)
        optimizer[position] = after
        return logs, (trainable, others, optimizer, metrics)

    @functools.wraps(train_step)
    def step(data):
        import keras

        last.note(data)
        counter = step_counter(model.optimizer)
        after = keras.ops.convert_to_tensor(counter) + 1
        logs = train_step(data)
        sums = _window_sums(model.optimizer)
        if sums:
            cuts = _cuts_window(model.optimizer, after, counter)
            # Keras adds to them in whatever way the strategy needs. A sum less itself is 0.
            model.optimizer.inner_optimizer._backend_increment_gradient_accumulators(
                [-sum_ * keras.ops.cast(cuts, sum_.dtype) for sum_ in sums], sums
            )
        counter.assign(after)
        return logs

    return step_on_jax if _backend() == "jax" else step


def _window_sums(optimizer: "keras.optimizers.Optimizer") -> "list[keras.Variable]":
    """Accumulated gradients that a skipped update may leave behind."""
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is None or not inner.gradient_accumulation_steps:
        return []
    return [sum_ for sum_ in inner._accumulated_gradients if sum_ is not None]


def _cuts_window(optimizer: "keras.optimizers.Optimizer", after: Any, counter: Any) -> Any:
    """1 if the batch that was skipped is the last of its window, whose update is lost; else 0.

    The next window would begin with its gradients.
    """
    from keras import ops

    inner = getattr(optimizer, "inner_optimizer", optimizer)
    is_last = after % (inner.gradient_accumulation_steps or 1) == 0
    is_skipped = ops.convert_to_tensor(counter) + 1 == after
    return ops.cast(ops.logical_and(is_last, is_skipped), "int32")


def _noting_on_jax(model: "keras.Model", make: Callable, note: Callable, *args, **kwargs) -> None:
    """`make_train_function`, for a function that notes each batch it takes from its iterator.

    A compiled `train_step` runs no Python.
    """
    made_before = model.train_function
    make(*args, **kwargs)
    train_function = model.train_function
    if train_function is made_before:
        return

    def noted(iterator) -> Iterator:
        for batch in iterator:
            note(batch)
            yield batch

    model.train_function = lambda state, iterator: train_function(state, noted(iterator))


def _position(model: "keras.Model", variable: "keras.Variable") -> int:
    return next(n for n, v in enumerate(model.optimizer.variables) if v is variable)


def _backend() -> str:
    import keras

    return keras.backend.backend()


def sync_state(model: "keras.Model") -> None:
    """Make `fit` write the variables it holds to the model, and read them again after.

    On JAX, `fit` carries the state from step to step in arrays of its own: a callback that reads or
    assigns variables between two steps calls this first. Elsewhere nothing happens.
    """
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()


def set_initial_epoch(model: "keras.Model", epoch: int | None) -> None:
    """Let the `fit` that begins (`on_train_begin`) do so at another Keras epoch.

    None takes `fit`'s argument. `keras.callbacks.BackupAndRestore` resumes in the same way.
    """
    model._initial_epoch = epoch


# ---- Distribution strategies ---------------------------------------------------------------------


def build_from_first_replica(model: "keras.Model") -> None:
    """Let `fit` and `evaluate` build a model from the batch of this process's first replica.

    Keras builds from the mean of all replicas' batches, even if all is built, and fails where other
    workers have some of them, or where two replicas have unequal batches.
    """
    strategy, symbolic_build = model.distribute_strategy, model._symbolic_build

    def maybe_symbolic_build(iterator=None, data_batch=None):
        if _is_built(model):
            return
        if iterator is not None:
            for _, _, source in iterator:
                data_batch = strategy.experimental_local_results(next(source))[0]
                break
        with strategy.scope():
            symbolic_build(data_batch=data_batch)

    model._maybe_symbolic_build = maybe_symbolic_build


def _is_built(model: "keras.Model") -> bool:
    """Whether model, metrics, loss and optimizer have all their variables."""
    parts = (model._compile_metrics, model._compile_loss, model.optimizer)
    return all(part.built for part in (*flatten_layers(model), *parts) if part is not None)


def predict_on_replicas(model: "keras.Model", clips: Any) -> Any:
    """Predict an element of a distributed data set, each replica its clips; the outputs joined.

    `predict_on_batch` would give every replica the clips of all, and `predict` needs a data set.
    """
    model.make_predict_function()
    return model.predict_function([(clips,)])


def is_replicated(model: "keras.Model") -> bool:
    """Whether a model was made in the scope of a strategy, be it of one replica."""
    return getattr(model, "_distribute_strategy", None) is not None


def _update_from_whole_batches(optimizer: "keras.optimizers.Optimizer") -> None:
    """Let replicas add up their gradients before the optimizer does anything with them.

    Keras clips, accumulates and looks for overflows on each replica alone, and adds up what is
    left. So a run would depend on the number of devices, an overflow on the second one would reach
    the weights, and a checkpoint would hold the accumulated gradients of the first one alone.
    """
    if optimizer in _from_whole_batches:
        return
    _from_whole_batches.add(optimizer)
    inner, apply = getattr(optimizer, "inner_optimizer", optimizer), optimizer.apply
    add_up = inner._all_reduce_sum_gradients

    def apply_sums(grads, trainable_variables=None):
        apply([grad for grad, _ in add_up([(grad, None) for grad in grads])], trainable_variables)

    optimizer.apply = apply_sums
    inner._all_reduce_sum_gradients = lambda grads_and_variables: grads_and_variables
    if inner.gradient_accumulation_steps:
        apply_inner = inner._backend_apply_gradients
        inner._backend_apply_gradients = functools.partial(_accumulate, inner, apply_inner)


# Not an attribute of the optimizer: Keras would save it.
_from_whole_batches: "weakref.WeakSet[keras.optimizers.Optimizer]" = weakref.WeakSet()


def _accumulate(optimizer: Any, apply: Callable, grads: list, variables: list) -> None:
    """Apply gradients at the end of a window, or keep them, in a branch that all replicas take.

    Keras branches on each replica and lets them meet inside: TensorFlow refuses that.
    """
    import tensorflow as tf
    from keras import ops

    if tf.__internal__.distribute.strategy_supports_no_merge_call():
        apply(grads, variables)
        return
    steps = optimizer.gradient_accumulation_steps
    sums = [optimizer._accumulated_gradients[variable_index(optimizer, v)] for v in variables]

    def update(grads):
        means = [(grad + sum_) / steps for grad, sum_ in zip(grads, sums, strict=True)]
        means = optimizer._clip_gradients(means)
        optimizer._apply_weight_decay(variables)
        optimizer._backend_update_step(means, variables, optimizer.learning_rate)
        optimizer._backend_reset_gradient_accumulators()

    def add(grads):
        optimizer._backend_increment_gradient_accumulators(grads, sums)

    def meet(strategy, grads):
        def on_each(function):
            strategy.extended.call_for_each_replica(function, args=(grads,))

        is_last = (optimizer._iterations + 1) % steps == 0
        ops.cond(is_last, lambda: on_each(update), lambda: on_each(add))

    tf.distribute.get_replica_context().merge_call(meet, args=(grads,))
    if optimizer.use_ema:
        optimizer._update_model_variables_moving_average(optimizer._trainable_variables)


@contextlib.contextmanager
def forgotten_traces() -> Iterator[None]:
    """Let go of the steps that are traced inside: TensorFlow would keep them, and their videos.

    Keras adds gradients up by an operation whose own gradient TensorFlow registers for good, anew
    for each trace, and with it the step's graph.
    """
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        for name in set(registered) - before:
            if name.startswith("CustomGradient-"):
                del registered[name]


# ---- tf.data -------------------------------------------------------------------------------------


def cancellation() -> Any:
    """Its `start_cancel()` ends `next_element` in another thread; in public, all of a function."""
    from tensorflow.python.eager import cancellation

    return cancellation.CancellationManager()


def next_element(iterator: "tf.data.Iterator", cancellation: Any) -> "tuple[np.ndarray, ...]":
    """The next tuple of arrays, which share the tensors' memory; `CancelledError` once cancelled.

    `next(iterator)` cannot be interrupted. A thread that still waited in it when the process ends
    would hold the process up, or end it with a signal.
    """
    import numpy as np
    from tensorflow.python.eager import context, execute

    specs = iterator.element_spec
    types = tuple(spec.dtype.as_datatype_enum for spec in specs)
    shapes = tuple(spec.shape for spec in specs)
    tensors = execute.execute_with_cancellation(
        "IteratorGetNext",
        len(specs),
        inputs=[iterator._iterator_resource],
        attrs=("output_types", types, "output_shapes", shapes),
        ctx=context.context(),
        cancellation_manager=cancellation,
    )
    # Not tensor.numpy(), which copies.
    return tuple(np.asarray(tensor) for tensor in tensors)
