"""Whether a model is trained on the batches that its schedule has for its steps."""

import keras

from keras_multigrid import compat, replicas
from keras_multigrid.schedule import MultigridSchedule


class BatchCheck:
    """Compares the clips that `fit` trained on with the grid of the step.

    Batches, learning rate and callbacks find their step each by itself. Where they differ, nothing
    else would say so: every batch can be trained on at every step.

    Args:
        schedule: the schedule.
        model: the model, whose batches `compat.watch_batches` watches.
    """

    def __init__(self, schedule: MultigridSchedule, model: keras.Model):
        self._schedule = schedule
        self._last_batch = compat.watch_batches(model)
        self._replicas = replicas.count(model)

    def check(self, step: int, step_of_stream: int) -> None:
        """Raise ValueError unless the batch just trained on is that of a step.

        Args:
            step: the step that the model has made.
            step_of_stream: the last one that its stream handed out: this one, or a later one where
                batches are fetched ahead; -1 if it is not known.
        """
        grid = self._schedule.grid(step)
        shape = self._last_batch.shape
        expected = (grid.batch_size // self._replicas, *grid.shape[1:4])
        if shape is not None and shape[:4] != expected:
            received = "x".join(map(str, shape[:4]))
            expected = "x".join(map(str, expected))
            raise ValueError(
                f"Step {step} must be trained on a batch of {expected} (clips x frames x height x "
                f"width{self._on_each_replica()}). Received: {received}. {_REMEDY.format(step)} "
                "MultigridCallback(check_batches=False) allows other shapes."
            )
        if 0 <= step_of_stream < step:
            raise ValueError(
                f"Step {step} must be trained on its own batch. Received: that of step "
                f"{step_of_stream}. {_REMEDY.format(step)}"
            )

    def _on_each_replica(self) -> str:
        return "" if self._replicas == 1 else f", on each of {self._replicas} replicas"


_REMEDY = (
    "Give `fit` batches of the same schedule that begin at the model's step, here "
    "resample(schedule, start_step={0}); MultigridCheckpoint.restore returns the step of a run "
    "that resumes."
)
