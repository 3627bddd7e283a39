"""Random operations of a fixed list."""

import dataclasses
import math

from keras import ops

from keras_multigrid.augmentation import colours
from keras_multigrid.augmentation.augmentation import Augmentation, check_colours
from keras_multigrid.augmentation.geometry import centred, warped
from keras_multigrid.checks import check_integer, check_not_negative


def _warp(transform):
    def operation(clips, amount, strength):
        size = ops.shape(clips)[2]
        return warped(clips, centred(size, **transform(amount, ops.cast(size, "float32"))))

    return operation


def _turn(amount, size):
    angle = amount * math.radians(30)
    cosine, sine = ops.cos(angle), ops.sin(angle)
    return {"xx": cosine, "xy": -sine, "yx": sine, "yy": cosine}


# Each takes clips (1, t, s, s, 3), an amount in [-1, 1] whose sign is random, and the strength. The
# amounts of each are those of torchvision's RandAugment, of which 1 is the magnitude 30.
OPERATIONS = {
    "identity": lambda clips, amount, strength: clips,
    "shear_x": _warp(lambda amount, size: {"xy": 0.3 * amount}),
    "shear_y": _warp(lambda amount, size: {"yx": 0.3 * amount}),
    "translate_x": _warp(lambda amount, size: {"x": 150 / 331 * amount * size}),
    "translate_y": _warp(lambda amount, size: {"y": 150 / 331 * amount * size}),
    "rotate": _warp(_turn),
    "brightness": lambda clips, amount, _: colours.brightness(clips, 1 + 0.9 * amount),
    "color": lambda clips, amount, _: colours.saturation(clips, 1 + 0.9 * amount),
    "contrast": lambda clips, amount, _: colours.contrast(clips, 1 + 0.9 * amount),
    "sharpness": lambda clips, amount, _: colours.sharpness(clips, 1 + 0.9 * amount),
    "posterize": lambda clips, amount, _: colours.posterize(clips, 8 - 4 * ops.absolute(amount)),
    "solarize": lambda clips, amount, _: colours.solarize(clips, 1.004 - ops.absolute(amount)),
    "autocontrast": lambda clips, _, strength: colours.autocontrast(clips, strength),
    "equalize": lambda clips, _, strength: colours.equalize(clips, strength),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandAugment(Augmentation):
    """Apply some random operations of `OPERATIONS` to each clip, all equally likely.

    RandAugment: Cubuk et al., arXiv 1909.13719, section 3. The strength multiplies the magnitude;
    where an operation has none (autocontrast, equalize), it blends the result with the clip.

    Args:
        num_ops: operations for each clip, one after the other.
        magnitude: how far they go, from 0 to 30.

    Raises:
        ValueError: if a setting is out of range.

    Example:

    >>> augment = Compose([RandAugment(num_ops=2, magnitude=9)])
    """

    num_ops: int = 2
    magnitude: float = 9

    def __post_init__(self):
        check_integer("num_ops", self.num_ops)
        check_not_negative("magnitude", self.magnitude)
        if self.magnitude > 30:
            raise ValueError(
                f"`magnitude` must be at most 30. Received: magnitude={self.magnitude}."
            )

    @property
    def num_numbers(self) -> int:
        return 2 * self.num_ops

    def __call__(self, clips, labels, numbers, work):
        check_colours(clips, "RandAugment")
        strength = ops.cast(work, "float32")
        operations = list(OPERATIONS.values())

        def changed(clip_and_numbers):
            clip, own = clip_and_numbers

            def with_one_more(number, clips):
                choice, sign = ops.take(own, 2 * number), ops.take(own, 2 * number + 1)
                amount = ops.where(sign < 0.5, -1.0, 1.0) * self.magnitude / 30 * strength
                index = ops.cast(choice * len(operations), "int32")
                return ops.switch(index, operations, clips, amount, strength)

            # A loop of the graph, as each operation would be traced again for each turn of it.
            return ops.fori_loop(0, self.num_ops, with_one_more, clip[None])[0]

        # One clip at a time: what was not chosen is not computed.
        return ops.map(changed, (clips, numbers)), labels
