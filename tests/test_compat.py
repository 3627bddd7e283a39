"""What the package needs of the private names of Keras and TensorFlow: one test per function.

A new release that changes one of them fails here. Runs on every backend.
"""

import ast
import contextlib
import gc
import importlib.util
import pathlib
import sys
import threading
import time
import weakref

import keras
import numpy as np
import pytest

from keras_multigrid import compat, signals

PACKAGE = pathlib.Path(compat.__file__).parent
# All that compat.py may use.
PRIVATE = {
    "_accumulated_gradients",
    "_all_reduce_sum_gradients",
    "_apply_weight_decay",
    "_backend_apply_gradients",
    "_backend_increment_gradient_accumulators",
    "_backend_reset_gradient_accumulators",
    "_backend_update_step",
    "_clip_gradients",
    "_compile_loss",
    "_compile_metrics",
    "_distribute_strategy",
    "_flatten_layers",
    "_get_variable_index",
    "_initial_epoch",
    "_iterations",
    "_iterator_resource",
    "_jax_state",
    "_jax_state_synced",
    "_learning_rate",
    "_maybe_symbolic_build",
    "_model_variables_moving_average",
    "_should_use_adamw",
    "_symbolic_build",
    "_trainable_variables",
    "_update_model_variables_moving_average",
    "_registry",
    "tensorflow.python.eager",
    "tensorflow.python.framework",
}
# Documented, in spite of their underscore: the standard library's.
DOCUMENTED = {"_asdict", "_current_frames", "_exit", "_fields", "_make", "_replace"}
# The pickle module in Python, which the one in C shadows; it is older than Python 3.
DOCUMENTED |= {"_Unpickler"}

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs TensorFlow"
)


def make_model(optimizer="sgd"):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def fit(model, *callbacks, **settings):
    x = np.ones((4, 1), "float32")
    return model.fit(x, x, batch_size=2, verbose=0, callbacks=list(callbacks), **settings)


# Models and optimizers.


def test_layers_inside_of_layers_are_found():
    inner = keras.Sequential([keras.layers.Dense(1, name="inner")])

    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.own = keras.layers.Dense(1, name="own")

        def call(self, x):
            return self.own(x)

    model = keras.Sequential([keras.Input((1,)), inner, Block()])
    names = {layer.name for layer in compat.flatten_layers(model)}
    assert {model.name, "inner", "block", "own"} <= names


def test_the_learning_rate_is_the_schedule_itself():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = keras.optimizers.SGD(schedule)
    assert compat.learning_rate_of(optimizer) is schedule
    # As mixed precision wraps it.
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    assert compat.learning_rate_of(scaled) is schedule
    assert isinstance(compat.learning_rate_of(keras.optimizers.SGD(0.1)), keras.Variable)
    assert compat.learning_rate_of(None) is None


def test_slots_have_the_position_of_their_variable():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    variables = [keras.Variable(np.zeros(size)) for size in (2, 3)]
    optimizer.build(variables)
    for variable in variables:
        slot = optimizer.momentums[compat.variable_index(optimizer, variable)]
        assert slot.shape == variable.shape


def test_the_counter_of_an_optimizer_counts_mini_batches():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model = make_model(optimizer)
    fit(model, epochs=2)
    counter = compat.step_counter(optimizer)
    assert int(keras.ops.convert_to_numpy(counter)) == 4
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 2
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    assert compat.step_counter(scaled) is counter


# Inside fit.


class CountBatches(keras.callbacks.Callback):
    """The steps counted, and the shapes of the batches, after each step."""

    def __init__(self):
        super().__init__()
        self.steps, self.shapes = [], []

    def set_model(self, model):
        super().set_model(model)
        self.batches = compat.watch_batches(model)

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(compat.batches_counted(self.model))
        self.shapes.append(self.batches.shape)


class TwoUpdates(keras.Sequential):
    """Updates its weights twice for each mini-batch, on any backend."""

    def train_step(self, *inputs):
        *_, data = inputs
        if keras.backend.backend() == "jax":
            _, state = super().train_step(*inputs)
            return super().train_step(state, data)
        super().train_step(data)
        return super().train_step(data)


