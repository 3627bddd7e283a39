"""I3D: a residual network inflated along time."""

import itertools
from collections.abc import Sequence

import keras

from keras_multigrid.models import resnet3d

# Temporal kernels of the blocks of stages 2 to 5, repeated over the stage's blocks.
_TEMPORAL_KERNELS = ((3,), (3, 1), (3, 1), (1, 3))


@keras.saving.register_keras_serializable(package="keras_multigrid")
class I3D(keras.Model):
    """I3D with a ResNet-50 or -101, for clips of any number of frames (at least 2) and any crop.

    Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, in the residual form of
    Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018. Batch normalization is
    `SubBatchNormalization`, whose groups `MultigridCallback` sets.

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
        dropout: share of the pooled features that is dropped in training.
        weight_decay: of convolutions and classifier; normalization parameters have none.

    Input: (batch, frames, height, width, 3). Output: (batch, classes).

    Raises:
        ValueError: for a depth, blocks or a width that make no model.

    Example, a small one for small data:

    >>> model = I3D(classes=10, blocks=(1, 1, 1, 1), width=16)
    >>> model(keras.ops.zeros((2, 16, 48, 48, 3))).shape
    (2, 10)
    """

    # The temporal pooling after stage 2 halves the frames.
    min_frames = 2

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
        dropout: float = 0.5,
        weight_decay: float = 1e-4,
        **kwargs,
    ):
        blocks = _check_blocks(depth, blocks)
        inputs = keras.Input(tuple(input_shape), name="clips")
        x = resnet3d.stem(
            inputs, width=width, temporal_kernel=5, weight_decay=weight_decay, name="s1.pathway0"
        )
        for index, (count, kernels) in enumerate(zip(blocks, _TEMPORAL_KERNELS, strict=True)):
            x = resnet3d.stage(
                x,
                inner=width * 2**index,
                temporal_kernels=tuple(itertools.islice(itertools.cycle(kernels), count)),
                stride=1 if index == 0 else 2,
                weight_decay=weight_decay,
                name=f"s{index + 2}.pathway0",
            )
            if index == 0:
                x = keras.layers.MaxPooling3D((2, 1, 1), name="s2.pathway0_pool")(x)
        x = keras.layers.GlobalAveragePooling3D(name="head.pool")(x)
        if include_top:
            x = resnet3d.head(
                x,
                classes=classes,
                dropout=dropout,
                weight_decay=weight_decay,
                activation=classifier_activation,
            )
        super().__init__(inputs=inputs, outputs=x, name=name, **kwargs)
        self._config = {
            "include_top": include_top,
            "input_shape": tuple(input_shape),
            "classes": classes,
            "classifier_activation": classifier_activation,
            "blocks": tuple(blocks),
            "width": width,
            "dropout": dropout,
            "weight_decay": weight_decay,
        }
        if weights is not None:
            self.load_weights(weights)

    def get_config(self):
        return {"name": self.name, "trainable": self.trainable, **self._config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _check_blocks(depth: int, blocks: Sequence[int] | None) -> Sequence[int]:
    if blocks is None:
        if depth not in resnet3d.BLOCKS:
            raise ValueError(
                f"`depth` must be one of {sorted(resnet3d.BLOCKS)}. Received: depth={depth!r}. "
                "Use `blocks` for another network."
            )
        return resnet3d.BLOCKS[depth]
    valid = isinstance(blocks, (tuple, list)) and len(blocks) == 4
    if not valid or not all(isinstance(count, int) and count >= 1 for count in blocks):
        raise ValueError(
            "`blocks` must hold the number of blocks of each of the four stages, at least 1. "
            f"Received: blocks={blocks!r}. Use (1, 1, 1, 1) for a small network."
        )
    return blocks
