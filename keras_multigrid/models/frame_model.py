"""Networks for pictures, frame by frame, joined over time."""

from collections.abc import Callable
from typing import Any

import keras

from keras_multigrid.checks import (
    check_arguments,
    check_choice,
    check_integer,
    check_probability,
)
from keras_multigrid.layers.conv_lstm import ConvLSTM
from keras_multigrid.layers.folded_frames import FoldFrames, UnfoldFrames
from keras_multigrid.layers.frame_positions import FramePositions
from keras_multigrid.models.frozen_layers import freeze_layers, frozen_layers
from keras_multigrid.models.precision import dtype_policy


@keras.saving.register_keras_serializable(package="keras_multigrid")
class FrameModel(keras.Model):
    """Applies a network for pictures to every frame, joins the frames, classifies the clip.

    For small sets: the network brings what it learned from pictures, and only what joins the frames
    begins anew. Sizes are left open, so it takes every grid that the network for pictures takes.

        clips (b, t, h, w, 3) -> pictures (b * t, h, w, 3) -> backbone -> features (b, t, c)
                              -> temporal -> (b, units) -> scores (b, classes)

    Args:
        backbone: a Keras model from pictures (batch, height, width, 3) of any size to feature maps
            (batch, height, width, channels), tokens (batch, tokens, channels), of which the mean is
            taken, or features (batch, channels): one of `keras.applications`, made with
            `include_top=False`, or a KerasHub backbone.
        temporal: how frames are joined. "mean" of their features, whatever their order;
            "attention" among frames, which know their place in the clip; "gru", which reads them
            in order; "convlstm", the same for feature maps, so that it sees where things are.
        units: channels of what joins the frames; "mean" keeps those of the backbone.
        heads: of "attention"; they share the units.
        include_top: whether to end in a classifier; without it the output is the joined features.
        classes: number of classes.
        classifier_activation: of the classifier: "softmax", "sigmoid" (several labels), None.
        dropout: share of the joined features that is dropped in training.
        preprocess: a function of pictures from 0 to 255, float, to what the backbone expects, such
            as `keras.applications.resnet50.preprocess_input`. None where it takes 0 to 255, as
            EfficientNetV2 and ConvNeXt do.
        mean, std: of the clips, as in `ClipSampling`: pictures are `(clips * std + mean) * 255`.
        dtype: policy of all layers but the backbone's; None for the global one.
        name: of the model.

    Input: (batch, frames, height, width, 3). Output: (batch, classes).

    Raises:
        TypeError: for an argument that there is not.
        ValueError: for a backbone that is no model of one output, another `temporal`, "convlstm"
            of a backbone without feature maps, or "attention" of an odd number of units.

    Example:

    >>> backbone = keras.applications.EfficientNetV2B0(include_top=False)
    >>> model = FrameModel(backbone, temporal="gru", classes=10)
    >>> model(keras.ops.zeros((2, 8, 64, 64, 3))).shape
    (2, 10)
    """

    def __init__(self, backbone: keras.Model, **options):
        config = {**_DEFAULTS, **options}
        check_arguments("FrameModel", options, ("backbone", *_DEFAULTS))
        check_choice("temporal", config["temporal"], tuple(_JOINED))
        for count in ("units", "heads", "classes"):
            check_integer(count, config[count])
        check_probability("dropout", config["dropout"])
        _check_backbone(backbone)
        with dtype_policy(config["dtype"]):
            clips = keras.Input((None, None, None, 3), name="clips")
            settings = {name: config[name] for name in ("mean", "std", "preprocess")}
            maps = backbone(FramePictures(**settings, name="pictures")(clips))
            features = _JOINED[config["temporal"]](maps, clips, config)
            if config["include_top"]:
                features = keras.layers.Dropout(config["dropout"], name="head-dropout")(features)
                features = keras.layers.Dense(
                    config["classes"],
                    activation=config["classifier_activation"],
                    # Scores stay float32 under mixed precision: a softmax over float16 overflows.
                    dtype="float32",
                    name="head-projection",
                )(features)
            super().__init__(inputs=clips, outputs=features, name=config["name"])
        self.backbone, self._options = backbone, config

    def get_config(self):
        # Once the model is made, it has a name and a precision of its own.
        given = {
            **self._options,
            "name": self.name,
            "dtype": self.dtype_policy,
            "backbone": self.backbone,
        }
        return {
            **given,
            "frozen_layers": frozen_layers(self),
            **{
                name: keras.saving.serialize_keras_object(given[name])
                for name in ("backbone", "preprocess", "dtype")
            },
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        objects = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("backbone", "preprocess", "dtype")
        }
        config = {**config, **objects}
        frozen = config.pop("frozen_layers", ())
        model = cls(**config)
        freeze_layers(model, frozen)
        return model


