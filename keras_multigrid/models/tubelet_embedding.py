"""A clip cut into tubelets, each of which becomes a vector."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of
from keras_multigrid.layers.transformer_parts import STDDEV


@keras.saving.register_keras_serializable(package="keras_multigrid")
class TubeletEmbedding(keras.layers.Layer):
    """A linear layer of the pixels of each tubelet: a convolution whose stride is its kernel.

    Arnab et al., "ViViT", ICCV 2021, section 3.2. Tubelets cover the whole clip: where they do not
    divide it, its last frame, and its first and last rows and columns, are repeated.

        5 frames, tubelets of 2          01 23 44
        5 columns, tubelets of 4         0012 3444

    Args:
        units: channels of the output.
        tubelet: (frames, height, width) of a tubelet, in pixels.
        kernel_regularizer: of the kernel.

    Input: (batch, frames, height, width, channels). Output: the same with sizes divided by those
    of a tubelet, rounded up, and `units` channels.
    """

    def __init__(self, units: int, tubelet: Sequence[int], kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.tubelet = units, tuple(tubelet)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.proj = keras.layers.Conv3D(
            units,
            self.tubelet,
            strides=self.tubelet,
            kernel_initializer=keras.initializers.RandomNormal(stddev=STDDEV),
            kernel_regularizer=self.kernel_regularizer,
            name="proj",
            dtype=self.dtype_policy,
        )

    def build(self, clips_shape):
        self.proj.build(clips_shape)

    def call(self, clips):
        _, *sizes, _ = sizes_of(clips)
        for axis, (size, length) in enumerate(zip(sizes, self.tubelet, strict=True), start=1):
            if not isinstance(size, int) or size % length:
                # What is missing in space is missing on both sides, as the crop has a centre.
                is_time = axis == 1
                clips = ops.take(clips, covering(size, length, at_the_end=is_time), axis=axis)
        return self.proj(clips)

    def compute_output_shape(self, clips_shape):
        batch, *sizes, _ = clips_shape
        counts = (
            None if size is None else -(-size // length)
            for size, length in zip(sizes, self.tubelet, strict=True)
        )
        return (batch, *counts, self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "tubelet": self.tubelet,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def covering(size: Any, length: int, at_the_end: bool) -> Any:
    """Indices of `size` places, those at the ends repeated to a multiple of `length`."""
    missing = -size % length
    before = 0 if at_the_end else missing // 2
    return ops.clip(ops.arange(size + missing) - before, 0, size - 1)
