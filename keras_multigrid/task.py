"""What a label is: how it is encoded, learned, measured and reported."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_multigrid.measures import (
    average_precision,
    balanced_accuracy,
    confusion_matrix,
    top_k,
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model learns to say about a video. Subclass it for a task of your own.

    Args:
        class_names: a name for each output of the model.

    Subclasses set these class attributes and override the methods below:

    - `activation`: of the classifier, any name that Keras has.
    - `label_dtype`: of encoded labels, for example "int32".
    - `result`: the metric that decides which checkpoint is the best, for example "accuracy".
    - `mode`: whether "max" or "min" of it is best.
    """

    class_names: tuple[str, ...]

    activation = "linear"
    label_dtype = "float32"
    result = "loss"
    mode = "min"

    @property
    def num_outputs(self) -> int:
        """Outputs of the model."""
        return len(self.class_names)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the encoded label of one video."""
        return (self.num_outputs,)

    @property
    def monitor(self) -> str:
        """Name of `result` among the logs of `fit`."""
        return f"val_{self.result}"

    def encode(self, label: Any, xp: Any = np) -> Any:
        """The label of one video as an array of `label_shape`; its dtype does not matter.

        Args:
            label: as in `VideoRecord.label`; for videos kept as records an int64 tensor (n,).
            xp: the array library of `label`: numpy, or `tf.experimental.numpy`.
        """
        return xp.asarray(label)

    def check(self, label: Any) -> None:
        """Raise ValueError unless a label is one of this task; any label is, unless overridden.

        Args:
            label: as in `VideoRecord.label`.
        """

    def with_soft_labels(self) -> "Task":
        """The same task with labels that can be mixed: floats, weighted means of which are labels.

        A mini-batch that an augmentation mixes has such labels. So does validation in such a run.
        """
        return self

    def loss(self) -> Any:
        """The loss, in any form that `Model.compile` takes."""
        raise NotImplementedError(f"{type(self).__name__} must define `loss`.")

    def metrics(self) -> Sequence[Any]:
        """The metrics, in any form that `Model.compile` takes."""
        return []

    def names(self, label: Any) -> tuple[str, ...]:
        """The names of the classes that a label stands for; for other tasks its text."""
        return (str(label),)

    def decode(self, encoded: np.ndarray) -> Any:
        """The label that `encode` made an array of."""
        return encoded

    def measure(
        self, scores: np.ndarray, labels: Sequence[Any]
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Results of the test of whole videos.

        Args:
            scores: (videos, outputs), the views of each video combined.
            labels: `VideoRecord.label` of each video.

        Returns:
            Metrics by name; and for each class a row of values, "name" and "num_videos" first.
        """
        encoded = np.stack([np.asarray(self.encode(label), float) for label in labels])
        return {"mean_absolute_error": float(np.abs(scores - encoded).mean())}, []

    def confusion(self, scores: np.ndarray, labels: Sequence[Any]) -> np.ndarray | None:
        """Counts (classes, classes), rows are labels; None where classes exclude no other."""
        return None