@pytest.mark.parametrize("model_class", [keras.Sequential, TwoUpdates])
def test_every_batch_is_a_step_of_its_shape(model_class):
    layers = [keras.Input((None, None, None, 1)), keras.layers.GlobalAveragePooling3D()]
    model = model_class([*layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for size in (2, 3):
        counted = CountBatches()
        clips = np.ones((4, 1, size, size, 1), "float32")
        # Ahead of the second fit, which must not use the function compiled without it.
        model.fit(clips, np.ones((4, 1)), batch_size=2, verbose=0, callbacks=[counted])
        assert counted.shapes == [(2, 1, size, size, 1)] * 2
    assert counted.steps == [3, 4]
    assert compat.batches_counted(model) == 4


def test_a_model_trained_before_is_watched_too():
    model = make_model()
    fit(model)
    counted = CountBatches()
    fit(model, counted)
    assert counted.steps == [3, 4]
    # A batch without clips.
    assert counted.shapes == [None, None]


def test_a_step_that_overflows_counts():
    inner = keras.optimizers.SGD(0.1)
    # Twice the largest float32 once it is multiplied with the loss.
    model = make_model(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127))
    before = model.get_weights()
    counted = CountBatches()
    x = np.full((4, 1), 100.0, "float32")
    model.fit(x, x * 9, batch_size=2, verbose=0, callbacks=[counted])
    assert counted.steps == [1, 2]
    for value, unchanged in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, unchanged)


def test_a_callback_reads_and_sets_variables_between_two_steps():
    steps = []

    class Halve(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            compat.sync_state(self.model)
            steps.append(int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)))
            bias = self.model.layers[0].bias
            bias.assign(bias * 0 + 7.0)

    model = make_model(keras.optimizers.SGD(0.0))
    fit(model, Halve())
    assert steps == [1, 2]
    np.testing.assert_array_equal(model.layers[0].bias, [7.0])
    # Outside of fit there is nothing to do.
    compat.sync_state(model)


def test_jax_has_the_function_that_syncs():
    # Tried above on JAX; a look at the source finds it renamed on any backend.
    keras_folder = pathlib.Path(importlib.util.find_spec("keras").origin).parent
    trainer = keras_folder / "src" / "backend" / "jax" / "trainer.py"
    assert "def jax_state_sync(self):" in trainer.read_text(encoding="utf-8")


def test_fit_begins_at_another_keras_epoch():
    seen = []

    class Begin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            compat.set_initial_epoch(self.model, 2)

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

        def on_train_end(self, logs=None):
            compat.set_initial_epoch(self.model, None)

    model = make_model()
    fit(model, Begin(), epochs=4)
    assert seen == [2, 3]
    assert fit(model, epochs=1).epoch == [0]


def test_fit_and_evaluate_are_seen_from_inside():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(signals.is_in_fit(sys._getframe()))

        def on_test_batch_end(self, batch, logs=None):
            seen.append(signals.is_in_fit(sys._getframe()))

    model = make_model()
    fit(model, Look())
    model.evaluate(np.ones((2, 1)), np.ones((2, 1)), verbose=0, callbacks=[Look()])
    assert seen == [True, True, True]
    assert not signals.is_in_fit(sys._getframe())
    assert not signals.is_in_fit(None)


# Distribution strategies.


@tensorflow_only
def test_a_model_is_built_from_the_first_replica():
    import tensorflow as tf

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    shapes = []

    class Unbuilt(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def build(self, shape):
            shapes.append(tuple(shape))
            self.dense.build(shape)

        def call(self, x):
            return self.dense(x)

    with strategy.scope():
        model = Unbuilt()
        model.compile("sgd", "mse", metrics=["mae"])
    compat.build_from_first_replica(model)
    build, calls = model._maybe_symbolic_build, []
    model._maybe_symbolic_build = lambda **batch: (calls.append(list(batch)), build(**batch))
    fit(model)
    assert shapes == [(2, 1)]
    assert model.optimizer.built
    model.evaluate(np.ones((2, 1)), np.ones((2, 1)), verbose=0)
    assert calls == [["iterator"], ["iterator"]]
    # A model that is built reads no batch for it.
    build(iterator=None)


@tensorflow_only
def test_a_replica_predicts_its_own_clips():
    import tensorflow as tf

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = make_model()
    model.layers[0].set_weights([np.full((1, 1), 2.0), np.ones(1)])
    batches = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensors(np.array([[1.0], [3.0]], np.float32))
    )
    outputs = compat.predict_on_replicas(model, next(iter(batches)))
    np.testing.assert_array_equal(outputs, [[3.0], [7.0]])


