"""The arguments that set the size of a network, checked."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from keras_multigrid.checks import check_choice

# Bottleneck blocks of stages 2 to 5, by depth.
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Where published networks have non-local blocks: after blocks 1 and 3 of stage 3, and so on.
NON_LOCAL = ((), (1, 3), (1, 3, 5), ())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Arguments of a network beside those that all of `keras.applications` have.

    Args:
        dropout: share of the pooled features that is dropped in training.
        weight_decay: of convolutions and classifier; normalization parameters have none.
        dtype: policy of all layers, like "mixed_bfloat16"; None for the global one.
    """

    dropout: float = 0.5
    weight_decay: float = 1e-4
    dtype: Any = None

    @property
    def min_crop_size(self) -> int:
        """Fewest pixels a side of a clip."""
        return 1

    def config(self) -> dict[str, Any]:
        """The arguments that make the same network, without its precision."""
        config = dataclasses.asdict(self)
        del config["dtype"]
        return config


def _published_places(blocks: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    places = tuple(
        tuple(place for place in stage if place < count)
        for stage, count in zip(NON_LOCAL, blocks, strict=True)
    )
    if not any(places):
        raise ValueError(
            f"`non_local=True` stands for {NON_LOCAL}, none of which is there. Received: "
            f"blocks={blocks}. Name blocks, such as ((), (0,), (0,), ())."
        )
    return places


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualArchitecture(Architecture):
    """Arguments of a ResNet over clips: `C2D`, `I3D`, `Slow`.

    Args:
        depth: 50 or 101, which sets `blocks`.
        blocks: number of blocks in each of the four stages, instead of `depth`'s.
        width: channels of the stem. Stages have 4, 8, 16 and 32 times as many.
        non_local: numbers of the blocks of each stage that a non-local block follows, or True for
            the published ones, ((), (1, 3), (1, 3, 5), ()), those of them that there are.

    Others: those of `Architecture`.

    Raises:
        ValueError: for a depth, blocks or a width that make no model.
    """

    depth: int = 50
    blocks: Sequence[int] | None = None
    width: int = 64
    non_local: bool | Sequence[Collection[int]] = False

    def __post_init__(self):
        blocks, non_local = self.blocks, self.non_local
        if blocks is None:
            check_choice("depth", self.depth, BLOCKS, "Use `blocks` for another network.")
            blocks = BLOCKS[self.depth]
        blocks = check_blocks(blocks)
        if isinstance(non_local, bool):
            non_local = _published_places(blocks) if non_local else ((), (), (), ())
        elif len(non_local) != 4 or any(
            not 0 <= place < count
            for places, count in zip(non_local, blocks, strict=True)
            for place in places
        ):
            raise ValueError(
                "`non_local` must hold the numbers of some blocks of each of the four stages, "
                f"which have {blocks}, counted from 0. Received: non_local={non_local!r}. "
                f"Use for example {NON_LOCAL}."
            )
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "non_local", tuple(map(tuple, non_local)))

    @property
    def min_crop_size(self) -> int:
        """Pixels a side that leave each non-local block two by two positions to pool."""
        # Stage 2 has a quarter of the pixels a side, rounded up, and each later one half of those.
        stages = [index for index, places in enumerate(self.non_local) if places]
        return 2 ** (max(stages) + 2) + 1 if stages else 1

    def config(self):
        # `blocks` says it all.
        config = super().config()
        del config["depth"]
        return config


def check_blocks(blocks: Sequence[int]) -> tuple[int, ...]:
    """The numbers of blocks of four stages, or an error."""
    valid = isinstance(blocks, (tuple, list)) and len(blocks) == 4
    if not valid or not all(isinstance(count, int) and count >= 1 for count in blocks):
        raise ValueError(
            "`blocks` must hold the number of blocks of each of the four stages, at least 1. "
            f"Received: blocks={blocks!r}. Use (1, 1, 1, 1) for a small network."
        )
    return tuple(blocks)
