"""Writes checkpoints as PyTorch and Caffe2 do, without either."""

import collections
import io
import json
import pickle
import re
import zipfile
from typing import ClassVar

import numpy as np

KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Name(collections.namedtuple("Name", "module name")):
    """Stands for something of a module that is not installed."""


class Tensor(collections.namedtuple("Tensor", "array key")):
    """Stands for a tensor, in the storage of a number."""


class Storage(collections.namedtuple("Storage", "array key")):
    """Stands for the numbers of a tensor."""


class Pickler(pickle._Pickler):
    """Writes `Name`s, `Tensor`s and `Storage`s as what they stand for."""

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = Name("torch", KINDS[value.array.dtype.name])
        return ("storage", kind, value.key, "cpu", value.array.size, *self.view)

    view = ()
    metadata = ()

    def save_name(self, value):
        self.write(f"c{value.module}\n{value.name}\n".encode())

    def save_tensor(self, value):
        array = value.array
        strides = tuple(stride // array.itemsize for stride in array.strides)
        arguments = (Storage(array.ravel(), value.key), 0, array.shape, strides, False)
        rebuild = Name("torch._utils", "_rebuild_tensor_v2")
        arguments += (collections.OrderedDict(), *self.metadata)
        self.save_reduce(rebuild, arguments, obj=None)

    def save_reduce(self, function, arguments, *rest, obj=None, **named):
        if not isinstance(function, Name):
            return super().save_reduce(function, arguments, *rest, obj=obj, **named)
        self.save_name(function)
        self.save(arguments)
        self.write(pickle.REDUCE)

    def save_settings(self, value):
        self.save_name(Name("argparse", "Namespace"))
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.save(value.state)
        self.write(pickle.BUILD)

    dispatch: ClassVar = {
        **pickle._Pickler.dispatch,
        # Other libraries replace how classes are written.
        **{Name: save_name, Tensor: save_tensor, type: pickle._Pickler.save_type},
    }


def pickled(value, **attributes):
    file = io.BytesIO()
    pickler = Pickler(file, protocol=2)
    vars(pickler).update(attributes)
    pickler.dump(value)
    return file.getvalue()


class Settings:
    """Stands for an `argparse.Namespace`, which is written as a class, no arguments and a state."""

    def __init__(self, **state):
        self.state = state


def write_pytorch(path, arrays, *, legacy=False, where="model_state", metadata=(), **others):
    """As torch.save({"model_state": ..., "epoch": ..., "cfg": ...}), in either format."""
    state = collections.OrderedDict(
        (key, Tensor(np.asarray(array, order="C"), str(number)))
        for number, (key, array) in enumerate(arrays.items())
    )
    checkpoint = {"epoch": 196, where: state, "cfg": "MODEL:\n  ARCH: i3d\n", **others}
    numbers = {tensor.key: tensor.array.tobytes() for tensor in state.values()}
    if not legacy:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled(checkpoint, metadata=metadata))
            archive.writestr("archive/byteorder", "little")
            for key, content in numbers.items():
                archive.writestr(f"archive/data/{key}", content)
            archive.writestr("archive/version", "3\n")
        return
    with open(path, "wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        file.write(pickled(checkpoint, view=(None,), metadata=metadata))
        pickle.dump(list(numbers), file, protocol=2)
        for key, tensor in zip(numbers, state.values(), strict=True):
            file.write(tensor.array.size.to_bytes(8, "little") + numbers[key])


Pickler.dispatch[Settings] = Pickler.save_settings


def write_safetensors(path, arrays, **header):
    """As safetensors: a header of JSON, whose length stands before it, and the numbers."""
    contents, place = [], 0
    for key, array in arrays.items():
        contents.append(array.tobytes())
        end = place + array.nbytes
        kind = {"float32": "F32", "float16": "F16", "uint16": "BF16"}[array.dtype.name]
        entry = {"dtype": kind, "shape": list(array.shape), "data_offsets": [place, end]}
        header.setdefault(key, entry)
        place = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(contents))


def write_caffe2(path, arrays, **others):
    """As Caffe2's releases, with momenta and the learning rate beside the weights."""
    blobs = {blob_name(key): array for key, array in arrays.items()}
    momenta = {f"{name}_momentum": array for name, array in blobs.items() if name[-2:] == "_w"}
    rates = {"lr": np.float32([0.1]), "model_iter": np.int64([3])}
    with open(path, "wb") as file:
        pickle.dump({"blobs": {**blobs, **momenta, **rates}, **others}, file, protocol=2)


def blob_name(key):
    """Caffe2's name of a published key, as in the released files."""
    ends = {"weight": "w", "bias": "b"}
    if re.search(r"bn\.\w+$", key):
        ends = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    stem, _, end = key.rpartition(".")
    fast = "t_" if ".pathway1" in stem else ""
    stage = stem[1]
    last = {"2": 2, "3": 3, "4": 5}  # last blocks of depth 50
    if stem == "head.projection":
        name = "pred"
    elif "stem" in stem:
        name = f"{fast}{'res_conv1_bn' if stem.endswith('bn') else 'conv1'}"
    elif "fuse" in stem:
        source = "t_pool1" if stage == "1" else f"t_res{stage}_{last[stage]}_branch2c_bn"
        name = f"{source}_subsample{'_bn' if stem.endswith('bn') else ''}"
    elif "nonlocal" in stem:
        block, _, part = stem.split("nonlocal")[1].partition(".")
        name = f"nonlocal_conv{stage}_{block}_{part.removeprefix('conv_')}"
    else:
        block, _, part = stem.split("_res")[1].partition(".")
        name = f"{fast}res{stage}_{block}_{part.replace('.', '')}"
    return f"{name}_{ends[end]}"
