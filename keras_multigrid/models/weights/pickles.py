"""Arrays out of PyTorch and Caffe2 checkpoints, without either library and without running code.

Both kinds are pickles: programs that build values, and can name any function to be called. Here
only those operations run that build containers, numbers and texts (`unpickling.py`), and only the
few names that arrays are made of can be called, none of which is looked up in a module: each stands
for a class or a function of this file. Arrays are made at the end, when their types, shapes and
sizes agree with the file. Anything else ends the reading with an error.
"""

import contextlib
import dataclasses
import functools
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from keras_multigrid.models.weights.unpickling import (
    CheckpointError,
    Ignored,
    Maker,
    Unpickler,
)


def read_pytorch(path: str) -> dict[str, np.ndarray]:
    """The model's arrays in a checkpoint of `torch.save`: of the reference, or a bare state dict.

    Args:
        path: a `.pyth`, `.pt` or `.pth` file, of the current (zip) or the older format.

    Returns:
        Published key to array, channels first. Optimizer state is not read from the disk.

    Raises:
        CheckpointError: if the file is damaged, is of another kind or carries code.
    """
    with reading(path), open(path, "rb") as file:
        checkpoint = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        is_mapping = isinstance(checkpoint, Mapping)
        state = _state(checkpoint) if is_mapping else None
        tensors = state.values() if isinstance(state, Mapping) else (None,)
        if not all(isinstance(tensor, _Tensor) for tensor in tensors):
            raise CheckpointError(
                "it holds no weights of a model. Expected a mapping from keys to tensors, alone or "
                f"as one of {_STATES}."
            )
        return {str(key): tensor.read() for key, tensor in state.items()}


# Where checkpoints have their model: of PySlowFast, VideoMAE, DeepSpeed, and Lightning.
_STATES = ("model_state", "model", "module", "state_dict")


def _state(checkpoint: Mapping[str, Any]) -> Any:
    """What holds the weights of a model, beside other things or alone."""
    found = (checkpoint[name] for name in _STATES if isinstance(checkpoint.get(name), Mapping))
    return next(found, checkpoint.get(_STATES[0], checkpoint))


def read_caffe2(path: str) -> dict[str, np.ndarray]:
    """The blobs of a Caffe2 checkpoint, a pickled mapping {"blobs": {name: array}}.

    Args:
        path: a `.pkl` file.

    Returns:
        Caffe2's name to array, channels first.

    Raises:
        CheckpointError: if the file is damaged, is of another kind or carries code.
    """
    with reading(path), open(path, "rb") as file:
        checkpoint = Unpickler(file, _ARRAY_NAMES, encoding="latin1").load()
        blobs = checkpoint.get("blobs") if isinstance(checkpoint, Mapping) else None
        if not isinstance(blobs, Mapping):
            raise CheckpointError("it is no Caffe2 checkpoint: expected a mapping with 'blobs'.")
        arrays = {str(name): value for name, value in blobs.items() if isinstance(value, _Array)}
        # One text of the file may stand for the numbers of many arrays.
        if sum({id(a): a.num_bytes for a in arrays.values()}.values()) > _size(file):
            raise CheckpointError("its arrays have more bytes than the file.")
        return {name: array.numbers for name, array in arrays.items()}


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes an error that names the file."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"Cannot read '{path}': {error}") from error
    except FileNotFoundError:
        raise
    except Exception as error:
        size = os.path.getsize(path) if os.path.isfile(path) else 0
        raise CheckpointError(
            f"Cannot read '{path}' ({size:,} bytes) as a checkpoint: "
            f"{str(error) or type(error).__name__}. It may be cut off, or of another kind: "
            "download it again and compare its size."
        ) from error


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _integers(values: Any) -> tuple[int, ...]:
    """A shape or strides."""
    is_sequence = isinstance(values, (tuple, list)) and len(values) <= _MOST_AXES
    if not is_sequence or not all(type(v) is int and 0 <= v < 2**62 for v in values):
        raise CheckpointError("an array has a shape or strides of something else than integers.")
    return tuple(values)


_MOST_AXES = 32


# ---- numpy arrays, in Caffe2's pickles -----------------------------------------------------------

