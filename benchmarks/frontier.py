"""What accuracy costs: schedules at several lengths, each with the best of several learning rates.

    python benchmarks/frontier.py --gin_file=gin/i3d_weizmann.gin --gin_param="DATA_DIR='...'" \
        --works=200,400,800,1600 --rates=0.03,0.1,0.3 --folds=0,1,2 --seeds=3 --out=results/weizmann

The baseline and every other schedule train at the same work, in steps of the baseline, as near as
whole EPOCHS come to it: the table has what each took. They are tuned alike: all rates are tried
with seed 0, and the best of each schedule and length runs with the other seeds, too. A schedule is
a name and what it binds over the experiment:

    --schedule "baseline" --schedule "multigrid" \
    --schedule "half growth: schedule.MultigridSchedule.batch_growth=0.5"

A name alone is the baseline or the experiment as it is. Everything warms up over the share of its
epochs that its rate needs (`warmup_epochs="auto"`) unless it binds another. Finished runs in --out
are not run again, so more works, rates, schedules or seeds can be asked for later; one that was
killed resumes.

Prints a table, writes `frontier.json` and a figure of accuracy over work and over seconds. Seconds
are those of training, tracing included, validation left out.
"""

import argparse
import collections
import dataclasses
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version

from experiment_runs import ROOT, on_shares_of_the_cores, report_of

sys.path.insert(0, ROOT)

_BASELINE = "SCHEDULE=@baseline/schedule.MultigridSchedule()"
# The rule's factor depends on the epochs, which here follow from the work.
_FACTOR = "schedule.MultigridSchedule.epoch_factor=1.5"
_WARMUP = "learning_rate.MultigridLearningRate.warmup_epochs='auto'"
_MEANS = ("steps", "own_work", "seconds", "accuracy", "loss")
# A plan this long says what an epoch of a schedule costs, almost free of rounding.
_PLANNED_EPOCHS = 1000


@dataclasses.dataclass(frozen=True)
class Cell:
    """A schedule at one length, with one learning rate."""

    schedule: str
    work: int
    rate: float


def main() -> None:
    settings = _parse()
    os.makedirs(settings.out, exist_ok=True)
    schedules = dict(_named_bindings(text) for text in settings.schedule)
    epochs = {name: _epochs_of_work(own, settings) for name, own in schedules.items()}

    def train(job, cores):
        cell, seed, fold = job
        bindings = [*schedules[cell.schedule], f"EPOCHS={epochs[cell.schedule](cell.work)}"]
        return _run(cell, seed, fold, bindings, settings, cores)

    def train_all(cells, seeds):
        jobs = itertools.product(cells, seeds, settings.folds)
        return on_shares_of_the_cores(train, jobs, settings.processes)

    cells = list(
        itertools.starmap(Cell, itertools.product(schedules, settings.works, settings.rates))
    )
    tried = train_all(cells, [0])
    runs = train_all(_best_rates(tried), range(settings.seeds))
    points = _points(runs)
    print(_tuning_table(tried), _table(points), _comparison(points), sep="\n\n")
    facts = {"command": sys.argv, "cpus": os.cpu_count(), "versions": _versions()}
    with open(os.path.join(settings.out, "frontier.json"), "w", encoding="utf-8") as file:
        json.dump({**facts, "points": points, "tuning": tried, "runs": runs}, file, indent=1)
    _draw(points, os.path.join(settings.out, "frontier.png"))


