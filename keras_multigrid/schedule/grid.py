"""The shape of a mini-batch."""

import dataclasses

from keras_multigrid.checks import check_integer


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
            check_integer(field.name, getattr(self, field.name))

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
