import numpy as np
import pytest

from keras_multigrid.measures import bootstrap_error, share_error
from keras_multigrid.runs.group_results import results_by_group
from keras_multigrid.task import MultiLabel, SingleLabel, Task

NAMES = ("run", "walk")


def test_accuracy_of_each_group_with_its_error():
    # Right, wrong, right | wrong, wrong | right.
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    labels = [0, 1, 1, 1, 0, 1]
    groups = ["front", "front", "front", "side", "side", "top"]
    rows = results_by_group(SingleLabel(NAMES), scores, labels, groups)
    assert [(row["name"], row["num_videos"]) for row in rows] == [
        ("side", 2), ("front", 3), ("top", 1)
    ]  # fmt: skip
    assert [row["top1"] for row in rows] == pytest.approx([0, 2 / 3, 1])
    # With two right and two wrong added: 2 of 6, 4 of 7, 3 of 5.
    expected = [(2 / 9 / 6) ** 0.5, (12 / 49 / 7) ** 0.5, (6 / 25 / 5) ** 0.5]
    assert [row["standard_error"] for row in rows] == pytest.approx(expected)


def test_average_precision_of_each_group():
    # Group a ranks all right, b the one of class 0 last of two; nothing is known of c.
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.5], [0.6, 0.4], [0.5, 0.5]])
    labels = [(0,), (1,), (0,), (), ()]
    groups = ["a", "a", "b", "b", "c"]
    rows = results_by_group(MultiLabel(NAMES), scores, labels, groups)
    assert [row["name"] for row in rows] == ["b", "a", "c"]
    assert [row["mAP"] for row in rows] == [0.5, 1.0, None]
    # Drawn twice, a video alone is ranked right; so is each pair of group a.
    assert rows[0]["standard_error"] == pytest.approx(0.23, abs=0.04)
    assert rows[1]["standard_error"] == 0
    assert rows[2]["standard_error"] is None
    # The same each time.
    assert rows == results_by_group(MultiLabel(NAMES), scores, labels, groups)


def test_small_is_good_for_tasks_of_errors():
    rows = results_by_group(Task(("speed",)), np.zeros((4, 1)), [[1.0], [3], [9], [9]], [*"aabb"])
    assert [(row["name"], row["mean_absolute_error"]) for row in rows] == [("b", 9), ("a", 2)]
    assert rows[0]["standard_error"] == 0


def test_standard_errors():
    # Half of 96 and four: a twentieth.
    assert share_error(48, 96) == pytest.approx(0.05)
    values = np.array([0.0, 1.0] * 50)
    # Of a mean of 100 values that deviate by a half.
    assert bootstrap_error(lambda drawn: values[drawn].mean(), 100) == pytest.approx(0.05, abs=0.01)
    assert bootstrap_error(lambda drawn: 1.0, 1) is None
