"""Format a plan for the terminal: its phases, rates and totals as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_multigrid.schedule import Grid


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


def _phase_table(plan: Mapping[str, Any]) -> list[str]:
    # In two lines, so that the whole table stays under 100 columns.
    header = [
        ("", "", "end", "end", "", "short cycle", "learning", "", "clips"),
        ("phase", "steps", "step", "epoch", "base grid", "adds", "rate", "groups", "each"),
    ]
    phases = plan["phases"]
    epochs = _epochs([phase["end_epoch"] for phase in phases])
    rows = [
        (str(number), *_phase_cells(phase, epoch))
        for number, (phase, epoch) in enumerate(zip(phases, epochs, strict=True), start=1)
    ]
    # A single device has the clips of the base grid: no column for that.
    columns = 9 if plan["replicas"] > 1 else 8
    return _align([row[:columns] for row in [*header, *rows]], left=(4, 5, 6))


def _rate_table(plan: Mapping[str, Any]) -> list[str]:
    unit, seconds = _time_unit(plan["rates"]["seconds"])
    header = [
        ("", "", "", "", "decode", "GB/s to"),
        ("phase", unit, "clips/s", "frames/s", "cores", "devices"),
    ]
    rates = [phase["rates"] for phase in plan["phases"]]
    numbers = [str(number) for number in range(1, len(rates) + 1)]
    named = [*zip(numbers, rates, strict=True), ("baseline", plan["rates"]["baseline"])]
    return _align(
        [*header, *((name, *_rate_cells(rate, seconds)) for name, rate in named)], left=()
    )


def _rate_cells(rates: Mapping[str, float], unit: float) -> tuple[str, ...]:
    return (
        _rounded(rates["seconds"] / unit),
        _rounded(rates["clips_per_second"]),
        _rounded(rates["frames_per_second"]),
        _rounded(rates["decode_cores"]),
        _rounded(rates["input_bytes_per_second"] / 1e9),
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
        f"{phase['clips_per_replica']:,}",
    )


def _total_rows(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    totals, replicas = plan["totals"], plan["replicas"]
    steps, *work = (
        (name, _count(totals[name]), _versus(name, totals[name], totals[f"baseline_{name}"]))
        for name in ("steps", "clips", "frames", "voxels")
    )
    epochs, baseline_epochs = _epochs([totals["epochs"], totals["baseline_epochs"]])
    batch = totals["largest_batch"]
    share = f"clips, {batch // replicas:,} on each of {replicas:,} replicas"
    return [
        steps,
        ("epochs", epochs, f"the baseline's {baseline_epochs}"),
        *work,
        *_rounding_row(plan),
        ("largest batch", f"{batch:,}", share if replicas > 1 else "clips"),
        ("grids", str(len(plan["grids"])), "each a shape to compile"),
        *_rate_rows(plan),
    ]


def _rounding_row(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    batch = plan["batch"]
    if batch["rounded_from"] is None:
        return []
    why = f"rounded from {batch['rounded_from']:,} to share it among {plan['replicas']:,} replicas"
    return [("batch", f"{batch['clips']:,}", why)]


def _rate_rows(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rates = plan["rates"]
    if rates is None:
        return []
    device, replicas = rates["device"], plan["replicas"]
    speed = f"at {device['clips_per_second']:g} clips/s of the baseline's grid on one device"
    sent = f"each device sends, for the gradients of {device['parameters']:,} parameters"
    network = ("GB/s", _rounded(rates["gradient_bytes_per_second"] / 1e9), sent)
    unit, seconds = _time_unit(rates["seconds"])
    ours, baseline = (
        f"{_rounded(part['seconds'] / seconds)} {unit}" for part in (rates, rates["baseline"])
    )
    return [
        ("seconds a step", _rounded(rates["seconds_per_step"]), speed),
        *([network] if replicas > 1 else []),
        ("time", ours, f"the baseline's {baseline}; input, validation not counted"),
    ]


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
