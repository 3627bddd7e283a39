"""`Optimization.class_weight`: rules become numbers, numbers weights of clips or a loss."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_multigrid.class_weights import class_weights
from keras_multigrid.data.class_balance import class_counts
from keras_multigrid.losses import ClassWeightedCrossentropy
from keras_multigrid.runs.settings import Data, Optimization
from keras_multigrid.task import MultiLabel, SingleLabel, Task


def in_numbers(settings: Optimization, data: Data) -> Optimization:
    """The same settings, the class weights that a rule makes from the training videos in numbers.

    Raises:
        ValueError: if the task has no classes to count, or rare classes are drawn more often, too.
    """
    rule, videos, task = settings.class_weight, data.videos, data.videos.task
    if rule is None or isinstance(rule, Mapping):
        return settings
    if data.balance is not None:
        raise ValueError(
            "Rare classes may weigh more or be drawn more often, not both. Received: "
            f"class_weight={rule!r}, balance={data.balance!r}. Set one of them to None, or give "
            "`class_weight` as a mapping from class to weight."
        )
    if not isinstance(task, (SingleLabel, MultiLabel)):
        raise ValueError(
            "`class_weight` must be None or a mapping for this task, which has no classes to count."
            f" Received: class_weight={rule!r}, task={type(task).__name__}."
        )
    weights = class_weights(rule, class_counts(videos.train, task.num_outputs))
    return dataclasses.replace(settings, class_weight=dict(enumerate(weights.tolist())))


def loss(settings: Optimization, task: Task) -> Any:
    """What the network minimizes: for several classes a video, with the class weights in it.

    Args:
        settings: with class weights as `in_numbers` gives them.
        task: what a label is.

    Raises:
        ValueError: if there are weights and another loss.
    """
    if settings.class_weight is None or not isinstance(task, MultiLabel):
        return task.loss() if settings.loss is None else settings.loss
    if settings.loss is not None:
        raise ValueError(
            "`class_weight` and `loss` cannot both be set for videos with several classes. "
            f"Received: loss={settings.loss!r}. Weigh the classes in the loss, as "
            "keras_multigrid.losses.ClassWeightedCrossentropy does."
        )
    return ClassWeightedCrossentropy(
        [settings.class_weight.get(number, 1.0) for number in range(task.num_outputs)]
    )


def weighted(
    batches: tf.data.Dataset, class_weight: Mapping[int, float] | None, task: Task
) -> tf.data.Dataset:
    """Training batches with a weight for each clip, by its class: (clips, labels, weights).

    Without weights, and for several classes a video, which `loss` weighs, the batches themselves.

    Raises:
        ValueError: if the labels are not classes.
    """
    if class_weight is None or isinstance(task, MultiLabel):
        return batches
    shape = batches.element_spec[1].shape
    if len(shape) != 1 and not isinstance(task, SingleLabel):
        raise ValueError(
            "`class_weight` is for videos with classes. Received: labels of shape "
            f"{shape}. Use a weighted `loss` instead."
        )
    count = max(task.num_outputs, max(class_weight, default=0) + 1)
    table = [class_weight.get(number, 1.0) for number in range(count)]

    def add_weights(clips, labels):
        if len(shape) == 1:
            known = tf.minimum(tf.cast(labels, tf.int32), count)
            return clips, labels, tf.gather(tf.constant([*table, 1.0]), known)
        # Shares of the classes, as of mixed clips, weigh in proportion.
        shares = tf.cast(labels, tf.float32)
        return clips, labels, tf.linalg.matvec(shares, tf.constant(table[: task.num_outputs]))

    return batches.map(add_weights)
