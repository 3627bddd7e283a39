"""Which pictures of a folder are the frames of one video, and in which order."""

import collections
import itertools
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from keras_multigrid.data.videos.open_video import DecodeError

# Seconds, if they are the whole name, are one number: 1305031102.175304.
_SECONDS = re.compile(r"(-?)(\d+)\.(\d+)")
_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)
# Kinds of names that an error counts.
_SHOWN = 5


class _Name(NamedTuple):
    """A picture's name by its last number.

    img_00012.jpg   before "img_", number (12,), after ""
    00012_x.jpg     before "", number (12,), after "_x"
    """

    before: str
    number: tuple[int | Decimal, ...]
    after: str
    name: str

    @property
    def kind(self) -> tuple[str, str]:
        # 1a and 1b are parts of one numbering, 1_x and 1_y are two.
        return self.before, "" if self.after[:1].isalnum() else self.after


def frame_names(names: Sequence[str], folder: str) -> list[str]:
    """The names of pictures in the order of their frames: by their last number, -1 before 0.

    Args:
        names: of all pictures in a folder.
        folder: the folder, for errors.

    Raises:
        DecodeError: the names are those of several videos, or two are of one frame.

    Example:

    >>> frame_names(["img_10.jpg", "img_9.jpg"], "walk/eli")
    ['img_9.jpg', 'img_10.jpg']
    """
    frames = [_split(name) for name in names]
    befores = {frame.before for frame in frames}
    if any(before.endswith("-") for before in befores):
        frames = [_signed(frame, befores) for frame in frames]
    frames = _in_seconds(frames)
    if len({frame.kind for frame in frames}) > 1:
        raise DecodeError(
            f"Cannot decode '{folder}': pictures of one video differ in the last number of their "
            f"names alone. Received: {_kinds(frames)}. Put each kind into a folder of its own."
        )
    frames.sort(key=lambda frame: frame[1:])
    for one, other in itertools.pairwise(frames):
        if one[:3] == other[:3]:
            raise DecodeError(
                f"Cannot decode '{folder}': two pictures are of one frame, '{one.name}' and "
                f"'{other.name}'. Put those of each video into a folder of their own."
            )
    return [frame.name for frame in frames]


def plainly_numbered(names: Sequence[str]) -> list[str] | None:
    """The names in order, where they differ in a number without a sign alone; None otherwise.

    Most do, and the names of a folder are looked through for every clip.
    """
    found = _LAST_NUMBER.fullmatch(names[0].rpartition(".")[0]) if names else None
    if found is None or found[1].endswith("-"):
        return None
    begin, end = found.span(2)
    before, after = names[0][:begin], names[0][end:]
    numbers = [name[begin : len(name) - len(after)] for name in names]
    digits = "".join(numbers)
    if not (
        all(numbers)
        and digits.isascii()
        and digits.isdigit()
        and [f"{before}{number}{after}" for number in numbers] == list(names)
    ):
        return None
    # Numbers of one length, or without leading zeros, come in the order of their texts.
    numbers.sort()
    if len({*map(len, numbers)}) > 1:
        is_in_seconds = _SECONDS.fullmatch(names[0].rpartition(".")[0])
        if is_in_seconds or any(number[0] == "0" < number for number in numbers):
            return None
        numbers.sort(key=len)
    return [f"{before}{number}{after}" for number in numbers]


def _split(name: str) -> _Name:
    stem = name.rpartition(".")[0]
    if found := _SECONDS.fullmatch(stem):
        return _Name(found[1], (int(found[2]), int(found[3])), "", name)
    if found := _LAST_NUMBER.fullmatch(stem):
        return _Name(found[1], (int(found[2]),), found[3], name)
    return _Name(stem, (), "", name)


def _signed(frame: _Name, befores: set[str]) -> _Name:
    """With a minus taken for a sign where it is one: in -1, img_-1, or img-1 beside img0."""
    rest = frame.before[:-1]
    is_sign = frame.before.endswith("-") and frame.number
    if not is_sign or (rest[-1:].isalnum() and rest not in befores):
        return frame
    return frame._replace(before=rest, number=tuple(-part for part in frame.number))


def _in_seconds(frames: list[_Name]) -> list[_Name]:
    """With 0.25 before 0.5, unless the digits behind the point count: 1.8, 1.9, 1.10."""
    digits = collections.defaultdict(set)
    for frame in frames:
        if len(frame.number) != 2:
            return frames
        digits[frame.number[0]].add(frame.number[1])
    if all(max(counted) - min(counted) < len(counted) for counted in digits.values()):
        return frames
    return [f._replace(number=(Decimal(f.name.rpartition(".")[0]),)) for f in frames]


def _kinds(frames: Sequence[_Name]) -> str:
    """The kinds of names, a star for the number, and how many there are of each."""
    counts = collections.Counter(
        f"'{frame.before}{'*' * bool(frame.number)}{frame.kind[1]}'" for frame in frames
    )
    texts = [f"{kind} ({count:,})" for kind, count in sorted(counts.items())]
    if len(texts) > _SHOWN:
        texts[_SHOWN:] = [f"{len(texts) - _SHOWN:,} others"]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"
