"""A random box of a clip painted over."""

import dataclasses

from keras import ops

from keras_multigrid.augmentation.augmentation import Augmentation, between, check_colours, select
from keras_multigrid.augmentation.geometry import box_sides, in_box, log_ratio
from keras_multigrid.augmentation.random_resized_crop import check_range
from keras_multigrid.checks import check_probability


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomErasing(Augmentation):
    """Paint a box of some clips in one random colour, in the same place of all frames.

    Random erasing: Zhong et al., arXiv 1708.04896, algorithm 1, with a colour for each box.

    Args:
        probability: share of the clips that are changed.
        scale: least and greatest area of the box, as shares of the clip's. The strength multiplies
            the area.
        ratio: least and greatest width / height of the box.

    Raises:
        ValueError: if a setting is out of range.

    Example:

    >>> augment = Compose([RandomErasing(probability=0.25)])
    """

    probability: float = 0.25
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    num_numbers = 8

    def __post_init__(self):
        check_probability("probability", self.probability)
        check_range(self, "scale", most=1)
        check_range(self, "ratio")

    def __call__(self, clips, labels, numbers, work):
        check_colours(clips, "RandomErasing")
        is_chosen, area, ratio, vertical, horizontal = ops.unstack(numbers[:, :5], axis=1, num=5)
        size = ops.shape(clips)[2]
        area = between(area, *self.scale) * work * ops.cast(is_chosen < self.probability, "float32")
        height, width = box_sides(
            area, log_ratio(ratio, self.ratio, 1.0), ops.cast(size, "float32")
        )
        is_erased = in_box(vertical, horizontal, ops.round(height), ops.round(width), size)
        colour = numbers[:, None, None, None, 5:8]
        return select(is_erased, colour, clips), labels
