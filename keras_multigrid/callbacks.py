"""What a multigrid run does besides its steps: normalization groups, logs, the end."""

import collections
import itertools
import statistics
import time
import warnings
from collections.abc import Iterable, Mapping

import keras

from keras_multigrid import input_monitor
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.schedule import Grid, MultigridSchedule


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

    Raises:
        ValueError: when training begins, if there is no schedule, or if the model or the replicas
            cannot take one of its grids.

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
        self._replicas = _num_replicas(self.model)
        _check_grids(self.schedule, self.model, self._replicas)
        self._layers = self.model._flatten_layers()
        if any(
            phase.synchronized_replicas(self._replicas, self._clips_per_group) > 1
            for phase in self.schedule.phases
        ):
            for layer in self._layers:
                if hasattr(layer, "synchronizes"):
                    layer.synchronizes = True
        self._groups = None
        self._step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        self._follow_phase()
        self._warn_if_cut_short()
        self._open_writer()
        shown = () if self._writer is None else self.schedule.first_steps(self._step).values()
        input_monitor.ask_for_clips(shown)
        self._replaced_before = input_monitor.replaced_clips()
        self._waited_before = input_monitor.seconds()
        self._interval = _Interval()

    def on_epoch_begin(self, epoch, logs=None):
        # Other callbacks may have read batches of their own since the last step.
        self._waited_before = input_monitor.seconds()

    def on_train_batch_begin(self, batch, logs=None):
        # On JAX and PyTorch fit has fetched the batch already.
        self._begun = time.perf_counter() - (input_monitor.seconds() - self._waited_before)

    def on_train_batch_end(self, batch, logs=None):
        # Reading the step waits for the device: only now is the step's work done.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        seconds = time.perf_counter() - self._begun
        waited = input_monitor.seconds() - self._waited_before
        self._waited_before += waited
        grid = self.schedule.grid(self._step)
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
        results = {name: value for name, value in (logs or {}).items() if name.startswith("val_")}
        self._write({f"validation/{name[4:]}": value for name, value in results.items()})

    def on_train_end(self, logs=None):
        input_monitor.ask_for_clips(())
        if self._writer is None:
            return
        from keras_multigrid import figures

        figure = figures.draw_throughput(self.clips_per_second, self.input_wait_shares)
        picture = figures.to_array(figure)
        self._writer.add_image("throughput", picture, self._step, dataformats="HWC")
        self._writer.close()
        self._writer = None

    def _follow_phase(self) -> None:
        phase = self.schedule.phase(self._step)
        groups = phase.groups(self._replicas, self._clips_per_group)
        synchronized = phase.synchronized_replicas(self._replicas, self._clips_per_group)
        if (groups, synchronized) != self._groups:
            _sync_state(self.model)
            _set_groups(self._layers, groups, synchronized)
            self._groups = groups, synchronized

    def _open_writer(self) -> None:
        if self._log_dir is None:
            return
        # Only where something is written: neither is needed to train.
        from tensorboardX import SummaryWriter

        from keras_multigrid import figures

        self._writer = SummaryWriter(self._log_dir)
        policy = _policy_of(self.model) or MultigridLearningRate(self.schedule, 1.0)
        picture = figures.to_array(figures.draw_schedule(policy))
        self._writer.add_image("schedule", picture, 0, dataformats="HWC")
        for name, text in self._texts.items():
            self._writer.add_text(name, text, 0)
        self._writer.flush()

    def _log_step(self, step: int, grid: Grid, logs: Mapping[str, float]) -> None:
        policy = _policy_of(self.model)
        rate = self.model.optimizer.learning_rate if policy is None else policy(step)
        self._write(
            {
                "multigrid/learning_rate": keras.ops.convert_to_numpy(rate),
                "multigrid/batch_size": grid.batch_size,
                "multigrid/frames": grid.num_frames,
                "multigrid/crop": grid.crop_size,
                "multigrid/clips_per_second": self._interval.clips_per_second,
                "multigrid/input_wait_share": self._interval.input_wait_share,
                "multigrid/replaced_clips": input_monitor.replaced_clips() - self._replaced_before,
                **{f"train/{name}": value for name, value in logs.items()},
            },
            step,
        )
        self._interval = _Interval()

    def _show_clips(self, grid: Grid) -> None:
        """A picture of this step's clips, if it is the first of its grid."""
        clips = input_monitor.take_clips(self._step)
        # Batches that begin at another step than the model have other grids.
        if clips is None or clips.shape[1:4] != grid.shape[1:4]:
            return
        from keras_multigrid import figures

        name = f"clips/{grid.batch_size}x{grid.num_frames}x{grid.crop_size}"
        picture = figures.film_strips(figures.stretched(clips))
        self._writer.add_image(name, picture, self._step, dataformats="HWC")

    def _write(self, scalars: Mapping[str, float], step: int | None = None) -> None:
        if self._writer is None:
            return
        step = self._step if step is None else step
        for name, value in scalars.items():
            self._writer.add_scalar(name, float(value), step)

    def _warn_if_cut_short(self) -> None:
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if steps is not None and epochs is not None and steps * epochs < self.schedule.total_steps:
            warnings.warn(
                f"fit will end after {steps * epochs} steps, before the schedule does. Use "
                "steps_per_epoch * epochs >= schedule.total_steps, which is "
                f"{self.schedule.total_steps}.",
                stacklevel=2,
            )


