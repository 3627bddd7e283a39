"""What the distribution strategy of a model says about this process, on any backend.

JAX and PyTorch have no strategy: one replica, in one process, which is the chief.
"""

import contextlib
from typing import Any

import keras


def count(model: keras.Model) -> int:
    """Replicas that share every mini-batch, over all workers."""
    strategy = _strategy(model)
    return 1 if strategy is None else strategy.num_replicas_in_sync


def scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """Context in which variables of a model must be made."""
    strategy = _strategy(model)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def is_chief(model: keras.Model) -> bool:
    """Whether this process writes logs, checkpoints and reports."""
    strategy = _strategy(model)
    return strategy is None or strategy.extended.should_checkpoint


def has_several_workers(model: keras.Model) -> bool:
    """Whether other processes have replicas, too."""
    strategy = _strategy(model)
    return strategy is not None and spans_workers(strategy)


def spans_workers(strategy) -> bool:
    """Whether a distribution strategy has replicas in other processes, too."""
    count = strategy.num_replicas_in_sync
    return count > 1 and len(strategy.extended.worker_devices) < count


def local_values(model: keras.Model, value: Any) -> tuple:
    """A value, such as a batch of a distributed data set, on each replica of this process."""
    strategy = _strategy(model)
    return (value,) if strategy is None else strategy.experimental_local_results(value)


def _strategy(model: keras.Model):
    return getattr(model, "distribute_strategy", None)
