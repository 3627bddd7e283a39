"""Which video each position takes where rare classes are drawn more often than they occur.

The positions are cut into periods of as many as there are videos. Each period has the same number
of places for each class, in an order of its own; the videos of a class fill its places in turn:

    videos                 a0 a1 a2 a3 a4 a5   b0 b1         6 of class a, 2 of class b
    places of a period     a a a a   b b b b                 "inverse": 4 and 4
    period 0               b1 b0 a0 b1 a3 b0 a5 a4           two passes over b
    period 1               a4 b0 b0 a1 a2 b1 a3 b1           a1 and a2 end the first pass over a

Which video that is follows from the position alone: it is the n-th place of its class, counted from
the first period on, and so the (n mod videos)-th of the (n / videos)-th pass over the class, each
of which has an order of its own.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from keras_multigrid.class_weights import Rule, check_rule, class_weights
from keras_multigrid.data.clips.draws import shuffled
from keras_multigrid.data.records.record_set import RecordedVideos
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.task import SingleLabel, Task

# First numbers of the seeds of `shuffled`: of periods, and, with the class added, of passes over a
# class. That of epochs, 498247692, is between them.
_PERIODS, _CLASSES = 498_247_691, 498_247_693


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassBalance:
    """The videos of each class, and how often the class is drawn.

    Args:
        counts: int64 (classes,), videos of each class.
        places: int64 (classes,), places of each class in a period; 0 for classes without videos.
        videos: int32 or int64 (videos,) tensor, the videos ordered by class.
    """

    counts: np.ndarray
    places: np.ndarray
    videos: tf.Tensor

    @classmethod
    def of(cls, labels: np.ndarray, rule: str | Rule) -> "ClassBalance":
        """The balance of videos of these classes.

        Args:
            labels: int (videos,) classes.
            rule: same as for `class_weights`.

        Example:

        >>> ClassBalance.of(np.array([0, 0, 0, 0, 0, 0, 1, 1]), "inverse").places
        array([4, 4])
        """
        counts = np.bincount(labels)
        # 4 bytes are enough for 2 billion videos.
        dtype = np.int32 if len(labels) < 2**31 else np.int64
        # A tensor, which functions refer to; an array would be copied into each of their graphs.
        with tf.device("CPU"):
            videos = tf.constant(np.argsort(labels, kind="stable").astype(dtype))
        return cls(counts=counts, places=period_places(rule, counts), videos=videos)

    def video_indices(self, positions: tf.Tensor, seed: int) -> tf.Tensor:
        """The videos that the clips at int64 `positions` (n,) come from: int64 (n,)."""
        ends, places = np.cumsum(self.places), tf.constant(self.places, tf.int64)
        period = positions // ends[-1]
        place = shuffled(positions % ends[-1], int(ends[-1]), (_PERIODS, seed, period))
        number = tf.searchsorted(tf.constant(ends, tf.int64), place, side="right")
        # Of the class, among its places of all periods.
        ordinal = (period + 1) * tf.gather(places, number) + place - tf.gather(ends, number)
        count = tf.gather(tf.constant(self.counts, tf.int64), number)
        own_seed = _CLASSES + tf.cast(number, tf.int64)
        video = shuffled(ordinal % count, count, (own_seed, seed, ordinal // count))
        starts = tf.constant(np.cumsum(self.counts) - self.counts, tf.int64)
        return tf.cast(tf.gather(self.videos, tf.gather(starts, number) + video), tf.int64)


def period_places(rule: str | Rule, counts: np.ndarray) -> np.ndarray:
    """How many places of a period each class has: int64 (classes,), together the videos' number.

    They are proportional to weight times videos, rounded to whole numbers; every class with videos
    has at least one.

    Args:
        rule: same as for `class_weights`.
        counts: int64 (classes,) videos of each class.
    """
    # Without the last digits, which may differ from one machine to the next.
    wanted = np.round(class_weights(rule, counts) * counts, 6)
    places = np.maximum(np.floor(wanted).astype(np.int64), np.minimum(counts, 1))
    missing = int(counts.sum() - places.sum())
    if missing > 0:
        # The largest remainders first; of equal ones, the first class.
        places[np.argsort(places - wanted, kind="stable")[:missing]] += 1
    for _ in range(-missing):
        places[places.argmax()] -= 1
    return places


def check_balance(rule: str | Rule | None, task: Task) -> None:
    """Refuse to balance classes where a video has not exactly one.

    Raises:
        ValueError: if the rule is unknown, or the task is not a `SingleLabel`.
    """
    check_rule("balance", rule)
    if rule is not None and not isinstance(task, SingleLabel):
        raise ValueError(
            "`balance` must be None for this task: only videos with one class each can be drawn by "
            f"class. Received: balance={rule!r}, task={type(task).__name__}. For videos with "
            "several classes weigh the loss: runs.Optimization.class_weight = 'inverse'."
        )


def class_counts(videos: Sequence[VideoRecord], num_classes: int) -> np.ndarray:
    """Videos of each class, int64 (classes,); one with several classes counts for each of them.

    Args:
        videos: the videos.
        num_classes: number of classes; 0 takes as many as there are labels.
    """
    labels = _labels(videos)
    if not isinstance(labels, np.ndarray):
        each = (set(label) if isinstance(label, tuple) else (label,) for label in labels)
        labels = np.fromiter(itertools.chain.from_iterable(each), np.int64)
    return np.bincount(labels, minlength=num_classes)


def single_labels(videos: Sequence[VideoRecord]) -> np.ndarray:
    """The class of each video: int32 or int64 (videos,)."""
    labels = _labels(videos)
    return labels if isinstance(labels, np.ndarray) else np.fromiter(labels, np.int64)


def _labels(videos: Sequence[VideoRecord]) -> Iterable[int | tuple[int, ...]]:
    if isinstance(videos, RecordedVideos):
        # They need not be asked for one by one.
        return videos.labels
    return (video.label for video in videos)