class PreciseBatchNormalization(keras.callbacks.Callback):
    """Computes the statistics for evaluation anew, over many batches, before they are used.

    Moving statistics lag behind the weights, most of all at a large learning rate, and come from
    the grids of the last steps. This callback replaces them by those of `num_batches` batches of
    the base grid: before each validation, and at the end of an epoch, before callbacks behind it in
    the list save the model. Training itself does not depend on them.

    Means and variances are those of all batches together: batch means are averaged, and so are
    batch variances, to which the variance of the means is added (Wu and Johnson, "Rethinking Batch
    in BatchNorm", 2021, section 3).

    Args:
        batches: data set of (clips, labels) or clips at the base grid, of at least `num_batches`:
            `training_batches` with a schedule without cycles. Each time, it is read from its start.
        num_batches: how many to take.
        clips_per_group: clips that share statistics, as of `MultigridCallback`.

    Raises:
        ValueError: if there are no batches, or no layer has moving statistics.

    Example:

    >>> plain = dataclasses.replace(schedule, long_cycle=(), short_cycle=())
    >>> precise = PreciseBatchNormalization(training_batches(videos, plain, seed=1))
    >>> model.fit(batches, callbacks=[MultigridCallback(), precise, ModelCheckpoint(path)])
    """

    def __init__(self, batches, num_batches: int = 200, *, clips_per_group: int = 8):
        super().__init__()
        if num_batches < 1:
            raise ValueError(f"`num_batches` must be positive. Received: {num_batches!r}.")
        self._batches = batches
        self._num_batches = num_batches
        self._clips_per_group = clips_per_group
        self._network = None

    def on_train_begin(self, logs=None):
        self._steps = 0
        self._updated_at = None

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1

    def on_test_begin(self, logs=None):
        self._update_once()

    def on_epoch_end(self, epoch, logs=None):
        self._update_once()

    def update(self, model: keras.Model) -> None:
        """Compute the statistics of a model now, outside of training."""
        layers = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_variance")]
        if not layers:
            raise ValueError(f"{model.name} has no layer with moving statistics: nothing to do.")
        if self._network is not model:
            self._network, self._in_training_mode = model, _InTrainingMode(model)
        _sync_state(model)
        statistics = [v for x in layers for v in (x.moving_mean, x.moving_variance)]
        others = [v for v in model.non_trainable_variables if not any(v is s for s in statistics)]
        before = [keras.ops.convert_to_numpy(variable) for variable in others]
        totals = self._totals(layers, statistics)
        # Groups and the states of random generators.
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
        for layer, (mean, variance, square) in zip(layers, totals, strict=True):
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance + square - mean**2)

    def _update_once(self) -> None:
        """Validation and the end of the epoch come after the same step."""
        if self._updated_at != self._steps:
            self.update(self.model)
            self._updated_at = self._steps

    def _totals(self, layers, statistics) -> list[list]:
        """Of each layer the averages of batch means, of batch variances, and of squared means."""
        totals = [[0.0, 0.0, 0.0] for _ in layers]
        count = 0
        for batch in itertools.islice(iter(self._batches), self._num_batches):
            clips = batch[0] if isinstance(batch, (tuple, list)) else batch
            _set_groups(layers, *self._groups(self._network, len(clips)))
            # From zero, a moving average is a known share of what it is moved towards.
            for variable in statistics:
                variable.assign(keras.ops.zeros_like(variable))
            self._in_training_mode.predict_on_batch(clips)
            for layer, total in zip(layers, totals, strict=True):
                mean, variance = (
                    keras.ops.convert_to_numpy(v).astype("float64") / (1 - layer.momentum)
                    for v in (layer.moving_mean, layer.moving_variance)
                )
                for place, value in enumerate((mean, variance, mean**2)):
                    total[place] += value
            count += 1
        if not count:
            raise ValueError("`batches` holds no batch.")
        return [[value / count for value in total] for total in totals]

    def _groups(self, model: keras.Model, num_clips: int) -> tuple[int, int]:
        """Groups and synchronized replicas of a batch."""
        replicas = _num_replicas(model)
        groups = num_clips / replicas / self._clips_per_group
        return max(1, round(groups)), max(1, min(replicas, round(1 / groups)))


