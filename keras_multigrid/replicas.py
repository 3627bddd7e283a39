"""What a model's distribution strategy says of this process, on any backend."""

import contextlib

import keras


def count(model: keras.Model) -> int:
    """Replicas that share every mini-batch, over all workers."""
    strategy = getattr(model, "distribute_strategy", None)
    return 1 if strategy is None else strategy.num_replicas_in_sync


def scope(model: keras.Model):
    """Where variables of a model must be made."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def is_chief(model: keras.Model) -> bool:
    """Whether this process is the one that writes: logs, checkpoints, reports."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy is None or strategy.extended.should_checkpoint


def has_several_workers(model: keras.Model) -> bool:
    """Whether there are replicas in other processes, too."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy is not None and spans_workers(strategy)


def spans_workers(strategy) -> bool:
    """Whether a distribution strategy has replicas in other processes, too."""
    count = strategy.num_replicas_in_sync
    return count > 1 and len(strategy.extended.worker_devices) < count


def steps_trained(model: keras.Model) -> int:
    """Steps that the optimizer has made, on whatever devices its variables are."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))
