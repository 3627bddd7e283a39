"""Frames as pictures of a larger batch, and back."""

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of


@keras.saving.register_keras_serializable(package="keras_multigrid")
class FoldFrames(keras.layers.Layer):
    """Makes each frame of a batch of clips a picture of its own.

    A layer for pictures then sees (batch * frames) of them at once. (`TimeDistributed` calls it
    once for each frame, and TensorFlow compiles each call.)

    Input: (batch, frames, ...), of any sizes. Output: (batch * frames, ...).

    Example:

    >>> FoldFrames()(keras.ops.zeros((2, 8, 32, 32, 3))).shape
    (16, 32, 32, 3)
    """

    def call(self, clips):
        return ops.reshape(clips, (-1, *sizes_of(clips)[2:]))

    def compute_output_shape(self, input_shape):
        batch, frames, *rest = input_shape
        folded = None if batch is None or frames is None else batch * frames
        return (folded, *rest)


@keras.saving.register_keras_serializable(package="keras_multigrid")
class UnfoldFrames(keras.layers.Layer):
    """Puts what was computed of frames together again: the inverse of `FoldFrames`.

    Input: features (batch * frames, ...), and the clips (batch, frames, ...) that they are of.
    Output: (batch, frames, ...), the features of each clip.

    Example:

    >>> clips = keras.ops.zeros((2, 8, 32, 32, 3))
    >>> UnfoldFrames()(keras.ops.zeros((16, 100)), clips).shape
    (2, 8, 100)
    """

    def call(self, features, clips):
        frames = sizes_of(clips)[1]
        return ops.reshape(features, (-1, frames, *sizes_of(features)[1:]))

    def compute_output_shape(self, features_shape, clips_shape):
        return (*clips_shape[:2], *features_shape[1:])