@tensorflow_only
@pytest.mark.parametrize("is_let_go", [True, False])
def test_what_a_training_read_is_let_go(is_let_go):
    """Otherwise it stays. Should that fail, TensorFlow has mended it: remove the function."""
    import tensorflow as tf

    class Videos:
        def read(self, number):
            return np.ones((2, 1), np.float32)

    def train():
        videos = Videos()
        data = tf.data.Dataset.range(2).map(
            lambda number: (tf.numpy_function(videos.read, [number], tf.float32),) * 2
        )
        data = data.map(lambda *batch: tuple(tf.ensure_shape(part, (2, 1)) for part in batch))
        make_model().fit(data, verbose=0)
        return weakref.ref(videos)

    # What other tests traced holds on to the default graph, and that to what Python reads for it.
    keras.backend.clear_session()
    with compat.forgotten_traces() if is_let_go else contextlib.nullcontext():
        videos = train()
    keras.backend.clear_session()
    gc.collect()
    assert (videos() is None) == is_let_go


# tf.data.


@tensorflow_only
def test_the_elements_of_an_iterator():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((np.arange(2), np.eye(2)))
    iterator, cancellation = iter(data), compat.cancellation()
    number, row = compat.next_element(iterator, cancellation)
    assert number == 0
    np.testing.assert_array_equal(row, [1.0, 0.0])
    assert compat.next_element(iterator, cancellation)[0] == 1
    with pytest.raises(tf.errors.OutOfRangeError):
        compat.next_element(iterator, cancellation)


@tensorflow_only
def test_a_thread_that_waits_for_an_element_is_cancelled():
    import tensorflow as tf

    # A window that is never full.
    endless = tf.data.Dataset.counter().filter(lambda number: number < 0)
    iterator, cancellation = iter(tf.data.Dataset.zip((endless,))), compat.cancellation()
    errors = []

    def wait():
        try:
            compat.next_element(iterator, cancellation)
        except tf.errors.CancelledError as error:
            errors.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert not cancellation.is_cancelled
    cancellation.start_cancel()
    thread.join(30)
    assert not thread.is_alive()
    assert cancellation.is_cancelled
    assert len(errors) == 1


def test_nothing_of_a_step_happens_before_its_batch_is_there():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Others fetch a batch by itself.")
    waits, goes_on, seen = threading.Event(), threading.Event(), []

    def batches():
        for number in range(4):
            if number == 2:
                waits.set()
                goes_on.wait(60)
            yield np.ones((2, 4), np.float32), np.zeros(2, np.int32)

    spec = tf.TensorSpec((None, 4)), tf.TensorSpec((None,), tf.int32)
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    # All that TensorFlow would do by itself: draw, decay, count.
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = compat.watch_batches(model)

    def state():
        values = [keras.ops.convert_to_numpy(variable).tolist() for variable in model.variables]
        return batches.steps_begun, values[:-1]

    def look():
        waits.wait(60)
        # The generator is ahead: two steps more are made.
        end = time.monotonic() + 60
        while batches.steps_begun < 2 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        seen.append(state())
        goes_on.set()

    class Note(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                seen.append(state())

    thread = threading.Thread(target=look)
    thread.start()
    model.fit(data, steps_per_epoch=4, verbose=0, callbacks=[Note()])
    thread.join()
    assert seen[0][0] == 2
    assert seen[0] == seen[1]
    assert batches.steps_begun == 4
    # Once: a second callback counts with the first.
    assert compat.watch_batches(model) is batches


def test_averages_of():
    model = make_model(keras.optimizers.SGD(0.5, use_ema=True))
    model.optimizer.build(model.trainable_variables)
    shapes = [tuple(average.shape) for average in compat.averages_of(model.optimizer)]
    assert shapes == [tuple(variable.shape) for variable in model.trainable_variables]
    scaled = keras.optimizers.LossScaleOptimizer(model.optimizer)
    assert compat.averages_of(scaled) is compat.averages_of(model.optimizer)
    assert compat.averages_of(keras.optimizers.SGD()) == []


def test_leave_decay_to_update_step():
    optimizer = keras.optimizers.SGD(0.5, weight_decay=0.5)
    compat.leave_decay_to_update_step(optimizer)
    variable = keras.Variable(np.ones(2, np.float32))
    optimizer.build([variable])
    optimizer.apply([keras.ops.zeros(2)])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), [1.0, 1.0])


