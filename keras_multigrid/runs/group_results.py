"""Results of a test for each group of videos, with their standard errors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_multigrid.measures import bootstrap_error, share_error
from keras_multigrid.task import SingleLabel, Task


def results_by_group(
    task: Task, scores: np.ndarray, labels: Sequence[Any], groups: Sequence[str]
) -> list[dict[str, Any]]:
    """The first result of `task.measure` for each group, the worst group first.

    The standard error of an accuracy is that of Agresti and Coull (`share_error`), which is not 0
    where all or none are right; that of other results is a bootstrap over the group's videos.

    Args:
        task: measures the results.
        scores: (videos, outputs).
        labels: of the videos.
        groups: of the videos.

    Returns:
        For each group "name", "num_videos", the result by its name ("top1", "mAP") and
        "standard_error"; None where it is not known, as for the mAP of videos without classes.

    Example:

    >>> results_by_group(task, scores, labels, ["front", "front", "side", "side"])
    [{'name': 'side', 'num_videos': 2, 'top1': 0.0, 'standard_error': 0.19...}, ...]
    """
    groups = np.asarray(groups)
    rows = []
    for name in sorted(set(groups.tolist())):
        own = np.flatnonzero(groups == name)
        measure, value = _result(task, scores, labels, own)
        row = {"name": name, "num_videos": len(own), measure: value}
        rows.append({**row, "standard_error": _error(task, scores, labels, own, value)})
    sign = 1 if task.mode == "max" else -1

    def worst_first(row):
        value = row[measure]
        return (math.inf if value is None else sign * value), row["name"]

    return sorted(rows, key=worst_first)


def _result(task: Task, scores, labels, own: np.ndarray) -> tuple[str, float | None]:
    metrics, _ = task.measure(scores[own], [labels[number] for number in own])
    name, value = next(iter(metrics.items()))
    return name, None if math.isnan(value) else value


def _error(task: Task, scores, labels, own: np.ndarray, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(task, SingleLabel):
        return share_error(round(value * len(own)), len(own))

    def measure(drawn: np.ndarray) -> float:
        result = _result(task, scores, labels, own[drawn])[1]
        return math.nan if result is None else result

    return bootstrap_error(measure, len(own))
