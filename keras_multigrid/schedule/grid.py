"""The shape of a mini-batch."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Shape of one mini-batch, (batch_size, num_frames, crop_size, crop_size, 3).

    Args:
        batch_size: clips in the mini-batch, over all replicas.
        num_frames: frames of each clip.
        crop_size: height and width of each clip, in pixels.

    Raises:
        ValueError: if one of them is not a positive integer.

    Example:

    >>> Grid(batch_size=64, num_frames=32, crop_size=224)
    Grid(batch_size=64, num_frames=32, crop_size=224)
    """

    batch_size: int
    num_frames: int
    crop_size: int

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_count(field.name, getattr(self, field.name))

    @property
    def voxels(self) -> int:
        """Pixels of the whole mini-batch: the work of a step."""
        return self.batch_size * self.num_frames * self.crop_size**2

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Shape of the mini-batch, channels last."""
        return (self.batch_size, self.num_frames, self.crop_size, self.crop_size, 3)

    def __str__(self) -> str:
        return f"{self.batch_size} x {self.num_frames} x {self.crop_size}²"


def check_count(name: str, value: object) -> None:
    """Refuse what is not a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
