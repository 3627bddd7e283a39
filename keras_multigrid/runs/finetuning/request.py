"""What a user asks for, beside the videos: all may be left out."""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from keras_multigrid import files
from keras_multigrid.checks import check_integer, check_positive
from keras_multigrid.runs.finetuning.choices import Choice

# Fields of `Choice` that a user may set.
SETTABLE = tuple(
    field.name
    for field in dataclasses.fields(Choice)
    if field.name not in ("model", "initial_weights", "reasons")
)
_COUNTS = {"batch_size", "num_frames", "crop_size", "stride", "epochs"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Args:
        source: folder of class folders, or a list of paths and labels.
        run_dir: folder of the run.
        group: same as for `split_own`.
        share: of validation videos.
        model: name of the network; None lets the machine and the set decide.
        weights: path of the weights to begin with; "none" for none; None takes what can be had.
        minutes: that the training may take.
        probe_work: work of a probe for the schedule, in steps of the baseline; None takes the
            rule's schedule.
        epoch_factor: of the schedule; None takes the rule's.
        seed: of the split, weights and clips.
        workers: clips read at a time; None takes the number of cores.
        given: fields of `Choice` to values.

    Raises:
        ValueError: if a number is out of its range, `group` is no pattern, or `given` names what
            is no setting.

    Example:

    >>> Request(source="my_videos", run_dir="runs/mine", given={"epochs": 20})
    """

    source: str
    run_dir: str
    group: str | None = None
    share: float = 0.2
    model: str | None = None
    weights: str | None = None
    minutes: float = 30.0
    probe_work: float | None = None
    epoch_factor: float | None = None
    seed: int = 0
    workers: int | None = None
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_positive("minutes", self.minutes)
        check_integer("seed", self.seed, least=0)
        if self.workers is not None:
            check_integer("workers", self.workers)
        for name in sorted(_COUNTS & self.given.keys()):
            check_integer(name, self.given[name])
        if "learning_rate" in self.given:
            check_positive("learning_rate", self.given["learning_rate"])
        if self.epoch_factor is not None:
            check_positive("epoch_factor", self.epoch_factor)
        if self.group is not None:
            _check_pattern(self.group)
        unknown = sorted(set(self.given) - set(SETTABLE))
        if unknown:
            raise ValueError(
                f"`given` must name settings. Received: {', '.join(unknown)}. "
                f"There are {', '.join(SETTABLE)}."
            )

    def asked(self) -> dict[str, Any]:
        """What must be the same when the run goes on, as JSON takes it."""
        values = dataclasses.asdict(self)
        # How fast clips are read changes none of them, and a run may be moved.
        for name in ("run_dir", "workers"):
            del values[name]
        if not files.is_remote(self.source):
            # From whatever folder the command is given again.
            values["source"] = os.path.abspath(self.source)
        return values


def _check_pattern(group: str) -> None:
    try:
        re.compile(group)
    except re.error as error:
        raise ValueError(
            f"`group` must be a regular expression. Received: {group!r}: {error}. For "
            "walk/denis_walk.avi use '/([a-z]+)_'."
        ) from None
