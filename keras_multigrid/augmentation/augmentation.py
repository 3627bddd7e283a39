"""What every augmentation is: a function of a batch, its random numbers and its strength."""

from typing import Any

import keras
from keras import ops


class Augmentation:
    """A change of a batch of clips and labels.

    It draws no random numbers. Those that it is given come from the seed and each clip's position
    in the stream of training clips, so that a resumed run and every worker get the same. A choice
    holds for all frames of a clip.

    Subclasses are frozen dataclasses and define `__call__`. They may set these attributes, which
    are checked before training:

    - `num_numbers`: random numbers that it needs for each clip.
    - `mixes_labels`: whether labels must be floats, one for each class. `SingleLabel` then makes
      them one-hot.
    - `pairs_clips`: whether it mixes clips 2k and 2k + 1, so that each device must have an even
      number of clips at every step.
    - `flips`: whether it mirrors clips, so that `ClipSampling.flip` must be off.
    - `least_classes`: how many classes there must be at least.
    """

    num_numbers = 0
    mixes_labels = False
    pairs_clips = False
    flips = False
    least_classes = 0

    def __call__(self, clips: Any, labels: Any, numbers: Any, work: Any) -> tuple[Any, Any]:
        """The batch, changed.

        Args:
            clips: float32 (b, t, s, s, 3), colours in [0, 1].
            labels: (b,) numbers of classes, or float32 (b, classes).
            numbers: float32 (b, num_numbers), uniform in [0, 1).
            work: strength in [0, 1], a scalar: 0 changes as little as there is, 1 in full. A run
                gives the work of a clip relative to the baseline's, t s^2 / (T S^2); `Compose`
                turns it into a strength.

        Returns:
            Clips and labels, of the same shapes and dtypes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`.")


def between(numbers: Any, low: Any, high: Any) -> Any:
    """Numbers in [0, 1) as numbers in [low, high)."""
    return low + numbers * (high - low)


def per_clip(values: Any) -> Any:
    """Values (b,) of clips, to be used with clips (b, t, s, s, 3): (b, 1, 1, 1, 1)."""
    return ops.reshape(values, (-1, 1, 1, 1, 1))


def select(is_first: Any, first: Any, second: Any) -> Any:
    """`ops.where` for finite numbers: three times as fast where TensorFlow must broadcast."""
    share = ops.cast(is_first, second.dtype)
    return first * share + second * (1 - share)


def check_soft(labels: Any, name: str) -> None:
    """Refuse numbers of classes where labels are mixed."""
    shape = getattr(labels, "shape", None)
    is_float = shape is not None and keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(labels.dtype)
    )
    if shape is None or len(shape) != 2 or not is_float:
        received = type(labels).__name__
        if shape is not None:
            received = f"{keras.backend.standardize_dtype(labels.dtype)} of shape {tuple(shape)}"
        raise ValueError(
            f"`{name}` mixes labels: they must be (batch, classes), one float tensor. Received: "
            f"{received}. In a data set of your own, make them one-hot: "
            "`videos.map(lambda video, label: (video, tf.one_hot(label, num_classes)))`, with "
            "the loss 'categorical_crossentropy'."
        )


def check_colours(clips: Any, name: str) -> None:
    """Refuse clips of other channels than red, green and blue where these are told apart."""
    channels = clips.shape[-1]
    if channels not in (3, None):
        raise ValueError(
            f"`{name}` changes colours: clips must be (batch, frames, height, width, 3). Received: "
            f"{channels} channels. In a data set of your own, make grey videos coloured: "
            "`videos.map(lambda video, label: (tf.image.grayscale_to_rgb(video), label))`; or "
            "leave it out."
        )
