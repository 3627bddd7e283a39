"""Mirrored clips, with classes that tell left from right swapped."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_multigrid.augmentation.augmentation import Augmentation, per_clip, select
from keras_multigrid.checks import check_integer, check_probability


@dataclasses.dataclass(frozen=True, kw_only=True)
class HorizontalFlip(Augmentation):
    """Mirror some clips, and swap classes that are each other's mirror image.

    It takes the place of `ClipSampling.flip`, which must be off. The strength has no effect.

    Args:
        probability: share of the clips that are mirrored.
        swapped_classes: pairs of numbers of classes, such as ((0, 1),) where 0 is "from left to
            right" and 1 is "from right to left".

    Raises:
        ValueError: if a class is in two pairs, or a setting is out of range.

    Example:

    >>> augment = HorizontalFlip(swapped_classes=[(0, 1), (4, 5)])
    >>> source = Input(videos=videos, sampling=ClipSampling(flip=False), augment=augment)
    """

    probability: float = 0.5
    swapped_classes: Sequence[tuple[int, int]] = ()

    num_numbers = 1
    flips = True

    def __post_init__(self):
        check_probability("probability", self.probability)
        pairs = tuple(tuple(pair) for pair in self.swapped_classes)
        numbers = [number for pair in pairs for number in pair]
        for number in numbers:
            check_integer("swapped_classes", number, least=0)
        if any(len(pair) != 2 for pair in pairs) or len(set(numbers)) < len(numbers):
            raise ValueError(
                "`swapped_classes` must be pairs of two classes, each class in one pair at most. "
                f"Received: swapped_classes={pairs}."
            )
        object.__setattr__(self, "swapped_classes", pairs)

    @property
    def least_classes(self) -> int:
        return 1 + max((max(pair) for pair in self.swapped_classes), default=-1)

    def __call__(self, clips, labels, numbers, work):
        is_mirrored = numbers[:, 0] < self.probability
        # As one high picture, which TensorFlow mirrors twice as fast.
        shape = ops.shape(clips)
        mirrored = ops.reshape(ops.flip(ops.reshape(clips, (-1, *shape[3:])), axis=1), shape)
        clips = select(per_clip(is_mirrored), mirrored, clips)
        if not self.swapped_classes:
            return clips, labels
        if len(labels.shape) == 1:
            return clips, ops.where(is_mirrored, self._swapped(labels), labels)
        order = np.arange(labels.shape[1])
        for first, second in self.swapped_classes:
            order[[first, second]] = second, first
        return clips, ops.where(is_mirrored[:, None], ops.take(labels, order, axis=1), labels)

    def _swapped(self, labels):
        swapped = labels
        for first, second in self.swapped_classes:
            for old, new in ((first, second), (second, first)):
                swapped = ops.where(ops.equal(labels, old), ops.cast(new, labels.dtype), swapped)
        return swapped
