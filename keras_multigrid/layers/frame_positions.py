"""Where in its clip a frame is."""

import math

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class FramePositions(keras.layers.Layer):
    """Adds sines of each frame's place in its clip to the frame's features.

    As Vaswani et al., "Attention Is All You Need", 2017, section 3.5, but for places from 0 (the
    beginning of the clip) to 1 (its end), not for the number of the frame: so a clip of few frames
    with a large stride has the places of the same clip in many frames. Nothing is learned.

    Input: (batch, frames, channels), an even number of channels. Output: the same shape.

    Raises:
        ValueError: for an odd number of channels.

    Example:

    >>> FramePositions()(keras.ops.zeros((2, 8, 64))).shape
    (2, 8, 64)
    """

    # Waves in one clip, from the slowest to the fastest channel.
    _SLOWEST, _FASTEST = 0.5, 64.0

    def build(self, input_shape):
        if input_shape[-1] is None or input_shape[-1] % 2:
            raise ValueError(
                "There must be an even number of channels, for sines and cosines. "
                f"Received: input_shape={tuple(input_shape)}."
            )

    def call(self, features):
        frames, pairs = sizes_of(features)[1], features.shape[-1] // 2
        places = (ops.arange(frames, dtype="float32") + 0.5) / ops.cast(frames, "float32")
        growth = math.log(self._FASTEST / self._SLOWEST) / max(pairs - 1, 1)
        waves = self._SLOWEST * ops.exp(growth * ops.arange(pairs, dtype="float32"))
        angles = 2 * math.pi * places[:, None] * waves
        sines = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        return features + ops.cast(sines, features.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
