"""Arrays out of PyTorch and Caffe2 checkpoints, without either library and without running code.

Both kinds are pickles, which can name any function to be called. Here only the few names that
arrays are made of can be, and none of them is looked up in a module: each stands for a function of
this file. Anything else ends the reading with an error.
"""

import collections
import contextlib
import dataclasses
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or asks for code to be run."""


def read_pytorch(path: str) -> dict[str, np.ndarray]:
    """The model's arrays in a checkpoint of `torch.save`: of the reference, or a bare state dict.

    Args:
        path: a `.pyth`, `.pt` or `.pth` file, of the current (zip) or the older format.

    Returns:
        Published key to array, channels first. Optimizer state is not read from the disk.

    Raises:
        CheckpointError: if the file is damaged, is of another kind or carries code.
    """
    with _reading(path), open(path, "rb") as file:
        checkpoint = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        is_mapping = isinstance(checkpoint, Mapping)
        state = checkpoint.get("model_state", checkpoint) if is_mapping else None
        tensors = state.values() if isinstance(state, Mapping) else (None,)
        if not all(isinstance(tensor, _Tensor) for tensor in tensors):
            raise CheckpointError(
                "it holds no weights of a model. Expected a mapping from keys to tensors, alone or "
                "as 'model_state'."
            )
        return {str(key): tensor.read() for key, tensor in state.items()}


def read_caffe2(path: str) -> dict[str, np.ndarray]:
    """The blobs of a Caffe2 checkpoint, a pickled mapping {"blobs": {name: array}}.

    Args:
        path: a `.pkl` file.

    Returns:
        Caffe2's name to array, channels first.

    Raises:
        CheckpointError: if the file is damaged, is of another kind or carries code.
    """
    with _reading(path), open(path, "rb") as file:
        checkpoint = _ArrayUnpickler(file, encoding="latin1").load()
        blobs = checkpoint.get("blobs") if isinstance(checkpoint, Mapping) else None
        if not isinstance(blobs, Mapping):
            raise CheckpointError("it is no Caffe2 checkpoint: expected a mapping with 'blobs'.")
        return {str(name): v for name, v in blobs.items() if isinstance(v, np.ndarray)}


# What a damaged pickle can end in.
_DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, EOFError, OSError, KeyError, ValueError),
    *(TypeError, AttributeError, IndexError, UnicodeError, MemoryError, OverflowError),
    *(StopIteration, NotImplementedError, RuntimeError),
)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes an error that names the file."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"Cannot read '{path}': {error}") from error
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        size = os.path.getsize(path) if os.path.isfile(path) else 0
        raise CheckpointError(
            f"Cannot read '{path}' ({size:,} bytes) as a checkpoint: "
            f"{error or type(error).__name__}. It may be cut off, or of another kind: download it "
            "again and compare its size."
        ) from error


class _RestrictedUnpickler(pickle.Unpickler):
    """Builds containers, numbers and what `_names` allows; refuses all else by name."""

    _names: Mapping[tuple[str, str], Any] = {}

    def find_class(self, module, name):
        if (module, name) not in self._names:
            raise CheckpointError(
                f"it asks for {module}.{name}, which no array needs. Reading a checkpoint runs no "
                "code: nothing was executed. Do not load this file with other programs either."
            )
        return self._names[module, name]


# ---- numpy arrays, in Caffe2's pickles -----------------------------------------------------------


def _reconstruct(*_):
    # An empty array, which its state then fills; whatever class the file asks for.
    return np.zeros(0, np.int8)


def _dtype(name, *_):
    # A copy: the state that follows must not change the type for the whole process.
    dtype = np.dtype(str(name), copy=True)
    if dtype.hasobject:
        raise CheckpointError(f"it holds an array of Python objects, {dtype}.")
    return dtype


def _scalar(dtype, data=b""):
    data = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(data, dtype)[0]


def _encode(text, encoding="latin1"):
    if encoding != "latin1":
        raise CheckpointError(f"it asks for the encoding {encoding!r}.")
    return text.encode("latin1")


class _ArrayUnpickler(_RestrictedUnpickler):
    _names: Mapping[tuple[str, str], Any] = {
        **{
            (f"numpy.{core}.multiarray", name): function
            for core in ("core", "_core")
            for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
        },
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): collections.OrderedDict,
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
    """A run of numbers in the file, read when wanted."""

    kind: str
    size: int
    read_bytes: Callable[[], bytes]

    def read(self) -> np.ndarray:
        numbers = np.frombuffer(self.read_bytes(), _STORAGE_TYPES[self.kind], count=self.size)
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
        numbers = self.storage.read()
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        if 0 in self.shape:
            return np.zeros(self.shape, numbers.dtype)
        if min((self.offset, *self.strides)) < 0 or last >= len(numbers):
            raise CheckpointError("a tensor reaches beyond its numbers.")
        view = np.lib.stride_tricks.as_strided(
            numbers[self.offset :],
            self.shape,
            tuple(stride * numbers.itemsize for stride in self.strides),
        )
        return np.array(view)


def _rebuild_tensor(storage, offset, shape, strides, *_):
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


class _TensorUnpickler(_RestrictedUnpickler):
    _names: Mapping[tuple[str, str], Any] = {
        **_ArrayUnpickler._names,
        **{("torch", kind): kind for kind in _STORAGE_TYPES},
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        ("torch", "Size"): tuple,
    }

    def __init__(self, file: BinaryIO, storage_at: Callable[[str, str, int], _Storage]):
        super().__init__(file, encoding="utf-8")
        self._storage_at = storage_at

    def persistent_load(self, saved_id):
        tag, kind, key, _, size, *view = saved_id
        if tag != "storage" or kind not in _STORAGE_TYPES or any(view):
            raise CheckpointError(f"it holds an unknown kind of numbers, {kind!r}.")
        return self._storage_at(kind, str(key), int(size))


def _read_zip(file: BinaryIO) -> Any:
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    folder = next(name for name in names if name.endswith("/data.pkl"))[: -len("data.pkl")]
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise CheckpointError("its numbers are stored with the highest byte first.")

    def storage_at(kind, key, size):
        return _Storage(kind, size, lambda: archive.read(f"{folder}data/{key}"))

    return _TensorUnpickler(io.BytesIO(archive.read(f"{folder}data.pkl")), storage_at).load()


# What the format before PyTorch 1.6 begins with.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def _read_legacy(file: BinaryIO) -> Any:
    """Pickles one after the other, then the numbers of all storages."""
    places: dict[str, tuple[int, int]] = {}

    def storage_at(kind, key, size):
        def read_bytes():
            place, length = places[key]
            file.seek(place)
            return file.read(length)

        kinds[key] = kind
        return _Storage(kind, size, read_bytes)

    kinds: dict[str, str] = {}
    file.seek(0)
    magic, protocol, _ = (_RestrictedUnpickler(file).load() for _ in range(3))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise CheckpointError("it was not written by torch.save.")
    checkpoint = _TensorUnpickler(file, storage_at).load()
    for key in _RestrictedUnpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        length = count * np.dtype(_STORAGE_TYPES[kinds[key]]).itemsize
        places[key] = file.tell(), length
        if file.seek(length, os.SEEK_CUR) > os.fstat(file.fileno()).st_size:
            raise EOFError("the file ends before its numbers do")
    return checkpoint
