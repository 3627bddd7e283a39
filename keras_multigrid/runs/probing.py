"""Which schedule a model learns a set with, found by short runs before the whole one.

Successive halving: all candidates train at equal work, the better half at twice as much. Each run
is a whole schedule from coarse to fine, with its warm-up, along half a cosine: what a schedule is
good for shows at its end, not after its first steps.
"""

import dataclasses
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras

from keras_multigrid import files
from keras_multigrid.checks import check_positive
from keras_multigrid.data.class_balance import class_counts
from keras_multigrid.learning_rate import MultigridLearningRate, half_cosine
from keras_multigrid.runs.learned_by_phase import learned_by_phase
from keras_multigrid.runs.report import Report
from keras_multigrid.runs.settings import Settings
from keras_multigrid.runs.training import train
from keras_multigrid.schedule import MultigridSchedule, suggest
from keras_multigrid.task import MultiLabel, SingleLabel, Task

# In steps of the baseline. From scratch, less leaves few steps after the warm-up.
LEAST_WORK = 200
# A difference counts if it is as many standard errors.
_CERTAIN = 2.0
# Validations of the last round's runs, for what each grid learned.
_VALIDATIONS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a probe found.

    Args:
        answer: "multigrid" if the best candidate beats the baseline, "baseline" if it is beaten,
            "cannot tell" if neither is certain.
        choice: name of the candidate to train with. Where it cannot tell, that of the rule.
        schedule: the chosen one, at the length of the run that was probed.
        scaling: of its learning rate.
        work: of all runs of the probe, in steps of the baseline.
        needed_work: the work at which a probe would probably tell; None if this one did.
        runs: of each run its round, candidate, work, result, standard error of the result, and
            loss.
        learning: in the last round, name of a candidate to what its phases learned: grid, fall of
            the validation loss for 100 steps of the baseline's work, and its standard error, None
            where there are too few validations.
    """

    answer: str
    choice: str
    schedule: MultigridSchedule
    scaling: str
    work: float
    needed_work: float | None
    runs: Sequence[Mapping[str, Any]]
    learning: Mapping[str, Sequence[Mapping[str, Any]]]

    def __str__(self) -> str:
        head = f"{'round':>5}  {'candidate':<16}{'work':>8}{'result':>9}{'± error':>9}{'loss':>8}"
        lines = [head] if self.runs else []
        for run in self.runs:
            lines.append(
                f"{run['round']:>5}  {run['candidate']:<16}{run['work']:>8,.0f}"
                f"{run['result']:>9.3f}{run['error']:>9.3f}{run['loss']:>8.3f}"
            )
        for name, phases in self.learning.items():
            lines.append(
                f"{name}: fall of the validation loss for 100 steps of the baseline's work"
            )
            for phase in phases:
                error = "" if phase["error"] is None else f" ± {phase['error']:.3f}"
                lines.append(f"  {phase['grid']:>24}  {phase['fall']:+.3f}{error}")
        return "\n".join([*lines, self._in_words()])

    def _in_words(self) -> str:
        cost = f"The probe took the work of {self.work:,.0f} steps of the baseline."
        if self.answer == "multigrid":
            return f"Train with '{self.choice}': it beats the baseline at equal work. {cost}"
        if self.answer == "baseline":
            return f"The baseline is the better choice here. {cost}"
        more = ", or more validation videos" if self.runs else ""
        return (
            f"Cannot tell at this cost; {self.needed_work:,.0f} steps would probably do "
            f"(--work={self.needed_work:.0f}){more}. Until then the rule's schedule, "
            f"'{self.choice}', stands. {cost}"
        )


def candidates(
    schedule: MultigridSchedule, kept: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Names of schedules to settings over those of `schedule`; equal ones are tried once.

    Beside the baseline and the rule's, these are what the rule says where batches grow otherwise,
    unless their growth is kept.
    """
    given = {name: getattr(schedule, name) for name in ("replicas", *kept)}
    growths = {"rule": 1.0, "growth 0.5": 0.5, "growth 0": 0.0}
    if "batch_growth" in kept:
        growths = {"rule": schedule.batch_growth}
    named = {"baseline": {"long_cycle": (), "short_cycle": ()}}
    for name, growth in growths.items():
        own = {**given, "batch_growth": growth}
        rule = suggest(schedule.base, schedule.num_clips, schedule.epochs, **own)
        named[name] = {**rule.settings, "batch_growth": growth}
    unique = {}
    for name, settings in named.items():
        tried = _one_pass(schedule, settings, schedule.epochs)
        # Those of the base grid alone are the baseline.
        is_coarser = set(tried.grids) != {schedule.baseline_grid}
        unique.setdefault(tried.phases if is_coarser else None, (name, settings))
    return dict(unique.values())


