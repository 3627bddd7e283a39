"""Groups of videos that belong together, such as those of one person, as their names show them.

A network that has seen a person, a room or a film in training is right about them for the wrong
reason: such videos must be in one part of a split.
"""

import collections
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Fewer leave half of the videos in one part.
_LEAST_GROUPS = 3
# Of all videos, those in groups of several, and those in the largest group.
_LEAST_TOGETHER = 0.8
_LARGEST_SHARE = 0.5

_BETWEEN = r"[\s_.\-]+"
# Words before a number that names someone: g01 of UCF101, person01 of KTH.
_MARKERS = (
    "person|people|subject|subj|actor|actress|speaker|signer|user|participant|player|patient|"
    "performer|athlete|child|group|g|p|s"
)
_MARKED = re.compile(rf"(?:^|[\s_.\-])({_MARKERS})[_\-]?(\d+)(?=$|[\s_.\-])", re.IGNORECASE)
# S001C002P003R002A013 of NTU RGB+D: setup, camera, person, repetition, action.
_NTU = re.compile(r"(?:^|_)S\d{3}C\d{3}(P\d{3})R\d{3}A\d{3}")
# Words that count or describe, and name nobody.
_COUNTER = re.compile(
    "[abcnvx]|clips?|copy|day|dji|dsc|edit|final|frame|gopr|im(g|age)|mov(ie)?|mvi|new|no|nr|part|"
    "pxl|rec|rep|seq(uence)?|shot|take|test|trial|trim|try|version|vid(eo)?|vlc|wa"
)
_DESCRIPTOR = re.compile(
    "back|bad|big|bottom|close|dark|day|down|far|fast|front|good|high|(in|out)doors?|left|light|"
    "long|low|night|normal|right|short|side|slow|small|top|up|zoom"
)


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of a list of videos.

    Args:
        groups: the group of each video.
        place: where its name shows it, in words.
    """

    groups: tuple[str, ...]
    place: str


def find_groups(paths: Sequence[str], classes: Sequence[str]) -> Grouping | None:
    """Find the groups that names of videos show by one clear pattern.

    Each group must have several videos or be in several classes; there must be three at least, and
    two in each class. What may as well count videos, such as `walk_01.mp4`, is no pattern.

    Args:
        paths: of the videos, with `/` between folders.
        classes: name of each video's class.

    Returns:
        The `Grouping`; None where the names show none, or not clearly.

    Example:

    >>> find_groups(
    ...     [f"{c}/{name}_{c}.avi" for c in ("run", "walk") for name in ("ida", "eli", "lena")],
    ...     ["run"] * 3 + ["walk"] * 3).groups
    ('ida', 'eli', 'lena', 'ida', 'eli', 'lena')
    """
    videos = [(_stem(path), name) for path, name in zip(paths, classes, strict=True)]
    for place, is_shared, read in _PATTERNS:
        groups = [read(stem, name) for stem, name in videos]
        if _are_groups(groups, classes, is_shared=is_shared):
            return Grouping(groups=tuple(groups), place=place)
    groups = _columns(videos)
    if _are_groups(groups, classes, is_shared=True):
        return Grouping(groups=tuple(groups), place="the one word in the name that varies")
    groups = [os.path.basename(os.path.dirname(path)) or None for path in paths]
    if _are_groups(groups, classes, is_shared=True):
        return Grouping(groups=tuple(groups), place="the folder")
    return None


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _marked(stem: str, _: str) -> str | None:
    match = _NTU.search(stem)
    if match:
        return match[1]
    match = _MARKED.search(stem)
    return f"{match[1]}{match[2]}".lower() if match else None


def _before_class(stem: str, class_name: str) -> str | None:
    match = re.match(rf"(.+?){_BETWEEN}{_loosely(class_name)}(?![a-z])", stem, re.IGNORECASE)
    return _named(match[1]) if match else None


def _after_class(stem: str, class_name: str) -> str | None:
    pattern = rf"{_loosely(class_name)}{_BETWEEN}(.+?)(?:{_BETWEEN}\d+)*"
    match = re.fullmatch(pattern, stem, re.IGNORECASE)
    return _named(match[1]) if match else None


# Place in words, whether each group must be in several classes, what reads it.
_PATTERNS: tuple[tuple[str, bool, Callable[[str, str], str | None]], ...] = (
    ("the part of the name before the class", False, _before_class),
    ("the word that numbers a person or group", False, _marked),
    ("the part of the name after the class", True, _after_class),
)


def _loosely(class_name: str) -> str:
    """A pattern of a class name that may be written with other signs between its words."""
    words = re.findall(r"[^\W_]+", class_name)
    return r"[\s_.\-]*".join(map(re.escape, words)) or re.escape(class_name)


def _named(text: str) -> str | None:
    """The text if it can name a group: not if it only counts or describes."""
    words = [word for word in re.split(r"[\W\d_]+", text.lower()) if word]
    is_name = any(not _COUNTER.fullmatch(word) for word in words)
    return text if is_name and not any(map(_DESCRIPTOR.fullmatch, words)) else None


def _columns(videos: Sequence[tuple[str, str]]) -> list[str | None]:
    """Of names with equally many words, the one column of words that varies; else Nones."""
    rows = []
    for stem, class_name in videos:
        rest = re.sub(rf"(?<![a-z]){_loosely(class_name)}(?![a-z])", " ", stem, flags=re.IGNORECASE)
        rows.append([word for word in re.split(_BETWEEN, rest) if word])
    none = [None] * len(videos)
    if len({len(row) for row in rows}) != 1:
        return none
    columns = [column for column in zip(*rows, strict=True) if len(set(column)) > 1]
    # A word of letters and digits may be a counter, or drawn at random.
    if any(not word.isdecimal() and not word.isalpha() for column in columns for word in column):
        return none
    named = [column for column in columns if any(word.isalpha() for word in column)]
    return [_named(word) for word in named[0]] if len(named) == 1 else none


def _are_groups(groups: Sequence[str | None], classes: Sequence[str], *, is_shared: bool) -> bool:
    """Whether these are groups that a split can keep together."""
    if None in groups:
        return False
    sizes = collections.Counter(groups)
    if len(sizes) < _LEAST_GROUPS or max(sizes.values()) > _LARGEST_SHARE * len(groups):
        return False
    together = sum(size for size in sizes.values() if size > 1)
    if together < _LEAST_TOGETHER * len(groups):
        return False
    groups_of, classes_of = collections.defaultdict(set), collections.defaultdict(set)
    for group, class_name in zip(groups, classes, strict=True):
        groups_of[class_name].add(group)
        classes_of[group].add(class_name)
    if min(map(len, groups_of.values())) < 2:
        return False
    return not is_shared or min(map(len, classes_of.values())) > 1
