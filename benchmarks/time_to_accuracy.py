"""How long the baseline and multigrid training take to the same accuracy, side by side.

    python benchmarks/time_to_accuracy.py --gin_file=gin/quickstart.gin --seeds=3 --out=results

Trains an experiment with its cycles and without, one process a run, in turn, with each seed. Prints
a table, and writes `time_to_accuracy.json` and a figure of accuracy over seconds. Seconds are those
of training, tracing included, validation left out.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

_NO_CYCLES = ("SCHEDULE=@baseline/schedule.MultigridSchedule()",)


def main() -> None:
    settings = _parse()
    os.makedirs(settings.out, exist_ok=True)
    runs = [
        _run(settings, name=name, seed=seed, extra=extra)
        for seed in range(settings.seeds)
        for name, extra in (("baseline", _NO_CYCLES), ("multigrid", ()))
    ]
    rows = [_compare(*runs[i : i + 2]) for i in range(0, len(runs), 2)]
    print(_table(rows))
    results = {"command": sys.argv, "versions": _versions(), "comparisons": rows, "runs": runs}
    with open(os.path.join(settings.out, "time_to_accuracy.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    _draw(runs, os.path.join(settings.out, "time_to_accuracy.png"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gin_file", default="gin/quickstart.gin")
    parser.add_argument("--gin_param", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validations", type=int, default=20)
    parser.add_argument("--out", default="results")
    return parser.parse_args()


def _run(settings: argparse.Namespace, *, name: str, seed: int, extra) -> dict:
    """Train once in a process of its own; the report of the run."""
    run_dir = os.path.join(settings.out, f"{name}_{seed}")
    report = os.path.join(run_dir, "report.json")
    if os.path.exists(report):
        raise SystemExit(f"{report} exists: give another --out, or delete it to run again.")
    bindings = (
        f"RUN_DIR='{run_dir}'",
        f"training.train.seed={seed}",
        f"training.train.validations={settings.validations}",
        "training.train.still_control=False",
        *extra,
        *settings.gin_param,
    )
    tool = os.path.join(_ROOT, "tools", "train.py")
    command = [sys.executable, tool, f"--gin_file={settings.gin_file}"]
    print(f"{name}, seed {seed} ...", flush=True)
    with open(os.path.join(settings.out, f"{name}_{seed}.log"), "w", encoding="utf-8") as log:
        subprocess.run(
            [*command, *(f"--gin_param={binding}" for binding in bindings)],
            check=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with open(report, encoding="utf-8") as file:
        return {"name": name, "seed": seed, **json.load(file)}


def _compare(baseline: dict, multigrid: dict) -> dict:
    """One seed: final accuracies, seconds, and when multigrid reaches the baseline's accuracy."""
    target, seconds = _final(baseline)
    accuracy, multigrid_seconds = _final(multigrid)
    reached = [point["seconds"] for point in multigrid["curve"] if point["val_accuracy"] >= target]
    # The baseline itself may have been as good before its end: a long baseline flatters.
    baseline_reached = [
        point["seconds"] for point in baseline["curve"] if point["val_accuracy"] >= target
    ]
    return {
        "seed": baseline["seed"],
        "baseline_accuracy": target,
        "multigrid_accuracy": accuracy,
        "baseline_seconds": seconds,
        "multigrid_seconds": multigrid_seconds,
        "multigrid_seconds_to_baseline_accuracy": reached[0] if reached else None,
        "baseline_seconds_to_baseline_accuracy": baseline_reached[0],
    }


def _final(run: dict) -> tuple[float, float]:
    return run["curve"][-1]["val_accuracy"], run["curve"][-1]["seconds"]


def _table(rows: list[dict]) -> str:
    lines = [
        "seed   accuracy              seconds               to the baseline's final accuracy",
        "       baseline  multigrid   baseline  multigrid   baseline  multigrid   gain on whole",
    ]
    for row in rows:
        reached = row["multigrid_seconds_to_baseline_accuracy"]
        ratio = "never" if reached is None else f"{row['baseline_seconds'] / reached:.2f}"
        lines.append(
            f"{row['seed']:>4}   {row['baseline_accuracy']:8.4f}  {row['multigrid_accuracy']:9.4f}"
            f"   {row['baseline_seconds']:8.1f}  {row['multigrid_seconds']:9.1f}"
            f"   {row['baseline_seconds_to_baseline_accuracy']:8.1f}"
            f"  {reached or float('nan'):9.1f}   {ratio:>13}"
        )
    ratios = [row["baseline_seconds"] / row["multigrid_seconds"] for row in rows]
    lines.append(f"whole runs: multigrid {statistics.median(ratios):.2f} times faster (median)")
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("keras", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _draw(runs: list[dict], path: str) -> None:
    from keras_multigrid import figures

    curves = {}
    for run in runs:
        points = ([p["seconds"] for p in run["curve"]], [p["val_accuracy"] for p in run["curve"]])
        curves.setdefault(run["name"], []).append(points)
    with open(path, "wb") as file:
        file.write(figures.to_png(figures.draw_curves(curves)))


if __name__ == "__main__":
    main()
