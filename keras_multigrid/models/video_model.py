"""What all video networks share: their arguments, head, sizes, costs and saved form."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_multigrid.checks import check_arguments
from keras_multigrid.layers.depthwise_conv3d import DepthwiseConv3D
from keras_multigrid.models.architecture import Architecture
from keras_multigrid.models.frozen_layers import freeze_layers, frozen_layers
from keras_multigrid.models.non_local import NonLocalAttention
from keras_multigrid.models.precision import dtype_policy
from keras_multigrid.models.resnet3d import Blocks

# What every network takes beside the fields of its architecture.
_ARGUMENTS = ("include_top", "weights", "input_shape", "classes", "classifier_activation", "name")


class VideoModel(keras.Model):
    """A network of one or several pathways, pooled over all positions, joined and classified.

    Users make its subclasses: `C2D`, `I3D`, `Slow`, `SlowFast`, `X3D`, `MViT`, `VideoMAE`. A
    subclass says what its pathways are.

    Args:
        include_top: whether to end in a classifier; without it the output is the pooled features.
        weights: None for random ones, or the path of a `.weights.h5` file.
        input_shape: (frames, height, width, 3); None for sizes that change, as multigrid's do.
        classes: number of classes.
        classifier_activation: of the classifier: "softmax", "sigmoid" (several labels), None.
        name: of the model.
        options: the fields of `ResidualArchitecture`: depth, blocks, width, non_local, dropout,
            weight_decay, dtype; `SlowFast` has more, `X3D` others.

    Input: (batch, frames, height, width, 3). Output: (batch, classes).

    Raises:
        ValueError: for a depth, blocks or a width that make no model.
        TypeError: for an option that there is not.
    """

    # Fewest frames of a clip, of which there must be a multiple of the other.
    min_frames = 1
    frame_multiple = 1
    _architecture_type: type[Architecture]
    # What makes scores of pooled features, but for dropout.
    _head_layers: Sequence[str] = ("head-projection",)

    def __init__(
        self,
        include_top: bool = True,
        weights: str | None = None,
        input_shape: Sequence[int | None] = (None, None, None, 3),
        classes: int = 400,
        classifier_activation: str | None = "softmax",
        name: str | None = None,
        **options,
    ):
        fields = [field.name for field in dataclasses.fields(self._architecture_type)]
        check_arguments(type(self).__name__, options, (*_ARGUMENTS, *fields))
        architecture = self._architecture_type(**options)
        with dtype_policy(architecture.dtype):
            inputs = keras.Input(tuple(input_shape), name="clips")
            x = self._pooled_features(inputs, architecture)
            if include_top:
                x = self._classified(x, architecture, classes, classifier_activation)
            super().__init__(inputs=inputs, outputs=x, name=name)
        self._architecture = architecture
        self._config = {
            "include_top": include_top,
            "input_shape": tuple(input_shape),
            "classes": classes,
            "classifier_activation": classifier_activation,
            **architecture.config(),
        }
        if weights is not None:
            self.load_weights(weights)

    @classmethod
    def _pathways(cls, clips: Any, architecture: Architecture) -> Sequence[Any]:
        """Features of each pathway, (batch, frames, height, width, channels), of symbolic clips."""
        raise NotImplementedError

    @classmethod
    def _pooled_features(cls, clips: Any, architecture: Architecture) -> Any:
        """What is classified, (batch, channels), of symbolic clips."""
        features = cls._pathways(clips, architecture)
        names = [f"head-pathway{index}_pool" for index in range(len(features))]
        names = names if features[1:] else ["head-pool"]
        pooled = [
            keras.layers.GlobalAveragePooling3D(name=pool)(x)
            for x, pool in zip(features, names, strict=True)
        ]
        return keras.layers.Concatenate(name="head-join")(pooled) if pooled[1:] else pooled[0]

    @classmethod
    def _classified(cls, features: Any, architecture: Architecture, classes, activation) -> Any:
        """Outputs, (batch, classes), of what is classified."""
        head = Blocks(architecture.weight_decay).head
        return head(features, classes=classes, dropout=architecture.dropout, activation=activation)

    @property
    def min_crop_size(self) -> int:
        """Fewest pixels a side of a clip."""
        return self._architecture.min_crop_size

    @property
    def parameter_count(self) -> int:
        """Learned numbers: weights without moving statistics, frozen ones included."""
        learned = ("kernel", "bias", "gamma", "beta")
        return sum(math.prod(weight.shape) for weight in self.weights if weight.name in learned)

    def multiply_adds(self, num_frames: int, crop_size: int) -> int:
        """Multiplications with an addition that one clip costs, as papers count them.

        Those of convolutions, classifier and attention (of dot products in the order of the paper,
        whatever the order that is computed); additions, normalization and pooling are left out.

        Example:

        >>> I3D().multiply_adds(8, 224) / 1e9
        28.54...
        """
        size = num_frames, crop_size
        kernels = (keras.layers.Conv3D, DepthwiseConv3D, keras.layers.Dense)
        layers = [layer for layer in self.layers if isinstance(layer, kernels)]
        outputs = self._shapes([layer.output for layer in layers], *size)
        attentions = [layer for layer in self.layers if isinstance(layer, NonLocalAttention)]
        thetas = self._shapes([layer.input[0] for layer in attentions], *size)
        phis = self._shapes([layer.input[1] for layer in attentions], *size)
        return sum(
            math.prod(shape[1:-1]) * math.prod(layer.kernel.shape)
            for layer, shape in zip(layers, outputs, strict=True)
        ) + sum(
            2 * math.prod(theta) * math.prod(phi[1:-1])
            for theta, phi in zip(thetas, phis, strict=True)
        )

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
        pools = [
            layer
            for layer in self.layers
            if isinstance(layer, keras.layers.GlobalAveragePooling3D)
            and layer.name.startswith("head-")
        ]
        features = [layer.input for layer in pools]
        windows = self._shapes(features, num_frames, crop_size)
        with dtype_policy(self.dtype_policy):
            pooled = [
                keras.layers.AveragePooling3D(window[1:-1], strides=1)(x)
                for x, window in zip(features, windows, strict=True)
            ]
            x = keras.layers.Concatenate()(pooled) if pooled[1:] else pooled[0]
        for name in self._head_layers:
            x = self.get_layer(name)(x)
        scores = keras.layers.GlobalAveragePooling3D(dtype="float32")(x)
        return keras.Model(self.inputs[0], scores, name=f"{self.name}_fully_convolutional")

    def get_config(self):
        return {
            "name": self.name,
            "dtype": self.dtype_policy.name,
            "frozen_layers": frozen_layers(self),
            **self._config,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        frozen = config.pop("frozen_layers", ())
        model = cls(**config)
        freeze_layers(model, frozen)
        return model

    def _shapes(self, tensors: Sequence[Any], num_frames: int, crop_size: int) -> list[tuple]:
        """Shapes that symbolic tensors of the network take for one clip."""
        if not tensors:
            return []
        clip = keras.KerasTensor((1, num_frames, crop_size, crop_size, self.inputs[0].shape[-1]))
        specs = keras.Function(self.inputs, list(tensors)).compute_output_spec([clip])
        return [tuple(spec.shape) for spec in specs]