def _check_backbone(backbone: keras.Model) -> None:
    if not isinstance(backbone, keras.Model):
        raise ValueError(
            "`backbone` must be a Keras model of pictures. "
            f"Received: backbone={backbone!r}. Make it first: "
            "keras.applications.EfficientNetV2B0(include_top=False)."
        )
    outputs = getattr(backbone, "outputs", None) or ()
    if len(outputs) > 1:
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise ValueError(
            f"`backbone` must have one output. Received: {backbone.name} with {len(outputs)}, of "
            f"shapes {shapes}. Take one: keras.Model(backbone.input, backbone.outputs[-1])."
        )


_DEFAULTS = {
    "temporal": "mean",
    "units": 256,
    "heads": 4,
    "include_top": True,
    "classes": 400,
    "classifier_activation": "softmax",
    "dropout": 0.5,
    "preprocess": None,
    "mean": 0.45,
    "std": 0.225,
    "dtype": None,
    "name": None,
}


@keras.saving.register_keras_serializable(package="keras_multigrid")
class FramePictures(FoldFrames):
    """The frames of normalized clips as a network for pictures expects them.

    Args:
        mean, std: that clips were normalized by.
        preprocess: a function of pictures from 0 to 255; None leaves them.

    Input: (batch, frames, height, width, 3). Output: (batch * frames, height, width, 3).
    """

    def __init__(
        self,
        mean: float = 0.45,
        std: float = 0.225,
        preprocess: Callable[[Any], Any] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mean, self.std, self.preprocess = mean, std, preprocess

    def call(self, clips):
        pictures = super().call((clips * self.std + self.mean) * 255.0)
        return pictures if self.preprocess is None else self.preprocess(pictures)

    def get_config(self):
        preprocess = keras.saving.serialize_keras_object(self.preprocess)
        return {
            **super().get_config(),
            "mean": self.mean,
            "std": self.std,
            "preprocess": preprocess,
        }

    @classmethod
    def from_config(cls, config):
        preprocess = keras.saving.deserialize_keras_object(config["preprocess"])
        return cls(**{**config, "preprocess": preprocess})


# ---- From maps (b * t, h, w, c) or features (b * t, c) to (b, units) -----------------------------


def _pooled_frames(maps, clips):
    """(b, t, c) of each frame's maps."""
    if len(maps.shape) == 4:
        maps = keras.layers.GlobalAveragePooling2D(name="frame-pool")(maps)
    elif len(maps.shape) == 3:
        maps = keras.layers.GlobalAveragePooling1D(name="frame-pool")(maps)
    return UnfoldFrames(name="frames")(maps, clips)


def _mean(maps, clips, config):
    return keras.layers.GlobalAveragePooling1D(name="temporal-mean")(_pooled_frames(maps, clips))


def _gru(maps, clips, config):
    return keras.layers.GRU(config["units"], name="temporal-gru")(_pooled_frames(maps, clips))


def _attention(maps, clips, config):
    units, heads = config["units"], config["heads"]
    if units % 2:
        raise ValueError(
            "temporal='attention' takes an even number of units, for the sines and cosines of "
            f"places. Received: units={units}."
        )
    x = keras.layers.Dense(units, name="temporal-reduce")(_pooled_frames(maps, clips))
    x = FramePositions(name="temporal-positions")(x)
    y = keras.layers.LayerNormalization(epsilon=1e-6, name="temporal-norm")(x)
    attention = keras.layers.MultiHeadAttention(
        heads, max(1, units // heads), dropout=0.0, name="temporal-attention"
    )
    x = keras.layers.Add(name="temporal-add")([x, attention(y, y)])
    return keras.layers.GlobalAveragePooling1D(name="temporal-mean")(x)


def _convlstm(maps, clips, config):
    if len(maps.shape) != 4:
        raise ValueError(
            "temporal='convlstm' needs feature maps (batch, height, width, channels). "
            f"Received: a backbone with outputs of shape {tuple(maps.shape)}. Make it without "
            "pooling."
        )
    maps = UnfoldFrames(name="frames")(maps, clips)
    maps = ConvLSTM(config["units"], name="temporal-convlstm")(maps)
    return keras.layers.GlobalAveragePooling2D(name="temporal-pool")(maps)


_JOINED = {"mean": _mean, "attention": _attention, "gru": _gru, "convlstm": _convlstm}
