"""Weights of published checkpoints and of networks for pictures."""

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_multigrid.layers.depthwise_conv3d import DepthwiseConv3D
from keras_multigrid.layers.sub_batch_normalization import SubBatchNormalization
from keras_multigrid.models.mvit import MViT
from keras_multigrid.models.videomae import VideoMAE
from keras_multigrid.models.weights import pickles, videomae
from keras_multigrid.models.weights.fit import check_fit
from keras_multigrid.models.weights.safetensors import read_safetensors
from keras_multigrid.models.weights.transformers import resized_table, transformer_variables

_HEAD = "head.projection."
# Arrays of a layer and the ends of their published keys.
_NORMALIZATION = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def load_published_weights(
    model: keras.Model,
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    skip_head: bool | None = False,
) -> None:
    """Load a published checkpoint into a network of the same architecture.

    All of it or, after an error, nothing. Tables of positions of another size are interpolated.

    Args:
        model: `C2D`, `I3D`, `Slow`, `SlowFast`, `X3D`, `MViT` or `VideoMAE`.
        source: path of a PyTorch (`.pyth`, `.pt`, `.pth`, `.bin`) or Caffe2 (`.pkl`) checkpoint, of
            a file of safetensors, or of a network of this package (`.keras`); or a mapping from
            published key to array, channels first. Nothing in a file is executed.
        skip_head: leave the classifier as it is, for data with other classes; None: if the
            checkpoint's has another number of them, or the network has none, or, of a `VideoMAE`,
            the checkpoint has none, because it learnt to fill in what was masked.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file cannot be read, or would run code.
        ValueError: if keys are missing, unexpected, of another shape, or of other numbers than
            finite floats, with all of them.

    Example:

    >>> model = create("slowfast_8x8_r50", classes=174)
    >>> load_published_weights(model, "SLOWFAST_8x8_R50.pkl", skip_head=True)
    """
    origin = "the mapping" if isinstance(source, Mapping) else os.fspath(source)
    arrays = _weights(source if isinstance(source, Mapping) else _read(origin))
    if isinstance(model, VideoMAE):
        arrays = videomae.videomae_arrays(arrays)
    variables = _published_variables(model)
    head = _head(model)
    has_head = f"{head}bias" in variables
    if skip_head is None:
        skip_head = _has_another_head(model, arrays, variables)
    if skip_head:
        arrays, variables = _without_head(arrays, head), _without_head(variables, head)
        if _has_no_head_norm(model, arrays):
            variables = _without_head(variables, videomae.HEAD_NORM)
    arrays = {
        key: resized_table(key, array, variables[key].shape) if key in variables else array
        for key, array in arrays.items()
    }
    shapes = {key: variable.shape for key, variable in variables.items()}
    check_fit(model.name, arrays, shapes, head=head, source=origin)
    if skip_head and has_head:
        warnings.warn(
            f"The classifier of {model.name} keeps its own weights: the checkpoint's is left out.",
            stacklevel=2,
        )
    for key, variable in variables.items():
        variable.assign(arrays[key].reshape(variable.shape))


def inflate_weights(model: keras.Model, source: keras.Model | str | os.PathLike[str]) -> None:
    """Start a network for clips from a ResNet for pictures.

    Each kernel is repeated along time and divided by its length, so that a clip of one repeated
    picture gives the features of the picture (Carreira and Zisserman, CVPR 2017, section 3.1). The
    classifier keeps its own weights, and so do non-local blocks, which pass on what they get at
    first.

    The input of `keras.applications` differs: blue first, from -124 to 151. The stem takes up the
    difference. Its first convolution of a stage strides, the published networks' second one.

    Args:
        model: a `C2D`, `I3D` or `Slow`.
        source: `keras.applications.ResNet50` or `ResNet101` of the same depth, or the `.keras` file
            of one; or a published checkpoint of such a network (`R50_IN1K.pyth`).

    Raises:
        FileNotFoundError, CheckpointError: same as for `load_published_weights`.
        ValueError: if the networks do not fit, with all keys that are missing or misshapen.

    Example:

    >>> inflate_weights(I3D(classes=10), keras.applications.ResNet50(weights="imagenet"))
    """
    variables = {
        key: variable
        for key, variable in _without_head(_published_variables(model), _HEAD).items()
        if "nonlocal" not in key
    }
    origin = source.name if isinstance(source, keras.Model) else os.fspath(source)
    arrays = {
        key: _inflated(array, variables[key].shape) if key in variables else array
        for key, array in _picture_arrays(source, variables)
    }
    shapes = {key: variable.shape for key, variable in variables.items()}
    check_fit(model.name, arrays, shapes, head=_HEAD, source=origin)
    for key, variable in variables.items():
        variable.assign(arrays[key])


def published_arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """Published key to array, channels first: what `load_published_weights` takes."""
    return {key: variable.value for key, variable in _published_variables(model).items()}


