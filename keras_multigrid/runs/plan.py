"""Plan a training before it starts: its steps, shapes and needs, as plain values."""

import collections
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from keras_multigrid.checks import check_integer, check_positive
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.schedule import Grid, MultigridSchedule, Phase

# Frames per second that one core reads, by frames of the clip: half the lowest rate of two cores
# in docs/data.md (H.264 of 340 x 256, a key frame every 250 frames). Clips of few frames have long
# strides: most of the frames that are decoded for them are not used.
FRAMES_PER_CORE = {8: 160, 16: 215, 32: 320}

_FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """The measured speed of one device, and the size of the network that it trains.

    Args:
        clips_per_second: clips of the baseline's grid that it trains on per second, not counting
            the input pipeline.
        parameters: trainable parameters of the network; each device sends their gradients in every
            step.

    Raises:
        ValueError: if one of them is not positive, or `parameters` is not an integer.

    Example:

    >>> make_plan(learning_rate, 8, device=Device(clips_per_second=30.0, parameters=34_566_488))
    """

    clips_per_second: float
    parameters: int

    def __post_init__(self):
        check_positive("clips_per_second", self.clips_per_second)
        check_integer("parameters", self.parameters)


def make_plan(
    learning_rate: MultigridLearningRate,
    replicas: int = 1,
    *,
    device: Device | None = None,
    frames_per_core: float | None = None,
    multiply_adds: Callable[[int, int], float] | None = None,
) -> dict[str, Any]:
    """Plan a training: its phases, totals and rates, as values that `json.dumps` accepts.

    Args:
        learning_rate: the learning rate of the training, which holds its schedule.
        replicas: devices that share a mini-batch evenly. The plan is made for
            `learning_rate.on_replicas(replicas)`: the baseline's clips are rounded to a multiple.
        device: speed of one device; without it the plan has no rates.
        frames_per_core: frames that one core decodes and resizes per second; the default depends
            on the frames of the clip, see `FRAMES_PER_CORE`.
        multiply_adds: what a clip of so many frames and such a crop costs the network, such as
            `model.multiply_adds`; without it the plan does not have the model's work.

    Returns:
        A dict of `settings` (the config of the learning rate, the schedule's in it), `replicas`,
        `batch` (the baseline's clips, those on each replica, what they were rounded from or None),
        `phases` (grids, steps, epochs, clips, frames, work, learning rate, batch-normalization
        groups and rates of each), `grids` (each once, with its number of steps), `totals` beside
        the baseline's, `rates` of the whole and of the baseline, and `warnings`, a list of
        sentences; `step_ratio` and `voxel_ratio` are how many times fewer than the baseline's.
        `work` is clips * frames * crop², in steps of the baseline. `model_work` is the same by
        `multiply_adds`: of a step in `grids`, of all in `totals`; left out without it. Attention
        and padding make it differ.

        Rates are None without `device`. Otherwise they hold `seconds` and, over all replicas, the
        clips, frames and bytes of decoded float32 clips per second, and the cores that read them.
        A step of the baseline takes `seconds_per_step`. So does every step where batches are as
        published, at constant work; with less `batch_growth`, or on grids at a floor, a step takes
        as long as its work. `gradient_bytes_per_second` is what each device sends (and receives) in
        a ring all-reduce.

    Raises:
        ValueError: if `replicas` is not a positive integer, or `frames_per_core` not a positive
            number or given without `device`.

    Example:

    >>> schedule = MultigridSchedule(
    ...     base=Grid(batch_size=64, num_frames=32, crop_size=224),
    ...     num_clips=239_975, epochs=239, boundaries=(94, 154, 196), round_to_epochs=True)
    >>> plan = make_plan(MultigridLearningRate(schedule, 0.1), replicas=8)
    >>> plan["phases"][0]["base"]
    {'batch_size': 512, 'num_frames': 8, 'crop_size': 158}
    >>> plan["totals"]["steps"], plan["totals"]["baseline_steps"]
    (261659, 896011)
    """
    check_integer("replicas", replicas)
    if frames_per_core is not None:
        check_positive("frames_per_core", frames_per_core)
        if device is None:
            raise ValueError(
                "`frames_per_core` is for rates, which need a `device`, too. Received: "
                f"frames_per_core={frames_per_core}, device=None. Use "
                "device=Device(clips_per_second=..., parameters=...)."
            )
    if learning_rate.schedule.replicas != replicas:
        learning_rate = learning_rate.on_replicas(replicas)
    schedule = learning_rate.schedule
    base = schedule.baseline_grid
    steps_by_grid = schedule.steps_by_grid()
    # The baseline on as many replicas: it shares its batch evenly, too.
    baseline = {base: dataclasses.replace(schedule, base=base).baseline_steps}
    phases = [_plan_phase(phase, learning_rate) for phase in schedule.phases]
    rates = None
    if device is not None:
        seconds = _seconds_by_grid(schedule, device)
        for phase, planned in zip(schedule.phases, phases, strict=True):
            planned["rates"] = _rates(phase.steps_by_grid(), seconds, frames_per_core)
        rates = {
            **_whole_rates(schedule, device, _rates(steps_by_grid, seconds, frames_per_core)),
            "seconds_per_step": seconds[base],
            "baseline": _rates(baseline, seconds, frames_per_core),
        }
    asked = schedule.base.batch_size
    work = {} if multiply_adds is None else _model_work(steps_by_grid, base, multiply_adds)
    return {
        # JSON has no tuples: through it, a plan read from a file equals the plan written.
        "settings": json.loads(json.dumps(learning_rate.get_config())),
        "replicas": replicas,
        "batch": {
            "clips": base.batch_size,
            "clips_per_replica": base.batch_size // replicas,
            "rounded_from": None if base.batch_size == asked else asked,
        },
        "phases": phases,
        "grids": [
            {**dataclasses.asdict(grid), "steps": steps}
            | ({"model_work": work[grid]} if work else {})
            for grid, steps in steps_by_grid.items()
        ],
        "totals": _totals(schedule, steps_by_grid, baseline)
        | (
            {"model_work": sum(steps_by_grid[grid] * own for grid, own in work.items())}
            if work
            else {}
        ),
        "rates": rates,
        "warnings": _warnings(schedule, phases) if replicas > 1 else [],
    }


