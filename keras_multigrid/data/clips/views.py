"""The views of the multi-view test."""

import dataclasses

from keras_multigrid.checks import check_integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """Views of a video in a test: several clips along time, and several crops of each clip.

    Args:
        clips: spread evenly over the video; one lies in the middle.
        crops: spread evenly along the longer side; one lies in the middle.

    Raises:
        ValueError: if a number is not positive.

    Example, the published protocol:

    >>> Views(clips=10, crops=3)
    """

    clips: int = 10
    crops: int = 3

    def __post_init__(self):
        for name in ("clips", "crops"):
            check_integer(name, getattr(self, name))
