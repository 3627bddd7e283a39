"""A split that takes a share of every class and keeps groups together."""

import collections
import hashlib
from collections.abc import Hashable, Mapping, Sequence


def balanced_split(
    labels: Sequence[Hashable], groups: Sequence[str], *, share: float, seed: int = 0
) -> list[bool]:
    """Choose validation videos: about a share of each class, whole groups.

    Groups are tried in an order that follows from the seed and their names. One is chosen if it
    brings the classes nearer to their shares. A class with several videos has at least one in each
    part, as far as its groups allow.

    Args:
        labels: class of each video.
        groups: group of each video; their paths, where each is a group of its own.
        share: of each class, between 0 and 1.
        seed: another seed, another choice.

    Returns:
        For each video whether it is for validation.

    Raises:
        ValueError: for a share that is none.

    Example:

    >>> balanced_split([0, 0, 0, 0, 1, 1, 1, 1], list("abcdabcd"), share=0.25)
    [False, False, True, False, False, False, True, False]
    """
    if not 0 < share < 1:
        raise ValueError(
            f"`share` must lie between 0 and 1. Received: share={share}. "
            "Use 0.2 to validate on a fifth of each class."
        )
    members = collections.defaultdict(collections.Counter)
    for label, group in zip(labels, groups, strict=True):
        members[group][label] += 1
    order = sorted(members, key=lambda group: _order(group, seed))
    lacking = {
        label: min(max(round(share * count), 1), count - 1)
        for label, count in collections.Counter(labels).items()
    }
    chosen = set()

    def gain(group: str) -> int:
        """How much nearer to its share each class of the group comes."""
        counts = members[group].items()
        return sum(abs(lacking[label]) - abs(lacking[label] - count) for label, count in counts)

    def choose(group: str) -> None:
        chosen.add(group)
        for label, count in members[group].items():
            lacking[label] -= count

    for group in order:
        if gain(group) > 0:
            choose(group)
    # Classes of few, large groups, each of which is more than the share.
    for label in dict.fromkeys(labels):
        own = [group for group in order if label in members[group]]
        if len(own) > 1 and not chosen.intersection(own):
            possible = [group for group in own if _leaves_training(group, members, chosen)]
            if possible:
                choose(max(possible, key=gain))
    return [group in chosen for group in groups]


def _leaves_training(group: str, members: Mapping[str, Mapping], chosen: set[str]) -> bool:
    """Whether each class of a group has another group left to train on."""
    left = [members[other] for other in members if other not in chosen and other != group]
    return all(any(label in counts for counts in left) for label in members[group])


def _order(group: str, seed: int) -> bytes:
    # Python's own hash differs from run to run.
    return hashlib.blake2b(f"{seed}/{group}".encode("utf-8", "surrogateescape")).digest()
