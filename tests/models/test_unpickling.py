"""Checkpoints that were made to do harm, read in processes of their own."""

import pathlib
import pickle
import re
import struct
import zipfile

import fuzz
import pytest

from keras_multigrid.models.weights.unpickling import CheckpointError, Unpickler

# Parts of pickles.
ENCODE = b"c_codecs\nencode\n"
DTYPE = b"cnumpy\ndtype\n"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def sequence(*parts):
    return b"(" + b"".join(parts) + b"t"


def array(*, kind=b"(" + text("f4") + b"tR", shape=b"K\x02\x85", content=b"U\x08" + bytes(8)):
    return ARRAY + b")R" + sequence(b"K\x01", shape, DTYPE + kind, b"\x89", content) + b"b"


def blobs(*values):
    """A checkpoint of Caffe2 with these pickled values."""
    named = b"".join(text(f"pred_{place}") + value for place, value in enumerate(values))
    return b"\x80\x02}" + text("blobs") + b"}(" + named + b"us."


def type_with(*state):
    """A type of arrays with the last parts of its state."""
    return b"(" + text("f4") + b"tR" + sequence(b"K\x03", text("<"), *state) + b"b"


def tensor(shape, strides, *, size=1, kind="FloatStorage"):
    storage = sequence(
        text("storage"), b"ctorch\n" + kind.encode() + b"\n", text("0"), text("cpu"), number(size)
    )
    parts = storage + b"Q", b"K\x00", shape, strides, b"\x89", b"}"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + sequence(*parts) + b"R"


