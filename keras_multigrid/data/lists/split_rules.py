"""Rules that choose the validation videos of a set, by their paths."""

import hashlib
import re
from collections.abc import Callable, Sequence

# Takes paths relative to the root, returns for each whether it belongs to the validation part.
SplitRule = Callable[[Sequence[str]], Sequence[bool]]


def by_pattern(pattern: str) -> SplitRule:
    """Validate on the videos whose path matches.

    Args:
        pattern: regular expression, searched for anywhere in the path relative to the root.

    Example:

    >>> by_pattern("/(daria|denis)_")(["walk/denis_walk.avi", "walk/eli_walk.avi"])
    [True, False]
    """
    regex = re.compile(pattern)
    return lambda paths: [regex.search(path) is not None for path in paths]


def by_fraction(fraction: float, *, seed: int = 0) -> SplitRule:
    """Validate on about this share of the videos, chosen by a hash of each path.

    A video stays in its part when others come or go.

    Args:
        fraction: share of validation videos, between 0 and 1.
        seed: another seed, another choice.

    Example:

    >>> by_fraction(0.2)(["walk/denis_walk.avi", "walk/eli_walk.avi"])
    [True, False]
    """
    if not 0 < fraction < 1:
        raise ValueError(
            f"`fraction` must lie between 0 and 1. Received: fraction={fraction}. "
            "Use 0.2 to validate on a fifth of the videos."
        )
    return lambda paths: [_uniform(f"{seed}/{path}") < fraction for path in paths]


def by_group(pattern: str, *, fold: int, folds: int) -> SplitRule:
    """Validate on every `folds`-th group of videos, so that no group is in both parts.

    Args:
        pattern: regular expression whose first group names the video's group (actor, source, ...),
            searched for in the path relative to the root.
        fold: which part of the groups to validate on, in [0, folds).
        folds: number of parts.

    Example, sorted groups i validate where i % folds == fold:

    >>> by_group(r"/(\\w+)_", fold=0, folds=2)(["run/ida_run.avi", "run/eli_run.avi"])
    [False, True]
    """
    regex = re.compile(pattern)
    if regex.groups < 1:
        raise ValueError(
            f"`pattern` must have a group in parentheses. Received: pattern='{pattern}'. Put the "
            r"part that names the group in parentheses: r'/(\w+)_'."
        )
    if not 0 <= fold < folds or folds < 2:
        raise ValueError(
            f"`fold` must be in [0, folds), with at least 2 folds. Received: fold={fold}, "
            f"folds={folds}. Use fold=0, folds=3 to validate on a third of the groups."
        )

    def rule(paths: Sequence[str]) -> list[bool]:
        groups = [group_in(regex, path) for path in paths]
        chosen = set(sorted(set(groups))[fold::folds])
        return [group in chosen for group in groups]

    return rule


def group_in(regex: re.Pattern, path: str) -> str:
    """The group that the first part in parentheses of a pattern names.

    Raises:
        ValueError: the pattern does not match.
    """
    match = regex.search(path)
    if match is None or match[1] is None:
        raise ValueError(
            f"`pattern` must name the group of every video. Received: pattern='{regex.pattern}', "
            f"which does not match '{path}'. Change the pattern or move the video."
        )
    return match[1]


def _uniform(text: str) -> float:
    # Python's own hash differs from run to run.
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
