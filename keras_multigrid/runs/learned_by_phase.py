"""What each phase of a schedule learned, from the curve of a finished run."""

import math
from collections.abc import Sequence
from typing import Any

from keras_multigrid.runs.report import Report
from keras_multigrid.schedule import MultigridSchedule


def learned_by_phase(schedule: MultigridSchedule, report: Report) -> list[dict[str, Any]]:
    """The fall of the validation loss in each phase, for 100 steps of the baseline's work.

    It is the slope over work by least squares.

    Args:
        schedule: of the run.
        report: of the run; its curve has the validations.

    Returns:
        For each phase with validations its `grid` in words, the `fall`, and the standard `error` of
        that, None where there are fewer than three.
    """
    points = [(schedule.work_before(p["step"]), p["val_loss"]) for p in report.curve]
    rows = []
    for phase, name in zip(schedule.phases, schedule.phase_names, strict=True):
        first, last = map(schedule.work_before, (phase.first_step, phase.end_step))
        inside = [index for index, (work, _) in enumerate(points) if first < work <= last]
        if not inside:
            continue
        # From the validation before the phase on.
        own = points[max(0, inside[0] - 1) : inside[-1] + 1]
        if len(own) > 1:
            slope, error = _slope(own)
            rows.append(
                {
                    "grid": name,
                    "fall": -100 * slope,
                    "error": None if error is None else 100 * error,
                }
            )
    return rows


def _slope(points: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    """Slope of the line through points, and its standard error; None for two points."""
    count = len(points)
    mean_x, mean_y = (sum(values) / count for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    if count < 3:
        return slope, None
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return slope, math.sqrt(rest / (count - 2) / spread)
