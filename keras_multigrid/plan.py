"""What a schedule will do, before it does it: steps, clips, frames and shapes as plain values."""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.schedule import Grid, MultigridSchedule, Phase


def make_plan(learning_rate: MultigridLearningRate, replicas: int = 1) -> dict[str, Any]:
    """The course of a training in advance, as values that `json.dumps` takes.

    Args:
        learning_rate: the learning rate of the training, which holds its schedule.
        replicas: devices that share a mini-batch evenly.

    Returns:
        A dict of `settings` (the config of `learning_rate`, the schedule's in it), `replicas`,
        `phases` (grids, steps, epochs, clips, frames, learning rate, batch-normalization groups of
        each), `grids` (each once, with its number of steps) and `totals` beside the baseline's;
        `step_ratio` and `voxel_ratio` are how many times fewer than the baseline's.

    Raises:
        ValueError: if `replicas` is not a positive integer or does not divide the batch of a grid.

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
    schedule = learning_rate.schedule
    _check_replicas(schedule, replicas)
    return {
        # JSON has no tuples: through it, a plan read from a file equals the plan written.
        "settings": json.loads(json.dumps(learning_rate.get_config())),
        "replicas": replicas,
        "phases": [_plan_phase(phase, learning_rate, replicas) for phase in schedule.phases],
        "grids": [
            {**dataclasses.asdict(grid), "steps": steps}
            for grid, steps in _steps_by_grid(schedule.phases).items()
        ],
        "totals": _totals(schedule),
    }


def format_plan(plan: Mapping[str, Any]) -> str:
    """A plan as a text for the terminal: a table with a row for each phase, then the totals.

    Args:
        plan: what `make_plan` returned.
    """
    # In two lines, so that the whole table stays under 100 columns.
    header = [
        ("", "", "end", "end", "", "short cycle", "learning", ""),
        ("phase", "steps", "step", "epoch", "base grid", "adds", "rate", "groups"),
    ]
    phases = plan["phases"]
    epochs = _epochs([phase["end_epoch"] for phase in phases])
    rows = [
        (str(number), *_phase_cells(phase, epoch))
        for number, (phase, epoch) in enumerate(zip(phases, epochs, strict=True), start=1)
    ]
    table = _align([*header, *rows], left=(4, 5, 6))
    rule = "-" * max(len(line) for line in table)
    totals = _align(_total_rows(plan), left=(0, 2))
    return "\n".join([*table[:2], rule, *table[2:], rule, *totals])


def _plan_phase(phase: Phase, learning_rate, replicas: int) -> dict[str, Any]:
    steps_by_grid = _steps_by_grid([phase])
    return {
        "first_step": phase.first_step,
        "end_step": phase.end_step,
        "steps": phase.num_steps,
        "first_epoch": phase.first_epoch,
        "end_epoch": phase.end_epoch,
        "base": dataclasses.asdict(phase.base),
        "short_cycle": [dataclasses.asdict(grid) for grid in phase.short_cycle],
        "lr_stage": phase.lr_stage,
        "first_learning_rate": float(learning_rate(phase.first_step)),
        "last_learning_rate": float(learning_rate(phase.end_step - 1)),
        "clips": _clips(steps_by_grid),
        "frames": _frames(steps_by_grid),
        "groups": phase.groups(replicas),
    }


def _totals(schedule: MultigridSchedule) -> dict[str, Any]:
    ours = _steps_by_grid(schedule.phases)
    baseline = {schedule.base: schedule.baseline_steps}
    return {
        "steps": schedule.total_steps,
        "baseline_steps": schedule.baseline_steps,
        "step_ratio": schedule.baseline_steps / schedule.total_steps,
        "epochs": schedule.phases[-1].end_epoch,
        "baseline_epochs": schedule.epochs,
        "clips": _clips(ours),
        "baseline_clips": _clips(baseline),
        "frames": _frames(ours),
        "baseline_frames": _frames(baseline),
        "voxels": _voxels(ours),
        "baseline_voxels": _voxels(baseline),
        "voxel_ratio": _voxels(baseline) / _voxels(ours),
        "largest_batch": max(grid.batch_size for grid in ours),
    }


def _steps_by_grid(phases: Sequence[Phase]) -> dict[Grid, int]:
    """How many steps train on each grid, in order of first use."""
    steps = collections.Counter()
    for phase in phases:
        turn = len(phase.short_cycle)
        for index, grid in enumerate(phase.short_cycle):
            # The phase may end within a turn: the first grids then have a step more.
            steps[grid] += len(range(index, phase.num_steps, turn))
    # A phase of one step never reaches the rest of its short cycle.
    return {grid: count for grid, count in steps.items() if count}


def _clips(steps_by_grid: Mapping[Grid, int]) -> int:
    return sum(grid.batch_size * steps for grid, steps in steps_by_grid.items())


def _frames(steps_by_grid: Mapping[Grid, int]) -> int:
    return sum(grid.batch_size * grid.num_frames * steps for grid, steps in steps_by_grid.items())


def _voxels(steps_by_grid: Mapping[Grid, int]) -> int:
    return sum(grid.voxels * steps for grid, steps in steps_by_grid.items())


def _check_replicas(schedule: MultigridSchedule, replicas: int) -> None:
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 1:
        raise ValueError(f"`replicas` must be a positive integer. Received: replicas={replicas!r}.")
    for grid in schedule.grids:
        if grid.batch_size % replicas:
            raise ValueError(
                "The batch of every grid must be a multiple of `replicas`. "
                f"Received: replicas={replicas}, a grid of {grid}. "
                f"Use a base batch size that is a multiple of {replicas}."
            )


def _phase_cells(phase: Mapping[str, Any], end_epoch: str) -> tuple[str, ...]:
    adds = (f"{grid['batch_size']} x {grid['crop_size']}²" for grid in phase["short_cycle"][:-1])
    first, last = (f"{phase[name]:.3g}" for name in ("first_learning_rate", "last_learning_rate"))
    return (
        f"{phase['steps']:,}",
        f"{phase['end_step']:,}",
        end_epoch,
        str(Grid(**phase["base"])),
        ", ".join(adds) or "-",
        first if first == last else f"{first} to {last}",
        str(phase["groups"]),
    )


def _total_rows(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    totals, replicas = plan["totals"], plan["replicas"]
    steps, *work = (
        (name, _count(totals[name]), _versus(name, totals[name], totals[f"baseline_{name}"]))
        for name in ("steps", "clips", "frames", "voxels")
    )
    epochs, baseline_epochs = _epochs([totals["epochs"], totals["baseline_epochs"]])
    batch = totals["largest_batch"]
    share = f"clips, {batch // replicas:,} on each of {replicas} replicas"
    return [
        steps,
        ("epochs", epochs, f"the baseline's {baseline_epochs}"),
        *work,
        ("largest batch", f"{batch:,}", share if replicas > 1 else "clips"),
        ("grids", str(len(plan["grids"])), "each a shape to compile"),
    ]


def _versus(name: str, ours: int, baseline: int) -> str:
    """A total in words, set against the baseline's."""
    if ours == baseline:
        return "as many as the baseline"
    if ours < baseline:
        return f"{baseline / ours:.2f} times fewer {name} than the baseline's {_count(baseline)}"
    return f"{ours / baseline:.2f} times the baseline's {_count(baseline)}"


def _count(value: int) -> str:
    """1234567 as 1,234,567; from a billion on in words, which can be read at a glance."""
    for name, unit in (("trillion", 10**12), ("billion", 10**9)):
        if value >= unit:
            return f"{value / unit:,.2f} {name}"
    return f"{value:,}"


def _epochs(values: Sequence[float]) -> list[str]:
    """Whole numbers where all are whole, else all with one decimal."""
    places = 0 if all(value == int(value) for value in values) else 1
    return [f"{value:,.{places}f}" for value in values]


def _align(rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """Lines of equal columns: those in `left` flush left, the others, numbers, flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
