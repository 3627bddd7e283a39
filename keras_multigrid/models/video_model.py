"""What all video networks share: their arguments, head, sizes, costs and saved form."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization
from keras_multigrid.models import resnet3d
from keras_multigrid.models.non_local import NonLocalAttention


class VideoModel(keras.Model):
    """A network of one or several pathways, pooled over all positions, joined and classified.

    Subclasses say what their pathways are; users make those: `C2D`, `I3D`, `Slow`, `SlowFast`.

    Args:
        pathways: from the symbolic input to the features of each pathway,
            (batch, frames, height, width, channels).
        config: all other arguments of the subclass but `weights`, `dtype` and `name`, from which it
            can be made again.
        weights: None for random ones, or the path of a `.weights.h5` file.
        dtype: policy of all layers, like "mixed_bfloat16"; None for the global one.
        name: of the model.
    """

    # Fewest frames and pixels a side of a clip; the frames must be a multiple of the last.
    min_frames = 1
    min_crop_size = 1
    frame_multiple = 1

    def __init__(
        self,
        pathways: Callable[[Any], Sequence[Any]],
        config: Mapping[str, Any],
        *,
        weights: str | None,
        dtype: Any,
        name: str | None,
    ):
        with _dtype_policy(dtype):
            inputs = keras.Input(tuple(config["input_shape"]), name="clips")
            features = pathways(inputs)
            pooled = [
                keras.layers.GlobalAveragePooling3D(name=_pool_name(index, len(features)))(x)
                for index, x in enumerate(features)
            ]
            x = keras.layers.Concatenate(name="head-join")(pooled) if pooled[1:] else pooled[0]
            if config["include_top"]:
                x = resnet3d.head(
                    x,
                    classes=config["classes"],
                    dropout=config["dropout"],
                    weight_decay=config["weight_decay"],
                    activation=config["classifier_activation"],
                )
            super().__init__(inputs=inputs, outputs=x, name=name)
        self._config = dict(config)
        if weights is not None:
            self.load_weights(weights)

    @property
    def parameter_count(self) -> int:
        """Learned numbers: weights without moving statistics, frozen ones included."""
        learned = 0
        for layer in self.layers:
            if isinstance(layer, SubBatchNormalization):
                learned += 2 * math.prod(layer.gamma.shape)
            else:
                learned += sum(math.prod(weight.shape) for weight in _arrays(layer))
        return learned

    def multiply_adds(self, num_frames: int, crop_size: int) -> int:
        """Multiplications with an addition that one clip costs, as papers count them.

        Those of convolutions, classifier and attention (of dot products in the order of the paper,
        whatever the order that is computed); additions, normalization and pooling are left out.

        Example:

        >>> I3D().multiply_adds(8, 224) / 1e9
        28.54...
        """
        counted = (keras.layers.Conv3D, keras.layers.Dense, NonLocalAttention)
        layers = [layer for layer in self.layers if isinstance(layer, counted)]
        shapes = self._shapes([layer.output for layer in layers], num_frames, crop_size)
        attentions = [layer for layer in layers if isinstance(layer, NonLocalAttention)]
        keys = self._shapes([layer.input[1] for layer in attentions], num_frames, crop_size)
        keys = {
            layer.name: math.prod(shape[1:-1])
            for layer, shape in zip(attentions, keys, strict=True)
        }
        total = 0
        for layer, shape in zip(layers, shapes, strict=True):
            positions = math.prod(shape[1:-1])
            if layer.name in keys:
                total += 2 * positions * keys[layer.name] * shape[-1]
            else:
                total += positions * math.prod(layer.kernel.shape)
        return total

    def check_clip_size(self, num_frames: int, crop_size: int) -> None:
        """Refuse clips that the network cannot take.

        Raises:
            ValueError: with what it can take.
        """
        name = type(self).__name__
        if num_frames < self.min_frames or num_frames % self.frame_multiple:
            multiple = f", a multiple of {self.frame_multiple}" * (self.frame_multiple > 1)
            raise ValueError(
                f"{name} takes clips of at least {self.min_frames} frames{multiple}. "
                f"Received: {num_frames} frames. Use a base grid of more frames, or a "
                "`long_cycle` with larger shares of them."
            )
        if crop_size < self.min_crop_size:
            raise ValueError(
                f"{name} takes clips of at least {self.min_crop_size} pixels a side. "
                f"Received: {crop_size} pixels. Use a larger base crop, or cycles with larger "
                "shares of it."
            )

    def fully_convolutional(self, num_frames: int, crop_size: int) -> keras.Model:
        """The same network for testing larger clips than it was trained on; shares all weights.

        Features are averaged over a window of the size that training saw, which moves over the
        clip; the classifier and its activation work at each position, and their outputs are
        averaged (as the published networks are tested: trained at 224, tested at 256).

        Args:
            num_frames: frames of the clips in training.
            crop_size: height and width of the clips in training, in pixels.

        Returns:
            A model from clips at least as large to (batch, classes).

        Example:

        >>> scores = model.fully_convolutional(8, 224)(clips)  # (batch, 8, 256, 256, 3)
        """
        if not self._config["include_top"]:
            raise ValueError("A network without classifier has no scores: use include_top=True.")
        features = [layer.input for layer in self._pools()]
        windows = self._shapes(features, num_frames, crop_size)
        with _dtype_policy(self.dtype_policy):
            pooled = [
                keras.layers.AveragePooling3D(window[1:-1], strides=1)(x)
                for x, window in zip(features, windows, strict=True)
            ]
            x = keras.layers.Concatenate()(pooled) if pooled[1:] else pooled[0]
        scores = self.get_layer("head-projection")(x)
        scores = keras.layers.GlobalAveragePooling3D(dtype="float32")(scores)
        return keras.Model(self.inputs[0], scores, name=f"{self.name}_fully_convolutional")

    def get_config(self):
        frozen = [layer.name for layer in self.layers if not layer.trainable]
        return {
            "name": self.name,
            "dtype": self.dtype_policy.name,
            "frozen_layers": frozen,
            **self._config,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        frozen = config.pop("frozen_layers", ())
        model = cls(**config)
        for name in frozen:
            model.get_layer(name).trainable = False
        return model

    def _pools(self) -> list[keras.layers.Layer]:
        names = {_pool_name(0, 1), _pool_name(0, 2), _pool_name(1, 2)}
        return [layer for layer in self.layers if layer.name in names]

    def _shapes(self, tensors: Sequence[Any], num_frames: int, crop_size: int) -> list[tuple]:
        """Shapes that symbolic tensors of the network take for one clip."""
        if not tensors:
            return []
        clip = keras.KerasTensor((1, num_frames, crop_size, crop_size, self.inputs[0].shape[-1]))
        specs = keras.Function(self.inputs, list(tensors)).compute_output_spec([clip])
        return [tuple(spec.shape) for spec in specs]


def check_blocks(depth: int, blocks: Sequence[int] | None) -> Sequence[int]:
    """Numbers of blocks of the four stages.

    Raises:
        ValueError: if they make no network.
    """
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


def _pool_name(index: int, count: int) -> str:
    return "head-pool" if count == 1 else f"head-pathway{index}_pool"


def _arrays(layer: keras.layers.Layer) -> list:
    return [
        getattr(layer, name)
        for name in ("kernel", "bias")
        if getattr(layer, name, None) is not None
    ]


@contextlib.contextmanager
def _dtype_policy(policy):
    """Layers made inside follow `policy`; None leaves the global one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
