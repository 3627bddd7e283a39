"""What TensorBoard shows of a multigrid run, step by step."""

import collections
import statistics
import time
from collections.abc import Iterable, Mapping

import keras

from keras_multigrid import compat, replicas
from keras_multigrid.callbacks.averaged_weights import is_averaged
from keras_multigrid.callbacks.lookup import (
    find_schedule,
    inner_optimizer,
    learning_rate_at,
    steps_trained,
)
from keras_multigrid.learning_rate import MultigridLearningRate, policy_of
from keras_multigrid.monitor import StreamMonitor, open_monitors
from keras_multigrid.schedule import Grid, MultigridSchedule


class TrainingLog(keras.callbacks.Callback):
    """Logs curves, clips and throughput of a multigrid run to TensorBoard.

    `keras.callbacks.TensorBoard` logs the learning rate once per epoch and needs TensorFlow; this
    one logs by step, on every backend:

    - `multigrid/`: learning rate, batch size, frames, crop, work so far (in steps of the baseline),
      clips per second, input wait (share of the step time), and clips replaced since training began
      because their videos cannot be read;
    - `train/` and `validation/`: loss and metrics; where the optimizer averages weights, also
      `validation/averaged_weights`: 1 where the validation saw the averages, 0 where it did not;
    - once: a picture of the schedule, `texts`, and at the end the throughput by grid;
    - for each grid: some clips of its first batch, one row of frames each, with the smallest value
      mapped to black and the largest to white.

    Input wait, replaced clips and pictures of clips come from streams made by `training_batches`
    and `resample`. Under a strategy of several workers the chief alone writes.

    Args:
        schedule: the `MultigridSchedule`; None takes the one of the optimizer's
            `MultigridLearningRate`.
        log_dir: folder for TensorBoard's files; None measures throughput and writes nothing.
        log_every: steps from one point of the curves to the next.
        texts: name to text (Markdown), shown once.
        monitor: `StreamMonitor` of the batches that `fit` is given; None takes the open stream that
            is read in the first step.

    Raises:
        ValueError: when training begins, if there is no schedule.

    Example:

    >>> log = TrainingLog(log_dir="runs/first")
    >>> model.fit(batches, steps_per_epoch=schedule.total_steps, callbacks=[log])
    >>> log.clips_per_second[schedule.base]
    87.4
    """

    def __init__(
        self,
        schedule: MultigridSchedule | None = None,
        log_dir: str | None = "logs",
        *,
        log_every: int = 10,
        texts: Mapping[str, str] | None = None,
        monitor: StreamMonitor | None = None,
    ):
        super().__init__()
        self._given_schedule = schedule
        self._log_dir = log_dir
        self._log_every = log_every
        self._texts = {} if texts is None else texts
        self._monitor = monitor
        self._writer = None
        self._seconds: dict[Grid, list[float]] = collections.defaultdict(list)
        self._waits: dict[Grid, float] = collections.defaultdict(float)
        self._saw_averages = False

    @property
    def clips_per_second(self) -> dict[Grid, float]:
        """Throughput at each grid seen so far, by the median time of its steps."""
        return {
            grid: grid.batch_size / statistics.median(seconds)
            for grid, seconds in self._seconds.items()
        }

    @property
    def input_wait_shares(self) -> dict[Grid, float]:
        """Input wait at each grid seen so far, as a share of the time of its steps."""
        return {grid: self._waits[grid] / sum(seconds) for grid, seconds in self._seconds.items()}

    @property
    def _step(self) -> int:
        return steps_trained(self.model)

    def set_model(self, model):
        super().set_model(model)
        compat.watch_batches(model)

    def on_train_begin(self, logs=None):
        self.schedule = find_schedule(self, self._given_schedule)
        self._open_writer()
        self._input = _Input(self._monitor, self._steps_to_show())
        # Grid, seconds and wait of the steps since the last point of the curves.
        self._recent: list[tuple[Grid, float, float]] = []

    def on_epoch_begin(self, epoch, logs=None):
        # Between Keras epochs others may have read batches of the same stream.
        self._input.restart_clock()

    def on_train_batch_begin(self, batch, logs=None):
        # On JAX and PyTorch fit has fetched the batch already.
        self._begun = time.perf_counter() - self._input.waited

    def on_train_batch_end(self, batch, logs=None):
        # Reading the step waits for the device: only now is the step's work done.
        step = self._step - 1
        seconds = time.perf_counter() - self._begun
        waited = self._input.waited
        self._input.settle()
        self._input.restart_clock()
        grid = self.schedule.grid(step)
        self._seconds[grid].append(seconds)
        self._waits[grid] += waited
        self._recent.append((grid, seconds, waited))
        self._show_clips(step, grid)
        if (step + 1) % self._log_every == 0:
            self._log_step(step, grid, logs or {})

    def on_test_batch_end(self, batch, logs=None):
        self._saw_averages = is_averaged(self.model)

    def on_epoch_end(self, epoch, logs=None):
        results = {
            f"validation/{name[4:]}": value
            for name, value in (logs or {}).items()
            if name.startswith("val_")
        }
        if results and inner_optimizer(self.model).use_ema:
            results["validation/averaged_weights"] = self._saw_averages
        # At the last step, not the next one, whose points are written again after a restart.
        self._write(results, self._step - 1)

    def on_train_end(self, logs=None):
        self._input.close()
        if self._writer is None:
            return
        from keras_multigrid import figures

        figure = figures.draw_throughput(self.clips_per_second, self.input_wait_shares)
        self._writer.picture("throughput", figures.to_array(figure), step=self._step)
        self._writer.close()
        self._writer = None

    def _open_writer(self) -> None:
        if self._log_dir is None or not replicas.is_chief(self.model):
            return
        # Only where something is written: neither is needed to train.
        from keras_multigrid import figures
        from keras_multigrid.callbacks.event_file import EventFile

        self._writer = EventFile(self._log_dir, start_step=self._step)
        if not self._step:
            # A run that resumes has shown them.
            policy = policy_of(self.model) or MultigridLearningRate(self.schedule, 1.0)
            picture = figures.to_array(figures.draw_schedule(policy))
            self._writer.picture("schedule", picture, step=0)
            for name, text in self._texts.items():
                self._writer.text(name, text, step=0)
        self._writer.flush()

    def _steps_to_show(self) -> list[int]:
        """The first step of each grid, of those still to come."""
        if self._writer is None:
            return []
        return [step for step in self.schedule.first_steps().values() if step >= self._step]

    def _log_step(self, step: int, grid: Grid, logs: Mapping[str, float]) -> None:
        grids, seconds, waits = zip(*self._recent, strict=True)
        self._recent.clear()
        self._write(
            {
                "multigrid/learning_rate": learning_rate_at(self.model, step),
                "multigrid/batch_size": grid.batch_size,
                "multigrid/frames": grid.num_frames,
                "multigrid/crop": grid.crop_size,
                "multigrid/work": self.schedule.work_before(step + 1),
                "multigrid/clips_per_second": sum(grid.batch_size for grid in grids) / sum(seconds),
                "multigrid/input_wait_share": sum(waits) / sum(seconds),
                "multigrid/replaced_clips": self._input.replaced_clips,
                **{f"train/{name}": value for name, value in logs.items()},
            },
            step,
        )

    def _show_clips(self, step: int, grid: Grid) -> None:
        """A picture of a step's clips, if it is the first of its grid."""
        clips = self._input.take_clips(step)
        # Batches that begin at another step than the model have other grids.
        if clips is None or clips.shape[1:4] != grid.shape[1:4]:
            return
        from keras_multigrid import figures

        name = f"clips/{grid.batch_size}x{grid.num_frames}x{grid.crop_size}"
        picture = figures.film_strips(figures.stretched(clips))
        self._writer.picture(name, picture, step=step)
        # Before the step is saved: a run that resumes behind it does not show it again.
        self._writer.flush()

    def _write(self, scalars: Mapping[str, float], step: int) -> None:
        if self._writer is None:
            return
        for name, value in scalars.items():
            self._writer.scalar(name, float(value), step=step)
        # Before the step is saved: a killed run then lacks no point before the checkpoint.
        self._writer.flush()