_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class _Type(Maker):
    """Stands for `numpy.dtype`, of numbers alone."""

    def __init__(self, name: Any, *_: Any):
        if not isinstance(name, str) or name not in _TYPES:
            raise CheckpointError(
                f"it holds an array of {'Python objects' if name == 'O8' else 'another type'}. "
                f"Expected one of the types {', '.join(_TYPES)}."
            )
        self._name, self._order = name, "<"

    def set_state(self, state: Any) -> None:
        # Its parts: what it is an array of, names and fields, if it is a record.
        _, order, *parts = state
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts[:3]):
            raise CheckpointError("it holds an array of records.")
        self._order = order

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self._order + self._name)


class _Array(Maker):
    """Stands for a `numpy.ndarray`, whose state follows."""

    def __init__(self, *_: Any):
        self._state = None

    def set_state(self, state: Any) -> None:
        _, shape, kind, is_fortran, content = state
        content = content.text if isinstance(content, _Encoded) else content
        if not isinstance(kind, _Type) or not isinstance(content, (bytes, str)):
            raise CheckpointError("it holds an array without numbers.")
        self._state = _integers(shape), kind, bool(is_fortran is True), content
        if self.num_bytes != len(content):
            raise CheckpointError("an array has not as many numbers as its shape says.")

    @property
    def num_bytes(self) -> int:
        if self._state is None:
            raise CheckpointError("it holds an array without numbers.")
        shape, kind, _, _ = self._state
        return math.prod(shape) * kind.dtype.itemsize

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        shape, kind, is_fortran, content = self._state
        content = content.encode("latin1") if isinstance(content, str) else content
        return np.ndarray(shape, kind.dtype, content, order="F" if is_fortran else "C")


class _Scalar(Maker):
    """Stands for a number of a type of NumPy's: no weight is one."""

    def __init__(self, *_: Any):
        pass


class _Encoded(Maker):
    """Stands for the bytes of a text, which is how Python 3 writes bytes for Python 2."""

    def __init__(self, text: Any, encoding: Any = "latin1"):
        if not isinstance(text, str) or encoding != "latin1":
            raise CheckpointError("it asks for another encoding than latin1.")
        self.text = text


def _ordered_dict(pairs: Any = ()) -> dict:
    result = {}
    for key, value in pairs:
        Unpickler.check_key(key)
        result[key] = value
    # Moved, not copied: a list that is named a thousand times would fill the memory.
    if pairs:
        pairs.clear()
    return result


_ARRAY_NAMES: Mapping[tuple[str, str], Any] = {
    **{
        (f"numpy.{core}.multiarray", name): maker
        for core in ("core", "_core")
        for name, maker in (("_reconstruct", _Array), ("scalar", _Scalar))
    },
    # Arguments, not to be called.
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _Encoded,
    ("collections", "OrderedDict"): _ordered_dict,
}


# ---- Tensors, in PyTorch's files -----------------------------------------------------------------

