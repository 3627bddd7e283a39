"""What to train a set with: model, grid, length and rate, each with a reason. Numbers alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_multigrid.progress import as_time
from keras_multigrid.runs.finetuning.facts import SetFacts
from keras_multigrid.runs.finetuning.machine import Machine
from keras_multigrid.runs.finetuning.rules import (
    CHANGES,
    CROPS,
    LEAST_STEPS,
    MANY_VIDEOS,
    PUBLISHED,
    RULES,
    SMALL,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a setting has its value.

    Args:
        name: of the setting.
        value: in words.
        why: the reason.
        change: what to type for another value.
    """

    name: str
    value: str
    why: str
    change: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value}. {self.why[:1].upper()}{self.why[1:]}. [{self.change}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What a set is trained with.

    Args:
        model: a name of `models.names()`.
        initial_weights: path, or None for training from scratch.
        batch_size, num_frames, crop_size: the base grid.
        stride, flip, subtract_clip_mean: of `ClipSampling`.
        epochs: the baseline's.
        learning_rate: the baseline's, at `batch_size`.
        copies: whether small copies of the videos are written first, as records.
        keep_decoded: whether decoded videos stay in memory.
        balance: of `Data`.
        dtype_policy: of `Model`.
        reasons: one for each.
    """

    model: str
    initial_weights: str | None
    batch_size: int
    num_frames: int
    crop_size: int
    stride: int
    flip: bool
    subtract_clip_mean: bool
    epochs: int
    learning_rate: float
    copies: bool
    keep_decoded: bool
    balance: str | None
    dtype_policy: str | None
    reasons: tuple[Reason, ...]

    def replaced(self, why: str, **values: Any) -> "Choice":
        """The same with other values, and why."""
        reasons = tuple(
            dataclasses.replace(reason, value=_shown(values[reason.name]), why=why)
            if reason.name in values
            else reason
            for reason in self.reasons
        )
        return dataclasses.replace(self, **values, reasons=reasons)


def wanted_model(machine: Machine, num_train: int, *, has_weights: bool) -> tuple[str, str]:
    """The network to train, and why.

    Args:
        machine: what it is trained on.
        num_train: training videos.
        has_weights: whether trained weights of `PUBLISHED` are at hand.
    """
    if not machine.gpus:
        return SMALL, "half a million parameters: without a GPU a published network takes days"
    if has_weights:
        return PUBLISHED, "a GPU and trained weights: the published network"
    if num_train >= MANY_VIDEOS:
        return PUBLISHED, f"a GPU and {num_train:,} videos: the published network, from scratch"
    return SMALL, f"half a million parameters: from scratch, {num_train:,} videos teach no more"


def choose(
    facts: SetFacts,
    machine: Machine,
    *,
    model: str,
    why_model: str,
    initial_weights: str | None = None,
    given: Mapping[str, Any] | None = None,
) -> Choice:
    """Choose all settings that are not given.

    Args:
        facts: of the set.
        machine: what it is trained on.
        model, why_model: of `wanted_model`, or the user's.
        initial_weights: path of the weights to begin with, or None.
        given: names of fields of `Choice` to values that the user has set.

    Example:

    >>> choose(facts, machine, model="i3d_small", why_model="it is small").crop_size
    112
    """
    given = dict(given or {})
    chosen: dict[str, Any] = {"model": model, "initial_weights": initial_weights}
    reasons = [Reason(name="model", value=model, why=why_model, change=_change("model", model))]
    for name, rule in RULES.items():
        value, why = rule(facts, machine, chosen | given)
        if name in given:
            value, why = given[name], "as given"
        chosen[name] = value
        reasons.append(Reason(name=name, value=_shown(value), why=why, change=_change(name, value)))
    return Choice(**chosen, reasons=tuple(reasons))


def in_time(
    choice: Choice, seconds: float, minutes: float, *, num_train: int, given: Mapping[str, Any]
) -> Choice:
    """A choice whose training ends in time, as far as that can be.

    First a smaller crop, for the small network, then fewer epochs, but `LEAST_STEPS` steps of the
    baseline.

    Args:
        choice: the choice.
        seconds: that its training will take.
        minutes: that it may take.
        num_train: training videos.
        given: names that the user has set: they stay.
    """
    if seconds <= 60 * minutes:
        return choice
    if choice.model == SMALL and choice.crop_size > CROPS[-1] and "crop_size" not in given:
        crops = [crop for crop in CROPS if crop < choice.crop_size]
        costs = {crop: seconds * (crop / choice.crop_size) ** 2 for crop in crops}
        crop = next((crop for crop in crops if costs[crop] <= 60 * minutes), crops[-1])
        why = f"the largest whose training is expected to end in {as_time(60 * minutes)}"
        if costs[crop] > 60 * minutes:
            why = "the smallest, as time is short"
        return choice.replaced(why, crop_size=crop)
    least = -(-LEAST_STEPS * choice.batch_size // num_train)
    if choice.epochs <= least or "epochs" in given:
        return choice
    fitting = int(choice.epochs * 60 * minutes / seconds)
    why = f"to fit {as_time(60 * minutes)}"
    if fitting < least:
        why = f"{LEAST_STEPS} steps of the baseline: fewer are too few to learn from"
    return choice.replaced(why, epochs=max(fitting, least))


def _change(name: str, value: Any) -> str:
    """What to type for another value than this one."""
    typed, usual, other = CHANGES[name]
    return typed + (other if _shown(value) == usual else usual)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else f"{value}"
