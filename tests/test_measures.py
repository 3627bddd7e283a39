import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from keras_multigrid.measures import (
    average_precision,
    balanced_accuracy,
    confusion_matrix,
    top_k,
)


def test_top_k():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])
    labels = np.array([1, 2, 1, 0])
    assert top_k(scores, labels, 1) == 0.5
    assert top_k(scores, labels, 2) == 0.75
    assert top_k(scores, labels, 5) == 1.0


def test_balanced_accuracy_is_that_of_scikit_learn():
    # Of the first class 3 of 4 are right, of the second none, of the third the only one.
    scores = np.eye(4)[[0, 0, 0, 1, 0, 0, 2]]
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    assert balanced_accuracy(scores, labels) == pytest.approx((3 / 4 + 0 + 1) / 3)
    random = np.random.default_rng(0)
    scores, labels = random.random((50, 5)), random.integers(4, size=50)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(labels, scores.argmax(axis=1))
    assert balanced_accuracy(scores, labels) == pytest.approx(expected)


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_average_precision_is_that_of_scikit_learn(levels):
    random = np.random.default_rng(levels)
    for count in (1, 2, 50):
        scores = random.integers(levels, size=count) / levels  # with ties
        is_positive = random.random(count) < 0.4
        is_positive[0] = True
        expected = average_precision_score(is_positive, scores)
        assert average_precision(scores, is_positive) == pytest.approx(expected)
    assert np.isnan(average_precision(scores, np.zeros(count, bool)))


def test_confusion_matrix():
    scores = np.eye(3)[[0, 0, 2, 1]]
    matrix = confusion_matrix(scores, np.array([0, 1, 2, 1]))
    assert matrix.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
