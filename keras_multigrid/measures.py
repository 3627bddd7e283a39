"""How good scores of videos are: top-k accuracy, average precision, confusions, errors."""

import math
from collections.abc import Callable

import numpy as np

# Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 6.4: 200 are enough for a
# standard error.
_BOOTSTRAP_DRAWS = 200


def top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of the videos whose label is among the `k` highest scores.

    Args:
        scores: (videos, classes).
        labels: (videos,) classes.
        k: how many; all of them if there are fewer.
    """
    highest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((highest == labels[:, None]).any(axis=1).mean())


def balanced_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of the share of their videos whose class has the highest score.

    A frequent class counts as much as a rare one. Classes without videos are left out.

    Args:
        scores: (videos, classes).
        labels: (videos,) classes.
    """
    is_right = scores.argmax(axis=1) == labels
    return float(np.mean([is_right[labels == number].mean() for number in np.unique(labels)]))


def average_precision(scores: np.ndarray, is_positive: np.ndarray) -> float:
    """Area under precision over recall of one class, as a sum over the steps of recall.

    Videos of one score are one step. NaN where no video is positive.

    Args:
        scores: (videos,).
        is_positive: (videos,) bool.
    """
    if not is_positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_positive[order])
    # The last video of each score.
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts (classes, classes): rows are labels, columns predictions."""
    matrix = np.zeros((scores.shape[1],) * 2, np.int64)
    np.add.at(matrix, (labels, scores.argmax(axis=1)), 1)
    return matrix


def share_error(hits: int, count: int) -> float:
    """Standard error of a share, with two hits and two misses added.

    Agresti and Coull, "Approximate is Better than Exact for Interval Estimation of Binomial
    Proportions", 1998: p = (hits + 2) / (count + 4), the error is sqrt(p (1 - p) / (count + 4)).
    Unlike sqrt(p (1 - p) / n) of the share itself, it is not 0 where all or none of a few hit.

    >>> round(share_error(0, 2), 4)
    0.1925
    """
    share = (hits + 2) / (count + 4)
    return math.sqrt(share * (1 - share) / (count + 4))


def bootstrap_error(measure: Callable[[np.ndarray], float], count: int) -> float | None:
    """Standard error of a result: its deviation over sets drawn with replacement.

    The same for the same videos: the draws have a fixed seed.

    Args:
        measure: takes positions of videos, int64 (count,); NaN where they have no result.
        count: number of videos; None is returned for fewer than two.
    """
    if count < 2:
        return None
    random = np.random.default_rng(0)
    values = [measure(random.integers(count, size=count)) for _ in range(_BOOTSTRAP_DRAWS)]
    known = [value for value in values if not math.isnan(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None
