"""Which schedule fits a set: a rule from its size, the base grid and the optimizer, with reasons.

The rule rests on what was measured with small networks on small sets (docs/guide.md, "Which
schedule"). Where it goes beyond that, its reasons say so.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_multigrid.checks import check_choice, check_integer
from keras_multigrid.schedule.grid import Grid
from keras_multigrid.schedule.phase_lengths import make_phases
from keras_multigrid.schedule.settings import SQRT_HALF, ScheduleSettings

# Name of an optimizer to what a larger batch does to its learning rate.
SCALINGS = {
    "sgd": "linear",
    **dict.fromkeys(("adam", "adamw", "lamb", "lion", "muon"), "sqrt"),
}
_MEASURED = dict.fromkeys(SCALINGS, "not measured here")
_MEASURED["adamw"] = "measured with a small MViT alone"
# A precaution: one of 235 steps never learned, with a warm-up shorter than "auto".
LEAST_STEPS = 300
# Crop below which a halved one may no longer show what moves, and networks are better at the very
# size that they were trained at.
SMALL_CROP = 112
# So few frames of a small crop are kept.
FEW_FRAMES = 8
# What the last steps, at the base grid alone, are of all steps where the crop is small.
BASE_SHARE = 0.25
# One frame shows no motion.
LEAST_FRAMES = 2
_PUBLISHED_FACTOR = 1.5


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What the rule says of a set.

    Args:
        settings: of a `MultigridSchedule`, beside its base grid, number of clips and epochs.
        scaling: of the `MultigridLearningRate`; its `warmup_epochs` should be "auto".
        reasons: sentences, one for each choice.

    Example:

    >>> base = Grid(batch_size=8, num_frames=16, crop_size=64)
    >>> suggest(base, num_clips=500, epochs=40).settings["epoch_factor"]
    1.5
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
    crop, crop_reason = _least_crop(base.crop_size)
    frames, frames_reason = _least_frames(base)
    share, share_reason = _base_share(base.crop_size)
    settings = {"min_crop": crop, "min_frames": frames, "base_share": share}
    factor, factor_reason = _epoch_factor(ScheduleSettings(base, num_clips, epochs, **settings))
    scaling = SCALINGS[optimizer]
    reasons = (
        "one pass from coarse to fine, for half a cosine: each cut of the rate would be another "
        "pass",
        factor_reason,
        crop_reason,
        frames_reason,
        share_reason,
        f"the rate grows with the batch by scaling='{scaling}'"
        + ("" if optimizer == "sgd" else f": usual for {optimizer}, {_MEASURED[optimizer]}"),
    )
    return Suggestion({"epoch_factor": factor, **settings}, scaling, reasons)


def _epoch_factor(settings: ScheduleSettings) -> tuple[float, str]:
    baseline_steps = settings.epochs * settings.num_clips / settings.base.batch_size
    # Steps are in proportion to the factor.
    phases = make_phases(dataclasses.replace(settings, epoch_factor=1000.0))
    steps = phases[-1].end_step / 1000 * _PUBLISHED_FACTOR
    if steps >= LEAST_STEPS:
        return _PUBLISHED_FACTOR, (
            f"epoch_factor={_PUBLISHED_FACTOR}, as published: {steps:,.0f} steps, "
            f"{baseline_steps / steps:.1f} times fewer than the baseline's"
        )
    # At most as many as the baseline, which are as much work.
    wanted = min(LEAST_STEPS, baseline_steps)
    factor = round(_PUBLISHED_FACTOR * wanted / steps, 2)
    return factor, (
        f"epoch_factor={factor:g} instead of {_PUBLISHED_FACTOR}: {wanted:,.0f} steps, "
        + ("as many as the baseline's, " if wanted < LEAST_STEPS else "")
        + "as shorter schedules have failed on generated videos; less is saved on a training this "
        "short"
    )


def _least_crop(crop: int) -> tuple[int, str]:
    if crop >= SMALL_CROP:
        return 1, f"no floor under the crop: half of {crop} pixels still shows what moves"
    floor = round(crop * SQRT_HALF)
    return floor, (
        f"no crop below {floor} pixels, 0.71 of the baseline's: half of {crop} may hide what "
        "moves (best at 64 on one small set, within its noise; elsewhere extrapolated)"
    )


def _least_frames(base: Grid) -> tuple[int, str]:
    frames = base.num_frames
    if base.crop_size < SMALL_CROP and frames <= FEW_FRAMES:
        return frames, (
            f"all clips have the baseline's {frames} frames: on lips at 64 pixels, a quarter of 8 "
            "frames was behind the baseline, all 8 were not (one set of two; else extrapolated)"
        )
    frames = min(frames, LEAST_FRAMES)
    return frames, f"no clip of fewer than {frames} frames: one shows no motion"


def _base_share(crop: int) -> tuple[float, str]:
    if crop >= SMALL_CROP:
        return 0.0, "the short cycle goes on to the end, as published"
    return BASE_SHARE, (
        f"the last quarter of the steps has the baseline's {crop} pixels alone, as the model is "
        "tested: better on actions at 64 pixels; on lips and generated videos within the noise"
    )
