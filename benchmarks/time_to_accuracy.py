"""How long training takes to the same accuracy with multigrid and without, side by side.

    python benchmarks/time_to_accuracy.py --gin_file=gin/quickstart.gin --seeds=3 --out=results
    python benchmarks/time_to_accuracy.py --gin_file=gin/i3d_weizmann.gin --seeds=3 --folds=0,1,2 \
        --baseline_epochs=54,108 --baseline_rates=0.01,0.03,0.1 --gin_param="DATA_DIR='...'"

Trains an experiment as it is, and without cycles for each of --baseline_epochs (by default its own
EPOCHS), one process a run. Each baseline takes the best of --baseline_rates, found with seed 0, and
warms up over --baseline_warmup of its epochs. Finished runs in --out are not run again.

Prints tables, and writes `time_to_accuracy.json` and a figure of accuracy over seconds. Seconds are
those of training, tracing included, validation left out. With --processes=N, N runs share the
cores evenly, each on its own.
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence

from experiment_runs import ROOT, on_shares_of_the_cores, report_of

sys.path.insert(0, ROOT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train: multigrid, or a baseline.

    Args:
        name: of the method.
        bindings: what makes it of the experiment.
        rate: its learning rate; None for the experiment's.
    """

    name: str
    bindings: tuple[str, ...] = ()
    rate: float | None = None