def probe(
    settings: Settings,
    *,
    work: float | None = None,
    optimizer: str | None = None,
    kept: Collection[str] = (),
    least_work: float = LEAST_WORK,
) -> ProbeResult:
    """Try schedules on the model and data of a run, before it.

    The runs are ordinary ones, in folders of their own below `run_dir`/probe/work_WORK: each
    resumes if it was killed, is repeated exactly by the same seed, and shows in TensorBoard beside
    the others. The result is written to `run_dir`/probe as `probe.json`, and the chosen schedule as
    `schedule.gin`.

    Args:
        settings: of the run that is probed.
        work: of all runs together, in steps of the baseline; None for a tenth of the baseline's. If
            it does not pay for `least_work` of each candidate, nothing is trained and the answer is
            that the probe cannot tell.
        optimizer: its kind, whose `scaling` of the learning rate is that of the rule, see
            `schedule.suggest`; None keeps that of the run.
        kept: names of settings of the schedule that are decided: the rule goes with them, and no
            candidate but the baseline changes them.
        least_work: of each run. Networks that begin with trained weights need less.

    Raises:
        ValueError: if a setting is not positive, if all candidates are the baseline, if the task's
            result is no share, such as an error to minimize, if no difference could be certain on
            so few validation videos, or what `train` raises.

    Example:

    >>> result = probe(settings)
    >>> settings.optimization.schedule.total_work, result.schedule.total_work
    """
    _check_task(settings.data.videos.task)
    _check_validation(settings)
    schedule = settings.optimization.schedule
    work = 0.1 * schedule.baseline_steps if work is None else work
    check_positive("work", work)
    scaling = settings.optimization.learning_rate(schedule).scaling
    if optimizer is not None:
        scaling = suggest(schedule.base, schedule.num_clips, schedule.epochs, optimizer).scaling
    named = candidates(schedule, kept)
    if len(named) == 1:
        raise ValueError(
            f"A probe compares schedules. With the base grid {schedule.base}, all of them are the "
            "baseline. Use more frames or a larger crop, and a schedule with cycles, which "
            "multigrid=false turns off."
        )
    rounds, left = [], list(named)
    while len(left) > 1:
        rounds.append(len(left))
        left = left[: -(-len(left) // 2)]
    check_positive("least_work", least_work)
    least = least_work * rounds[0] * len(rounds)
    runs, learning = [], {}
    if work >= least:
        runs, learning = _halve(settings, named, rounds, work, scaling)
    answer, choice, needed = _decide(runs, settings, max(work, least))
    # Where the base grid leaves nothing to make coarser, the rule's schedule is the baseline.
    choice = choice if choice in named else "baseline"
    result = ProbeResult(
        answer=answer,
        choice=choice,
        schedule=_one_pass(schedule, named[choice], schedule.epochs),
        scaling=scaling,
        work=sum(run["work"] for run in runs),
        needed_work=needed,
        runs=runs,
        learning=learning,
    )
    _save(result, os.path.join(settings.run_dir, "probe"))
    return result


def _check_task(task: Task) -> None:
    if task.mode != "max":
        raise ValueError(
            "`probe` compares shares of right answers, between 0 and 1, whose error is known from "
            f"the number of videos. Received: a task whose {task.result!r} is to be minimized. "
            "Compare its schedules with benchmarks/frontier.py."
        )


def _check_validation(settings: Settings) -> None:
    count, chance = len(settings.data.videos.validation), _chance(settings)
    if count and 1 - chance >= _CERTAIN * math.hypot(_error(1.0, count), _error(chance, count)):
        return
    raise ValueError(
        "`probe` needs enough validation videos to tell a network that is always right from one "
        f"that guesses. Received: {count} validation videos, of which guesses get {chance:.0%} "
        "right. Use more of them, or train by the rule, without a probe."
    )


def _one_pass(
    schedule: MultigridSchedule, settings: Mapping[str, Any], epochs: int
) -> MultigridSchedule:
    own = {"epochs": epochs, "boundaries": (), "round_to_epochs": False, **settings}
    return dataclasses.replace(schedule, **own)


def _halve(
    settings: Settings,
    named: Mapping[str, Mapping[str, Any]],
    rounds: Sequence[int],
    work: float,
    scaling: str,
) -> tuple[list[dict], dict]:
    """All runs, and what the grids of the last ones learned."""
    runs, learning, left = [], {}, list(named)
    for number, count in enumerate(rounds, start=1):
        is_last = number == len(rounds)
        own = []
        for name in left:
            schedule = settings.optimization.schedule
            short = _of_work(schedule, named[name], work / len(rounds) / count)
            folder = f"work_{work:g}/round_{number}_{name.replace(' ', '_')}"
            report = _run(settings, short, folder, scaling, _VALIDATIONS if is_last else 1)
            if is_last:
                learning[name] = learned_by_phase(short, report)
            own.append({"round": number, "candidate": name, **_outcome(report, settings)})
        runs += own
        # Of equal results, the lower loss.
        own.sort(key=lambda run: (run["result"], -run["loss"]), reverse=True)
        left = [run["candidate"] for run in own[: -(-len(own) // 2)]]
    return runs, learning


def _of_work(
    schedule: MultigridSchedule, settings: Mapping[str, Any], work: float
) -> MultigridSchedule:
    """The schedule of this work, to a step: an epoch of a large set may be more."""
    if not settings.get("long_cycle", True):
        # The baseline as a cycle of its own grid alone, whose length `epoch_factor` sets, too.
        settings = {
            **settings,
            "long_cycle": ((1.0, 1.0),),
            "phase_shares": (),
            "base_share": 0.0,
            "epoch_factor": 1.0,
        }
    whole = _one_pass(schedule, settings, 1000)
    near = _one_pass(schedule, settings, max(1, round(1000 * work / whole.total_work)))
    factor = near.epoch_factor * work / near.total_work
    return dataclasses.replace(near, epoch_factor=factor)


def _run(
    settings: Settings, schedule: MultigridSchedule, folder: str, scaling: str, validations: int
) -> Report:
    policy = settings.optimization.learning_rate(settings.optimization.schedule)
    rate = _highest_rate(policy, settings.optimization.schedule)

    def learning_rate(its_schedule):
        return MultigridLearningRate(
            its_schedule,
            half_cosine(its_schedule, rate),
            warmup_epochs="auto",
            warmup_start=policy.warmup_start,
            reference_batch_size=policy.reference_batch_size,
            scaling=scaling,
        )

    keras.backend.clear_session()
    return train(
        dataclasses.replace(
            settings,
            run_dir=os.path.join(settings.run_dir, "probe", folder),
            optimization=dataclasses.replace(
                settings.optimization, schedule=schedule, learning_rate=learning_rate
            ),
            logging=dataclasses.replace(
                settings.logging, validations=validations, still_control=False
            ),
        )
    )


def _highest_rate(policy: MultigridLearningRate, schedule: MultigridSchedule) -> float:
    """The baseline's rate before it falls."""
    rate = policy.learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return rate
    steps = range(0, schedule.baseline_steps, max(1, schedule.baseline_steps // 100))
    return max(float(rate(step)) for step in steps)


def _outcome(report: Report, settings: Settings) -> dict[str, float]:
    task = settings.data.videos.task
    result = report.metrics[task.result]
    return {
        "work": report.work,
        "result": result,
        "error": _error(result, len(settings.data.videos.validation)),
        "loss": report.metrics["loss"],
    }


def _error(result: float, count: int) -> float:
    """Standard error of a share of right answers; for other results in [0, 1] an upper bound."""
    share = min(max(result, 0.5 / count), 1 - 0.5 / count)
    return math.sqrt(share * (1 - share) / count)


def _decide(
    runs: Sequence[Mapping[str, Any]], settings: Settings, work: float
) -> tuple[str, str, float | None]:
    """The answer, the candidate to take, and the work that would tell if this one did not."""
    if not runs:
        return "cannot tell", "rule", work
    last = [run for run in runs if run["round"] == runs[-1]["round"]]
    best = max(last, key=lambda run: (run["result"], -run["loss"]))
    chance = _chance(settings)
    if best["result"] - chance < _CERTAIN * best["error"]:
        return "cannot tell", "rule", 4 * work
    # At equal work: the baseline's last run, and the best of the others in that round.
    baseline = [run for run in runs if run["candidate"] == "baseline"][-1]
    others = [
        run for run in runs if run["round"] == baseline["round"] and run["candidate"] != "baseline"
    ]
    other = max(others, key=lambda run: (run["result"], -run["loss"]))
    difference = other["result"] - baseline["result"]
    if abs(difference) < _CERTAIN * math.hypot(other["error"], baseline["error"]):
        return "cannot tell", "rule", 2 * work
    if difference < 0:
        return "baseline", "baseline", None
    return "multigrid", best["candidate"], None


def _chance(settings: Settings) -> float:
    """What guesses get; 0 where labels are no classes."""
    task, videos = settings.data.videos.task, settings.data.videos.validation
    if not videos or not isinstance(task, (SingleLabel, MultiLabel)):
        return 0.0
    shares = class_counts(videos, task.num_outputs) / len(videos)
    # The precision of guesses is the share of a class.
    return float(shares.mean() if isinstance(task, MultiLabel) else shares.max())


def _save(result: ProbeResult, folder: str) -> None:
    content = {**dataclasses.asdict(result), "schedule": result.schedule.get_config()}
    files.write(os.path.join(folder, "probe.json"), json.dumps(content, indent=1))
    files.write(os.path.join(folder, "schedule.gin"), in_gin(result))


def in_gin(result: ProbeResult) -> str:
    """Bindings that let an experiment train with the chosen schedule."""
    names = (
        "long_cycle",
        "short_cycle",
        "batch_growth",
        "min_frames",
        "min_crop",
        "base_share",
        "epoch_factor",
        "round_to_epochs",
    )
    values = {f"schedule.MultigridSchedule.{n}": getattr(result.schedule, n) for n in names}
    values["learning_rate.MultigridLearningRate.warmup_epochs"] = "auto"
    values["learning_rate.MultigridLearningRate.scaling"] = result.scaling
    return "\n".join(
        [
            "from __gin__ import dynamic_registration",
            "from keras_multigrid import learning_rate",
            "from keras_multigrid import schedule",
            "include 'gin/recipes/half_cosine.gin'",
            *(f"{name} = {value!r}" for name, value in values.items()),
            "",
        ]
    )