def published_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Published key to shape, channels first, of every array that `load_published_weights` takes.

    >>> published_shapes(create("i3d_8x8_r50"))["s1.pathway0_stem.conv.weight"]
    (64, 3, 5, 7, 7)
    """
    return {key: variable.shape for key, variable in _published_variables(model).items()}


class _Variable(NamedTuple):
    """A variable of a model as the published checkpoints have it."""

    variable: keras.Variable
    # From the published order of axes to Keras's, and back.
    to_keras: tuple[int, ...]
    # Last axes of length 1 that it has beside those: a dense layer published as a convolution.
    ones: int = 0

    @property
    def value(self) -> np.ndarray:
        value = np.transpose(_array(self.variable), np.argsort(self.to_keras))
        return value.reshape(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        axes = np.argsort(self.to_keras)
        return tuple(self.variable.shape[axis] for axis in axes) + (1,) * self.ones

    def assign(self, array: np.ndarray) -> None:
        array = array.reshape(self.shape[: len(self.to_keras)])
        self.variable.assign(np.transpose(array, self.to_keras))


def _published_variables(model: keras.Model) -> dict[str, _Variable]:
    """All variables but the group counts, by their published keys."""
    if isinstance(model, (MViT, VideoMAE)):
        is_multiscale = isinstance(model, MViT)
        named = transformer_variables if is_multiscale else videomae.videomae_variables
        return {key: _Variable(variable, axes) for key, variable, axes in named(model)}
    variables = {}
    for layer in model.layers:
        key = layer.name.replace("-", ".")
        if isinstance(layer, SubBatchNormalization):
            for end, name in _NORMALIZATION.items():
                variables[f"{key}.{end}"] = _Variable(getattr(layer, name), (0,))
        elif isinstance(layer, (keras.layers.Conv3D, DepthwiseConv3D)):
            variables[f"{key}.weight"] = _Variable(layer.kernel, (2, 3, 4, 1, 0))
        elif isinstance(layer, keras.layers.Dense):
            ones = 0 if f"{key}." == _HEAD else 3
            variables[f"{key}.weight"] = _Variable(layer.kernel, (1, 0), ones)
        if getattr(layer, "use_bias", False):
            variables[f"{key}.bias"] = _Variable(layer.bias, (0,))
    return variables


def _head(model: keras.Model) -> str:
    """What the published keys of the classifier begin with."""
    return videomae.HEAD if isinstance(model, VideoMAE) else _HEAD


def _has_another_head(model, arrays: Mapping, variables: Mapping[str, _Variable]) -> bool:
    """Whether a checkpoint's classifier is of other classes, or one of the two has none."""
    bias = f"{_head(model)}bias"
    if bias not in arrays:
        return _has_no_head_norm(model, arrays)
    return bias not in variables or arrays[bias].shape != variables[bias].shape