def main() -> None:
    settings = _parse()
    os.makedirs(settings.out, exist_ok=True)
    baselines = _baselines(settings)
    tried = _train(baselines, settings, seeds=[0])
    chosen = [_best(group) for group in _groups(baselines, tried)]
    runs = _train([Method(name="multigrid"), *chosen], settings, seeds=range(settings.seeds))
    print(_tuning_table(tried))
    print(_table(runs))
    best = max(chosen, key=lambda method: _accuracy(_of(method, runs)))
    print(_comparison(_of(best, runs), [run for run in runs if run["method"] == "multigrid"]))
    results = {"command": sys.argv, "versions": _versions(), "tuning": tried, "runs": runs}
    with open(os.path.join(settings.out, "time_to_accuracy.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    _draw(runs, os.path.join(settings.out, "time_to_accuracy.png"))


def _parse() -> argparse.Namespace:
    def numbers(kind):
        return lambda text: [kind(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gin_file", default="gin/quickstart.gin")
    parser.add_argument("--gin_param", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=numbers(int), default=[None], help="values of FOLD")
    parser.add_argument("--baseline_epochs", type=numbers(int), default=[None])
    parser.add_argument("--baseline_rates", type=numbers(float), default=[None])
    parser.add_argument("--baseline_warmup", type=float, default=0.1, help="share of its epochs")
    parser.add_argument("--validations", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", default="results")
    return parser.parse_args()


def _baselines(settings: argparse.Namespace) -> list[Method]:
    """Each length of the baseline with each rate."""
    methods = []
    for epochs, rate in itertools.product(settings.baseline_epochs, settings.baseline_rates):
        bindings = ["SCHEDULE=@baseline/schedule.MultigridSchedule()"]
        name = "baseline"
        if epochs is not None:
            warmup = epochs * settings.baseline_warmup
            bindings += [
                f"EPOCHS={epochs}",
                f"learning_rate.MultigridLearningRate.warmup_epochs={warmup}",
            ]
            name = f"baseline, {epochs} epochs"
        methods.append(Method(name=name, bindings=tuple(bindings), rate=rate))
    return methods


def _train(methods: Sequence[Method], settings: argparse.Namespace, *, seeds) -> list[dict]:
    """The reports of all runs, methods in turn for each seed and fold."""
    jobs = itertools.product(seeds, settings.folds, methods)
    return on_shares_of_the_cores(
        lambda job, cores: _run(*job, settings, cores), jobs, settings.processes
    )


def _run(seed: int, fold: int | None, method: Method, settings, cores: set[int]) -> dict:
    """Train once, unless that was done; the report of the run."""
    parts = [method.name.replace(", ", "_").replace(" ", "_")]
    parts += [f"rate_{method.rate}"] * (method.rate is not None)
    parts += [f"fold_{fold}"] * (fold is not None)
    bindings = [
        f"runs.Settings.seed={seed}",
        f"runs.Logging.validations={settings.validations}",
        "runs.Logging.still_control=False",
        *method.bindings,
        *([f"LEARNING_RATE={method.rate}"] * (method.rate is not None)),
        *([f"FOLD={fold}"] * (fold is not None)),
        *settings.gin_param,
    ]
    run_dir = os.path.join(settings.out, "_".join([*parts, f"seed_{seed}"]))
    content = report_of(run_dir, [settings.gin_file], bindings, cores)
    return {
        **dataclasses.asdict(method),
        "method": method.name,
        "seed": seed,
        "fold": fold,
    } | content


def _of(method: Method, runs: list[dict]) -> list[dict]:
    return [run for run in runs if (run["method"], run["rate"]) == (method.name, method.rate)]


def _groups(methods: Sequence[Method], runs: list[dict]) -> list[list[tuple[Method, list[dict]]]]:
    """Of each length of the baseline, its rates and their runs."""
    names = dict.fromkeys(method.name for method in methods)
    return [[(m, _of(m, runs)) for m in methods if m.name == name] for name in names]


def _best(group: list[tuple[Method, list[dict]]]) -> Method:
    return max(group, key=lambda pair: _accuracy(pair[1]))[0]


def _accuracy(runs: list[dict]) -> float:
    return statistics.mean(run["metrics"]["accuracy"] for run in runs)


def _tuning_table(tried: list[dict]) -> str:
    lines = ["baselines with seed 0", f"{'method':<24}{'rate':>8}{'accuracy':>10}{'loss':>8}"]
    for key in dict.fromkeys((run["method"], run["rate"]) for run in tried):
        runs = [run for run in tried if (run["method"], run["rate"]) == key]
        loss = statistics.mean(run["metrics"]["loss"] for run in runs)
        lines.append(f"{key[0]:<24}{key[1] or 'own':>8}{_accuracy(runs):>10.3f}{loss:>8.3f}")
    return "\n".join(lines)


def _table(runs: list[dict]) -> str:
    """Of each method the means over all runs, and over those of each fold."""
    folds = list(dict.fromkeys(run["fold"] for run in runs))
    heads = "".join(f"{f'fold {fold}':>8}" for fold in folds if fold is not None)
    lines = [
        f"{'method':<24}{'rate':>8}{'steps':>7}{'seconds':>9}{'accuracy':>10}{'min':>7}{'max':>7}"
        f"{'loss':>8}{heads}"
    ]
    for name in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == name]
        accuracies = [run["metrics"]["accuracy"] for run in own]
        loss = statistics.mean(run["metrics"]["loss"] for run in own)
        seconds = statistics.mean(run["curve"][-1]["seconds"] for run in own)
        by_fold = "".join(
            f"{_accuracy([run for run in own if run['fold'] == fold]):>8.3f}"
            for fold in folds
            if fold is not None
        )
        lines.append(
            f"{name:<24}{own[0]['rate'] or 'own':>8}{own[0]['steps']:>7}{seconds:>9.0f}"
            f"{_accuracy(own):>10.3f}{min(accuracies):>7.3f}{max(accuracies):>7.3f}{loss:>8.3f}"
            f"{by_fold}"
        )
    return "\n".join(lines)


def _comparison(baselines: list[dict], multigrids: list[dict]) -> str:
    """When each run of multigrid, and of the best baseline, reaches what the latter ends with."""
    lines = [
        f"to the final accuracy of '{baselines[0]['method']}', steps and seconds",
        f"{'run':<16}{'accuracy':>10}{'baseline':>16}{'multigrid':>16}{'gain in seconds':>17}",
    ]
    for baseline, multigrid in zip(baselines, multigrids, strict=True):
        target = baseline["curve"][-1]["val_accuracy"]
        # The baseline itself may have been as good before its end: a long one flatters.
        first, second = (_reached(run, target) for run in (baseline, multigrid))
        fold = "" if baseline["fold"] is None else f", fold {baseline['fold']}"
        gain = f"{first[1] / second[1]:.2f}" if second else "never"
        lines.append(
            f"{'seed ' + str(baseline['seed']) + fold:<16}{target:>10.3f}"
            f"{f'{first[0]:,} / {first[1]:.0f} s':>16}"
            f"{f'{second[0]:,} / {second[1]:.0f} s' if second else '-':>16}{gain:>17}"
        )
    return "\n".join(lines)


def _reached(run: dict, accuracy: float) -> tuple[int, float] | None:
    """Step and seconds of the first validation with this accuracy."""
    for point in run["curve"]:
        if point["val_accuracy"] >= accuracy:
            return point["step"], point["seconds"]
    return None


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("keras", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _draw(runs: list[dict], path: str) -> None:
    from keras_multigrid import figures

    curves = {}
    for run in runs:
        points = ([p["seconds"] for p in run["curve"]], [p["val_accuracy"] for p in run["curve"]])
        curves.setdefault(run["method"], []).append(points)
    with open(path, "wb") as file:
        file.write(figures.to_png(figures.draw_curves(curves)))


if __name__ == "__main__":
    main()
