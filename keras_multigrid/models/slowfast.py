"""SlowFast: a wide pathway over few frames and a narrow one over all."""

import dataclasses

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of
from keras_multigrid.models.architecture import ResidualArchitecture
from keras_multigrid.models.resnet3d import Blocks
from keras_multigrid.models.video_model import VideoModel

# Temporal kernels of the stages, of the slow and of the fast pathway.
_KERNELS = ((1, 1, 3, 3), (3, 3, 3, 3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowFastArchitecture(ResidualArchitecture):
    """Arguments of a `SlowFast`, which explains them."""

    alpha: int = 4
    beta: int = 8
    fusion_kernel: int = 7
    temporal_blocks: tuple[int, int] | None = None

    def __post_init__(self):
        super().__post_init__()
        given = self.temporal_blocks
        blocks = (self.blocks[2], self.blocks[2]) if given is None else tuple(given)
        object.__setattr__(self, "temporal_blocks", blocks)
        if self.width % self.beta:
            raise ValueError(
                "`width` must be a multiple of `beta`, so that the fast pathway has whole "
                f"channels. Received: width={self.width}, beta={self.beta}."
            )

    def temporal_kernels(self, index: int, pathway: int) -> tuple[int, ...]:
        """Temporal kernels of the blocks of stage `index + 2` on a pathway."""
        kernel, count = _KERNELS[pathway][index], self.blocks[index]
        temporal = self.temporal_blocks[pathway] if index == 2 else count
        return (kernel,) * temporal + (1,) * (count - temporal)


@keras.saving.register_keras_serializable(package="keras_multigrid")
class SlowFast(VideoModel):
    """SlowFast: one clip in; the slow pathway sees every `alpha`-th frame of it, the fast one all.

    Feichtenhofer, Fan, Malik and He, "SlowFast Networks for Video Recognition", ICCV 2019. The slow
    pathway's frames are spread evenly from the first to the last. For clips of a multiple of
    `alpha` frames.

    Args:
        alpha: frames of the fast pathway for each of the slow one (4).
        beta: how many times fewer channels the fast pathway has (8). `width` is the slow one's.
        fusion_kernel: temporal kernel of the lateral connections (7).
        temporal_blocks: blocks of stage 4, on the slow and the fast pathway, that look along time;
            None for all. Published networks of depth 101 have (6, 6), (6, 23) and (23, 23).

    Other arguments: same as for `VideoModel`. Non-local blocks are on the slow pathway, and attend
    by dot product.

    Example:

    >>> SlowFast(classes=10)(keras.ops.zeros((2, 32, 224, 224, 3))).shape
    (2, 10)
    """

    _architecture_type = SlowFastArchitecture

    @property
    def frame_multiple(self) -> int:
        return self._architecture.alpha

    min_frames = frame_multiple

    @classmethod
    def _pathways(cls, clips, architecture):
        blocks, alpha = Blocks(architecture.weight_decay), architecture.alpha
        widths = (architecture.width, architecture.width // architecture.beta)
        slow = EvenlySpacedFrames(alpha, name="slow_frames")(clips)
        slow = blocks.stem(slow, width=widths[0], temporal_kernel=1, name="s1-pathway0")
        fast = blocks.stem(clips, width=widths[1], temporal_kernel=5, name="s1-pathway1")
        for index in range(4):
            fuse, kernel = f"s{index + 1}_fuse", architecture.fusion_kernel
            connection = blocks.lateral(fast, kernel=kernel, alpha=alpha, name=fuse)
            slow = keras.layers.Concatenate(name=f"{fuse}-concat")([slow, connection])
            slow, fast = (
                blocks.stage(
                    x,
                    inner=widths[pathway] * 2**index,
                    temporal_kernels=architecture.temporal_kernels(index, pathway),
                    stride=1 if index == 0 else 2,
                    non_local_after=() if pathway else architecture.non_local[index],
                    attention="dot_product",
                    name=f"s{index + 2}-pathway{pathway}",
                )
                for pathway, x in enumerate((slow, fast))
            )
        return [slow, fast]


@keras.saving.register_keras_serializable(package="keras_multigrid")
class EvenlySpacedFrames(keras.layers.Layer):
    """One of every `every` frames, spread evenly from the first to the last.

        32 frames, every 4:   0 4 8 13 17 22 26 31

    Input: (batch, frames, height, width, channels). Output: the same with `frames // every`.
    """

    def __init__(self, every: int, **kwargs):
        super().__init__(**kwargs)
        self.every = every

    def build(self, input_shape):
        pass

    def call(self, clips):
        frames = sizes_of(clips)[1]
        count = frames // self.every
        # Sizes may be known at run time alone, and `count` be 1.
        steps = ops.maximum(count - 1, 1)
        return ops.take(clips, ops.arange(count) * (frames - 1) // steps, axis=1)

    def compute_output_shape(self, input_shape):
        batch, frames, *rest = input_shape
        return (batch, None if frames is None else frames // self.every, *rest)

    def get_config(self):
        return {**super().get_config(), "every": self.every}
