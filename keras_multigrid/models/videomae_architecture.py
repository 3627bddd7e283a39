"""The arguments that set the size of a `VideoMAE`, checked."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_multigrid.checks import check_boolean, check_positive, check_probability
from keras_multigrid.models.video_transformer import check_base, check_size

# Frames, height and width of a tubelet, in pixels.
TUBELET = (2, 16, 16)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoMAEArchitecture:
    """Arguments of a `VideoMAE` beside those that all of `keras.applications` have.

    Args:
        blocks: number of blocks in each of the four stages. All blocks are alike: stages only name
            them, "s2" to "s5", for what is frozen and learns by stages.
        width: channels of all blocks, a multiple of `heads`.
        heads: attention heads of a block.
        base: (frames, crop) that positions are made for. Other clips are seen with positions that
            are interpolated. Nothing else depends on it.
        drop_path: rate of `DropPath` of the last block; it grows from 0 at the first.
        dropout: share of the features before the classifier that is dropped in training.
        init_scale: what the random weights of the classifier are multiplied by. Small ones leave
            the trained features as they are in the first steps of fine-tuning.
        weight_decay: of kernels, as a penalty of the loss. Recipes of transformers leave it at 0
            and set that of the optimizer.
        remat: compute the activations of blocks anew for their gradients, instead of keeping them:
            less memory, about a third more time.
        dtype: policy of all layers, like "mixed_bfloat16"; None for the global one.

    Raises:
        ValueError: for what makes no network.
    """

    blocks: Sequence[int] = (3, 3, 3, 3)
    width: int = 768
    heads: int = 12
    base: Sequence[int] = (16, 224)
    drop_path: float = 0.1
    dropout: float = 0.0
    init_scale: float = 0.001
    weight_decay: float = 0.0
    remat: bool = False
    dtype: Any = None

    # Pixels a side of 2 x 2 tubelets: with one alone, there is no place to tell from another.
    min_crop_size = 32

    def __post_init__(self):
        check_size(self.blocks, self.width, self.heads)
        check_boolean("remat", self.remat)
        check_probability("drop_path", self.drop_path)
        check_positive("init_scale", self.init_scale)
        base = check_base(self.base, self.min_crop_size)
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "base", base)

    @property
    def base_grid(self) -> tuple[int, int, int]:
        """(frames, height, width) in tubelets that positions are made for."""
        return tubelets(*self.base)

    @property
    def regularizer(self):
        """The penalty of kernels, None if there is none."""
        decay = self.weight_decay
        return keras.regularizers.L2(decay / 2) if decay else None

    def config(self) -> dict[str, Any]:
        """The arguments that make the same network."""
        config = dataclasses.asdict(self)
        del config["dtype"]
        return config

    def block_plans(self) -> Iterator[tuple[str, float]]:
        """Name and rate of `DropPath` of each block, in order."""
        index, last = 0, sum(self.blocks) - 1
        for stage, count in enumerate(self.blocks, start=2):
            for _ in range(count):
                yield f"s{stage}-blocks-{index}", self.drop_path * index / max(last, 1)
                index += 1


def tubelets(num_frames: int, crop_size: int) -> tuple[int, int, int]:
    """Tubelets along time, height and width that cover a clip."""
    sizes = (num_frames, crop_size, crop_size)
    frames, height, width = (
        -(-size // length) for size, length in zip(sizes, TUBELET, strict=True)
    )
    return frames, height, width
