"""What video transformers share, beside what all video networks do."""

import math
from collections.abc import Sequence

import keras

from keras_multigrid.checks import check_integer
from keras_multigrid.models.architecture import check_blocks
from keras_multigrid.models.video_model import VideoModel


class VideoTransformer(VideoModel):
    """A network whose positions are interpolated to the grid of the clip: `MViT`, `VideoMAE`."""

    min_frames = 2

    @property
    def parameter_count(self) -> int:
        """Learned numbers: all weights, tables of positions and frozen ones included."""
        return sum(math.prod(weight.shape) for weight in self.weights)

    def fully_convolutional(self, num_frames: int, crop_size: int) -> keras.Model:
        """The network itself: it sees larger clips whole, and no window moves over them.

        Positions are interpolated to any size. Published networks are tested at the size that they
        were trained on.
        """
        if not self._config["include_top"]:
            raise ValueError("A network without classifier has no scores: use include_top=True.")
        return self


def check_size(blocks: Sequence[int], width: int, heads: int) -> None:
    """Refuse blocks of four stages, channels and heads that make no network.

    Raises:
        ValueError: if there are not four stages of a block at least, or `heads` does not divide
            `width`.
    """
    check_blocks(blocks)
    check_integer("heads", heads)
    check_integer("width", width)
    if width % heads:
        raise ValueError(
            f"`width` must be a multiple of `heads`. Received: width={width}, heads={heads}."
        )


def check_base(base: Sequence[int], least_crop: int) -> tuple[int, int]:
    """The frames and the crop that positions are made for.

    Raises:
        ValueError: if they are not two numbers, or too small for two frames of `least_crop` pixels.
    """
    if not isinstance(base, (tuple, list)) or len(base) != 2:
        raise ValueError(
            "`base` must be frames and crop of the clips that positions are made for. "
            f"Received: base={base!r}. Use (16, 224)."
        )
    frames, crop = base
    check_integer("base frames", frames, least=2)
    check_integer("base crop", crop, least=least_crop)
    return frames, crop
