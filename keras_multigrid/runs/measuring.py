"""Measure on this machine what a run will take: seconds and memory of each grid, and of the whole.

A short training goes through all grids of the schedule, on the run's own videos and network, as
`train` would. Its times, by grid, are those of the run's steps.
"""

import collections
import dataclasses
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_multigrid import compat, distribute
from keras_multigrid.callbacks import MultigridCallback, PreciseBatchStatistics
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.input import Input
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.monitor import StreamMonitor
from keras_multigrid.progress import Progress
from keras_multigrid.runs import class_weighting
from keras_multigrid.runs.building import compiled_network
from keras_multigrid.runs.costs import GridCost, RunCost
from keras_multigrid.runs.peak_memory import PeakMemory, resident_bytes
from keras_multigrid.runs.settings import Settings
from keras_multigrid.schedule import Grid, MultigridSchedule

# Turns of the short cycle that are trained in each phase.
TURNS = 8
# Steps after the first of a grid that are left out: what was read ahead meanwhile shortens them.
_SETTLING = 3
# Of a validation and of precise statistics.
_BATCHES = 8
# Too little to diverge; the time of a step does not depend on it.
_RATE = 1e-6


@compat.forgotten_traces()
def measure(settings: Settings, *, turns: int = TURNS) -> RunCost:
    """Train briefly at every grid of a run, and say what the whole will take.

    Nothing is written, and nothing of it enters the run. If a grid does not fit in memory, the
    baseline's batch is halved until all do.

    Args:
        settings: of the run.
        turns: of the short cycle, at each base grid of the long cycle.

    Raises:
        ValueError: what `train` raises.
        MemoryError: if not even a batch of one clip for each device fits.

    Example:

    >>> measure(settings).seconds / 3600
    7.4
    """
    strategy = settings.hardware.strategy()
    distribute.check_backend(strategy)
    replicas = distribute.device_count(strategy)
    schedule = dataclasses.replace(settings.optimization.schedule, replicas=replicas)
    too_large = None
    while True:
        try:
            result = _measure(settings, schedule, strategy, turns)
            return dataclasses.replace(result, too_large=too_large)
        except _TooLargeError as error:
            too_large = too_large or error.grid
            clips = schedule.baseline_grid.batch_size
            if clips <= replicas:
                raise MemoryError(
                    f"{error.grid} does not fit in memory, with the smallest batch. Use a smaller "
                    "CROP_SIZE or NUM_FRAMES, or dtype_policy=mixed_bfloat16."
                ) from error
        base = dataclasses.replace(schedule.base, batch_size=max(replicas, clips // 2))
        schedule = dataclasses.replace(schedule, base=base)
        print(f"{too_large} does not fit in memory: measuring {base}.", file=sys.stderr)
        keras.backend.clear_session()


class _TooLargeError(Exception):
    def __init__(self, grid: Grid):
        super().__init__(str(grid))
        self.grid = grid


def _measure(
    settings: Settings, whole: MultigridSchedule, strategy: tf.distribute.Strategy, turns: int
) -> RunCost:
    keras.utils.set_random_seed(settings.seed)
    short = shortened(whole, turns)
    optimization = dataclasses.replace(
        class_weighting.in_numbers(settings.optimization, settings.data),
        learning_rate=lambda schedule: MultigridLearningRate(schedule, _RATE),
    )
    source = settings.data.source(BadVideos(max_share=settings.data.max_bad_share))
    with strategy.scope():
        network = distribute.prepare(
            compiled_network(settings.model, optimization, source.task, short)
        )

    def make(context):
        batches = source.training(short, seed=settings.seed, input_context=context)
        return class_weighting.weighted(batches, optimization.class_weight, source.videos.task)

    monitor = StreamMonitor()
    with monitor.attached():
        batches = distribute.batches(strategy, make)
    # All through the same data set: from then on it has what `keep_decoded` keeps.
    decoding, video_bytes = _decode(batches, short) if source.keep_decoded else (0.0, 0.0)
    rates = _read(batches, short)
    clock = _StepClock(short, monitor)
    _train(network, batches, short, clock, monitor)
    precise_batches = settings.optimization.precise_batches
    validation, first = _validation_seconds(network, source, strategy, short.baseline_grid)
    precise, first_precise = _statistics_seconds(network, source, strategy, short, precise_batches)
    steps = whole.steps_by_grid()
    # A run of few steps may not reach it; the baseline has no other.
    steps.setdefault(whole.baseline_grid, 0)
    of_fit = min(settings.logging.validations, whole.total_steps)
    statistics = of_fit if precise_batches else 0
    # Each stream of a run keeps videos of its own.
    precise_clips = statistics * precise_batches * whole.baseline_grid.batch_size
    kept = min(precise_clips, whole.num_clips) + 2 * len(source.videos.validation)
    return RunCost(
        grids=[clock.cost(grid, steps[grid], rates[grid]) for grid in steps],
        decoding_seconds=decoding,
        kept_memory=round(kept * video_bytes),
        validation_seconds=validation,
        # Those of the fit, that of the report, and that of still clips.
        validations=of_fit + 1 + settings.logging.still_control,
        statistics_seconds=precise,
        statistics=statistics,
        first_validation_seconds=first + first_precise,
        base=whole.baseline_grid,
        baseline_steps=whole.baseline_steps,
        is_device_memory=clock.memory.is_device,
    )


def _train(network, batches, schedule: MultigridSchedule, clock: "_StepClock", monitor) -> None:
    try:
        network.fit(
            batches,
            steps_per_epoch=schedule.total_steps,
            shuffle=False,
            verbose=0,
            callbacks=[MultigridCallback(schedule, log_dir=None, monitor=monitor), clock],
        )
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        # Without the error, whose traceback holds on to the memory.
        grid = schedule.grid(clock.steps_done)
    else:
        return
    raise _TooLargeError(grid)


def _is_out_of_memory(error: Exception) -> bool:
    """TensorFlow, JAX, PyTorch and Python have an error each."""
    names = {kind.__name__ for kind in type(error).__mro__}
    is_named = names & {"ResourceExhaustedError", "OutOfMemoryError", "MemoryError"}
    return bool(is_named) or "RESOURCE_EXHAUSTED" in str(error)


def shortened(schedule: MultigridSchedule, turns: int) -> MultigridSchedule:
    """One pass through the same grids, with so many turns of the short cycle at each base grid.

    Where there are no cycles, the schedule is left as it is.
    """
    own = {"boundaries": (), "long_cycles": 1, "phase_shares": (), "round_to_epochs": False}
    if not schedule.long_cycle and not schedule.short_cycle:
        return schedule
    long = dataclasses.replace(schedule, **own, epoch_factor=1000.0)
    steps = turns * sum(len(phase.short_cycle) for phase in long.phases)
    return dataclasses.replace(long, epoch_factor=1000.0 * steps / long.total_steps)


def _decode(batches, schedule: MultigridSchedule) -> tuple[float, float]:
    """Seconds of the first epoch's reading, after which all videos are kept; bytes of each."""
    progress, begun, before = Progress("decoded clip"), time.perf_counter(), resident_bytes()
    for step, _ in enumerate(batches, 1):
        done = min(schedule.clips_before(step), schedule.num_clips)
        progress(done, schedule.num_clips)
        # The batches are endless.
        if done == schedule.num_clips:
            break
    grown = max(0, resident_bytes() - before)
    return time.perf_counter() - begun, grown / schedule.num_clips


def _read(batches, schedule: MultigridSchedule) -> dict[Grid, float]:
    """Clips per second at each grid, with nothing to do but read."""
    progress, seconds = Progress("read step"), collections.defaultdict(list)
    last = time.perf_counter()
    for step, _ in zip(range(schedule.total_steps), batches, strict=False):
        now = time.perf_counter()
        seconds[schedule.grid(step)].append(now - last)
        last = now
        progress(step + 1, schedule.total_steps)
    # Batches are ready in bursts: sums, not single times.
    return {grid: grid.batch_size * len(own) / sum(own) for grid, own in seconds.items()}


class _StepClock(keras.callbacks.Callback):
    """Seconds, input wait and memory of each step."""

    def __init__(self, schedule: MultigridSchedule, monitor: StreamMonitor):
        super().__init__()
        self._schedule, self._monitor = schedule, monitor
        self._progress = Progress("measured step")
        self._steps: list[tuple[float, float]] = []
        self._memory_of: dict[Grid, int] = collections.defaultdict(int)
        self.memory = PeakMemory()

    @property
    def steps_done(self) -> int:
        return len(self._steps)

    def on_train_begin(self, logs=None):
        self._last = time.perf_counter(), self._monitor.seconds_waited
        self.memory.restart()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter(), self._monitor.seconds_waited
        self._steps.append((now[0] - self._last[0], now[1] - self._last[1]))
        grid = self._schedule.grid(batch)
        self._memory_of[grid] = max(self._memory_of[grid], self.memory.bytes)
        self.memory.restart()
        self._progress(batch + 1, self._schedule.total_steps)
        self._last = time.perf_counter(), self._monitor.seconds_waited

    def cost(self, grid: Grid, steps: int, rate: float) -> GridCost:
        """What was measured of a grid."""
        firsts = set(self._schedule.first_steps().values())
        settling = {first + later for first in firsts for later in range(_SETTLING + 1)}
        own = [step for step in range(len(self._steps)) if self._schedule.grid(step) == grid]
        # A run of few steps has none that have settled.
        settled = [self._steps[step] for step in own if step not in settling]
        settled = settled or [self._steps[step] for step in own[1:] or own]
        seconds = math.fsum(step[0] for step in settled) / len(settled)
        waited = math.fsum(step[1] for step in settled) / len(settled)
        return GridCost(
            grid=grid,
            steps=steps,
            seconds=seconds,
            first_seconds=max(0.0, self._steps[own[0]][0] - seconds),
            wait_share=min(1.0, waited / seconds),
            clips_read_per_second=rate,
            memory=self._memory_of[grid],
        )


def _validation_seconds(network, source: Input, strategy, grid: Grid) -> tuple[float, float]:
    """Seconds of a validation, and what the first one takes beyond that."""
    count = -(-len(source.videos.validation) // grid.batch_size)
    batches = distribute.batches(
        strategy, lambda context: source.validation(grid, input_context=context)
    )
    taken = min(count, _BATCHES)
    first, seconds = _timed_twice(lambda: network.evaluate(batches, steps=taken, verbose=0))
    return seconds * count / taken, first


def _statistics_seconds(
    network, source: Input, strategy, schedule: MultigridSchedule, num_batches: int
) -> tuple[float, float]:
    """Seconds of precise statistics of so many batches, and what the first take beyond that."""
    if not num_batches:
        return 0.0, 0.0
    plain = schedule.baseline()
    batches = distribute.batches(
        strategy, lambda context: source.training(plain, seed=1, input_context=context)
    )
    taken = min(num_batches, _BATCHES)
    precise = PreciseBatchStatistics(batches, taken)
    first, seconds = _timed_twice(lambda: precise.update(network))
    return seconds * num_batches / taken, first


def _timed_twice(call: Callable[[], Any]) -> tuple[float, float]:
    """What the first call takes beyond the second, compiling and decoding; and the second."""
    begun = time.perf_counter()
    call()
    middle = time.perf_counter()
    call()
    seconds = time.perf_counter() - middle
    return max(0.0, middle - begun - seconds), seconds
