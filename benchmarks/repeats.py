"""What several clips from one reading of a video gain, and what they do to accuracy.

    python benchmarks/repeats.py --rounds=3 --out=results/repeats
    python benchmarks/repeats.py --rounds=0 --seeds=3 --out=results/repeats

Generates H.264 videos like those of Kinetics (or takes --videos) and reads them with
`ClipSampling(repeats=r)` for each of --repeats, in turn, --rounds times: medians of the clips per
second, and of their ratios to those of the first of --repeats, by grid. With --seeds, trains the
quickstart with each r, too, for as many clips in all: 12 epochs divided by r. Finished trainings in
--out are not run again. Prints tables and writes `repeats.json`.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys

import input_pipeline
from benchmark_videos import SOURCES, write_videos

from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Of the quickstart, for 12 epochs, which 2, 3, 4 and 6 divide.
_NUM_CLIPS, _EPOCHS = 1800, 12


def main() -> None:
    settings = _parse()
    settings.out = os.path.abspath(settings.out)
    os.makedirs(settings.out, exist_ok=True)
    rates = _rates(settings) if settings.rounds else []
    accuracies = {
        repeats: [_accuracy(repeats, seed, settings) for seed in range(settings.seeds)]
        for repeats in settings.repeats
    }
    print(_table(rates, accuracies, settings))
    facts = {"command": sys.argv, "cpus": os.cpu_count(), "versions": input_pipeline.versions()}
    with open(os.path.join(settings.out, "repeats.json"), "w", encoding="utf-8") as file:
        json.dump({**facts, "rates": rates, "accuracies": accuracies}, file, indent=1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--repeats", type=lambda text: [*map(int, text.split(","))], default=[1, 2, 4]
    )
    parser.add_argument("--videos", default="data/benchmark", help="where they are written")
    parser.add_argument("--source", default="h264", choices=SOURCES)
    parser.add_argument("--num_videos", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=4, help="clips of the base grid")
    parser.add_argument("--clips", type=int, default=96, help="at least, for each figure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seeds", type=int, default=0, help="trainings of each")
    parser.add_argument("--out", default="results/repeats")
    return parser.parse_args()


def _rates(settings: argparse.Namespace) -> list[dict]:
    """Clips per second of each round, by grid and repeats."""
    paths = write_videos(settings.videos, settings.source, settings.num_videos)
    videos = [VideoRecord(path=path, label=0) for path in paths]
    size = {"num_frames": input_pipeline.NUM_FRAMES, "crop_size": input_pipeline.CROP_SIZE}
    base, rows = Grid(batch_size=settings.batch_size, **size), []
    for long_cycle in (((0.25, 0.5), (1.0, 1.0)), ((1.0, 1.0),)):
        by_repeats = {repeats: [] for repeats in settings.repeats}
        for _ in range(settings.rounds):
            for repeats, found in by_repeats.items():
                schedule = input_pipeline.schedule_of(base, len(videos) * repeats, long_cycle)
                grid = schedule.grid(0)
                found.append(
                    input_pipeline.pipeline_rate(
                        videos,
                        schedule,
                        max(5, settings.clips // grid.batch_size),
                        settings.threads,
                        dataclasses.replace(input_pipeline.KEPT, repeats=repeats),
                    )
                )
        rows.append({"source": settings.source, "grid": str(grid), "rates": by_repeats})
    return rows


def _accuracy(repeats: int, seed: int, settings: argparse.Namespace) -> float:
    """Validation accuracy of a quickstart, trained unless that was done."""
    run_dir = os.path.join(settings.out, f"repeats_{repeats}_{seed}")
    report = os.path.join(run_dir, "report.json")
    if not os.path.exists(report):
        bindings = [
            f"RUN_DIR = {run_dir!r}",
            f"NUM_CLIPS = {_NUM_CLIPS * repeats}",
            f"EPOCHS = {_EPOCHS // repeats}",
            f"clips.ClipSampling.repeats = {repeats}",
            f"learning_rate.MultigridLearningRate.warmup_epochs = {3 / repeats}",
            f"runs.Settings.seed = {seed}",
            "runs.Logging.still_control = False",
        ]
        command = [sys.executable, "tools/train.py", "--gin_file=gin/quickstart.gin"]
        command += [f"--gin_param={binding}" for binding in bindings]
        os.makedirs(run_dir, exist_ok=True)
        with open(os.path.join(run_dir, "output.txt"), "a", encoding="utf-8") as output:
            subprocess.run(command, cwd=_ROOT, stdout=output, stderr=output, check=True)
    with open(report, encoding="utf-8") as file:
        return json.load(file)["metrics"]["accuracy"]


def _table(rates: list[dict], accuracies: dict, settings: argparse.Namespace) -> str:
    lines = [f"{'clips x frames x crop²':<26}{'repeats':>8}{'clips/s':>9}{'of the first':>14}"]
    for row in rates:
        first = row["rates"][settings.repeats[0]]
        for repeats, found in row["rates"].items():
            ratio = statistics.median(a / b for a, b in zip(found, first, strict=True))
            lines.append(
                f"{row['grid']:<26}{repeats:>8}{statistics.median(found):>9.1f}{ratio:>14.2f}"
            )
    if settings.seeds:
        lines.append(f"{'quickstart':<26}{'repeats':>8}{'accuracy':>9}{'least':>8}{'most':>8}")
        for repeats, found in accuracies.items():
            lines.append(
                f"{'':<26}{repeats:>8}{statistics.mean(found):>9.3f}{min(found):>8.3f}"
                f"{max(found):>8.3f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
