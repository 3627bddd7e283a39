"""All that is decided before a training begins, with its reasons."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from keras_multigrid import files
from keras_multigrid.data.check.set_report import SetReport
from keras_multigrid.data.check.survey import Survey, survey
from keras_multigrid.data.class_balance import class_counts
from keras_multigrid.data.lists.own_videos import Split, read_own, split_own
from keras_multigrid.data.lists.path_lists import path_label_lists
from keras_multigrid.data.lists.writing import write_lists
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.progress import Progress
from keras_multigrid.runs import run_folder
from keras_multigrid.runs.finetuning.choices import (
    Choice,
    Reason,
    choose,
    in_time,
    wanted_model,
)
from keras_multigrid.runs.finetuning.facts import SetFacts
from keras_multigrid.runs.finetuning.machine import Machine
from keras_multigrid.runs.finetuning.request import Request
from keras_multigrid.runs.finetuning.rules import PUBLISHED, SMALL
from keras_multigrid.runs.finetuning.run_settings import (
    PRECISE_BATCHES,
    VALIDATIONS,
    rule_schedule,
    run_settings,
    schedule_settings,
)
from keras_multigrid.runs.finetuning.timing import Speed, measured_speed
from keras_multigrid.runs.finetuning.weights import (
    NONE,
    find_initial_weights,
    network_of,
    subtracts_clip_mean,
)
from keras_multigrid.schedule import suggest

_FILE = "finetune.json"
# Crop first, then epochs, whose floor under the crop may make it longer again.
_FITTINGS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run is begun with.

    Args:
        videos: the set.
        choice: the settings.
        facts: of the videos and the machine, in words.
        reasons: for each choice, those of `choice` included.
        seconds: that the training will take; None: not timed.
    """

    videos: VideoSet
    choice: Choice
    facts: tuple[str, ...]
    reasons: tuple[Reason, ...]
    seconds: float | None = None

    def __str__(self) -> str:
        lines = [*self.facts, ""]
        for reason in self.reasons:
            lines += [f"{reason.name}: {reason.value}", f"    {reason.why}  [{reason.change}]"]
        return "\n".join(lines)


def prepare(request: Request, machine: Machine) -> Prepared:
    """Read, look at, split and choose; or take what the run began with, if it has begun.

    Raises:
        ValueError: if no model can be trained with the videos, or the run began otherwise.
        FileNotFoundError: if there are no videos.
    """
    begun = run_folder.read_json(request.run_dir, _FILE)
    changed = {} if begun is None else _changed(begun["asked"], request)
    if begun is not None and (not changed or _has_trained(request.run_dir)):
        return _as_begun(begun, changed, request)
    # What was typed comes before minutes of looking at videos.
    asked = _asked_network(request)
    own = read_own(request.source)
    looked = survey(own.records, progress=Progress("video"))
    split = split_own(
        own.without(looked.unreadable),
        group=request.group,
        share=request.share,
        seed=request.seed,
    )
    facts = _facts(split.videos, looked)
    model, why_model, weights, why_weights = asked or _network(machine, facts.num_train, request)
    choice = choose(
        facts,
        machine,
        model=model,
        why_model=why_model,
        initial_weights=weights,
        given=request.given,
    )
    as_trained = subtracts_clip_mean(weights)
    if as_trained is not None and "subtract_clip_mean" not in request.given:
        choice = choice.replaced("as the weights were trained", subtract_clip_mean=as_trained)
    choice, seconds = _fitted(choice, split.videos, request, machine)
    reasons = (
        _split_reason(split),
        *choice.reasons[:1],
        Reason(
            name="initial_weights",
            value=weights or "none",
            why=why_weights,
            change="--weights=PATH, --weights=none",
        ),
        *choice.reasons[1:],
        _schedule_reason(choice, facts.num_train, request),
    )
    report = SetReport.of(split.videos)
    lines = (*report.lines, *report.histogram, *looked.lines(), f"Machine: {machine}.")
    return Prepared(
        videos=split.videos, choice=choice, facts=lines, reasons=reasons, seconds=seconds
    )


def _facts(videos: VideoSet, looked: Survey) -> SetFacts:
    counts = class_counts(videos.train, videos.num_classes)
    return SetFacts(
        num_train=len(videos.train),
        class_names=videos.class_names,
        frames=looked.frames,
        short_side=looked.short_side,
        rate=looked.rate,
        is_still=looked.is_still,
        decoded_bytes=looked.decoded_bytes,
        imbalance=float(counts.max() / max(counts.min(), 1)),
    )


def _asked_network(request: Request) -> tuple[str, str, str | None, str] | None:
    """A network that the user names, itself or by its weights: it, why, its weights, why."""
    model, why = request.model, "as given"
    if model is None and request.weights not in (None, NONE):
        model, why = network_of(request.weights), "the network of the weights"
    return None if model is None else (model, why, *find_initial_weights(model, request.weights))


