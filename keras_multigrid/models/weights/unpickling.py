"""Reads pickles without running code: those operations alone that build plain values."""

import os
import pickle
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

# Of a pickle. A checkpoint has about a hundred for each of its tensors.
_MOST_OPERATIONS = 4_000_000


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or asks for code to be run."""


class Maker:
    """Stands for a class that a pickle names: it is made of arguments, and then given a state.

    Only what is in the file is kept: a pickle may name a value any number of times.
    """

    def set_state(self, state: Any) -> None:
        """Take what follows the arguments."""
        raise CheckpointError(
            f"it gives a state to {type(self).__name__.strip('_')}, which has none."
        )


class Ignored(Maker):
    """Stands for values that are no weights, such as settings: nothing of them is kept."""

    def __init__(self, *_: Any):
        pass

    def set_state(self, state: Any) -> None:
        pass


class _Operations(dict):
    """The operations of pickles by their byte."""

    def __missing__(self, byte: int):
        raise pickle.UnpicklingError(f"no array needs the operation {bytes([byte])}")


# Written in Python: the one in C takes memory for as many values as a pickle claims to name.
class Unpickler(pickle._Unpickler):
    """Builds containers, numbers, texts and what `names` stands for; refuses all else by name.

    Args:
        file: a binary file, from which no more than the pickle is read.
        names: module and name to the value that stands for it.
        encoding: of texts that Python 2 has written.
        persistent: gives the value of what a pickle refers to as kept elsewhere.
    """

    dispatch: ClassVar = _Operations(pickle._Unpickler.dispatch)
    # Sets, classes that are made in other ways, numbers of registered ones, and buffers.
    for _operation in (
        *(pickle.PERSID, pickle.EMPTY_SET, pickle.FROZENSET, pickle.ADDITEMS, pickle.INST),
        *(pickle.OBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4),
        *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    ):
        del dispatch[_operation[0]]

    def __init__(
        self,
        file: BinaryIO,
        names: Mapping[tuple[str, str], Any] | None = None,
        *,
        encoding: str = "ascii",
        persistent: Callable[[Any], Any] | None = None,
    ):
        super().__init__(_Source(file), encoding=encoding)
        self._names = {} if names is None else names
        self._persistent = persistent

    def find_class(self, module, name):
        if (module, name) not in self._names:
            asked = f"it asks for {module[:80]}.{name[:80]}"
            nothing = "Reading a checkpoint runs no code: nothing was executed."
            if module.split(".")[0] == "torch":
                raise CheckpointError(
                    f"{asked}: it holds something else than dense tensors of usual types, such as "
                    "a whole module, or a sparse, quantized, complex or float8 tensor. "
                    f"{nothing} If you trust the file, save its `model.state_dict()` as float32."
                )
            raise CheckpointError(
                f"{asked}, which no array needs. {nothing} Do not load this file with other "
                "programs either."
            )
        return self._names[module, name]

    def persistent_load(self, pid):
        if self._persistent is None:
            raise CheckpointError("it refers to values that are kept elsewhere.")
        return self._persistent(pid)

    @staticmethod
    def check_key(key: Any) -> None:
        """Refuse keys that are no numbers or texts: to hash a nested one may take for ever."""
        if not isinstance(key, (str, bytes, int, float, type(None))):
            raise CheckpointError(f"it has a mapping with a key of the type {type(key).__name__}.")

    def load_frame(self):
        # How many bytes to read at once.
        self.read(8)

    dispatch[pickle.FRAME[0]] = load_frame

    def load_build(self):
        state = self.stack.pop()
        value = self.stack[-1]
        if isinstance(value, Maker):
            value.set_state(state)
        elif not isinstance(value, dict):
            raise CheckpointError(
                f"it gives a state to a value of the type {type(value).__name__}."
            )
        # The attributes of an OrderedDict are no weights.

    dispatch[pickle.BUILD[0]] = load_build

    def load_newobj(self):
        self.stack.pop()
        if self.stack.pop() is not Ignored:
            self.dispatch.__missing__(pickle.NEWOBJ[0])
        self.append(Ignored())

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_setitem(self):
        self.check_key(self.stack[-2])
        super().load_setitem()

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self):
        for key in self.stack[::2]:
            self.check_key(key)
        super().load_setitems()

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_dict(self):
        for key in self.stack[::2]:
            self.check_key(key)
        super().load_dict()

    dispatch[pickle.DICT[0]] = load_dict


class _Source:
    """A file that gives no more than it has, and not for ever."""

    def __init__(self, file: BinaryIO):
        self._file, self._left = file, _MOST_OPERATIONS
        place = file.tell()
        self._end = file.seek(0, os.SEEK_END)
        file.seek(place)

    def read(self, length: int) -> bytes:
        self._count()
        # Memory for the length is taken before a file is read.
        if length > self._end - self._file.tell():
            raise EOFError("the file ends before its pickle does")
        return self._file.read(length)

    def readline(self) -> bytes:
        self._count()
        return self._file.readline()

    def _count(self) -> None:
        # An operation reads itself and, mostly, a length and a value.
        self._left -= 1
        if self._left < 0:
            raise CheckpointError(f"its pickle has more than {_MOST_OPERATIONS:,} parts.")
