"""What a multigrid run needs besides its batches: normalization groups, a log, and its end."""

import warnings

import keras

from keras_multigrid import compat, data_parallel, replicas
from keras_multigrid.callbacks.averaged_weights import begin_averages, warn_of_averages
from keras_multigrid.callbacks.batch_check import BatchCheck
from keras_multigrid.callbacks.groups import set_groups
from keras_multigrid.callbacks.lookup import find_schedule, inner_optimizer
from keras_multigrid.callbacks.not_finite import DivergedError, check_loss, check_updates
from keras_multigrid.callbacks.training_log import TrainingLog
from keras_multigrid.cpu_faults import check_gradients
from keras_multigrid.learning_rate import policy_of
from keras_multigrid.schedule import MultigridSchedule, Phase

__all__ = ["DivergedError", "MultigridCallback"]


class MultigridCallback(TrainingLog):
    """Sets normalization groups at the borders of phases, logs to TensorBoard, ends training.

    The step alone decides grid and learning rate; this callback decides neither. It works with
    stock `model.fit` and any model that pools globally. Layers whose `groups` is a variable
    (`SubBatchNormalization`) get one group for every `clips_per_group` clips that the long cycle
    gives a replica (paper, section 3.4), and one again when training ends. Training stops after
    `schedule.total_steps`.

    A step is a mini-batch, whether or not the optimizer updated the weights for it. `fit` must be
    given the batch that the schedule has for each step: another one ends training.

    It is a `TrainingLog`, and raises as `RaiseOnNotFinite` does; both can also be used alone.

    Args:
        clips_per_group: clips that share normalization statistics on each replica; None takes the
            schedule's.
        check_batches: compare the clips of every step with the step's grid. False for batches of
            your own that differ from it on purpose, such as crops that are not square.

    Other arguments: same as for `TrainingLog`.

    Raises:
        ValueError: when training begins, if there is no schedule, if the learning rate has
            another, if the model or the replicas cannot take one of its grids, or if TensorFlow
            computes wrong gradients of the model on this processor; when a step is given the batch
            of another.
        DivergedError: when the loss is not finite, or float16 training skips all its updates.

    Example:

    >>> model.fit(batches, steps_per_epoch=schedule.total_steps, callbacks=[MultigridCallback()])
    """

    def __init__(
        self,
        schedule: MultigridSchedule | None = None,
        log_dir: str | None = "logs",
        *,
        clips_per_group: int | None = None,
        check_batches: bool = True,
        **log,
    ):
        super().__init__(schedule, log_dir, **log)
        self._clips_per_group = clips_per_group
        self._check_batches = check_batches

    def on_train_begin(self, logs=None):
        schedule = find_schedule(self, self._given_schedule)
        _check_rate(schedule, self.model)
        _check_grids(schedule, self.model)
        super().on_train_begin(logs)
        self._batch_check = BatchCheck(schedule, self.model)
        self._replicas = replicas.count(self.model)
        self._layers = compat.flatten_layers(self.model)
        check_gradients(self._layers)
        if any(synchronized > 1 for _, synchronized in map(self._groups_of, self.schedule.phases)):
            for layer in self._layers:
                if hasattr(layer, "synchronizes"):
                    layer.synchronizes = True
        self._groups = None
        self._follow_phase()
        self._is_first_epoch = True
        if self._step >= schedule.total_steps:
            self._train_nothing()
        else:
            begin_averages(self.model)
            warn_of_averages(self.model)
            _warn_of_lost_batches(schedule, self.model)

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        # Only now it is known where fit begins, and which step another callback has restored.
        if self._is_first_epoch:
            self._is_first_epoch = False
            self._warn_if_cut_short(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        # Another callback may have restored a step since training began.
        self._follow_phase()
        super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        step = self._step - 1
        # A callback behind this one may have restored a run that had ended.
        if step >= self.schedule.total_steps:
            raise ValueError(f"The schedule has no step {step}: it ends with {step - 1}.")
        if self._check_batches:
            self._batch_check.check(step, self._input.last_step)
        # The log leaves out a step whose loss is not finite.
        check_loss(self.model, self.schedule, step, logs)
        check_updates(self.model, step, is_last=step + 1 == self.schedule.total_steps)
        super().on_train_batch_end(batch, logs)
        self._end_with_the_schedule()

    def on_epoch_end(self, epoch, logs=None):
        # Where nothing was left to train, no step has ended.
        self._end_with_the_schedule()
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        # A model that is used or saved without its schedule normalizes whole batches.
        compat.sync_state(self.model)
        set_groups(self._layers, 1, 1)
        if self._step >= self.schedule.total_steps:
            compat.set_initial_epoch(self.model, None)
        super().on_train_end(logs)

    def _train_nothing(self) -> None:
        warnings.warn(
            f"Nothing is trained: the model has made all {self.schedule.total_steps} steps of its "
            "schedule. To train longer, begin a new run with its weights: a longer schedule has "
            "other phases at the steps already made.",
            stacklevel=2,
        )
        # `fit` would make a step before it asks whether to stop.
        compat.set_initial_epoch(self.model, self.params.get("epochs"))

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

    def _warn_if_cut_short(self, epoch: int) -> None:
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if steps is None or epochs is None:
            return
        coming, left = steps * (epochs - epoch), self.schedule.total_steps - self._step
        if coming < left:
            epochs_left = f"(epochs - {epoch})" if epoch else "epochs"
            warnings.warn(
                f"fit will end after {coming} steps, before the schedule does. Use "
                f"steps_per_epoch * {epochs_left} >= {left}, the steps that are left of it.",
                stacklevel=2,
            )


def _warn_of_lost_batches(schedule: MultigridSchedule, model: keras.Model) -> None:
    window = inner_optimizer(model).gradient_accumulation_steps
    if window and schedule.total_steps % window:
        warnings.warn(
            f"The last {schedule.total_steps % window} of {schedule.total_steps} mini-batches are "
            f"part of no update: gradient_accumulation_steps={window} does not divide the steps of "
            "the schedule.",
            stacklevel=2,
        )


def _check_rate(schedule: MultigridSchedule, model: keras.Model) -> None:
    policy = policy_of(model)
    if policy is not None and policy.schedule != schedule:
        raise ValueError(
            "Callback and learning rate must have one schedule. Received: "
            f"MultigridCallback({schedule!r}) and MultigridLearningRate({policy.schedule!r}). "
            "Use MultigridCallback() to take that of the learning rate."
        )


def _check_grids(schedule: MultigridSchedule, model: keras.Model) -> None:
    """Every grid, before the first step: not after two days."""
    if getattr(model, "steps_per_execution", 1) > 1:
        raise ValueError(
            "`steps_per_execution` must be 1: every step has a grid of its own. "
            f"Received: {model.steps_per_execution}. Compile without it."
        )
    check_clip_size = getattr(model, "check_clip_size", None)
    count = replicas.count(model) * data_parallel.device_count()
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