SMALL, HUGE = b"K\x01\x85", number(2**30) + number(2**30) + b"\x86"
MEGABYTE = text("x" * 2**20)
HARMFUL = {
    "fields beyond the numbers": (
        blobs(array(kind=b"(" + text("V4") + b"tR")),
        "an array of another type",
    ),
    "fields in the state of a type": (
        blobs(array(kind=type_with(b"N", text("a") + b"\x85", b"}"))),
        "an array of records",
    ),
    "arrays in the state of a type": (
        blobs(array(kind=type_with(sequence(DTYPE, b"K\x04\x85"), b"N", b"N"))),
        "an array of records",
    ),
    "objects": (blobs(array(kind=b"(" + text("O8") + b"tR")), "an array of Python objects"),
    "more shape than numbers": (blobs(array(shape=HUGE)), "not as many numbers"),
    "negative shape": (blobs(array(shape=number(-2) + b"\x85")), "something else than integers"),
    "numbers of an array": (blobs(array(content=b"K\x08")), "an array without numbers"),
    "an array without a state": (blobs(ARRAY + b")R"), "an array without numbers"),
    "a call of an array's class": (
        b"\x80\x02cnumpy\nndarray\n" + HUGE + b"\x85R.",
        "'str' object is not callable",
    ),
    "a state of a function": (
        b"\x80\x02" + ENCODE + b"N}" + text("__defaults__") + b"K\x01\x85s\x86b.",
        "gives a state to a value of the type type",
    ),
    "a class in another way": (b"\x80\x02" + ENCODE + text("a") + b"\x85\x81.", "operation b'"),
    "the class of settings, with arguments": (
        b"\x80\x02cargparse\nNamespace\n" + text("a") + b"\x85\x81.",
        "asks for argparse.Namespace",
    ),
    "a set": (b"\x80\x04\x8f.", r"operation b'\\x8f'"),
    # Each of 60 tuples holds the one before twice: to hash the last takes 2^60 steps.
    "a nested key": (b"\x80\x02})" + 60 * b"2\x86" + b"Ns.", "a key of the type tuple"),
    "a nested key of an OrderedDict": (
        b"\x80\x02ccollections\nOrderedDict\n](]()" + 60 * b"2\x86" + b"Nee\x85R.",
        "a key of the type tuple",
    ),
    "a length of 2^60": (b"\x80\x04\x8e" + struct.pack("<Q", 2**60), "ends before its pickle"),
    "a frame of 2^60": (b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.", "no Caffe2 checkpoint"),
    "names of values up to 2^31": (b"\x80\x02Nr\xff\xff\xff\x7f.", "no Caffe2 checkpoint"),
    "one text for many arrays": (
        b"\x80\x02" + ENCODE + MEGABYTE + b"\x85R" + b"q\x000"
        + blobs(*(
            array(kind=b"(" + text("i1") + b"tR", shape=number(2**20) + b"\x85", content=b"h\x00")
            for _ in range(4000)
        ))[2:],
        "more bytes than the file",
    ),
    "one list for many mappings": (
        b"\x80\x02](" + 20000 * (text("abcd") + b"N\x86") + b"eq\x00("
        + 20000 * b"ccollections\nOrderedDict\nh\x00\x85R" + b"t.",
        "no Caffe2 checkpoint",
    ),
    "more parts than a checkpoint has": (b"\x80\x02(" + 4_100_000 * b"}" + b"t.", "4,000,000 par"),
}  # fmt: skip
HARMFUL_TENSORS = {
    "repeated": (tensor(HUGE, b"K\x00K\x00\x86"), "repeats its numbers"),
    "beyond": (tensor(b"K\x02\x85", SMALL), "reaches beyond its numbers"),
    "cut off": (tensor(SMALL, SMALL, size=2**30), "fewer numbers than it says"),
    "other axes": (tensor(SMALL, b")"), "argument 2 is shorter"),
    "negative": (tensor(SMALL, number(-4) + b"\x85"), "something else than integers"),
    "two types": (
        tensor(SMALL, SMALL) + text("b") + tensor(SMALL, SMALL, kind="IntStorage"),
        "two types or sizes at one place",
    ),
    "no numbers": (b"ctorch._utils\n_rebuild_tensor\n(NK\x00))tR", "a tensor has no numbers"),
}


def write_harmful(folder):
    """The files, and the text of the error of each."""
    for name, (content, expected) in HARMFUL.items():
        path = folder / f"{name}.pkl".replace(" ", "_")
        path.write_bytes(content)
        yield path, expected
    for name, (content, expected) in HARMFUL_TENSORS.items():
        path = folder / f"{name}.pyth".replace(" ", "_")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02}(" + text("a") + content + b"u.")
            archive.writestr("a/data/0", bytes(4))
        yield path, expected
    path = folder / "compressed.pyth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("a/data/0", bytes(10**8))
    yield path, "compressed or overlap"


def read_one(path):
    return fuzz.measured(lambda: fuzz.read_pickle(pathlib.Path(path)))


def test_harmful_checkpoints_are_refused_without_harm(tmp_path):
    expected = {str(path): text for path, text in write_harmful(tmp_path)}
    found = dict(fuzz.isolated_map(read_one, expected, workers=1, time_limit=120.0))
    assert found.keys() == expected.keys()
    for path, outcome in found.items():
        assert getattr(outcome, "name", outcome) == "named", (path, outcome)
        assert re.search(expected[path], outcome.text), (path, outcome)
        # Of 100 MB and more that are asked for.
        assert outcome.growth < 9e8, (path, outcome.growth)


def test_damaged_checkpoints_are_refused():
    outcomes = [outcome for _, outcome in fuzz.fuzz({"pickles": 300}, workers=1)]
    assert {outcome.name for outcome in outcomes} == {"read", "named"}
    assert sum(outcome.name == "named" for outcome in outcomes) > 200


def test_what_a_pickle_of_plain_values_gives(tmp_path):
    values = {"a": [1, 2.5, None, True, "é", (b"b", -(2**70))], 3: {}}
    for protocol in range(5):
        (tmp_path / "file").write_bytes(pickle.dumps(values, protocol=protocol) + b"after")
        names = {("_codecs", "encode"): lambda value, _: value.encode("latin1")}
        with (tmp_path / "file").open("rb") as file:
            assert Unpickler(file, names).load() == values
            assert file.read() == b"after"
    with pytest.raises(CheckpointError, match="kept elsewhere"):
        (tmp_path / "file").write_bytes(b"\x80\x02NQ.")
        with (tmp_path / "file").open("rb") as file:
            Unpickler(file).load()
