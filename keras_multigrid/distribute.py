"""Training on several devices and machines: the choice of strategy, and what Keras lacks there."""

import contextlib
import faulthandler
import json
import os
import re
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from keras_multigrid import compat, data_parallel, replicas
from keras_multigrid.checks import check_choice
from keras_multigrid.layers.moving_statistics import exchanged_together

# What TensorFlow raises where another worker does not answer.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_prepared: "weakref.WeakSet[keras.Model]" = weakref.WeakSet()
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


class WorkerLostError(RuntimeError):
    """Another worker of the group ended or does not answer."""


def find_strategy(
    name: str = "auto", *, logical_cpus: int | None = None, wait_seconds: float = 600
) -> tf.distribute.Strategy:
    """The distribution strategy for this machine. Call it before anything else uses TensorFlow.

    On JAX and PyTorch, TensorFlow reads the input on the CPU, and the strategy is that of one
    device. JAX trains on all devices of this machine by `keras.distribution`, which is set here;
    PyTorch trains on one.

    Args:
        name: "one_device"; "mirrored", all GPUs of this machine; "multi_worker", all machines that
            the environment variable TF_CONFIG names; or "auto": several machines if TF_CONFIG names
            several, else all GPUs if there are several, else one device.
        logical_cpus: split the CPU into so many devices, to try strategies without GPUs.
        wait_seconds: how long to wait for the other machines to begin; then the process ends with
            exit code 1. Until they do, SIGTERM has no effect.

    Raises:
        ValueError: if the name is none of these, the backend cannot do it, or TF_CONFIG is missing
            or invalid.
        WorkerLostError: if the other machines cannot be reached.

    Example:

    >>> strategy = find_strategy()
    >>> with strategy.scope():
    ...     model = ...
    """
    check_choice("name", name, STRATEGIES)
    if keras.backend.backend() != "tensorflow":
        return _input_of_another_backend(name, logical_cpus)
    devices = None
    if logical_cpus is not None:
        devices = [f"CPU:{number}" for number in range(logical_cpus)]
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * logical_cpus
        tf.config.set_logical_device_configuration(cpu, parts)
    workers = _workers()
    if name == "auto":
        gpus = len(tf.config.list_logical_devices("GPU")) if len(workers) <= 1 else 0
        name = "multi_worker" if len(workers) > 1 else "mirrored" if gpus > 1 else "one_device"
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(devices)
    if not workers:
        raise ValueError(
            "strategy='multi_worker' needs the environment variable TF_CONFIG, which names the "
            f"machines and which of them this is. Received: none. Set, on the first of two: "
            f"TF_CONFIG='{_EXAMPLE}'"
        )
    with _waiting_for(workers, wait_seconds):
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.OpError as error:
            raise WorkerLostError(
                f"This worker cannot join {', '.join(workers)}: {_in_short(error)} Is its port in "
                "use, or another worker lost?"
            ) from error


def _input_of_another_backend(name: str, logical_cpus: int | None) -> tf.distribute.Strategy:
    backend = keras.backend.backend()
    has_workers = name == "multi_worker" or (name == "auto" and len(_workers()) > 1)
    is_jax = backend == "jax"
    if has_workers or (not is_jax and (logical_cpus is not None or name == "mirrored")):
        where = "the devices of one machine" if is_jax else "one device"
        raise ValueError(
            f"KERAS_BACKEND={backend} trains on {where}. Received: strategy={name!r} with "
            "several devices or machines. Use KERAS_BACKEND=tensorflow, or 'one_device' without "
            "TF_CONFIG."
        )
    if is_jax:
        data_parallel.use_devices(name, logical_cpus)
    keep_input_off_gpus()
    return tf.distribute.get_strategy()


def check_backend(strategy: tf.distribute.Strategy) -> None:
    """Refuse several devices where the backend cannot train on them.

    Raises:
        ValueError: if the backend is JAX or PyTorch and the strategy has several replicas, or
            `keras.distribution` shards the model.
    """
    backend, count = keras.backend.backend(), strategy.num_replicas_in_sync
    if backend != "tensorflow" and count > 1:
        raise ValueError(
            f"KERAS_BACKEND={backend} cannot train under a strategy of tf.distribute. Received: a "
            f"{type(strategy).__name__} of {count} replicas. Use KERAS_BACKEND=tensorflow, or "
            "distribute.find_strategy()."
        )
    data_parallel.check_distribution()
    keep_input_off_gpus()


def device_count(strategy: tf.distribute.Strategy) -> int:
    """Devices that share every mini-batch, on all machines."""
    return strategy.num_replicas_in_sync * data_parallel.device_count()


def keep_input_off_gpus() -> None:
    """Leave the GPUs to JAX or PyTorch: TensorFlow, which reads the input, would take all memory.

    Does nothing where TensorFlow trains.
    """
    if keras.backend.backend() == "tensorflow":
        return
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        logging.warning(
            "TensorFlow has taken the GPUs, which %s needs: nothing must use TensorFlow before.",
            keras.backend.backend(),
        )


def batches(
    strategy: tf.distribute.Strategy,
    make: Callable[[tf.distribute.InputContext | None], tf.data.Dataset],
) -> Any:
    """The batches of this process for `fit` and `evaluate`, of which each device gets its own.

    Args:
        strategy: the strategy; with a single device, the data set is given as it is.
        make: makes the data set of an `input_context`, as `training_batches` and `resample` do.

    Example:

    >>> batches(strategy, lambda context: videos.apply(resample(schedule, input_context=context)))
    """
    if strategy.num_replicas_in_sync == 1:
        return make(None)
    return strategy.distribute_datasets_from_function(make)


