"""Which schedule fits a set: a rule from its size, the base grid and the optimizer, with reasons.

The rule rests on what was measured with small networks on small sets (docs/guide.md, "Which
schedule"). Where it goes beyond that, its reasons say so.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from keras_multigrid.checks import check_choice, check_integer
from keras_multigrid.schedule.grid import Grid
from keras_multigrid.schedule.phase_lengths import make_phases
from keras_multigrid.schedule.settings import LONG_CYCLE, SQRT_HALF, ScheduleSettings

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
# The long cycle for clips of one frame.
_CROPS_ALONE = ((1.0, SQRT_HALF), (1.0, 1.0))
_ONE_PASS = (
    "one pass from coarse to fine, for half a cosine: each cut of the rate would be another pass"
)


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What the rule says of a set.

    Args:
        settings: of a `MultigridSchedule`, beside its base grid, number of clips and epochs, and
            beside those that were given.
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


def suggest(base: Grid, num_clips: int, epochs: int, optimizer: str = "sgd", **given) -> Suggestion:
    """What the rule says of a set, and why.

    Args:
        base: the baseline's grid.
        num_clips: videos in the training set.
        epochs: the baseline's length.
        optimizer: "sgd", "adam", "adamw", "lamb", "lion" or "muon".
        **given: settings of a `MultigridSchedule` that are decided. The rule chooses the others, to
            go with them.

    Raises:
        ValueError: if an argument is of the wrong kind or out of range.
    """
    if not isinstance(base, Grid):
        raise ValueError(f"`base` must be a Grid. Received: base={base!r}.")
    check_integer("num_clips", num_clips)
    check_integer("epochs", epochs)
    check_choice("optimizer", optimizer, tuple(SCALINGS))
    _check_given(base, num_clips, epochs, given)
    scaling = SCALINGS[optimizer]
    scaling_reason = f"the rate grows with the batch by scaling='{scaling}'" + (
        "" if optimizer == "sgd" else f": usual for {optimizer}, {_MEASURED[optimizer]}"
    )
    long_cycle = given.get("long_cycle", LONG_CYCLE)
    if not long_cycle and not given.get("short_cycle", True):
        return Suggestion({}, scaling, ("no cycles: the baseline", scaling_reason))
    choices = {
        "long_cycle": _long_cycle(base),
        "min_crop": _least_crop(base.crop_size),
        "min_frames": _least_frames(base, long_cycle),
        "base_share": _base_share(base.crop_size, given),
    }
    choices = {n: choice for n, choice in choices.items() if choice is not None and n not in given}
    settings = {name: value for name, (value, _) in choices.items()}
    reasons = [reason for _, reason in choices.values() if reason]
    if "epoch_factor" not in given:
        decided = ScheduleSettings(base, num_clips, epochs, **settings, **given)
        settings["epoch_factor"], reason = _epoch_factor(decided)
        reasons.insert(0, reason)
    if long_cycle and not given.get("boundaries") and given.get("long_cycles", 1) == 1:
        reasons.insert(0, _ONE_PASS)
    return Suggestion(settings, scaling, (*reasons, scaling_reason))


def _check_given(base: Grid, num_clips: int, epochs: int, given: Mapping[str, Any]) -> None:
    """Refuse what no floor could mend."""
    floors = {"min_frames": base.num_frames, "min_crop": base.crop_size}
    cycles = {"long_cycle": _CROPS_ALONE} if base.num_frames == 1 else {}
    ScheduleSettings(base, num_clips, epochs, **{**floors, **cycles, **given})


def _epoch_factor(settings: ScheduleSettings) -> tuple[float, str]:
    baseline = settings.epochs * settings.num_clips / settings.baseline_grid.batch_size
    # Steps and work are in proportion to the factor, but for rounding, which a long schedule hides.
    steps, work = (_PUBLISHED_FACTOR / 1000 * value for value in _steps_and_work(settings, 1000.0))
    wanted = min(max(steps, LEAST_STEPS), steps * baseline / work)
    factor = _PUBLISHED_FACTOR
    if wanted != steps:
        factor = round(_PUBLISHED_FACTOR * wanted / steps, 2) or 0.01
    its_steps, its_work = _steps_and_work(settings, factor)
    reason = f"{its_steps:,} steps, the work of {its_work:,.0f} of the baseline's {baseline:,.0f}"
    if wanted == steps:
        return factor, f"epoch_factor={factor}, as published: {reason}"
    reason = f"epoch_factor={factor:g} instead of {_PUBLISHED_FACTOR}: {reason}, "
    if steps >= LEAST_STEPS:
        return factor, reason + f"as {_PUBLISHED_FACTOR} would be more work"
    return factor, reason + (
        "as shorter schedules have failed on generated videos; less is saved on a training this "
        "short"
    )


def _steps_and_work(settings: ScheduleSettings, factor: float) -> tuple[int, float]:
    """Steps of a schedule of this length, and their work in steps of the baseline."""
    phases = make_phases(dataclasses.replace(settings, epoch_factor=factor))
    voxels = sum(phase.own_voxels_before(phase.end_step) for phase in phases)
    return (phases[-1].end_step if phases else 0), voxels / settings.baseline_grid.voxels


def _long_cycle(base: Grid) -> tuple[tuple, str] | None:
    if base.num_frames > 1:
        return None
    return _CROPS_ALONE, "the long cycle changes the crop alone: clips have one frame"


def _least_crop(crop: int) -> tuple[int, str]:
    if crop >= SMALL_CROP:
        return 1, f"no floor under the crop: half of {crop} pixels still shows what moves"
    floor = round(crop * SQRT_HALF)
    return floor, (
        f"no crop below {floor} pixels, 0.71 of the baseline's: half of {crop} may hide what "
        "moves (best at 64 on one small set, within its noise; elsewhere extrapolated)"
    )


def _least_frames(base: Grid, long_cycle: Sequence[tuple[float, float]]) -> tuple[int, str]:
    frames = base.num_frames
    fewest = min((round(frames * share) for share, _ in long_cycle), default=frames)
    if frames == 1 or fewest == frames:
        return 1, ""
    if base.crop_size < SMALL_CROP and frames <= FEW_FRAMES:
        return frames, (
            f"all clips have the baseline's {frames} frames: on lips at 64 pixels, a quarter of 8 "
            "frames was behind the baseline, all 8 were not (one set of two; else extrapolated)"
        )
    if fewest >= LEAST_FRAMES:
        return 1, ""
    return LEAST_FRAMES, f"no clip of fewer than {LEAST_FRAMES} frames: one shows no motion"


def _base_share(crop: int, given: Mapping[str, Any]) -> tuple[float, str]:
    if crop >= SMALL_CROP or given.get("boundaries"):
        has_short_crops = given.get("short_cycle", True)
        return 0.0, "the short cycle goes on to the end, as published" if has_short_crops else ""
    return BASE_SHARE, (
        f"the last quarter of the steps has the baseline's {crop} pixels alone, as the model is "
        "tested: better on actions and lips at 64 pixels, 0.01 worse on generated videos"
    )
