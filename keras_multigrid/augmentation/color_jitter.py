"""Random brightness, contrast, saturation and hue."""

import dataclasses

from keras import ops

from keras_multigrid.augmentation import colours
from keras_multigrid.augmentation.augmentation import Augmentation, check_colours, per_clip
from keras_multigrid.checks import check_not_negative


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorJitter(Augmentation):
    """Change brightness, contrast and saturation by random factors, and turn hues.

    Factors are uniform in [1 - strength * m, 1 + strength * m], where m is the argument, and turns
    in [-strength * hue, strength * hue]. They are applied in this order; colours beyond [0, 1] are
    cut off once, after the factors.

    Args:
        brightness, contrast, saturation: the greatest change of each, at most 1; 0 leaves it out.
        hue: the greatest turn, as part of the circle of colours, at most 0.5. It costs as much as
            the other three together; 0, the default, leaves it out.

    Raises:
        ValueError: if one is negative or too large.

    Example:

    >>> augment = Compose([ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)])
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0

    num_numbers = 4

    def __post_init__(self):
        for field in dataclasses.fields(self):
            most = 0.5 if field.name == "hue" else 1
            value = getattr(self, field.name)
            check_not_negative(field.name, value)
            if value > most:
                raise ValueError(
                    f"`{field.name}` must be at most {most}. Received: {field.name}={value}."
                )

    def __call__(self, clips, labels, numbers, work):
        check_colours(clips, "ColorJitter")
        changes = (2 * numbers - 1) * work
        if self.brightness or self.contrast or self.saturation:
            factors = 1 + changes[:, :3] * ops.convert_to_tensor(
                [self.brightness, self.contrast, self.saturation], clips.dtype
            )
            clips = colours.jitter(clips, *(factors[:, k, None, None] for k in range(3)))
        if self.hue:
            clips = colours.hue(clips, per_clip(changes[:, 3] * self.hue))
        return clips, labels