def test_choose_adamw():
    optimizer = keras.optimizers.Muon(0.1)
    kernel = keras.Variable(np.ones((1, 3, 3, 2, 4)))
    compat.choose_adamw(optimizer, lambda variable: len(variable.shape) < 5)
    optimizer.build([kernel])
    assert optimizer.adam_velocities == [None]


def test_a_window_whose_last_batch_is_skipped_leaves_nothing_to_the_next():
    """Of gradients 5, 5, 5 and infinity nothing remains; then the mean of 1, 2, 3 and 6."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    inner = keras.optimizers.SGD(0.5, gradient_accumulation_steps=4)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    model.compile(optimizer, lambda labels, outputs: keras.ops.mean(outputs))
    compat.watch_batches(model)
    start = float(keras.ops.convert_to_numpy(model.layers[0].kernel).item())
    scales = []

    class Scales(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            scales.append(compat.loss_scale(model))

    values = np.array([5, 5, 5, np.inf, 1, 2, 3, 6], np.float32)[:, None]
    data = {"batch_size": 1, "shuffle": False, "verbose": 0, "callbacks": [Scales()]}
    model.fit(values, np.zeros_like(values), **data)
    assert compat.batches_counted(model) == 8
    assert scales == [4.0] * 3 + [2.0] * 5
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel).item()
    np.testing.assert_allclose(kernel, start - 0.5 * 3, rtol=1e-5)


# No other file uses private names.


def defined(tree):
    """Names that a file defines: functions, classes, variables, attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            if isinstance(node, ast.Name):
                yield node.id
            elif is_self(node.value):
                yield node.attr


def used(tree):
    """(name, whether it is an attribute of `self`) of attributes, by name or text, and modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr, is_self(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("getattr", "hasattr", "setattr") and len(node.args) > 1:
                yield str(getattr(node.args[1], "value", "")), False
        elif isinstance(node, ast.ImportFrom):
            yield node.module, False
        elif isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)


def is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def foreign_names(source, inherited=frozenset()):
    """Private names in a file that neither it nor, for `self`, another file defines."""
    tree = ast.parse(source)
    own = DOCUMENTED.union(defined(tree))
    return {
        name
        for name, is_own in used(tree)
        if name.startswith(("keras.src", "tensorflow.python"))
        or (
            (name.startswith("_") and not name.startswith("__"))
            and name not in (own | inherited if is_own else own)
        )
    }


def test_foreign_names_are_found():
    source = (
        "from tensorflow.python.eager import context\n"
        "class A:\n"
        "    def __init__(self, model):\n"
        "        self._mine = model._theirs\n"
        "        self._inherited(self._from_keras)\n"
        "        model._set = getattr(model, '_named', None)\n"
        "    def f(self): return self._mine, self.__class__, self._g()\n"
        "    def _g(self): return os._exit(0)\n"
    )
    expected = {"tensorflow.python.eager", "_theirs", "_from_keras", "_set", "_named"}
    assert foreign_names(source, {"_inherited"}) == expected


def test_no_other_file_uses_private_names():
    sources = {
        str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
    }
    inherited = {name for source in sources.values() for name in defined(ast.parse(source))}
    found = {file: foreign_names(source, inherited) for file, source in sources.items()}
    assert {file: names for file, names in found.items() if names} == {"compat.py": PRIVATE}