def prepare(model: keras.Model) -> keras.Model:
    """Make stock `fit` and `evaluate` of a model work under its strategy.

    For any compiled model that was made in a strategy's scope, functional or subclassed. Keras's
    own fails under MultiWorkerMirroredStrategy (seen with Keras 3.15): it builds from the values of
    other machines, and reduces scalars that have no axis for it. And where the last batch of an
    evaluation leaves devices without a clip, the mean of nothing is NaN. In training, the moving
    statistics of all `SubBatchNormalization` layers travel in one all-reduce instead of one each.
    On JAX, evaluations take batches that its devices cannot share evenly.

    Args:
        model: the model; its methods are wrapped in place, once.

    Returns:
        The same model.
    """
    data_parallel.prepare(model)
    if replicas.count(model) > 1 and model not in _prepared:
        _prepared.add(model)
        compat.build_from_first_replica(model)
        model.train_step = _exchanging_once(model.train_step)
        model.test_step = _passing_over_nothing(model.test_step)
        if replicas.has_several_workers(model):
            model.train_step = _with_an_axis(model.train_step)
            model.test_step = _with_an_axis(model.test_step)
    return model


def agree(strategy: tf.distribute.Strategy, step: int, *, is_finished: bool) -> bool:
    """Whether any worker finds the run finished.

    Raises:
        ValueError: if workers would resume at different steps.
    """
    if not replicas.spans_workers(strategy):
        return is_finished

    @tf.function
    def sums():
        context = tf.distribute.get_replica_context()
        return context.all_reduce("SUM", tf.constant([step, step**2, is_finished], tf.float64))

    result = strategy.experimental_local_results(strategy.run(sums))[0]
    first, second, finished = result.numpy() / strategy.num_replicas_in_sync
    if (first, second) != (step, step**2):
        raise ValueError(
            f"The workers must resume at one step. Received: {step} here, {first:g} on average. "
            "Give all of them one folder of checkpoints, on a disk that they share or on s3://."
        )
    return finished > 0


@contextlib.contextmanager
def watched_workers(strategy: tf.distribute.Strategy):
    """Inside, the loss of another worker ends in one message.

    Raises:
        WorkerLostError: if another worker is lost.
    """
    if not replicas.spans_workers(strategy):
        yield
        return
    try:
        yield
    except _LOST as error:
        raise WorkerLostError(
            f"Another worker of the group is lost ({_in_short(error)}). Start all again, as many "
            "as there are: they resume from the last checkpoint."
        ) from error


def _in_short(error: tf.errors.OpError) -> str:
    """The line of a long message that says what happened."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    telling = [line for line in lines if "aborted by" in line or "heartbeat" in line.lower()]
    return [*telling, *lines, type(error).__name__][0]


def _passing_over_nothing(step: Callable) -> Callable:
    """A step that does nothing for a batch without clips."""

    def passing_over_nothing(data):
        results = {}

        def run():
            results.update(tf.nest.map_structure(tf.convert_to_tensor, step(data)))
            return results

        def pass_over():
            # Traced after `run`: as many results, which nobody looks at.
            return tf.nest.map_structure(lambda v: tf.zeros(v.shape, v.dtype), results)

        num_clips = tf.shape(tf.nest.flatten(data)[0])[0]
        return tf.cond(num_clips > 0, run, pass_over)

    return passing_over_nothing


def _exchanging_once(step: Callable) -> Callable:
    """A training step whose layers exchange the statistics of their batches together."""

    def exchanging_once(data):
        with exchanged_together():
            return step(data)

    return exchanging_once


def _with_an_axis(step: Callable) -> Callable:
    def with_an_axis(data):
        return tf.nest.map_structure(lambda value: tf.reshape(value, (1,)), step(data))

    return with_an_axis


def _workers() -> tuple[str, ...]:
    """Addresses of the machines that TF_CONFIG names; none without it."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return ()
    try:
        config = json.loads(text)
        cluster = {job: list(config["cluster"].get(job, ())) for job in ("chief", "worker")}
        workers = (*cluster["chief"], *cluster["worker"])
        if len(workers) <= 1:
            return workers
        # One address, or all in one text, would be taken apart into letters.
        if not all(re.fullmatch(r".+:\d+", address) for address in workers):
            raise ValueError(f"workers must be a list of host:port, not {workers}")
        task = config.get("task", {})
        own, index = cluster.get(task.get("type")), task.get("index")
        if not own:
            raise ValueError("task.type must be worker, or chief where the cluster has one")
        if not isinstance(index, int) or not 0 <= index < len(own):
            raise ValueError(f"task.index must be in [0, {len(own)}), not {index!r}")
        return workers
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"TF_CONFIG must be JSON like {_EXAMPLE}. Received: {text!r} ({error})."
        ) from None


@contextlib.contextmanager
def _waiting_for(workers: tuple[str, ...], seconds: float):
    """Inside, TensorFlow waits for other machines, for as long as it takes, and says nothing."""
    logging.warning(
        "Waiting up to %g s for all of %s to begin. If it is in vain, check that each was started "
        "with its own task.index in TF_CONFIG and that they reach each other at these ports.",
        seconds,
        ", ".join(workers),
    )
    # TensorFlow keeps Python's lock meanwhile: no thread of Python's could end the process.
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