def _plan_phase(phase: Phase, learning_rate: MultigridLearningRate) -> dict[str, Any]:
    schedule = learning_rate.schedule
    replicas = schedule.replicas
    sums = _sums(phase.steps_by_grid())
    return {
        "first_step": phase.first_step,
        "end_step": phase.end_step,
        "steps": phase.num_steps,
        "first_epoch": phase.first_epoch,
        "end_epoch": phase.end_epoch,
        "base": dataclasses.asdict(phase.base),
        "short_cycle": [dataclasses.asdict(grid) for grid in phase.short_cycle],
        "clips_per_replica": phase.base.batch_size // replicas,
        "lr_stage": phase.lr_stage,
        "first_learning_rate": float(learning_rate(phase.first_step)),
        "last_learning_rate": float(learning_rate(phase.end_step - 1)),
        "clips": sums["clips"],
        "frames": sums["frames"],
        "work": sums["voxels"] / schedule.baseline_grid.voxels,
        "groups": phase.groups(replicas),
        "synchronized_replicas": phase.synchronized_replicas(replicas),
        "rates": None,
    }


def _totals(
    schedule: MultigridSchedule, steps_by_grid: Mapping[Grid, int], baseline: Mapping[Grid, int]
) -> dict[str, Any]:
    ours, theirs = _sums(steps_by_grid), _sums(baseline)
    return {
        **ours,
        "work": schedule.total_work,
        **{f"baseline_{name}": value for name, value in theirs.items()},
        "step_ratio": theirs["steps"] / ours["steps"],
        "voxel_ratio": theirs["voxels"] / ours["voxels"],
        "epochs": schedule.phases[-1].end_epoch,
        "baseline_epochs": schedule.epochs,
        "largest_batch": max(grid.batch_size for grid in steps_by_grid),
    }


def _model_work(
    grids: Iterable[Grid], base: Grid, multiply_adds: Callable[[int, int], float]
) -> dict[Grid, float]:
    """What a step at each grid costs the network, in steps of the baseline."""

    def of_step(grid: Grid) -> float:
        return grid.batch_size * multiply_adds(grid.num_frames, grid.crop_size)

    return {grid: of_step(grid) / of_step(base) for grid in grids}


