"""A random part of a clip, at the size of the whole."""

import dataclasses

from keras import ops

from keras_multigrid.augmentation.augmentation import Augmentation, between
from keras_multigrid.augmentation.geometry import box_sides, centred, log_ratio, warped
from keras_multigrid.checks import is_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Augmentation):
    """Scale a random box of each clip to the clip's own size, bilinear.

    It takes the crop that `ClipSampling` made, and a part of that: pixels outside are not read, and
    a small box shows magnified pixels.

    Args:
        scale: least and greatest area of the box, as shares of the clip's, at full strength.
        ratio: least and greatest width / height of the box, at full strength.

    Raises:
        ValueError: if a pair is not positive and in order, or an area is above 1.

    Example:

    >>> augment = Compose([RandomResizedCrop(scale=(0.5, 1.0))])
    """

    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    num_numbers = 4

    def __post_init__(self):
        check_range(self, "scale", most=1)
        check_range(self, "ratio")

    def __call__(self, clips, labels, numbers, work):
        size = ops.shape(clips)[2]
        whole = ops.cast(size, "float32")
        # At strength 0 the box is the whole clip.
        area = 1 - work * (1 - between(numbers[:, 0], *self.scale))
        height, width = box_sides(area, log_ratio(numbers[:, 1], self.ratio, work), whole)
        x, y = (
            (numbers[:, column] - 0.5) * (whole - side)
            for column, side in ((2, width), (3, height))
        )
        places = centred(size, xx=width / whole, yy=height / whole, x=x, y=y)
        return warped(clips, places, outside=None), labels


def check_range(settings, name: str, most: float | None = None) -> None:
    """Refuse what is no pair of positive numbers in order; a list becomes a tuple."""
    pair = getattr(settings, name)
    is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(is_number, pair))
    if not is_pair or not 0 < pair[0] <= pair[1] or (most is not None and pair[1] > most):
        limit = "" if most is None else f", at most {most}"
        raise ValueError(
            f"`{name}` must be two positive numbers in order{limit}. Received: {name}={pair!r}."
        )
    object.__setattr__(settings, name, tuple(pair))
