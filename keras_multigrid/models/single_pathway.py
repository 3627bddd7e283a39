"""Residual networks of one pathway: C2D, I3D and Slow differ in their temporal kernels alone."""

import itertools
from collections.abc import Sequence

import keras

from keras_multigrid.models.architecture import ResidualArchitecture
from keras_multigrid.models.resnet3d import Blocks
from keras_multigrid.models.video_model import VideoModel


class SinglePathway(VideoModel):
    """A ResNet-50 or -101 over clips, the base of `C2D`, `I3D` and `Slow`."""

    _architecture_type = ResidualArchitecture
    # Set by the subclasses.
    _stem_kernel: int
    _temporal_kernels: Sequence[Sequence[int]]  # by stage, repeated over its blocks
    _pools_time: bool  # halve the frames after stage 2
    _attention: str  # of non-local blocks

    @classmethod
    def _pathways(cls, clips, architecture):
        blocks, width = Blocks(architecture.weight_decay), architecture.width
        kernel = cls._stem_kernel
        x = blocks.stem(clips, width=width, temporal_kernel=kernel, name="s1-pathway0")
        for index, count in enumerate(architecture.blocks):
            kernels = itertools.cycle(cls._temporal_kernels[index])
            x = blocks.stage(
                x,
                inner=width * 2**index,
                temporal_kernels=tuple(itertools.islice(kernels, count)),
                stride=1 if index == 0 else 2,
                non_local_after=architecture.non_local[index],
                attention=cls._attention,
                name=f"s{index + 2}-pathway0",
            )
            if index == 0 and cls._pools_time:
                x = keras.layers.MaxPooling3D((2, 1, 1), name="s2-pathway0_pool")(x)
        return [x]