def _sums(steps_by_grid: Mapping[Grid, int]) -> dict[str, int]:
    """What these steps take in all."""
    grids = steps_by_grid.items()
    return {
        "steps": sum(steps_by_grid.values()),
        "clips": sum(grid.batch_size * steps for grid, steps in grids),
        "frames": sum(grid.batch_size * grid.num_frames * steps for grid, steps in grids),
        "voxels": sum(grid.voxels * steps for grid, steps in grids),
    }


def _seconds_by_grid(schedule: MultigridSchedule, device: Device) -> dict[Grid, float]:
    """Seconds of a step at the baseline's grid and at those of the schedule."""
    base = schedule.baseline_grid
    seconds = base.batch_size / schedule.replicas / device.clips_per_second
    grids = (base, *schedule.grids)
    if schedule.has_published_batches:
        # Steps are less work only by what the clips and crops lose to rounding: that saves no time.
        return dict.fromkeys(grids, seconds)
    return {grid: seconds * grid.voxels / base.voxels for grid in grids}


def _rates(
    steps_by_grid: Mapping[Grid, int],
    seconds_by_grid: Mapping[Grid, float],
    frames_per_core: float | None,
) -> dict[str, float]:
    """What these steps need each second."""
    sums = _sums(steps_by_grid)
    seconds = sum(steps * seconds_by_grid[grid] for grid, steps in steps_by_grid.items())
    core_seconds = sum(
        _sums({grid: steps})["frames"] / (frames_per_core or _frames_per_core(grid.num_frames))
        for grid, steps in steps_by_grid.items()
    )
    return {
        "seconds": seconds,
        "clips_per_second": sums["clips"] / seconds,
        "frames_per_second": sums["frames"] / seconds,
        "input_bytes_per_second": sums["voxels"] * 3 * _FLOAT_BYTES / seconds,
        "decode_cores": core_seconds / seconds,
    }


def _whole_rates(
    schedule: MultigridSchedule, device: Device, rates: Mapping[str, float]
) -> dict[str, Any]:
    """Those of the whole training, with the gradients that each device sends."""
    # Ring all-reduce: partial sums travel around the ring once, then the results do, each time in
    # as many parts as there are devices.
    sent = 2 * (schedule.replicas - 1) / schedule.replicas * _FLOAT_BYTES * device.parameters
    return {
        "device": dataclasses.asdict(device),
        "gradient_bytes_per_second": sent * schedule.total_steps / rates["seconds"],
        **rates,
    }


def _frames_per_core(num_frames: int) -> float:
    """Frames per second that one core reads for clips of `num_frames` frames."""
    measured = [rate for frames, rate in FRAMES_PER_CORE.items() if frames <= num_frames]
    if measured:
        return measured[-1]
    # Clips shorter than those measured: the same clips per second, as their span must be decoded.
    shortest, rate = next(iter(FRAMES_PER_CORE.items()))
    return rate * num_frames / shortest


def _warnings(schedule: MultigridSchedule, phases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on what the number of replicas does to batches and normalization statistics."""
    warnings = []
    asked, replicas = schedule.base.batch_size, schedule.replicas
    if asked < replicas:
        warnings.append(
            f"the baseline's batch of {asked:,} is less than a clip on each of {replicas:,} "
            f"replicas: the plan has {schedule.baseline_grid.batch_size:,}"
        )
    sharing = collections.defaultdict(list)
    for number, phase in enumerate(phases, start=1):
        if phase["clips_per_replica"] < schedule.clips_per_group:
            sharing[phase["synchronized_replicas"]].append(number)
    if sharing:
        parts = [
            f"of {count} {'neighbours' if count > 1 else 'replica'} in {_named_phases(numbers)}"
            for count, numbers in sorted(sharing.items())
        ]
        warnings.append(
            f"fewer than {schedule.clips_per_group} clips a replica: statistics are those "
            + "; ".join(parts)
        )
    return warnings


def _named_phases(numbers: Sequence[int]) -> str:
    """[4, 8, 12, 13, 14] as "phases 4, 8, 12-14"."""
    # Neighbours have the same distance to their index.
    runs = [
        [number for _, number in run]
        for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    names = [f"{run[0]}-{run[-1]}" if run[1:] else f"{run[0]}" for run in runs]
    return ("phases " if numbers[1:] else "phase ") + ", ".join(names)
