"""What is known of a set before a training is chosen for it."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetFacts:
    """What is known of a set.

    Args:
        num_train: training videos.
        class_names: names of the classes.
        frames, short_side: of a short and of a small video, see `Survey`.
        rate: frames a second, or None.
        is_still: whether the camera stands still.
        decoded_bytes: memory that all decoded videos take.
        imbalance: times as many training videos in the largest class as in the smallest.
    """

    num_train: int
    class_names: Sequence[str]
    frames: int
    short_side: int
    rate: float | None
    is_still: bool
    decoded_bytes: int
    imbalance: float
