"""Several augmentations as one: all of them in turn, or one of them for each clip."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keras import ops

from keras_multigrid.augmentation.augmentation import Augmentation, per_clip, select
from keras_multigrid.checks import check_not_negative


class _Several(Augmentation):
    """What holds for several augmentations together."""

    @property
    def num_numbers(self) -> int:
        return sum(augment.num_numbers for augment in self.augmentations)

    @property
    def mixes_labels(self) -> bool:
        return any(self._values("mixes_labels"))

    @property
    def pairs_clips(self) -> bool:
        return any(self._values("pairs_clips"))

    @property
    def flips(self) -> bool:
        return any(self._values("flips"))

    @property
    def least_classes(self) -> int:
        return max(self._values("least_classes"), default=0)

    def __repr__(self) -> str:
        # Runs compare it when they resume: functions must not show where they are in memory.
        own = ", ".join(
            repr(a) if isinstance(a, Augmentation) else getattr(a, "__qualname__", type(a).__name__)
            for a in self.augmentations
        )
        others = "".join(
            f", {field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name != "augmentations"
        )
        return f"{type(self).__name__}([{own}]{others})"

    def _values(self, name: str) -> list[Any]:
        return [getattr(a, name, getattr(Augmentation, name)) for a in self.augmentations]

    def _with_numbers(self, numbers: Any) -> Iterator[tuple[Callable, Any]]:
        """Each augmentation, with its own of the random numbers."""
        first = 0
        for augment in self.augmentations:
            yield augment, numbers[:, first : first + augment.num_numbers]
            first += augment.num_numbers


def _checked(augmentations: Sequence[Callable]) -> tuple[Callable, ...]:
    for augment in augmentations:
        if not isinstance(getattr(augment, "num_numbers", None), int):
            raise ValueError(
                "Each of `augmentations` must have an attribute `num_numbers`: how many random "
                f"numbers it needs for a clip. Received: {augment!r}."
            )
    return tuple(augmentations)


@dataclasses.dataclass(frozen=True, repr=False)
class Compose(_Several):
    """Augmentations in turn, weak on coarse grids and full on the baseline's.

    The strength on a grid is the work of one of its clips relative to the baseline's,
    t s^2 / (T S^2), to the power of `growth`. At a quarter of the frames and half the crop, the
    work is 1/16, and the strength 1/4 by default. EfficientNetV2 found that growing the strength
    with the size of pictures keeps accuracy (arXiv 2104.00298, section 4).

    Args:
        augmentations: those to apply, in this order: instances of this package's, or callables of
            your own that have an attribute `num_numbers`. Mix clips last.
        growth: how fast the strength grows with the work. 0 is full strength on every grid.

    Raises:
        ValueError: if an augmentation does not say how many numbers it needs, or `growth` is
            negative.

    Example:

    >>> augment = Compose([RandAugment(), MixUp(alpha=0.8)])
    >>> source = Input(videos=videos, augment=augment)
    """

    augmentations: Sequence[Callable]
    growth: float = 0.5

    def __post_init__(self):
        object.__setattr__(self, "augmentations", _checked(self.augmentations))
        check_not_negative("growth", self.growth)

    def strength(self, work: Any) -> Any:
        """The strength on a grid, of the work of one of its clips relative to the baseline's."""
        return ops.minimum(ops.cast(work, "float32"), 1.0) ** self.growth

    def __call__(self, clips, labels, numbers, work):
        strength = self.strength(work)
        for augment, own in self._with_numbers(numbers):
            clips, labels = augment(clips, labels, own, strength)
        return clips, labels


@dataclasses.dataclass(frozen=True, repr=False)
class OneOf(_Several):
    """One of several augmentations for each clip, all equally likely.

    Where one of them mixes pairs, the choice is the pair's. All are computed, and one is taken.

    Args:
        augmentations: same as for `Compose`.

    Example:

    >>> augment = Compose([OneOf([MixUp(alpha=0.8), CutMix(alpha=1.0)])])
    """

    augmentations: Sequence[Callable]

    def __post_init__(self):
        object.__setattr__(self, "augmentations", _checked(self.augmentations))

    @property
    def num_numbers(self) -> int:
        return 1 + super().num_numbers

    def __call__(self, clips, labels, numbers, work):
        choice = numbers[:, 0]
        if self.pairs_clips:
            choice = ops.repeat(choice[::2], 2)
        count = len(self.augmentations)
        chosen_clips, chosen_labels = clips, labels
        for index, (augment, own) in enumerate(self._with_numbers(numbers[:, 1:])):
            is_chosen = ops.equal(ops.floor(choice * count), index)
            its_clips, its_labels = augment(clips, labels, own, work)
            chosen_clips = select(per_clip(is_chosen), its_clips, chosen_clips)
            shape = (-1, *[1] * (len(labels.shape) - 1))
            chosen_labels = ops.where(ops.reshape(is_chosen, shape), its_labels, chosen_labels)
        return chosen_clips, chosen_labels
