"""What the two tasks make of labels, in literals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid import MultiLabel, SingleLabel, VideoRecord, VideoSet

NAMES = ("run", "walk", "jump")
LIBRARIES = pytest.mark.parametrize("xp", [np, tf.experimental.numpy], ids=["numpy", "tensorflow"])


@LIBRARIES
@pytest.mark.parametrize("label", [2, np.int64(2), np.array([2])])
def test_one_class_is_its_number(xp, label):
    encoded = np.asarray(SingleLabel(NAMES).encode(label, xp))
    assert encoded.shape == SingleLabel(NAMES).label_shape == ()
    assert encoded == 2


@LIBRARIES
@pytest.mark.parametrize(
    ("label", "expected"), [((0, 2), [1, 0, 1]), ((), [0, 0, 0]), ((1, 1), [0, 1, 0])]
)
def test_several_classes_are_ones(xp, label, expected):
    task = MultiLabel(NAMES)
    encoded = np.asarray(task.encode(np.array(label, np.int64), xp))
    assert encoded.astype(task.label_dtype).tolist() == expected
    assert encoded.shape == task.label_shape == (3,)
    assert task.decode(encoded) == tuple(sorted(set(label)))


def test_results_of_one_class_each():
    scores = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    metrics, rows = SingleLabel(NAMES).measure(scores, [0, 2, 1])
    rate = pytest.approx(2 / 3)
    assert metrics == {"top1": rate, "top5": 1.0, "balanced_accuracy": rate}
    assert [row["top1"] for row in rows] == [1.0, 0.0, 1.0]
    assert SingleLabel(NAMES).confusion(scores, [0, 2, 1]).tolist() == [
        [1, 0, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]


def test_results_of_several_classes():
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.7, 0.0], [0.1, 0.2, 0.0]])
    metrics, rows = MultiLabel(NAMES).measure(scores, [(0,), (1,), (0, 1)])
    # Class 0: hits at ranks 1 and 3. Class 1: at ranks 1 and 2. Class 2: no video.
    assert [row["average_precision"] for row in rows] == [pytest.approx(5 / 6), 1.0, None]
    assert metrics == {"mAP": pytest.approx(11 / 12)}
    assert MultiLabel(NAMES).confusion(scores, [(0,), (1,), (0, 1)]) is None


def test_the_task_of_a_set():
    records = [VideoRecord(path="a.mp4", label=0)]
    parts = {"train": records, "validation": records}
    assert VideoSet(**parts, class_names=NAMES).task == SingleLabel(NAMES)
    assert VideoSet(**parts, class_names=NAMES, multi_label=True).task == MultiLabel(NAMES)
    videos = VideoSet(**parts, task=MultiLabel(NAMES))
    assert videos.class_names == NAMES and videos.multi_label


@pytest.mark.parametrize(
    ("task", "label"),
    [
        (SingleLabel(NAMES), 3),
        (SingleLabel(NAMES), -1),
        (SingleLabel(NAMES), True),
        (SingleLabel(NAMES), 1.0),
        (SingleLabel(NAMES), "run"),
        (SingleLabel(()), -1),
        (MultiLabel(NAMES), (0, 3)),
        (MultiLabel(NAMES), (-1,)),
    ],
)
def test_a_label_that_is_no_class_is_named_with_its_video(task, label):
    videos = [VideoRecord(path="good.mp4", label=0), VideoRecord(path="bad.mp4", label=label)]
    with pytest.raises(ValueError, match=r"^bad\.mp4: A class must be an integer, at least 0"):
        VideoSet(train=[], validation=videos, task=task)


@pytest.mark.parametrize("label", [2, np.int64(2), np.array([2])])
def test_labels_of_several_types_are_classes(label):
    VideoSet(train=[VideoRecord(path="a.mp4", label=label)], validation=(), class_names=NAMES)
    VideoSet(train=[VideoRecord(path="a.mp4", label=label)], validation=(), task=SingleLabel(()))


@LIBRARIES
def test_soft_labels_are_one_for_each_class(xp):
    task = SingleLabel(NAMES).with_soft_labels()
    assert (task.label_shape, task.label_dtype) == ((3,), "float32")
    encoded = np.asarray(task.encode(2, xp)).astype(task.label_dtype)
    assert encoded.tolist() == [0, 0, 1]
    assert task.decode(np.array([0.1, 0.5, 0.4])) == 1
    assert task.loss() == "categorical_crossentropy"
    assert SingleLabel(NAMES).loss() == "sparse_categorical_crossentropy"
    assert SingleLabel(NAMES) != task


def test_soft_labels_need_the_classes():
    with pytest.raises(ValueError, match="Received: no class names"):
        SingleLabel(()).with_soft_labels()


def test_accuracy_of_mixed_labels_counts_the_largest_share():
    task = SingleLabel(NAMES, soft=True)
    network = keras.Sequential([keras.Input((3,)), keras.layers.Activation("linear")])
    network.compile(loss=task.loss(), metrics=task.metrics())
    labels = np.array([[0.7, 0.3, 0], [0.4, 0.6, 0], [0, 0.3, 0.7], [0, 0, 1]], np.float32)
    scores = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]])
    results = network.evaluate(scores, labels, return_dict=True, verbose=0)
    assert results["accuracy"] == 0.75
    # Shares of the logarithms, summed by hand.
    logarithms = np.log(scores)
    assert results["loss"] == pytest.approx(-(labels * logarithms).sum(axis=1).mean(), rel=1e-5)


def test_mean_average_precision_of_smoothed_labels():
    smoothed, plain = (
        MultiLabel(NAMES).with_soft_labels().metrics()[0],
        MultiLabel(NAMES).metrics()[0],
    )
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 2, (20, 3)), generator.random((20, 3))
    plain.update_state(labels, scores)
    smoothed.update_state(labels * 0.8 + 0.1, scores)
    assert float(smoothed.result()) == float(plain.result())
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(smoothed))
    assert type(again) is type(smoothed)
