"""The network of a run: made, compiled, frozen in part, given weights to begin with."""

import os

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import files
from keras_multigrid.models.precision import dtype_policy
from keras_multigrid.models.weights import inflate_weights
from keras_multigrid.models.weights.pretrained import load_weights
from keras_multigrid.models.weights.published_files import published_tags
from keras_multigrid.runs import class_weighting
from keras_multigrid.runs.frozen import freeze
from keras_multigrid.runs.grid_check import refuse_grids
from keras_multigrid.runs.settings import Model, Optimization
from keras_multigrid.schedule import MultigridSchedule
from keras_multigrid.task import SingleLabel, Task

_NO_WEIGHTS = (
    "`initial_weights` must be a file of weights, or name published ones, like 'kinetics400'. "
    "Received: {!r}, which is neither. Set runs.Model.initial_weights to where the checkpoint is."
)


def make_network(settings: Model, task: Task) -> keras.Model:
    """The network, not compiled: with its own classifier, or with `settings.head`."""
    with dtype_policy(settings.dtype_policy):
        if settings.head is None:
            activation = task.activation
            network = settings.model(classes=task.num_outputs, classifier_activation=activation)
        else:
            body = settings.model(include_top=False)
            network = keras.Model(body.inputs, settings.head(body.outputs[0]), name=body.name)
            if hasattr(body, "check_clip_size"):
                network.check_clip_size = body.check_clip_size
    if settings.dtype_policy is not None:
        _check_outputs(network, settings.dtype_policy)
    freeze(network, settings.frozen)
    return network


def compiled_network(
    model: Model, optimization: Optimization, task: Task, schedule: MultigridSchedule
) -> keras.Model:
    """The network, compiled with the optimizer, loss and metrics, all variables made.

    Raises:
        ValueError: there is one class alone.
    """
    if isinstance(task, SingleLabel) and task.num_outputs == 1:
        # "accuracy" of one output would even be that of another metric, and 0.
        raise ValueError(
            f"There must be two classes at least to tell apart. Received: {task.class_names}. Add "
            "videos of another class, or use a `MultiLabel` task to detect one."
        )
    network = make_network(model, task)
    if not hasattr(network, "check_clip_size"):
        # The networks here know what they take, and the callback asks them.
        refuse_grids(network, schedule)
    optimizer = optimization.optimizer(learning_rate=optimization.learning_rate(schedule))
    loss = class_weighting.loss(optimization, task)
    metrics = task.metrics() if optimization.metrics is None else list(optimization.metrics)
    # XLA compiles each grid anew. TensorFlow is faster without; JAX would run single operations.
    is_compiled = keras.backend.backend() == "jax"
    network.compile(optimizer, loss=loss, metrics=metrics, jit_compile=is_compiled)
    # A step that made the variables of the optimizer or of metrics would be traced twice; and under
    # a strategy, Keras would read a batch to build them from.
    network.optimizer.build(network.trainable_variables)
    outputs = np.zeros((1, task.num_outputs), np.float32)
    if hasattr(network, "output"):
        outputs = keras.tree.map_structure(
            lambda output: np.zeros((1, *output.shape[1:]), np.float32), network.output
        )
    labels = np.zeros((1, *task.label_shape), task.label_dtype)
    strategy = tf.distribute.get_strategy()
    strategy.run(lambda: network.compute_metrics(None, labels, outputs))
    strategy.run(lambda: network.compute_loss(None, labels, outputs))
    network.reset_metrics()
    return network


def _check_outputs(network: keras.Model, policy: str) -> None:
    """Losses and scores are computed from the outputs, and must not be in half precision."""
    outputs = getattr(network, "outputs", None) or ()
    dtypes = sorted({keras.backend.standardize_dtype(output.dtype) for output in outputs})
    if dtypes not in ([], ["float32"]):
        raise ValueError(
            f"With dtype_policy={policy!r} the outputs of the network must be float32, for the "
            f"loss. Received: {', '.join(dtypes)}. Give its last layer dtype='float32'."
        )


def load_initial_weights(network: keras.Model, settings: Model) -> None:
    """Give a new run the weights that it begins with, if any are set.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsUnavailable: they are published, but cannot be had.
        ValueError: they do not fit the network, or none of that name are published for it.
    """
    path = settings.initial_weights
    if not path:
        return
    if path in published_tags() and not os.path.exists(path):
        load_weights(network, path)
        return
    if not files.is_remote(path) and not os.path.isfile(path):
        raise FileNotFoundError(_NO_WEIGHTS.format(path))
    try:
        with files.local_copy(path) as file:
            if settings.inflate:
                inflate_weights(network, file)
            else:
                load_weights(network, file)
    except FileNotFoundError:
        raise FileNotFoundError(_NO_WEIGHTS.format(path)) from None
