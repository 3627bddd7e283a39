"""The views of the multi-view test."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """Views of a video in a test: so many clips along time, and so many crops of each.

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
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}.")