_STORAGE_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A run of numbers in the file, read once, when wanted."""

    kind: str
    size: int
    read_bytes: Callable[[], bytes]

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        dtype, content = np.dtype(_STORAGE_TYPES[self.kind]), self.read_bytes()
        if self.size * dtype.itemsize > len(content):
            raise CheckpointError("a tensor has fewer numbers than it says.")
        numbers = np.ndarray(self.size, dtype, content)
        if self.kind == "BFloat16Storage":
            # The upper half of a float32.
            return (numbers.astype("<u4") << 16).view("<f4")
        return numbers


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> np.ndarray:
        numbers = self.storage.numbers
        if 0 in self.shape:
            return np.zeros(self.shape, numbers.dtype)
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        if last >= len(numbers):
            raise CheckpointError("a tensor reaches beyond its numbers.")
        if math.prod(self.shape) > len(numbers):
            raise CheckpointError("a tensor repeats its numbers.")
        # Not a copy: tensors may share their numbers.
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :],
            self.shape,
            tuple(stride * numbers.itemsize for stride in self.strides),
            writeable=False,
        )


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *others: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise CheckpointError("a tensor has no numbers.")
    # Behind whether it needs a gradient, and hooks, stands what is to be done with its numbers.
    if any(others[2:]):
        raise CheckpointError(
            "a tensor is the negative or the conjugate of what is stored, as views of complex ones "
            "are. Save it after `resolve_neg()`."
        )
    (offset,), shape, strides = (_integers(v) for v in ((offset,), shape, strides))
    return _Tensor(storage, offset, shape, strides)


_TENSOR_NAMES: Mapping[tuple[str, str], Any] = {
    **_ARRAY_NAMES,
    **{("torch", kind): kind for kind in _STORAGE_TYPES},
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch", "Size"): lambda sizes=(): sizes,
    # VideoMAE keeps the settings of a training beside its weights, and DeepSpeed empty sets.
    ("argparse", "Namespace"): Ignored,
    **{(m, n): Ignored for m in ("__builtin__", "builtins") for n in ("set", "frozenset")},
    **{("pathlib", f"{kind}Path"): Ignored for kind in ("Posix", "Windows", "PurePosix")},
    ("torch", "device"): Ignored,
    **{("torch", kind): kind for kind in ("float32", "float16", "bfloat16", "float64")},
}


def _load_tensors(file: BinaryIO, storage_at: Callable[[str, str, int], _Storage]) -> Any:
    """The value of a pickle whose storages `storage_at` makes: of their type, key and size."""

    storages: dict[str, _Storage] = {}

    def storage(saved_id: Any) -> _Storage:
        tag, kind, key, _, size, *view = saved_id
        is_known = isinstance(kind, str) and kind in _STORAGE_TYPES and isinstance(key, (str, int))
        if tag != "storage" or not is_known or any(part is not None for part in view):
            raise CheckpointError("it holds an unknown kind of numbers.")
        key, (size,) = str(key), _integers((size,))
        stored = storages.setdefault(key, storage_at(kind, key, size))
        if (stored.kind, stored.size) != (kind, size):
            raise CheckpointError("it has numbers of two types or sizes at one place.")
        return stored

    return Unpickler(file, _TENSOR_NAMES, encoding="utf-8", persistent=storage).load()


def _read_zip(file: BinaryIO) -> Any:
    archive = zipfile.ZipFile(file)
    parts = archive.infolist()
    # PyTorch compresses nothing. A file of 3 MB could claim to hold gigabytes.
    is_plain = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    if not is_plain or sum(part.file_size for part in parts) > _size(file):
        raise CheckpointError("its parts are compressed or overlap, as torch.save writes none.")
    names = [part.filename for part in parts if part.filename.endswith("/data.pkl")]
    if not names:
        raise CheckpointError("it has no data.pkl, as torch.save writes one.")
    folder = names[0].removesuffix("data.pkl")
    orders = [archive.read(part) for part in parts if part.filename == f"{folder}byteorder"]
    if orders not in ([], [b"little"]):
        raise CheckpointError("its numbers are stored with the highest byte first.")
    # Storages of one key share what is read.
    read = functools.cache(archive.read)

    def storage_at(kind, key, size):
        return _Storage(kind, size, lambda: read(f"{folder}data/{key}"))

    return _load_tensors(io.BytesIO(archive.read(names[0])), storage_at)


# What the format before PyTorch 1.6 begins with.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def _read_legacy(file: BinaryIO) -> Any:
    """Pickles one after the other, then the numbers of all storages."""
    kinds: dict[str, str] = {}
    places: dict[str, tuple[int, int]] = {}

    @functools.cache
    def read(key):
        place, length = places[key]
        file.seek(place)
        return file.read(length)

    def storage_at(kind, key, size):
        kinds[key] = kind
        return _Storage(kind, size, lambda: read(key))

    file.seek(0)
    magic, protocol, _ = (Unpickler(file).load() for _ in range(3))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise CheckpointError("it was not written by torch.save.")
    checkpoint = _load_tensors(file, storage_at)
    keys = Unpickler(file).load()
    if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
        raise CheckpointError("it does not list its numbers.")
    for key in map(str, keys):
        count = int.from_bytes(file.read(8), "little")
        length = count * np.dtype(_STORAGE_TYPES[kinds[key]]).itemsize
        places[key] = file.tell(), length
        if file.tell() + length > _size(file):
            raise EOFError("the file ends before its numbers do")
        file.seek(length, os.SEEK_CUR)
    return checkpoint
