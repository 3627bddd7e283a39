"""The arguments that set the size of a multiscale vision transformer, and what its blocks are."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from keras_multigrid.checks import (
    check_boolean,
    check_choice,
    check_probability,
)
from keras_multigrid.models.video_transformer import check_base, check_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class MViTArchitecture:
    """Arguments of an `MViT` beside those that all of `keras.applications` have.

    Args:
        blocks: number of blocks in each of the four stages. The first block of each stage but the
            first halves height and width.
        width: channels of the first stage. Each later one has twice as many.
        heads: attention heads of the first stage. Each later one has twice as many.
        kernel: (frames, height, width) of the kernels that pool queries, keys and values, odd; None
            for one frame and, in space, a stride + 1, which leaves out pooling without a stride.
        pools_all_queries: pool queries in all blocks, not only where they are strided.
        residual_pooling: add pooled queries to the output of attention.
        positions: "relative" or "absolute".
        widens_in: where the width doubles: "attention" of the first block of a stage, or
            "perceptron" of the last block of the stage before.
        class_token: classify a token that takes part in attention; otherwise the mean of all
            positions.
        base: (frames, crop) that the tables of positions are made for. Other clips are seen with
            tables that are interpolated. Nothing else depends on it.
        drop_path: rate of `DropPath` of the last block; it grows from 0 at the first.
        dropout: share of the features before the classifier that is dropped in training.
        weight_decay: of kernels, as a penalty of the loss. Recipes of transformers leave it at 0
            and set that of the optimizer.
        remat: compute the activations of blocks anew for their gradients, instead of keeping them:
            less memory, about a third more time.
        dtype: policy of all layers, like "mixed_bfloat16"; None for the global one.

    Raises:
        ValueError: for what makes no network.
    """

    blocks: Sequence[int] = (1, 2, 11, 2)
    width: int = 96
    heads: int = 1
    kernel: Sequence[int] | None = (3, 3, 3)
    pools_all_queries: bool = True
    residual_pooling: bool = True
    positions: str = "relative"
    widens_in: str = "attention"
    class_token: bool = True
    base: Sequence[int] = (16, 224)
    drop_path: float = 0.2
    dropout: float = 0.5
    weight_decay: float = 0.0
    remat: bool = False
    dtype: Any = None

    # Fewest pixels a side that leave each position of the last stage pixels of its own.
    min_crop_size = 32

    def __post_init__(self):
        check_size(self.blocks, self.width, self.heads)
        if self.kernel is not None and (
            len(self.kernel) != 3 or not all(n > 0 and n % 2 for n in self.kernel)
        ):
            raise ValueError(
                "`kernel` must be three odd sizes, or None. "
                f"Received: kernel={self.kernel!r}. Use (3, 3, 3)."
            )
        check_choice("positions", self.positions, ("relative", "absolute"))
        check_choice("widens_in", self.widens_in, ("attention", "perceptron"))
        for name in ("pools_all_queries", "residual_pooling", "class_token", "remat"):
            check_boolean(name, getattr(self, name))
        check_probability("drop_path", self.drop_path)
        base = check_base(self.base, self.min_crop_size)
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "base", base)
        if self.kernel is not None:
            object.__setattr__(self, "kernel", tuple(self.kernel))

    @property
    def base_grid(self) -> tuple[int, int, int]:
        """(frames, height, width) of the first block that the tables of positions are made for."""
        # Rounded down, as published: tables that come out short are interpolated.
        frames, crop = self.base
        return frames // 2, crop // 4, crop // 4

    def config(self) -> dict[str, Any]:
        """The arguments that make the same network."""
        config = dataclasses.asdict(self)
        del config["dtype"]
        return config

    def block_plans(self) -> "Iterator[BlockPlan]":
        """What each block is, in order."""
        (frames, size, _), last = self.base_grid, sum(self.blocks) - 1
        index, units = 0, self.width
        for stage, count in enumerate(self.blocks):
            for place in range(count):
                stride = 2 if stage and not place else 1
                key_stride = 2 ** (3 - stage)
                inner = self.width * 2**stage
                widens = self.widens_in == "perceptron" and place == count - 1 and stage < 3
                finer = max(size // stride, size // key_stride)
                yield BlockPlan(
                    name=f"s{stage + 2}-blocks-{index}",
                    inputs=units,
                    inner=inner,
                    units=inner * 2 if widens else inner,
                    heads=self.heads * 2**stage,
                    query_pooling=self._pooling(stride, self.pools_all_queries),
                    key_pooling=self._pooling(key_stride, True),
                    positions=(frames, finer, finer) if self.positions == "relative" else None,
                    drop_path=self.drop_path * index / max(last, 1),
                )
                index, units, size = index + 1, inner * 2 if widens else inner, size // stride

    def _pooling(self, stride: int, pools_all: bool) -> tuple[int, ...] | None:
        """Kernel and stride of a pooling; None where there is none."""
        if stride == 1 and (self.kernel is None or not pools_all):
            return None
        kernel = (1, stride + 1, stride + 1) if self.kernel is None else self.kernel
        return (*kernel, stride)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """What one block is: its widths, pooling and the grid of its tables of positions."""

    name: str
    inputs: int
    inner: int
    units: int
    heads: int
    query_pooling: tuple[int, ...] | None
    key_pooling: tuple[int, ...] | None
    positions: tuple[int, int, int] | None
    drop_path: float

    def output_grid(self, grid: Sequence[int]) -> tuple[int, int, int]:
        """(frames, height, width) after the block."""
        return _pooled(grid, self.query_pooling)

    def multiply_adds(self, grid: Sequence[int], tokens: int) -> int:
        """Of convolutions, linear layers and products of attention, for one clip.

        Args:
            grid: (frames, height, width) before the block.
            tokens: class tokens, 0 or 1.
        """
        queries, keys = (
            math.prod(self.output_grid(grid)),
            math.prod(_pooled(grid, self.key_pooling)),
        )
        before, after = math.prod(grid) + tokens, queries + tokens
        convolutions = queries * _taps(self.query_pooling) + 2 * keys * _taps(self.key_pooling)
        linear = before * self.inputs * 3 * self.inner
        linear += after * self.inner * (self.inner + 4 * self.inner + 4 * self.units)
        if self.inputs != self.inner:
            linear += before * self.inputs * self.inner
        if self.inner != self.units:
            linear += after * self.inner * self.units
        products = 2 * after * (keys + tokens)
        if self.positions is not None:
            # Published counts have the products of positions in time, not of those in space.
            products += queries * grid[0]
        return (convolutions + products) * self.inner + linear


def _pooled(grid: Sequence[int], pooling: tuple[int, ...] | None) -> tuple[int, int, int]:
    frames, height, width = grid
    stride = 1 if pooling is None else pooling[-1]
    return frames, -(-height // stride), -(-width // stride)


def _taps(pooling: tuple[int, ...] | None) -> int:
    return 0 if pooling is None else math.prod(pooling[:3])
