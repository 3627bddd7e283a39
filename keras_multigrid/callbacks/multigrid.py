"""What a multigrid run needs besides its batches: normalization groups, a log, and its end."""

import warnings
from collections.abc import Mapping

import keras

from keras_multigrid import compat, replicas
from keras_multigrid.callbacks.groups import set_groups
from keras_multigrid.callbacks.lookup import find_schedule
from keras_multigrid.callbacks.not_finite import DivergedError, RaiseOnNotFinite
from keras_multigrid.callbacks.training_log import TrainingLog
from keras_multigrid.monitor import StreamMonitor
from keras_multigrid.schedule import Grid, MultigridSchedule, Phase

__all__ = ["DivergedError", "MultigridCallback"]


class MultigridCallback(keras.callbacks.Callback):
    """Sets normalization groups at the borders of phases, logs to TensorBoard, ends training.

    The step alone decides grid and learning rate; this callback decides neither. It works with
    stock `model.fit` and any model that pools globally. Layers whose `groups` is a variable
    (`SubBatchNormalization`) get one group for every `clips_per_group` clips that the long cycle
    gives a replica (paper, section 3.4). Training stops after `schedule.total_steps`.

    It holds a `TrainingLog` and a `RaiseOnNotFinite`, which can also be used alone.

    Args:
        schedule: the `MultigridSchedule`; None takes the one of the optimizer's
            `MultigridLearningRate`.
        log_dir: folder for TensorBoard's files; None writes none.
        log_every: steps from one point of the curves to the next.
        clips_per_group: clips that share normalization statistics on each replica; None takes the
            schedule's.
        texts: name to text (Markdown), shown in TensorBoard once.
        monitor: `StreamMonitor` of the batches that `fit` is given; None takes the open stream that
            is read in the first step.

    Raises:
        ValueError: when training begins, if there is no schedule, or if the model or the replicas
            cannot take one of its grids.
        DivergedError: when the loss is not finite.

    Example:

    >>> model.fit(batches, steps_per_epoch=schedule.total_steps, callbacks=[MultigridCallback()])
    """

    def __init__(
        self,
        schedule: MultigridSchedule | None = None,
        log_dir: str | None = "logs",
        *,
        log_every: int = 10,
        clips_per_group: int | None = None,
        texts: Mapping[str, str] | None = None,
        monitor: StreamMonitor | None = None,
    ):
        super().__init__()
        self._given_schedule = schedule
        self._clips_per_group = clips_per_group
        self._log = TrainingLog(
            schedule, log_dir, log_every=log_every, texts=texts, monitor=monitor
        )
        # The log leaves out a step whose loss is not finite.
        self._parts = (RaiseOnNotFinite(schedule), self._log)

    @property
    def clips_per_second(self) -> dict[Grid, float]:
        """Throughput at each grid seen so far, by the median time of its steps."""
        return self._log.clips_per_second

    @property
    def input_wait_shares(self) -> dict[Grid, float]:
        """Input wait at each grid seen so far, as a share of the time of its steps."""
        return self._log.input_wait_shares

    def set_params(self, params):
        super().set_params(params)
        for part in self._parts:
            part.set_params(params)

    def set_model(self, model):
        super().set_model(model)
        for part in self._parts:
            part.set_model(model)

    def on_train_begin(self, logs=None):
        self.schedule = find_schedule(self, self._given_schedule)
        _check_grids(self.schedule, self.model)
        self._replicas = replicas.count(self.model)
        self._layers = compat.flatten_layers(self.model)
        if any(synchronized > 1 for _, synchronized in map(self._groups_of, self.schedule.phases)):
            for layer in self._layers:
                if hasattr(layer, "synchronizes"):
                    layer.synchronizes = True
        self._groups = None
        self._step = replicas.steps_trained(self.model)
        self._follow_phase()
        self._warn_if_cut_short()
        for part in self._parts:
            part.on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._log.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._log.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        for part in self._parts:
            part.on_train_batch_end(batch, logs)
        self._step += 1
        self._follow_phase()
        self._end_with_the_schedule()

    def on_epoch_end(self, epoch, logs=None):
        # Where nothing was left to train, no step has ended.
        self._end_with_the_schedule()
        self._log.on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        self._log.on_train_end(logs)

    def _end_with_the_schedule(self) -> None:
        if self._step >= self.schedule.total_steps:
            self.model.stop_training = True

    def _follow_phase(self) -> None:
        groups = self._groups_of(self.schedule.phase(self._step))
        if groups != self._groups:
            compat.sync_state(self.model)
            set_groups(self._layers, *groups)
            self._groups = groups

    def _groups_of(self, phase: Phase) -> tuple[int, int]:
        """Groups on each replica, and replicas that share statistics, in a phase."""
        of_replicas = self._replicas, self._clips_per_group
        return phase.groups(*of_replicas), phase.synchronized_replicas(*of_replicas)

    def _warn_if_cut_short(self) -> None:
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if steps is not None and epochs is not None and steps * epochs < self.schedule.total_steps:
            warnings.warn(
                f"fit will end after {steps * epochs} steps, before the schedule does. Use "
                "steps_per_epoch * epochs >= schedule.total_steps, which is "
                f"{self.schedule.total_steps}.",
                stacklevel=2,
            )


def _check_grids(schedule: MultigridSchedule, model: keras.Model) -> None:
    """Every grid, before the first step: not after two days."""
    if getattr(model, "steps_per_execution", 1) > 1:
        raise ValueError(
            "`steps_per_execution` must be 1: every step has a grid of its own. "
            f"Received: {model.steps_per_execution}. Compile without it."
        )
    check_clip_size = getattr(model, "check_clip_size", None)
    count = replicas.count(model)
    for grid in schedule.grids:
        if check_clip_size is not None:
            try:
                check_clip_size(grid.num_frames, grid.crop_size)
            except ValueError as error:
                raise ValueError(f"{error} The schedule has the grid {grid}.") from None
        if grid.batch_size % count:
            raise ValueError(
                f"Every batch must be a multiple of the {count} replicas. Received: a schedule "
                f"with the grid {grid}. Use MultigridSchedule(..., replicas={count})."
            )