class _InTrainingMode(keras.Model):
    """Predicts as a model does in training."""

    def __init__(self, model: keras.Model):
        super().__init__(name=f"{model.name}_in_training_mode")
        self.model = model
        # Compiled as the model is.
        self.jit_compile = model.jit_compile
        self.run_eagerly = model.run_eagerly

    def call(self, clips):
        return self.model(clips, training=True)


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


def _set_groups(
    layers: Iterable[keras.layers.Layer], groups: int, synchronized_replicas: int
) -> None:
    for layer in layers:
        # Convolutions have a number called groups: only a variable can follow the schedule.
        if isinstance(getattr(layer, "groups", None), keras.Variable):
            layer.groups.assign(groups)
        if hasattr(layer, "synchronized_replicas"):
            layer.synchronized_replicas.assign(synchronized_replicas)


def _sync_state(model: keras.Model) -> None:
    """On JAX, fit keeps variables to itself until asked for them; then it takes up changes."""
    if getattr(model, "_jax_state", None) is not None:
        model.jax_state_sync()


def _policy_of(model: keras.Model) -> MultigridLearningRate | None:
    optimizer = model.optimizer
    # Mixed precision wraps the optimizer that holds the learning rate.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    policy = getattr(optimizer, "_learning_rate", None)
    return policy if isinstance(policy, MultigridLearningRate) else None


def _schedule_of(model: keras.Model) -> MultigridSchedule:
    policy = _policy_of(model)
    if policy is None:
        raise ValueError(
            "MultigridCallback found no schedule: the optimizer's learning rate must be a "
            "MultigridLearningRate. Use MultigridCallback(schedule), or compile with "
            "keras.optimizers.SGD(MultigridLearningRate(schedule, 0.1))."
        )
    return policy.schedule


def _num_replicas(model: keras.Model) -> int:
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy is not None else 1


def _check_grids(schedule: MultigridSchedule, model: keras.Model, replicas: int) -> None:
    """Every grid, before the first step: not after two days."""
    check_clip_size = getattr(model, "check_clip_size", None)
    for grid in schedule.grids:
        if check_clip_size is not None:
            try:
                check_clip_size(grid.num_frames, grid.crop_size)
            except ValueError as error:
                raise ValueError(f"{error} The schedule has the grid {grid}.") from None
        if grid.batch_size % replicas:
            raise ValueError(
                f"Every batch must be a multiple of the {replicas} replicas. Received: a schedule "
                f"with the grid {grid}. Use a base batch size that is a multiple of {replicas}."
            )
