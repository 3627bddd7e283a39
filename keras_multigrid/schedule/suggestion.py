"""Which schedule fits a set: a rule from its size, the base grid and the optimizer, with reasons.

The rule rests on what was measured with small networks on small sets (docs/guide.md, "Which
schedule"). Where it goes beyond that, its reasons say so.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_multigrid.checks import check_choice, check_integer
from keras_multigrid.schedule.grid import Grid
from keras_multigrid.schedule.settings import SQRT_HALF

# Name of an optimizer to what a larger batch does to its learning rate.
SCALINGS = {
    "sgd": "linear",
    **dict.fromkeys(("adam", "adamw", "lamb", "lion", "muon"), "sqrt"),
}
# Steps of the baseline, of which a schedule with batches as published takes about a quarter.
FEW_STEPS = 1_200
# Crop below which a halved one no longer shows what moves, on the sets that were measured.
SMALL_CROP = 112
# Fewer frames do not show which way something turns.
LEAST_FRAMES = 4


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What the rule says of a set.

    Args:
        settings: of a `MultigridSchedule`, beside its base grid, number of clips and epochs.
        scaling: of the `MultigridLearningRate`; its `warmup_epochs` should be "auto".
        reasons: sentences, one for each choice.

    Example:

    >>> print(suggest(Grid(8, 16, 64), num_clips=500, epochs=10).reasons[0])
    one pass from coarse to fine, for half a cosine: each cut of the rate would be another pass
    """

    settings: Mapping[str, Any]
    scaling: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"- {reason}" for reason in self.reasons)


def suggest(base: Grid, num_clips: int, epochs: int, optimizer: str = "sgd") -> Suggestion:
    """What the rule says of a set, and why.

    Args:
        base: the baseline's grid.
        num_clips: videos in the training set.
        epochs: the baseline's length.
        optimizer: "sgd", "adam", "adamw", "lamb", "lion" or "muon".

    Raises:
        ValueError: if an argument is of the wrong kind or out of range.
    """
    if not isinstance(base, Grid):
        raise ValueError(f"`base` must be a Grid. Received: base={base!r}.")
    check_integer("num_clips", num_clips)
    check_integer("epochs", epochs)
    check_choice("optimizer", optimizer, tuple(SCALINGS))
    steps = epochs * num_clips / base.batch_size
    growth, growth_reason = _batch_growth(steps)
    crop, crop_reason = _least_crop(base.crop_size)
    frames, frames_reason = _least_frames(base.num_frames)
    scaling = SCALINGS[optimizer]
    reasons = (
        "one pass from coarse to fine, for half a cosine: each cut of the rate would be another "
        "pass",
        growth_reason,
        crop_reason,
        frames_reason,
        f"the rate grows with the batch by scaling='{scaling}'"
        + ("" if optimizer == "sgd" else f": usual for {optimizer}, not measured here"),
    )
    settings = {"batch_growth": growth, "min_crop": crop, "min_frames": frames}
    return Suggestion(settings, scaling, reasons)


def _batch_growth(steps: float) -> tuple[float, str]:
    if steps >= FEW_STEPS:
        return 1.0, (
            f"batches grow at constant work, as published: the baseline's {steps:,.0f} steps leave "
            "enough for every grid"
        )
    return 0.5, (
        f"batches grow by the square root of what the clips save (batch_growth=0.5): of the "
        f"baseline's {steps:,.0f} steps, constant work would leave too few for each grid"
    )


def _least_crop(crop: int) -> tuple[int, str]:
    if crop >= SMALL_CROP:
        return 1, f"no floor under the crop: half of {crop} pixels still shows what moves"
    floor = round(crop * SQRT_HALF)
    return floor, (
        f"no crop below {floor} pixels, 0.71 of the baseline's: half of {crop} hides what moves "
        "(measured at 64; below that extrapolated)"
    )


def _least_frames(frames: int) -> tuple[int, str]:
    floor = min(frames, LEAST_FRAMES)
    if frames // 4 >= LEAST_FRAMES:
        return floor, f"no floor under the frames: a quarter of {frames} still shows a direction"
    return (
        floor,
        f"no clip of fewer than {floor} frames: fewer do not show a direction (not measured)",
    )