def _network(
    machine: Machine, num_train: int, request: Request
) -> tuple[str, str, str | None, str]:
    """The network that fits, why; its weights, why."""
    path, why_weights = find_initial_weights(PUBLISHED if machine.gpus else SMALL, request.weights)
    model, why = wanted_model(machine, num_train, has_weights=path is not None)
    return model, why, path, why_weights


def _fitted(
    choice: Choice, videos: VideoSet, request: Request, machine: Machine
) -> tuple[Choice, float]:
    """The choice that ends in time, and the seconds that it takes."""
    settings = run_settings(choice, videos, request=request)
    speed = measured_speed(settings, devices=max(machine.gpus, 1))
    seconds = _seconds(speed, choice, videos, request)
    for _ in range(_FITTINGS):
        fitted = in_time(
            choice,
            seconds,
            request.minutes,
            num_train=len(videos.train),
            given=request.given,
        )
        if fitted == choice:
            break
        choice, seconds = fitted, _seconds(speed, fitted, videos, request)
    return choice, seconds


def _seconds(speed: Speed, choice: Choice, videos: VideoSet, request: Request) -> float:
    schedule = rule_schedule(choice, len(videos.train), request)
    batches = PRECISE_BATCHES + -(-len(videos.validation) // choice.batch_size)
    return speed.seconds(schedule, validations=VALIDATIONS, batches=batches)


def _split_reason(split: Split) -> Reason:
    train, validation = len(split.videos.train), len(split.videos.validation)
    return Reason(
        name="split",
        value=f"{split.rule}: {train:,} training and {validation:,} validation videos",
        why=split.reason,
        change="--group=REGEX, --group=none, --validation=0.2, seed=1",
    )


def _schedule_reason(choice: Choice, num_train: int, request: Request) -> Reason:
    schedule = rule_schedule(choice, num_train, request)
    rule = suggest(schedule.base, num_train, choice.epochs, **schedule_settings(request))
    return Reason(
        name="schedule",
        value=f"{schedule.total_steps:,} steps, one pass from coarse to fine",
        why="by the rule"
        + (", with your epoch_factor" if request.epoch_factor is not None else "")
        + (": " if request.probe_work is None else ", until the probe chooses another: ")
        + "; ".join(rule.reasons[1:]),
        change="epoch_factor=1.0, or --probe_work=1600",
    )


# ---- Of a run that has begun ---------------------------------------------------------------------


def save(prepared: Prepared, request: Request) -> None:
    """Write what a run begins with, so that it goes on with it, whatever the folder holds then."""
    write_lists(prepared.videos, os.path.join(request.run_dir, run_folder.LISTS))
    content = {
        "asked": request.asked(),
        "choice": dataclasses.asdict(prepared.choice),
        "facts": prepared.facts,
        "reasons": [dataclasses.asdict(reason) for reason in prepared.reasons],
        "notes": prepared.videos.notes,
        "seconds": prepared.seconds,
    }
    run_folder.save_texts({_FILE: json.dumps(content, indent=1)}, request.run_dir)


def _changed(begun: Mapping[str, Any], request: Request) -> dict[str, tuple[Any, Any]]:
    """What is asked for otherwise than when the run began: name to both values."""
    before, now = ({**asked, **asked["given"]} for asked in (begun, request.asked()))
    names = [name for name in {**before, **now} if name != "given"]
    # As JSON keeps them.
    both = {name: (before.get(name), json.loads(json.dumps(now.get(name)))) for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _has_trained(run_dir: str) -> bool:
    """Whether there is more than `save` writes: until then nothing is lost by other settings."""
    return bool(set(files.list_folder(run_dir)) - {_FILE, run_folder.LISTS})


def _as_begun(
    begun: Mapping[str, Any], changed: Mapping[str, tuple[Any, Any]], request: Request
) -> Prepared:
    if changed:
        texts = [f"`{name}` was {was}, is now {now}" for name, (was, now) in changed.items()]
        raise ValueError(
            f"The run in '{request.run_dir}' must go on with the settings that it began with: "
            f"{'; '.join(texts)}. Give the former ones again (None: leave it out), or begin "
            "another run in another folder."
        )
    folder = os.path.join(request.run_dir, run_folder.LISTS)
    videos = path_label_lists(
        os.path.join(folder, "train.txt"),
        validation=os.path.join(folder, "validation.txt"),
        class_names=os.path.join(folder, "class_names.txt"),
    )
    choice = dict(begun["choice"])
    choice["reasons"] = tuple(Reason(**reason) for reason in choice["reasons"])
    return Prepared(
        videos=dataclasses.replace(videos, notes=tuple(begun["notes"])),
        choice=Choice(**choice),
        facts=tuple(begun["facts"]),
        reasons=tuple(Reason(**reason) for reason in begun["reasons"]),
        seconds=begun["seconds"],
    )
