"""Arrays out of files of safetensors: a header of JSON, then the numbers. Nothing in it is code."""

import json
import math
import os
from typing import Any

import numpy as np

from keras_multigrid.models.weights.pickles import reading
from keras_multigrid.models.weights.unpickling import CheckpointError

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
# Ten thousand arrays take 2 MB. The format allows 100 MB, which Python would need gigabytes for.
_LONGEST_HEADER = 10_000_000
_MOST_AXES = 32


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """The arrays of a file of safetensors.

    github.com/huggingface/safetensors, "Format": eight bytes with the length of the header, the
    header, a JSON object from key to type, shape and place of the numbers, and the numbers.

    Args:
        path: a `.safetensors` file.

    Returns:
        Key to array; bfloat16 as float32.

    Raises:
        CheckpointError: if the file is damaged or of another kind.
    """
    with reading(path), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise CheckpointError("it does not begin with a header, as files of safetensors do.")
        header = json.loads(file.read(length), object_pairs_hook=_mapping)
        if not isinstance(header, dict):
            raise CheckpointError("its header is no mapping from keys to arrays.")
        header.pop("__metadata__", None)
        # As the format demands: a file may not stand for more numbers than it has.
        places = sorted(_place(entry) for entry in header.values())
        ends = [0, *(end for _, end in places)]
        if any(begin != end for (begin, _), end in zip(places, ends, strict=False)):
            raise CheckpointError("its arrays overlap, or leave bytes between them.")
        numbers = file.read()
        if ends[-1] != len(numbers):
            raise CheckpointError(
                f"its arrays have {ends[-1]:,} bytes, and the file has {len(numbers):,} for them."
            )
        return {key: _array(entry, numbers) for key, entry in header.items()}


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Of two that are named alike, other readers may take the other one."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise CheckpointError("its header has two entries of one name.")
    return mapping


def _place(entry: Any) -> tuple[int, int]:
    """Where the numbers of an array begin and end, of an entry that is right."""
    kind, shape, place = (
        (entry.get(name) for name in ("dtype", "shape", "data_offsets"))
        if isinstance(entry, dict)
        else (None, None, None)
    )
    if kind not in _TYPES or not _is_sizes(shape, _MOST_AXES) or not _is_sizes(place, 2):
        raise CheckpointError(
            f"it describes an array by {str(entry)[:100]}. Expected a dtype of "
            f"{', '.join(_TYPES)}, a shape and two data_offsets."
        )
    begin, end = place
    if end - begin != math.prod(shape) * np.dtype(_TYPES[kind]).itemsize:
        raise CheckpointError("an array has not as many numbers as its shape says.")
    return begin, end


def _is_sizes(values: Any, most: int) -> bool:
    is_list = isinstance(values, list) and len(values) <= most
    # Two numbers for the place; a shape may have any number of axes.
    is_list = is_list and (most != 2 or len(values) == 2)
    return is_list and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _array(entry: dict[str, Any], numbers: bytes) -> np.ndarray:
    kind, shape = entry["dtype"], tuple(entry["shape"])
    array = np.ndarray(shape, _TYPES[kind], numbers, offset=entry["data_offsets"][0])
    # bfloat16 is the upper half of a float32.
    return (array.astype("<u4") << 16).view("<f4") if kind == "BF16" else array
