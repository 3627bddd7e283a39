"""What balanced draws and class weights do for rare classes, on generated motion.

    python benchmarks/class_balance.py --seeds=3 --out=results/class_balance

Writes the embedded data set and takes of its 12 classes a long tail of training videos, from --most
of the first to --least of the last in equal ratios (1,000 to 10: 2,903 videos). The order of the
classes differs by seed. Trains the quickstart's model once for each method and seed, --processes at
a time, and tests it on as many validation videos of each class, one view each:

    plain                     every video once an epoch
    balance ...               runs.Data.balance
    class_weight ...          runs.Optimization.class_weight

Finished runs in --out are not run again. Prints a table and writes `class_balance.json`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

import numpy as np  # noqa: E402

from keras_multigrid.data.synthetic.motion import CLASS_NAMES  # noqa: E402
from keras_multigrid.data.synthetic.videos import write_videos  # noqa: E402

RULES = ("inverse_square_root", "inverse", "effective_number")
METHODS = {
    "plain": [],
    **{f"balance {rule}": [f"runs.Data.balance = '{rule}'"] for rule in RULES},
    **{f"class_weight {rule}": [f"runs.Optimization.class_weight = '{rule}'"] for rule in RULES},
}
_VALIDATION = 30  # videos of each class


def main() -> None:
    settings = _parse()
    # The tools are run from the root of the repository.
    settings.out = os.path.abspath(settings.out)
    root = os.path.join(settings.data, f"motion_{settings.most}")
    classes = len(CLASS_NAMES)
    write_videos(root, num_train=classes * settings.most, num_validation=classes * _VALIDATION)
    os.makedirs(settings.out, exist_ok=True)
    jobs = [
        (method, seed, _write_experiment(root, seed, settings))
        for seed in range(settings.seeds)
        for method in settings.methods.split(",")
    ]
    with ThreadPoolExecutor(settings.processes) as pool:
        runs = list(pool.map(lambda job: _run(*job, settings), jobs))
    print(_table(runs))
    facts = {"command": sys.argv, "cpus": os.cpu_count(), "python": platform.python_version()}
    facts |= {name: version(name) for name in ("keras", "numpy")}
    with open(os.path.join(settings.out, "class_balance.json"), "w", encoding="utf-8") as file:
        json.dump({**facts, "runs": runs}, file, indent=1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--most", type=int, default=1000, help="training videos of a class")
    parser.add_argument("--least", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--data", default="data", help="where the videos are written")
    parser.add_argument("--gin_param", action="append", default=[])
    parser.add_argument("--out", default="results/class_balance")
    return parser.parse_args()


def _counts(most: int, least: int) -> list[int]:
    """Training videos of each class, the largest first: 1,000, 658, 433, ..., 10."""
    return np.geomspace(most, least, len(CLASS_NAMES)).round().astype(int).tolist()


def _write_experiment(root: str, seed: int, settings: argparse.Namespace) -> str:
    """Lists and gin file of a long tail of the videos, for a seed; the path of the gin file."""
    # Motions are not equally hard: which are rare is left to chance.
    order = np.random.default_rng(seed).permutation(len(CLASS_NAMES)).tolist()
    counts = dict(zip(order, _counts(settings.most, settings.least), strict=True))
    paths, files = {}, {"train": counts, "validation": dict.fromkeys(order, _VALIDATION)}
    for part, numbers in files.items():
        paths[part] = os.path.join(settings.out, f"{part}_{seed}.txt")
        with open(paths[part], "w", encoding="utf-8") as file:
            for label, name in enumerate(CLASS_NAMES):
                for number in range(numbers[label]):
                    file.write(f"{part}/{name}/{number:05d}.mp4 {label}\n")
    gin = os.path.join(settings.out, f"tail_{seed}.gin")
    lines = [
        "from __gin__ import dynamic_registration",
        "from keras_multigrid.data import lists",
        "VIDEOS = @tail/lists.path_label_lists()",
        f"NUM_CLIPS = {sum(counts.values())}",
        *(f"tail/lists.path_label_lists.{part} = {path!r}" for part, path in paths.items()),
        f"tail/lists.path_label_lists.root = {os.path.abspath(root)!r}",
        f"tail/lists.path_label_lists.class_names = {CLASS_NAMES!r}",
    ]
    with open(gin, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return gin


def _run(method: str, seed: int, gin: str, settings: argparse.Namespace) -> dict:
    """Train and test once, unless that was done; the results."""
    run_dir = os.path.join(settings.out, f"{method.replace(' ', '_')}_{seed}")
    found = os.path.join(run_dir, "evaluation.json")
    if not os.path.exists(found):
        bindings = [
            f"RUN_DIR = {run_dir!r}",
            f"EPOCHS = {settings.epochs}",
            f"runs.Settings.seed = {seed}",
            "runs.Logging.still_control = False",
            "clips.Views.clips = 1",
            "clips.Views.crops = 1",
            *METHODS[method],
            *settings.gin_param,
        ]
        arguments = ["--gin_file=gin/quickstart.gin", f"--gin_file={gin}"]
        arguments += [f"--gin_param={binding}" for binding in bindings]
        os.makedirs(run_dir, exist_ok=True)
        with open(os.path.join(run_dir, "output.txt"), "a", encoding="utf-8") as output:
            for tool in ("train", "evaluate"):
                command = [sys.executable, f"tools/{tool}.py", *arguments]
                subprocess.run(command, cwd=_ROOT, stdout=output, stderr=output, check=True)
    with open(found, encoding="utf-8") as file:
        result = json.load(file)
    print(f"{method}, seed {seed}: {result['metrics']}", file=sys.stderr, flush=True)
    order = np.random.default_rng(seed).permutation(len(CLASS_NAMES)).tolist()
    by_class = [result["per_class"][label]["top1"] for label in order]
    return {"method": method, "seed": seed, "metrics": result["metrics"], "by_class": by_class}


def _table(runs: list[dict]) -> str:
    """Of each method the mean over the seeds, and over thirds of the classes by their videos."""
    third = len(CLASS_NAMES) // 3
    lines = [
        f"{'method':<34}{'balanced accuracy':>18}{'least':>7}{'most':>7}{'frequent':>10}"
        f"{'medium':>8}{'rare':>6}"
    ]
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == method]
        values = [run["metrics"]["balanced_accuracy"] for run in own]
        thirds = [
            statistics.mean(v for run in own for v in run["by_class"][first : first + third])
            for first in range(0, 3 * third, third)
        ]
        lines.append(
            f"{method:<34}{statistics.mean(values):>18.3f}{min(values):>7.3f}{max(values):>7.3f}"
            f"{thirds[0]:>10.3f}{thirds[1]:>8.3f}{thirds[2]:>6.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