def _has_no_head_norm(model: keras.Model, arrays: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of a network that learnt to fill in, which has nothing of a head."""
    norm = f"{videomae.HEAD_NORM}weight"
    return isinstance(model, VideoMAE) and norm not in arrays


def _without_head(values: Mapping[str, Any], head: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith(head)}


def _weights(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays without PyTorch's counters."""
    return {
        str(key): np.asarray(array)
        for key, array in arrays.items()
        if not str(key).endswith(".num_batches_tracked")
    }


# ---- Caffe2's names ------------------------------------------------------------------------------

_BLOBS = tuple(
    (re.compile(pattern), key)
    for pattern, key in (
        (r"(t_)?res_conv1_bn", "s1.pathway{p}_stem.bn"),
        (r"(t_)?conv1", "s1.pathway{p}_stem.conv"),
        (r"(t_)?res(\d)_(\d+)_branch1", "s{2}.pathway{p}_res{3}.branch1"),
        (r"(t_)?res(\d)_(\d+)_branch1_bn", "s{2}.pathway{p}_res{3}.branch1_bn"),
        (r"(t_)?res(\d)_(\d+)_branch2([abc])", "s{2}.pathway{p}_res{3}.branch2.{4}"),
        (r"(t_)?res(\d)_(\d+)_branch2([abc])_bn", "s{2}.pathway{p}_res{3}.branch2.{4}_bn"),
        (r"t_pool(1)_subsample", "s{1}_fuse.conv_f2s"),
        (r"t_pool(1)_subsample_bn", "s{1}_fuse.bn"),
        (r"t_res(\d)_\d+_branch2c_bn_subsample", "s{1}_fuse.conv_f2s"),
        (r"t_res(\d)_\d+_branch2c_bn_subsample_bn", "s{1}_fuse.bn"),
        (r"nonlocal_conv(\d)_(\d+)_(theta|phi|g|out)", "s{1}.pathway0_nonlocal{2}.conv_{3}"),
        (r"nonlocal_conv(\d)_(\d+)_bn", "s{1}.pathway0_nonlocal{2}.bn"),
        (r"pred", "head.projection"),
    )
)
_ENDS = {"w": "weight", "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}


def published_key(blob: str) -> str | None:
    """The key of a Caffe2 blob; None for what is no weight (momenta, the learning rate).

    >>> published_key("t_res4_5_branch2c_bn_rm")
    's4.pathway1_res5.branch2.c_bn.running_mean'
    """
    stem, _, end = blob.rpartition("_")
    for pattern, key in _BLOBS:
        match = pattern.fullmatch(stem)
        if match and end in _ENDS:
            pathway = 1 if stem.startswith("t_") else 0
            return f"{key.format(None, *match.groups(), p=pathway)}.{_ENDS[end]}"
    return None


def _read(path: str) -> dict[str, np.ndarray]:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"There is no checkpoint '{path}'. Give the path of a .pyth, .pth, .safetensors or "
            ".pkl file."
        )
    if path.endswith(".keras"):
        return published_arrays(_load_keras(path))
    if path.endswith(".h5"):
        raise pickles.CheckpointError(
            f"'{path}' is a file of Keras, not a published checkpoint. Use model.load_weights."
        )
    if path.endswith(".safetensors"):
        return read_safetensors(path)
    if not path.endswith(".pkl"):
        return pickles.read_pytorch(path)
    # What is no weight has no key: momenta, the learning rate, the iteration.
    return {
        key: array
        for blob, array in pickles.read_caffe2(path).items()
        if (key := published_key(blob)) is not None
    }


def _load_keras(path: str) -> keras.Model:
    with pickles.reading(path):
        return keras.models.load_model(path, compile=False)


# ---- From pictures -------------------------------------------------------------------------------

# keras.applications takes 255 times colours, blue first, without the mean colour of ImageNet.
_IMAGENET_MEAN = np.asarray([103.939, 116.779, 123.68])
# What video networks take: (colour - mean) / std in [0, 1].
_MEAN, _STD = 0.45, 0.225


def _inflated(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel of `shape` (out, in, frames, height, width); what is no kernel stays as it is."""
    if len(shape) != 5 or array.ndim not in (4, 5):
        return array
    # Networks for pictures have kernels without frames, or of one.
    kernel = array[:, :, None] if array.ndim == 4 else array
    frames = shape[2]
    return np.repeat(kernel, frames, axis=2) / frames if kernel.shape[2] == 1 else kernel


def _picture_arrays(source, variables: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and arrays of a network for pictures, of any source that `inflate_weights` takes."""
    if not isinstance(source, keras.Model):
        if not os.fspath(source).endswith(".keras"):
            yield from _without_head(_weights(_read(os.fspath(source))), _HEAD).items()
            return
        source = _load_keras(os.fspath(source))
    for name in {key.rsplit(".", 1)[0] for key in variables}:
        yield from _layer_arrays(name, source)


def _layer_arrays(name: str, image_model: keras.Model) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and arrays of a layer, from that of `keras.applications` that stands in its place."""
    layer = _layer(image_model, _image_layer_name(name))
    if layer is None:
        return
    if isinstance(layer, keras.layers.BatchNormalization):
        arrays = {f"{name}.{end}": _array(getattr(layer, v)) for end, v in _NORMALIZATION.items()}
        # Convolutions for pictures have a bias; normalization subtracts it anyway.
        arrays[f"{name}.running_mean"] -= _bias(image_model, layer.name)
        yield from arrays.items()
        return
    kernel = _array(layer.kernel)
    if name == "s1.pathway0_stem.conv":
        kernel = kernel[:, :, ::-1] * (255 * _STD)
    yield f"{name}.weight", kernel.transpose(3, 2, 0, 1)


def _bias(image_model: keras.Model, normalization: str) -> np.ndarray:
    """What is added before a normalization beside the video network's own convolution."""
    layer = _layer(image_model, normalization.replace("_bn", "_conv"))
    bias = _array(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    if normalization == "conv1_bn":
        # Grey in video networks is not grey in ImageNet's.
        offset = 255 * _MEAN - _IMAGENET_MEAN
        bias = bias + np.einsum("hwio,i->o", _array(layer.kernel), offset)
    return bias


def _image_layer_name(name: str) -> str:
    """`keras.applications`' name: s3.pathway0_res1.branch2.b_bn is conv3_block2_2_bn."""
    if name.startswith("s1."):
        return "conv1_bn" if name.endswith("bn") else "conv1_conv"
    match = re.fullmatch(r"s(\d)\.pathway0_res(\d+)\.branch(1|2\.[abc])(_bn)?", name)
    if match is None:
        return name
    stage, block, branch, normalization = match.groups()
    place = 0 if branch == "1" else "abc".index(branch[-1]) + 1
    end = "bn" if normalization else "conv"
    return f"conv{stage}_block{int(block) + 1}_{place}_{end}"


def _layer(model: keras.Model, name: str) -> keras.layers.Layer | None:
    return next((layer for layer in model.layers if layer.name == name), None)


def _array(variable) -> np.ndarray:
    """A copy of a variable's value."""
    return np.array(keras.ops.convert_to_numpy(variable))
