import dataclasses
import re

import numpy as np
import pytest

from keras_multigrid.runs.hardest_clips import HardClip, warmed
from keras_multigrid.runs.html_report import ReportPage, interval, to_html

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)
PAGE = ReportPage(
    title="A <small> network",
    result="top-1",
    value=0.75,
    count=4,
    chance=0.5,
    facts=["Trained & tested."],
    curve=[
        {"step": 5, "accuracy": 0.5, "val_accuracy": 0.25},
        {"step": 10, "accuracy": 1.0, "val_accuracy": 0.75},
    ],
    metric="accuracy",
    phases=[(0, "8 x 4 x 32²"), (5, "4 x 4 x 64²")],
    total_steps=10,
    class_names=("run", "<walk>"),
    per_class=[
        {"name": "run", "num_videos": 2, "top1": 1.0},
        {"name": "<walk>", "num_videos": 2, "top1": 0.5},
        {"name": "rest", "num_videos": 0, "top1": None},
    ],
    confusion=np.array([[2, 0], [1, 1]]),
    hardest=[
        HardClip(
            path="my/<walk>/1.mp4",
            label=1,
            predicted=0,
            label_score=0.2,
            predicted_score=0.8,
            frames=FRAMES,
            heat=FRAMES,
        )
    ],
    settings=[("epochs", "10", "few videos", "epochs=20")],
    commands={"Predict:": "keras-multigrid predict --run='a b' x.mp4"},
    details={"Plan": "a < b"},
)


def test_texts_are_texts():
    text = to_html(PAGE)
    assert "<title>A &lt;small&gt; network</title>" in text
    assert "<small>" not in text and "<walk>" not in text
    assert "Trained &amp; tested." in text and "<pre>a &lt; b</pre>" in text
    assert "my/&lt;walk&gt;/1.mp4" in text
    assert "predict --run=&#x27;a b&#x27; x.mp4" in text


def test_secrets_of_addresses_are_left_out():
    clip = dataclasses.replace(PAGE.hardest[0], path="https://me:word@host/1.mp4?sig=abc")
    text = to_html(dataclasses.replace(PAGE, hardest=[clip]))
    assert "word" not in text and "sig=abc" not in text


def test_results_are_shown_with_their_certainty():
    text = to_html(PAGE)
    assert "<b>75%</b>" in text
    # Wilson's interval of 3 of 4.
    assert "95% confidence interval: 30% to 95%" in text
    assert [round(end, 3) for end in interval(0.75, 4)] == [0.301, 0.954]
    assert interval(1.0, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    assert "&lt;walk&gt; taken for run: 1 of 2" in text
    assert "naming the most frequent class gets 50%" in text


def test_the_curve_has_a_point_for_each_validation():
    lines = re.findall(r"<polyline points='([^']+)'", to_html(PAGE))
    # Left and right are steps 0 and 10; 0.25, 0.75, 0.5 and 1 lie at these heights.
    assert lines == ["448.0,175.0 848.0,85.0", "448.0,130.0 848.0,40.0"]
    assert "step 5: 0.250" in to_html(PAGE)
    assert "<svg" not in to_html(dataclasses.replace(PAGE, curve=[]))


def test_what_is_not_there_is_left_out():
    text = to_html(dataclasses.replace(PAGE, confusion=None, hardest=[], settings=[]))
    assert "Confusions" not in text and "Hardest" not in text and "Settings" not in text
    clip = dataclasses.replace(PAGE.hardest[0], heat=None, predicted=1)
    text = to_html(dataclasses.replace(PAGE, hardest=[clip]))
    assert text.count("<img") == 1
    assert "has no class-activation maps" in text and "<b>&lt;walk&gt;</b> (20%), right<" in text
    right = dataclasses.replace(PAGE, confusion=np.eye(2, dtype=int))
    assert "every video was right" in to_html(right)


def test_many_classes_are_listed_instead_of_drawn():
    names = tuple(f"class {n}" for n in range(41))
    matrix = np.zeros((41, 41), int)
    matrix[3, 7], matrix[40, 0] = 5, 2
    text = to_html(dataclasses.replace(PAGE, class_names=names, confusion=matrix, hardest=[]))
    assert "class='confusion'" not in text
    assert text.index("class 3 taken for class 7: 5 of 5") < text.index(
        "class 40 taken for class 0"
    )


def test_warm_is_what_lies_above_the_mean():
    frames = np.full((1, 1, 3, 3), 100, np.uint8)
    # Means 2: the last pixel is 4 above, the others below.
    shown = warmed(frames, np.array([[[0.0, 0.0, 6.0]]]))
    # 100 * 0.75, and 0.3 * 75 + 0.7 * (255, 70, 0).
    expected = [[75, 75, 75], [75, 75, 75], [201, 71.5, 22.5]]
    np.testing.assert_allclose(shown[0, 0], expected, atol=0.5)
    assert warmed(frames, np.zeros((1, 1, 3))).tolist() == [[[[75] * 3] * 3]]
