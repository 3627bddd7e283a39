"""Format a plan for the terminal: its phases, rates and totals, and what was measured."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from keras_multigrid.progress import as_time
from keras_multigrid.runs.costs import RunCost
from keras_multigrid.schedule import Grid

# A share of the time from which on waiting for input is said to be the limit.
_WAITS = 0.1
_GRID = tuple(field.name for field in dataclasses.fields(Grid))


def format_plan(plan: Mapping[str, Any]) -> str:
    """Format a plan for the terminal: a row for each phase, the rates if it has any, the totals.

    Args:
        plan: what `make_plan` returned.

    Example:

    >>> print(format_plan(make_plan(learning_rate, replicas=8)))
    """
    table = _phase_table(plan)
    rates = [] if plan["rates"] is None else _rate_table(plan)
    rule = "-" * max(len(line) for line in table)
    totals = _align(_total_rows(plan), left=(0, 2))
    warnings = [f"warning: {text}" for text in plan["warnings"]]
    lines = [*table[:2], rule, *table[2:], rule]
    if rates:
        lines += [*rates[:2], rule, *rates[2:], rule]
    return "\n".join([*lines, *totals, *warnings])


def format_costs(measured: RunCost) -> str:
    """Format what was measured for the terminal: a row for each grid, then the whole.

    Args:
        measured: what `measure` returned.

    Example:

    >>> print(format_costs(measure(settings)))
    """
    rows = [
        ("", "", "seconds", "first", "clips/s", "clips/s", "", "memory"),
        ("grid", "steps", "a step", "step", "trained", "read alone", "waiting", "MB"),
    ]
    rows += [
        (
            str(cost.grid),
            f"{cost.steps:,}",
            _rounded(cost.seconds),
            f"{cost.first_seconds:.1f}",
            *map(_rounded, (cost.grid.batch_size / cost.seconds, cost.clips_read_per_second)),
            f"{cost.wait_share:.0%}",
            f"{cost.memory / 1e6:,.0f}",
        )
        for cost in measured.grids
    ]
    table = _align(rows, left=(0,))
    rule = "-" * max(map(len, table))
    totals = _align(_measured_rows(measured), left=(0, 1))
    return "\n".join([*table[:2], rule, *table[2:], rule, *totals])


def _measured_rows(measured: RunCost) -> list[tuple[str, str]]:
    steps, first = measured.step_seconds, measured.first_seconds
    parts = [f"{as_time(steps)} of steps", f"{as_time(first)} of first steps"]
    if measured.decoding_seconds:
        parts.append(f"{as_time(measured.decoding_seconds)} of decoding")
    parts.append(
        f"{as_time(measured.all_validation_seconds)} of {measured.validations} validations"
    )
    rows = [("time", f"{as_time(measured.seconds)}: {', '.join(parts)}")]
    baseline = measured.baseline_seconds
    ratio = f"{baseline / measured.seconds:.2f} times this"
    rows.append(("baseline", f"{as_time(baseline)} with as many validations, {ratio}"))
    where = "on the device" if measured.is_device_memory else "of this process"
    rows.append(("memory", f"{measured.memory / 1e9:.1f} GB {where}"))
    waiting = f"{measured.wait_share:.0%} of the time waiting"
    if measured.wait_share > _WAITS:
        waiting += ": reading is the limit. More workers=, records ("
        waiting += "keras-multigrid prepare) or runs.Data.keep_decoded=True help"
    rows.append(("input", waiting))
    if measured.too_large is not None:
        fits = f"batch_size={measured.base.batch_size}, which is measured here, fits"
        rows.append(("warning", f"{measured.too_large} does not fit in memory; {fits}"))
    return rows


def _phase_table(plan: Mapping[str, Any]) -> list[str]:
    # In two lines, so that the whole table stays under 100 columns.
    rows = [
        ("", "", "end", "end", "", "", "short cycle", "learning", "", "clips"),
        ("phase", "steps", "step", "epoch", "work", "base grid", "adds", "rate", "groups", "each"),
    ]
    phases = plan["phases"]
    epochs = _epochs([phase["end_epoch"] for phase in phases])
    for number, (phase, epoch) in enumerate(zip(phases, epochs, strict=True), start=1):
        adds = [f"{grid['batch_size']} x {grid['crop_size']}²" for grid in phase["short_cycle"]]
        first, last = (f"{phase[f'{name}_learning_rate']:.3g}" for name in ("first", "last"))
        rows.append(
            (
                str(number),
                f"{phase['steps']:,}",
                f"{phase['end_step']:,}",
                epoch,
                f"{phase['work']:,.0f}",
                str(Grid(**phase["base"])),
                # A floor may make them equal.
                ", ".join(dict.fromkeys(adds[:-1])) if set(adds) != {adds[-1]} else "-",
                first if first == last else f"{first} to {last}",
                str(phase["groups"]),
                f"{phase['clips_per_replica']:,}",
            )
        )
    # As published a phase is as much work as it has steps. Where it is not, its work takes the
    # place of its last step.
    changes = {"batch_growth", "min_frames", "min_crop"} & plan["settings"]["schedule"].keys()
    hidden = {"step" if changes else "work"}
    if plan["replicas"] == 1:
        # A single device has the clips of the base grid.
        hidden.add("each")
    shown = [index for index, name in enumerate(rows[1]) if name not in hidden]
    left = [
        place
        for place, index in enumerate(shown)
        if rows[1][index] in ("base grid", "adds", "rate")
    ]
    return _align([[row[index] for index in shown] for row in rows], left=left)


def _rate_table(plan: Mapping[str, Any]) -> list[str]:
    unit, seconds = _time_unit(plan["rates"]["seconds"])
    rows = [
        ("", "", "", "", "decode", "GB/s to"),
        ("phase", unit, "clips/s", "frames/s", "cores", "devices"),
    ]
    named = {str(number): phase["rates"] for number, phase in enumerate(plan["phases"], start=1)}
    for name, rates in {**named, "baseline": plan["rates"]["baseline"]}.items():
        values = (
            rates["seconds"] / seconds,
            *(rates[key] for key in ("clips_per_second", "frames_per_second", "decode_cores")),
            rates["input_bytes_per_second"] / 1e9,
        )
        rows.append((name, *map(_rounded, values)))
    return _align(rows, left=())


def _total_rows(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    totals, replicas, rounded_from = plan["totals"], plan["replicas"], plan["batch"]["rounded_from"]
    steps, *sums = (
        (name, _count(totals[name]), _versus(name, totals[name], totals[f"baseline_{name}"]))
        for name in ("steps", "clips", "frames")
    )
    epochs, baseline_epochs = _epochs([totals["epochs"], totals["baseline_epochs"]])
    rows = [
        steps,
        ("work", _count(round(totals["work"])), _versus_work(totals)),
        *_model_work_row(plan),
        ("epochs", epochs, f"the baseline's {baseline_epochs}"),
        *sums,
    ]
    if rounded_from is not None:
        why = f"rounded from {rounded_from:,} to share it among {replicas:,} replicas"
        rows.append(("batch", f"{plan['batch']['clips']:,}", why))
    batch = totals["largest_batch"]
    share = f", {batch // replicas:,} on each of {replicas:,} replicas" if replicas > 1 else ""
    rows.append(("largest batch", f"{batch:,}", f"clips{share}"))
    rows.append(("grids", str(len(plan["grids"])), "each a shape to compile"))
    return rows if plan["rates"] is None else rows + _rate_rows(plan)


def _rate_rows(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rates = plan["rates"]
    device = rates["device"]
    speed = f"at {device['clips_per_second']:g} clips/s of the baseline's grid on one device"
    rows = [("seconds a step", _rounded(rates["seconds_per_step"]), speed)]
    if plan["replicas"] > 1:
        sent = f"each device sends, for the gradients of {device['parameters']:,} parameters"
        rows.append(("GB/s", _rounded(rates["gradient_bytes_per_second"] / 1e9), sent))
    unit, seconds = _time_unit(rates["seconds"])
    ours, baseline = (
        f"{_rounded(part['seconds'] / seconds)} {unit}" for part in (rates, rates["baseline"])
    )
    return [*rows, ("time", ours, f"the baseline's {baseline}; input, validation not counted")]


def _time_unit(seconds: float) -> tuple[str, float]:
    """A readable unit for a duration, with its length in seconds."""
    units = (("days", 2 * 86400, 86400), ("hours", 3600, 3600), ("minutes", 0, 60))
    return next((name, unit) for name, least, unit in units if seconds >= least)


def _rounded(value: float) -> str:
    """Three digits, or all before the point: 0.267, 4.62, 20,480."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _versus(name: str, ours: int, baseline: int) -> str:
    """A total in words, set against the baseline's."""
    if ours == baseline:
        return "as many as the baseline"
    if 0.995 < ours / baseline < 1.005:
        return f"about as many as the baseline's {_count(baseline)}"
    if ours < baseline:
        return f"{baseline / ours:.2f} times fewer {name} than the baseline's {_count(baseline)}"
    return f"{ours / baseline:.2f} times the baseline's {_count(baseline)}"


def _versus_work(totals: Mapping[str, Any]) -> str:
    """The work of all steps in words, set against the baseline's, which is its steps."""
    ours, baseline = totals["work"], totals["baseline_steps"]
    unit, steps = "in steps of the baseline", _count(baseline)
    if round(ours) == baseline:
        return f"{unit}, as much as its {steps}"
    if 0.995 < ours / baseline < 1.005:
        return f"{unit}, about as much as its {steps}"
    if ours < baseline:
        return f"{unit}: {baseline / ours:.2f} times less than its {steps}"
    return f"{unit}: {ours / baseline:.2f} times its {steps}"


def _model_work_row(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    total, grids = plan["totals"].get("model_work"), plan["grids"]
    if total is None:
        return []
    shapes = {Grid(**{name: grid[name] for name in _GRID}): grid["model_work"] for grid in grids}
    least, most = (choose(shapes, key=shapes.get) for choose in (min, max))
    steps = f"a step {shapes[least]:.2f} ({least}) to {shapes[most]:.2f} ({most})"
    return [("model's work", _count(round(total)), f"the same by its multiply-adds: {steps}")]


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
