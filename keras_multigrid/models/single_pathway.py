"""Residual networks of one pathway: C2D, I3D and Slow differ in their temporal kernels alone."""

import itertools
from collections.abc import Collection, Sequence

import keras

from keras_multigrid.models import resnet3d
from keras_multigrid.models.video_model import VideoModel, check_blocks

# Where published networks have non-local blocks: after blocks 1 and 3 of stage 3, and so on.
NON_LOCAL = ((), (1, 3), (1, 3, 5), ())


class SinglePathway(VideoModel):
    """A ResNet-50 or -101 over clips, the base of `C2D`, `I3D` and `Slow`.

    Args:
        include_top: whether to end in a classifier; without it the output is the pooled features.
        weights: None for random ones, or the path of a `.weights.h5` file.
        input_shape: (frames, height, width, 3); None for sizes that change, as multigrid's do.
        classes: number of classes.
        classifier_activation: of the classifier: "softmax", "sigmoid" (several labels), None.
        name: of the model.
        depth: 50 or 101, which sets `blocks`.
        blocks: number of blocks in each of the four stages, instead of `depth`'s.
        width: channels of the stem. Stages have 4, 8, 16 and 32 times as many.
        non_local: numbers of the blocks of each stage that a non-local block follows, or True for
            the published ones, ((), (1, 3), (1, 3, 5), ()).
        dropout: share of the pooled features that is dropped in training.
        weight_decay: of convolutions and classifier; normalization parameters have none.
        dtype: policy of all layers, like "mixed_bfloat16"; None for the global one.

    Input: (batch, frames, height, width, 3). Output: (batch, classes).

    Raises:
        ValueError: for a depth, blocks or a width that make no model.
    """

    # Set by the subclasses.
    _stem_kernel: int
    _temporal_kernels: Sequence[Sequence[int]]  # by stage, repeated over its blocks
    _pools_time: bool  # halve the frames after stage 2
    _attention: str  # of non-local blocks

    def __init__(
        self,
        include_top: bool = True,
        weights: str | None = None,
        input_shape: Sequence[int | None] = (None, None, None, 3),
        classes: int = 400,
        classifier_activation: str | None = "softmax",
        name: str | None = None,
        *,
        depth: int = 50,
        blocks: Sequence[int] | None = None,
        width: int = 64,
        non_local: bool | Sequence[Collection[int]] = False,
        dropout: float = 0.5,
        weight_decay: float = 1e-4,
        dtype=None,
    ):
        blocks = check_blocks(depth, blocks)
        locations = check_non_local(non_local, blocks)
        cls = type(self)

        def pathways(clips):
            x = resnet3d.stem(
                clips,
                width=width,
                temporal_kernel=cls._stem_kernel,
                weight_decay=weight_decay,
                name="s1-pathway0",
            )
            for index, count in enumerate(blocks):
                x = resnet3d.stage(
                    x,
                    inner=width * 2**index,
                    temporal_kernels=repeated(cls._temporal_kernels[index], count),
                    stride=1 if index == 0 else 2,
                    non_local_after=locations[index],
                    attention=cls._attention,
                    weight_decay=weight_decay,
                    name=f"s{index + 2}-pathway0",
                )
                if index == 0 and cls._pools_time:
                    x = keras.layers.MaxPooling3D((2, 1, 1), name="s2-pathway0_pool")(x)
            return [x]

        config = {
            "include_top": include_top,
            "input_shape": tuple(input_shape),
            "classes": classes,
            "classifier_activation": classifier_activation,
            "blocks": tuple(blocks),
            "width": width,
            "non_local": tuple(tuple(places) for places in locations),
            "dropout": dropout,
            "weight_decay": weight_decay,
        }
        super().__init__(pathways, config, weights=weights, dtype=dtype, name=name)
        self.min_frames = 2 if cls._pools_time else 1
        self.min_crop_size = smallest_crop(locations)


def check_non_local(
    non_local: bool | Sequence[Collection[int]], blocks: Sequence[int]
) -> Sequence[Collection[int]]:
    """Blocks of each stage that a non-local block follows.

    Raises:
        ValueError: if there are no such blocks.
    """
    if isinstance(non_local, bool):
        return NON_LOCAL if non_local else ((), (), (), ())
    valid = len(non_local) == len(blocks) and all(
        0 <= place < count
        for places, count in zip(non_local, blocks, strict=True)
        for place in places
    )
    if not valid:
        raise ValueError(
            "`non_local` must hold the numbers of some blocks of each of the four stages, which "
            f"have {tuple(blocks)}, counted from 0. Received: non_local={non_local!r}. "
            f"Use for example {NON_LOCAL}."
        )
    return non_local


def repeated(kernels: Sequence[int], count: int) -> tuple[int, ...]:
    """The first `count` of kernels that repeat: (3, 1) gives 3, 1, 3, 1, ..."""
    return tuple(itertools.islice(itertools.cycle(kernels), count))


def smallest_crop(locations: Sequence[Collection[int]]) -> int:
    """Pixels a side that leave each non-local block two by two positions to pool."""
    # Stage 2 has a quarter of the pixels a side, rounded up, and each one after it half of those.
    stages = [index for index, places in enumerate(locations) if places]
    return 2 ** (max(stages) + 2) + 1 if stages else 1