class _Input:
    """The stream that `fit` reads: the given one, or of all open ones that of the first step."""

    def __init__(self, monitor: StreamMonitor | None, shown_steps: Iterable[int]):
        self._streams = open_monitors() if monitor is None else [monitor]
        self._last_read_before = max((stream.last_read for stream in self._streams), default=0)
        shown_steps = frozenset(shown_steps)
        for stream in self._streams:
            stream.ask_for_clips(shown_steps)
        self._replaced_before = {stream: stream.replaced_clips for stream in self._streams}
        self.restart_clock()

    def restart_clock(self) -> None:
        self._waited_before = self._seconds_waited()

    @property
    def waited(self) -> float:
        """Seconds that `fit` waited for batches since the clock was restarted."""
        return self._seconds_waited() - self._waited_before

    @property
    def replaced_clips(self) -> int:
        """Clips replaced since training began."""
        return sum(s.replaced_clips - self._replaced_before[s] for s in self._streams)

    def settle(self) -> None:
        """Drop all streams but the one that was read last, at the end of a step."""
        if len(self._streams) > 1:
            *others, read = sorted(self._streams, key=lambda stream: stream.last_read)
            for other in others:
                other.ask_for_clips(())
            self._streams = [read]

    @property
    def last_step(self) -> int:
        """The step of the batch that was read last; -1 if none was since training began."""
        self.settle()
        is_read = self._streams and self._streams[0].last_read > self._last_read_before
        return self._streams[0].last_step if is_read else -1

    def take_clips(self, step: int):
        """The first clips of the step that ends; None unless it is to be shown."""
        return self._streams[0].take_clips(step) if self._streams else None

    def close(self) -> None:
        for stream in self._streams:
            stream.ask_for_clips(())

    def _seconds_waited(self) -> float:
        return sum(stream.seconds_waited for stream in self._streams)
