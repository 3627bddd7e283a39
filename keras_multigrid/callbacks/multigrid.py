"""What a multigrid run does besides its steps: normalization groups, logs, the end."""

import collections
import math
import statistics
import time
import warnings
from collections.abc import Mapping

import keras

from keras_multigrid import monitor, replicas
from keras_multigrid.learning_rate import MultigridLearningRate, policy_of
from keras_multigrid.model_state import set_groups, sync_state
from keras_multigrid.schedule import Grid, MultigridSchedule


class DivergedError(RuntimeError):
    """The loss is not finite: training cannot go on."""


class MultigridCallback(keras.callbacks.Callback):
    """Sets normalization groups at the borders of phases, logs to TensorBoard, ends training.

    Grid and learning rate come from the step alone; this callback decides neither. It works with
    stock `model.fit` and any model that pools globally. Layers whose `groups` is a variable
    (`SubBatchNormalization`) get as many groups as the long cycle's batch on one replica holds runs
    of `clips_per_group` clips (paper, section 3.4). Training stops after `schedule.total_steps`.

    TensorBoard shows by step: learning rate, batch size, frames, crop, clips per second, the share
    of time spent waiting for input, clips replaced since training began because their videos cannot
    be read, loss and metrics; once: a picture of the schedule; and of each grid a few clips of the
    first batch, rows of frames, their colours stretched to black and white. What concerns the input
    is known of batches of `training_batches` and `resample`.

    Args:
        schedule: the `MultigridSchedule`; None takes the one of the optimizer's
            `MultigridLearningRate`.
        log_dir: where TensorBoard's files go; None writes none.
        log_every: steps from one point of the curves to the next.
        clips_per_group: clips that share normalization statistics on each replica.
        texts: name to text, shown in TensorBoard once.

    Under a strategy of several workers the chief alone writes.

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
        clips_per_group: int = 8,
        texts: Mapping[str, str] | None = None,
    ):
        super().__init__()
        self._given_schedule = schedule
        self._log_dir = log_dir
        self._log_every = log_every
        self._clips_per_group = clips_per_group
        self._texts = texts or {}
        self._writer = None
        self._seconds: dict[Grid, list[float]] = collections.defaultdict(list)
        self._waits: dict[Grid, float] = collections.defaultdict(float)

    @property
    def clips_per_second(self) -> dict[Grid, float]:
        """Throughput at each grid seen so far, by the median time of its steps."""
        return {
            grid: grid.batch_size / statistics.median(seconds)
            for grid, seconds in self._seconds.items()
        }

    @property
    def input_wait_shares(self) -> dict[Grid, float]:
        """Share of the steps' time at each grid seen so far that was spent waiting for input."""
        return {grid: self._waits[grid] / sum(seconds) for grid, seconds in self._seconds.items()}

    def on_train_begin(self, logs=None):
        self.schedule = self._given_schedule or _schedule_of(self.model)
        self._replicas = replicas.count(self.model)
        _check_grids(self.schedule, self.model)
        self._layers = self.model._flatten_layers()
        if any(
            phase.synchronized_replicas(self._replicas, self._clips_per_group) > 1
            for phase in self.schedule.phases
        ):
            for layer in self._layers:
                if hasattr(layer, "synchronizes"):
                    layer.synchronizes = True
        self._groups = None
        self._step = replicas.steps_trained(self.model)
        self._follow_phase()
        self._warn_if_cut_short()
        self._open_writer()
        shown = () if self._writer is None else self.schedule.first_steps(self._step).values()
        monitor.ask_for_clips(shown)
        self._replaced_before = monitor.replaced_clips()
        self._waited_before = monitor.seconds()
        self._interval = _Interval()

    def on_epoch_begin(self, epoch, logs=None):
        # Other callbacks may have read batches of their own since the last step.
        self._waited_before = monitor.seconds()

    def on_train_batch_begin(self, batch, logs=None):
        # On JAX and PyTorch fit has fetched the batch already.
        self._begun = time.perf_counter() - (monitor.seconds() - self._waited_before)

    def on_train_batch_end(self, batch, logs=None):
        # Reading the step waits for the device: only now is the step's work done.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        seconds = time.perf_counter() - self._begun
        waited = monitor.seconds() - self._waited_before
        self._waited_before += waited
        grid = self.schedule.grid(self._step)
        self._check_loss(grid, (logs or {}).get("loss", 0.0))
        self._seconds[grid].append(seconds)
        self._waits[grid] += waited
        self._interval.add(grid, seconds, waited)
        self._show_clips(grid)
        self._step += 1
        if self._step % self._log_every == 0:
            self._log_step(self._step - 1, grid, logs or {})
        self._follow_phase()
        if self._step >= self.schedule.total_steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self._step >= self.schedule.total_steps:
            self.model.stop_training = True
        results = {name: value for name, value in (logs or {}).items() if name.startswith("val_")}
        # As of the last step: what is logged of later ones is written again after a restart.
        results = {f"validation/{name[4:]}": value for name, value in results.items()}
        self._write(results, self._step - 1)

    def on_train_end(self, logs=None):
        monitor.ask_for_clips(())
        if self._writer is None:
            return
        from keras_multigrid import figures

        figure = figures.draw_throughput(self.clips_per_second, self.input_wait_shares)
        picture = figures.to_array(figure)
        self._writer.picture("throughput", picture, step=self._step)
        self._writer.close()
        self._writer = None

    def _check_loss(self, grid: Grid, loss) -> None:
        """A mean over the Keras epoch: once it is not finite, it stays so."""
        loss = float(keras.ops.convert_to_numpy(loss))
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss of step {self._step} is not finite: {loss}. Its grid is {grid}, its "
                f"learning rate {float(self._rate(self._step)):.4g}. Lower the learning rate, or "
                "lengthen its warm-up. Checkpoints from before are kept."
            )

    def _rate(self, step: int):
        policy = policy_of(self.model)
        rate = self.model.optimizer.learning_rate if policy is None else policy(step)
        return keras.ops.convert_to_numpy(rate)

    def _follow_phase(self) -> None:
        phase = self.schedule.phase(self._step)
        groups = phase.groups(self._replicas, self._clips_per_group)
        synchronized = phase.synchronized_replicas(self._replicas, self._clips_per_group)
        if (groups, synchronized) != self._groups:
            sync_state(self.model)
            set_groups(self._layers, groups, synchronized)
            self._groups = groups, synchronized

    def _open_writer(self) -> None:
        if self._log_dir is None or not replicas.is_chief(self.model):
            return
        # Only where something is written: neither is needed to train.
        from keras_multigrid import figures
        from keras_multigrid.callbacks.event_file import EventFile

        self._writer = EventFile(self._log_dir, start_step=self._step)
        policy = policy_of(self.model) or MultigridLearningRate(self.schedule, 1.0)
        picture = figures.to_array(figures.draw_schedule(policy))
        self._writer.picture("schedule", picture, step=0)
        for name, text in self._texts.items():
            self._writer.text(name, text, step=0)
        self._writer.flush()

    def _log_step(self, step: int, grid: Grid, logs: Mapping[str, float]) -> None:
        self._write(
            {
                "multigrid/learning_rate": self._rate(step),
                "multigrid/batch_size": grid.batch_size,
                "multigrid/frames": grid.num_frames,
                "multigrid/crop": grid.crop_size,
                "multigrid/clips_per_second": self._interval.clips_per_second,
                "multigrid/input_wait_share": self._interval.input_wait_share,
                "multigrid/replaced_clips": monitor.replaced_clips() - self._replaced_before,
                **{f"train/{name}": value for name, value in logs.items()},
            },
            step,
        )
        self._interval = _Interval()

    def _show_clips(self, grid: Grid) -> None:
        """A picture of this step's clips, if it is the first of its grid."""
        clips = monitor.take_clips(self._step)
        # Batches that begin at another step than the model have other grids.
        if clips is None or clips.shape[1:4] != grid.shape[1:4]:
            return
        from keras_multigrid import figures

        name = f"clips/{grid.batch_size}x{grid.num_frames}x{grid.crop_size}"
        picture = figures.film_strips(figures.stretched(clips))
        self._writer.picture(name, picture, step=self._step)

    def _write(self, scalars: Mapping[str, float], step: int | None = None) -> None:
        if self._writer is None:
            return
        step = self._step if step is None else step
        for name, value in scalars.items():
            self._writer.scalar(name, float(value), step=step)
        # Before the step is saved: a killed run then lacks no point before what it goes on from.
        self._writer.flush()

    def _warn_if_cut_short(self) -> None:
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if steps is not None and epochs is not None and steps * epochs < self.schedule.total_steps:
            warnings.warn(
                f"fit will end after {steps * epochs} steps, before the schedule does. Use "
                "steps_per_epoch * epochs >= schedule.total_steps, which is "
                f"{self.schedule.total_steps}.",
                stacklevel=2,
            )


class _Interval:
    """What happened since the last point of the curves."""

    def __init__(self):
        self._clips = 0
        self._seconds = 0.0
        self._waited = 0.0

    def add(self, grid: Grid, seconds: float, waited: float) -> None:
        self._clips += grid.batch_size
        self._seconds += seconds
        self._waited += waited

    @property
    def clips_per_second(self) -> float:
        return self._clips / self._seconds

    @property
    def input_wait_share(self) -> float:
        return self._waited / self._seconds


def _schedule_of(model: keras.Model) -> MultigridSchedule:
    policy = policy_of(model)
    if policy is None:
        raise ValueError(
            "MultigridCallback found no schedule: the optimizer's learning rate must be a "
            "MultigridLearningRate. Use MultigridCallback(schedule), or compile with "
            "keras.optimizers.SGD(MultigridLearningRate(schedule, 0.1))."
        )
    return policy.schedule


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
