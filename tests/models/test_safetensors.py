"""Files of safetensors: what is in them, and those that are damaged or made to do harm."""

import json

import checkpoint_files
import numpy as np
import pytest

from keras_multigrid.models import CheckpointError
from keras_multigrid.models.weights.safetensors import read_safetensors

PAIR = {"a": np.float32([[1, 2, 3], [4, 5, 6]]), "b": np.float16([0.5, -2])}


def write(path, header, numbers=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)


def test_arrays(tmp_path):
    path = str(tmp_path / "a.safetensors")
    # 1.5 and -2 in bfloat16.
    checkpoint_files.write_safetensors(path, {**PAIR, "c": np.uint16([0x3FC0, 0xC000])})
    arrays = read_safetensors(path)
    assert list(arrays) == ["a", "b", "c"]
    for key, expected in PAIR.items():
        np.testing.assert_array_equal(arrays[key], expected)
        assert arrays[key].dtype == expected.dtype
    assert arrays["c"].dtype == np.float32
    np.testing.assert_array_equal(arrays["c"], [1.5, -2])


def entry(shape=(2,), place=(0, 8), kind="F32"):
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(place)}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"not JSON", "Cannot read"),
        ([1], "its header is no mapping"),
        ({"a": 3}, "describes an array by 3"),
        ({"a": entry(kind="O8")}, "Expected a dtype of F64, F32"),
        ({"a": entry(kind=["F32"])}, "Cannot read"),
        ({"a": entry(shape=(-2,))}, "describes an array"),
        ({"a": entry(shape=(True, 2))}, "describes an array"),
        ({"a": entry(shape=(2**40, 2**40))}, "not as many numbers"),
        ({"a": entry(place=(8, 0))}, "not as many numbers"),
        ({"a": entry(place=(0, 8, 16))}, "describes an array"),
        ({"a": entry(), "b": entry()}, "overlap"),
        ({"a": entry(place=(4, 12))}, "overlap, or leave bytes"),
        ({"a": entry(shape=(3,), place=(0, 12))}, "have 12 bytes, and the file has 8"),
        ({}, "have 0 bytes, and the file has 8"),
        # No numbers, but more than any array may claim.
        ({"a": entry(), "b": entry(shape=(0, 2**40, 2**40), place=(8, 8))}, "too big"),
        # Which of the two is meant?
        (
            f'{{"a": {json.dumps(entry())}, "a": {json.dumps(entry(kind="I32"))}}}'.encode(),
            "two entries of one name",
        ),
    ],
)
def test_what_is_no_such_file_is_refused(header, message, tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, header, bytes(8))
    with pytest.raises(CheckpointError, match=message):
        read_safetensors(str(path))


def test_files_that_are_cut_off(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint_files.write_safetensors(str(path), PAIR)
    content = path.read_bytes()
    for length in (0, 4, 8, 20, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            read_safetensors(str(path))
    path.write_bytes((2**60).to_bytes(8, "little") + content[8:])
    with pytest.raises(CheckpointError, match="does not begin with a header"):
        read_safetensors(str(path))
