"""Published keys of multiscale transformers, and their tables of positions at other sizes."""

import math
import re
from collections.abc import Iterator

import keras
import numpy as np

from keras_multigrid.layers.resizing import resized_places, resizing_matrix
from keras_multigrid.models.mvit import MViT
from keras_multigrid.models.weights.fit import is_float

_ENDS = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
# Layers whose weights are called after the layer itself, in the published networks.
_TABLES = re.compile(r"\b(rel_pos|pos_embed)\.(\w+)$")


def transformer_variables(model: MViT) -> Iterator[tuple[str, keras.Variable, tuple[int, ...]]]:
    """Published key of each weight, the weight, and its axes in the published order.

    "s2-blocks-0/attn/rel_pos/h" is `blocks.0.attn.rel_pos_h`.
    """
    for layer in model.layers:
        for variable in layer.weights:
            path = variable.path.split(f"{layer.name}/", 1)[1]
            *names, end = re.sub(r"^s\d-|^head-(?=norm)", "", f"{layer.name}/{path}").split("/")
            key = ".".join((*names, _ENDS.get(end, end))).replace("-", ".")
            key = _TABLES.sub(r"\1_\2", key).removesuffix(".token")
            axes = tuple(range(len(variable.shape)))
            if end == "kernel":
                axes = (1, 0) if len(axes) == 2 else (2, 3, 4, 1, 0)
            yield key, variable, axes


def resized_table(key: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A published array at the size of a model's; one that is no table of positions stays as it is.

    As the published code loads it: tables of relative positions and of frames are interpolated
    linearly, those of space bicubically, between squares; all with half-pixel centres.

    Args:
        key: its published key.
        array: of the checkpoint.
        shape: of the model.
    """
    name = key.rsplit(".", 1)[-1]
    is_table = name.startswith(("rel_pos_", "pos_embed_"))
    # All but the rows must fit: the rest is an error, as for other weights.
    fits = array.ndim == len(shape) and array.shape[-1] == shape[-1] and array.size
    fits = fits and is_float(array)
    if not is_table or not fits or array.shape == tuple(shape):
        return array
    rows, size = array.shape[-2], shape[-2]
    if name == "pos_embed_spatial":
        old, new = math.isqrt(rows), math.isqrt(size)
        if (old**2, new**2) != (rows, size):
            return array
        matrix = _bicubic(new, old)
        square = array.reshape(old, old, -1).astype(np.float64)
        square = np.einsum("hr,rsc,ws->hwc", matrix, square, matrix)
        return square.reshape(shape).astype(array.dtype)
    return (resizing_matrix(size, rows) @ array).astype(array.dtype)


def _bicubic(size: int, rows: int) -> np.ndarray:
    """(size, rows): times `rows` values, it gives them resized, as PyTorch's bicubic interpolation.

    Keys, "Cubic Convolution Interpolation", 1981, with a = -0.75. Beyond the ends are the ends.
    """
    # Places in float32, as there.
    places = resized_places(np.arange(size, dtype="float32"), np.float32(size), rows)
    matrix = np.zeros((size, rows))
    for offset in range(-1, 3):
        neighbours = np.floor(places) + offset
        x, a = np.abs(places - neighbours), -0.75
        near = ((a + 2) * x - (a + 3)) * x**2 + 1
        far = ((x - 5) * x + 8) * x * a - 4 * a
        columns = np.clip(neighbours, 0, rows - 1).astype(int)
        np.add.at(matrix, (np.arange(size), columns), np.where(x <= 1, near, far))
    return matrix