@dataclasses.dataclass(frozen=True)
class SingleLabel(Task):
    """One class for each video: softmax, cross-entropy, accuracy.

    Args:
        class_names: a name for each output of the model.
        soft: encode labels as the share of each class, float32 (classes,), instead of the number of
            the class. They can be mixed; accuracy then counts the class with the largest share.

    Example:

    >>> SingleLabel(("run", "walk")).encode(1)
    array(1)
    >>> SingleLabel(("run", "walk"), soft=True).encode(1)
    array([False,  True])
    """

    soft: bool = False

    activation = "softmax"
    result = "accuracy"
    mode = "max"

    @property
    def label_dtype(self) -> str:
        return "float32" if self.soft else "int32"

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_outputs,) if self.soft else ()

    def with_soft_labels(self):
        if not self.num_outputs:
            raise ValueError(
                "Labels that are mixed need to know the classes. Received: no class names. Use "
                "Input with VideoSet(..., class_names=...)."
            )
        return dataclasses.replace(self, soft=True)

    def encode(self, label, xp=np):
        number = xp.reshape(xp.asarray(label), (-1,))[0]
        return xp.arange(self.num_outputs, dtype="int64") == number if self.soft else number

    def check(self, label):
        _check_classes(label, self.num_outputs)

    def decode(self, encoded):
        return int(np.argmax(encoded) if self.soft else encoded)

    def loss(self):
        return "categorical_crossentropy" if self.soft else "sparse_categorical_crossentropy"

    def metrics(self):
        return ["accuracy"]

    def names(self, label):
        return (self.class_names[label],)

    def measure(self, scores, labels):
        labels = np.asarray(labels)
        rows = []
        for number, name in enumerate(self.class_names):
            own = labels == number
            value = top_k(scores[own], labels[own], 1) if own.any() else None
            rows.append({"name": name, "num_videos": int(own.sum()), "top1": value})
        metrics = {f"top{k}": top_k(scores, labels, k) for k in (1, 5)}
        return {**metrics, "balanced_accuracy": balanced_accuracy(scores, labels)}, rows

    def confusion(self, scores, labels):
        return confusion_matrix(scores, np.asarray(labels))


@dataclasses.dataclass(frozen=True)
class MultiLabel(Task):
    """Any number of classes for each video: sigmoid, binary cross-entropy, mAP.

    mAP is the mean over classes of the area under precision and recall.

    Args:
        class_names: a name for each output of the model.
        soft: labels may be mixed; mAP then counts those of at least 0.5.

    Example:

    >>> MultiLabel(("run", "walk", "jump")).encode((0, 2))
    array([ True, False,  True])
    """

    soft: bool = False

    activation = "sigmoid"
    result = "mAP"
    mode = "max"

    def with_soft_labels(self):
        return dataclasses.replace(self, soft=True)

    def encode(self, label, xp=np):
        label = xp.reshape(xp.asarray(label, "int64"), (-1, 1))
        return xp.any(label == xp.arange(self.num_outputs, dtype="int64"), axis=0)

    def check(self, label):
        _check_classes(label, self.num_outputs)

    def decode(self, encoded):
        return tuple(np.flatnonzero(np.asarray(encoded) >= 0.5).tolist())

    def loss(self):
        return "binary_crossentropy"

    def metrics(self):
        import keras

        from keras_multigrid.soft_metrics import SoftAUC

        kind = SoftAUC if self.soft else keras.metrics.AUC
        return [kind(curve="PR", multi_label=True, num_labels=self.num_outputs, name="mAP")]

    def names(self, label):
        return tuple(self.class_names[number] for number in label)

    def measure(self, scores, labels):
        is_positive = np.stack([self.encode(label) for label in labels])
        rows = []
        for number, name in enumerate(self.class_names):
            count = int(is_positive[:, number].sum())
            value = average_precision(scores[:, number], is_positive[:, number]) if count else None
            rows.append({"name": name, "num_videos": count, "average_precision": value})
        values = [row["average_precision"] for row in rows if row["num_videos"]]
        return {"mAP": float(np.mean(values)) if values else float("nan")}, rows


def _check_classes(label: Any, num_classes: int) -> None:
    for number in (label,) if isinstance(label, int) else np.ravel(label).tolist():
        # Without names, the number of classes is not known.
        if type(number) is not int or number < 0 or 0 < num_classes <= number:
            most = f" and below the number of classes, {num_classes}" if num_classes else ""
            raise ValueError(
                f"A class must be an integer, at least 0{most}. Received: {number!r}. Is a name "
                "missing in the list of classes, or are classes counted from 1?"
            )


# By the names in the files of runs and records.
TASKS: Mapping[str, Callable[[tuple[str, ...]], Task]] = {
    "single_label": SingleLabel,
    "multi_label": MultiLabel,
}


def classification(class_names: Sequence[str], *, multi_label: bool) -> Task:
    """The task of videos with one class each, or with any number of classes each."""
    return (MultiLabel if multi_label else SingleLabel)(tuple(class_names))