def _parse() -> argparse.Namespace:
    def numbers(kind):
        return lambda text: [kind(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gin_file", action="append", required=True)
    parser.add_argument("--gin_param", action="append", default=[])
    parser.add_argument("--schedule", action="append", metavar="NAME[: BINDING; ...]")
    parser.add_argument("--works", type=numbers(int), required=True, help="steps of the baseline")
    parser.add_argument("--rates", type=numbers(float), required=True, help="learning rates")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=numbers(int), default=[None], help="values of FOLD")
    parser.add_argument("--metric", default="accuracy")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", required=True)
    settings = parser.parse_args()
    settings.schedule = settings.schedule or ["baseline", "multigrid"]
    settings.out = os.path.abspath(settings.out)
    for name, least in (("works", 1), ("seeds", 1), ("processes", 1)):
        value = getattr(settings, name)
        if min(value if isinstance(value, list) else [value]) < least:
            parser.error(f"--{name} must be at least {least}. Received: {value}")
    return settings


def _named_bindings(text: str) -> tuple[str, list[str]]:
    name, _, bindings = text.partition(":")
    own = [binding.strip() for binding in bindings.split(";") if binding.strip()]
    return name.strip(), [_BASELINE] * (name.strip() == "baseline") + own


def _epochs_of_work(bindings: Sequence[str], settings: argparse.Namespace):
    """A function from work to the `EPOCHS` that come nearest, at least 1."""
    bindings = [
        _WARMUP,
        _FACTOR,
        *settings.gin_param,
        *bindings,
        f"EPOCHS={_PLANNED_EPOCHS}",
    ]
    result = subprocess.run(
        [
            sys.executable,
            os.path.join(ROOT, "tools", "plan.py"),
            "--json",
            *(f"--gin_file={file}" for file in settings.gin_file),
            *(f"--gin_param={binding}" for binding in bindings),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    work = json.loads(result.stdout)["totals"]["work"]
    return lambda wanted: max(1, round(wanted * _PLANNED_EPOCHS / work))


def _run(cell: Cell, seed, fold, bindings, settings, cores: set[int]) -> dict:
    """The report of one run, in short."""
    bindings = [
        _WARMUP,
        _FACTOR,
        "runs.Logging.validations=1",
        "runs.Logging.still_control=False",
        *settings.gin_param,
        *bindings,
        f"LEARNING_RATE={cell.rate}",
        f"runs.Settings.seed={seed}",
        *([f"FOLD={fold}"] * (fold is not None)),
    ]
    parts = [cell.schedule.replace(" ", "_"), f"work_{cell.work}", f"rate_{cell.rate}"]
    parts += [f"fold_{fold}"] * (fold is not None) + [f"seed_{seed}"]
    report = report_of(
        os.path.join(settings.out, "_".join(parts)), settings.gin_file, bindings, cores
    )
    return {
        **dataclasses.asdict(cell),
        "seed": seed,
        "fold": fold,
        "steps": report["steps"],
        "own_work": report["work"],
        "seconds": report["curve"][-1]["seconds"],
        "accuracy": report["metrics"][settings.metric],
        "loss": report["metrics"]["loss"],
    }


def _cell(run: dict) -> Cell:
    return Cell(run["schedule"], run["work"], run["rate"])


def _best_rates(tried: Sequence[dict]) -> list[Cell]:
    """Of each schedule and length the rate with the highest mean accuracy; of equals, less loss."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in tried:
        groups[run["schedule"], run["work"]][_cell(run)].append(run)

    def quality(runs):
        return _mean(runs, "accuracy"), -_mean(runs, "loss")

    return [max(cells, key=lambda cell: quality(cells[cell])) for cells in groups.values()]


def _points(runs: Sequence[dict]) -> list[dict]:
    """Mean and standard error, over seeds, of each schedule and length."""
    groups = collections.defaultdict(list)
    for run in runs:
        groups[_cell(run)].append(run)
    points = []
    for cell, own in groups.items():
        # The folds of a seed together are one result on the whole set.
        seeds = [
            _mean([run for run in own if run["seed"] == seed], "accuracy")
            for seed in {run["seed"] for run in own}
        ]
        spread = statistics.stdev(seeds) / math.sqrt(len(seeds)) if len(seeds) > 1 else math.nan
        means = {
            name: _mean(own, name) for name in ("steps", "own_work", "seconds", "accuracy", "loss")
        }
        points.append(
            {**dataclasses.asdict(cell), **means, "standard_error": spread, "seeds": len(seeds)}
        )
    return points


def _mean(runs: Sequence[dict], name: str) -> float:
    return statistics.mean(run[name] for run in runs)


def _tuning_table(tried: Sequence[dict]) -> str:
    lines = [
        "every learning rate, seed 0",
        f"{'schedule':<20}{'work':>8}{'rate':>8}{'accuracy':>10}",
    ]
    for cell in dict.fromkeys(map(_cell, tried)):
        accuracy = _mean([run for run in tried if _cell(run) == cell], "accuracy")
        lines.append(f"{cell.schedule:<20}{cell.work:>8,}{cell.rate:>8g}{accuracy:>10.3f}")
    return "\n".join(lines)


def _table(points: Sequence[dict]) -> str:
    # One seed has no standard error.
    lines = [
        "the best rate of each, means over seeds",
        f"{'schedule':<20}{'work':>8}{'steps':>8}{'seconds':>9}{'rate':>8}{'accuracy':>10}"
        f"{'± error':>9}{'loss':>8}",
    ]
    for point in points:
        error = "" if point["seeds"] == 1 else f"{point['standard_error']:.3f}"
        lines.append(
            f"{point['schedule']:<20}{point['own_work']:>8,.0f}{point['steps']:>8,.0f}"
            f"{point['seconds']:>9,.0f}{point['rate']:>8g}{point['accuracy']:>10.3f}"
            f"{error:>9}{point['loss']:>8.3f}"
        )
    return "\n".join(lines)


def _comparison(points: Sequence[dict]) -> str:
    """Each schedule against the baseline: at equal work, and to the baseline's best accuracy."""
    baseline = {point["work"]: point for point in points if point["schedule"] == "baseline"}
    if not baseline:
        return "no baseline to compare with"
    best = max(baseline.values(), key=lambda point: point["accuracy"])
    lines = []
    for name in dict.fromkeys(point["schedule"] for point in points):
        own = [point for point in points if point["schedule"] == name]
        if name == "baseline":
            continue
        for point in own:
            other = baseline[point["work"]]
            error = math.hypot(point["standard_error"], other["standard_error"])
            difference = point["accuracy"] - other["accuracy"]
            error = "" if math.isnan(error) else f" ± {error:.3f}"
            works = [round(of["own_work"]) for of in (point, other)]
            # An epoch of the baseline may be more than the difference that one wants to see.
            is_equal = max(works) <= 1.05 * min(works)
            work = f"{works[0]:,}" if is_equal else f"{works[0]:,}, the baseline at {works[1]:,}"
            lines.append(f"{name} at work {work}: {difference:+.3f}{error}")
        reached = [point for point in own if point["accuracy"] >= best["accuracy"]]
        if not reached:
            lines.append(f"{name} does not reach the baseline's best, {best['accuracy']:.3f}")
            continue
        first = min(reached, key=lambda point: point["own_work"])
        lines.append(
            f"{name} reaches the baseline's best, {best['accuracy']:.3f}, with "
            f"{first['own_work'] / best['own_work']:.2f} of its work and "
            f"{first['seconds'] / best['seconds']:.2f} of its seconds"
        )
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    names = ("keras", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _draw(points: Sequence[dict], path: str) -> None:
    from keras_multigrid import figures

    lines = {}
    for point in sorted(points, key=lambda point: point["work"]):
        lines.setdefault(point["schedule"], []).append(
            (point["own_work"], point["seconds"], point["accuracy"], point["standard_error"])
        )
    with open(path, "wb") as file:
        file.write(figures.to_png(figures.draw_frontier(lines)))


if __name__ == "__main__":
    main()
