"""How good scores of videos are: top-k accuracy, average precision, confusions."""

import numpy as np


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
