"""What callbacks look up in the model that they are given."""

import keras

from keras_multigrid import compat, replicas
from keras_multigrid.learning_rate import policy_of
from keras_multigrid.schedule import MultigridSchedule


def find_schedule(
    callback: keras.callbacks.Callback, schedule: MultigridSchedule | None
) -> MultigridSchedule:
    """The schedule that a callback was given, or that of its model's learning rate.

    Raises:
        ValueError: if there is none.
    """
    if schedule is not None:
        return schedule
    policy = policy_of(callback.model)
    if policy is None:
        name = type(callback).__name__
        raise ValueError(
            f"{name} found no schedule: the optimizer's learning rate must be a "
            f"MultigridLearningRate. Use {name}(schedule), or compile with "
            "keras.optimizers.SGD(MultigridLearningRate(schedule, 0.1))."
        )
    return policy.schedule


def steps_trained(model: keras.Model) -> int:
    """Mini-batches that a model was trained on: the step that comes next.

    Not updates: gradient accumulation makes fewer, and float16 training leaves some out.
    """
    return compat.batches_counted(model)


def learning_rate_at(model: keras.Model, step: int) -> float:
    """Learning rate of a step; where it is no `MultigridLearningRate`, the current one."""
    policy = policy_of(model)
    rate = model.optimizer.learning_rate if policy is None else policy(step)
    return float(keras.ops.convert_to_numpy(rate))


def inner_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer of a model; in mixed precision, the one that its `LossScaleOptimizer` wraps."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def build_optimizer(model: keras.Model) -> None:
    """Make the optimizer's variables, which `fit` would make in its first step."""
    if not model.optimizer.built:
        with replicas.scope(model):
            model.optimizer.build(model.trainable_variables)
