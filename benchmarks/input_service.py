"""Clips per second that a trainer gets from an input service, beside those it reads itself.

    python benchmarks/input_service.py --workers=2 --out=results

Generates videos like those of Kinetics, writes them as records, starts a dispatcher and workers
(tools/serve_data.py) on this machine, and reads the same clips of each grid in two ways, in turn:
by the local pipeline, and from the service. Both have the same cores, so that the ratio is what the
way through other processes costs; workers on other machines add theirs.

Each figure is timed behind the batches that are read ahead, --rounds times, in turn with the other;
rates and ratios are medians, as is the time that this process, the trainer's, keeps a core busy for
each clip: what no worker takes from it. Prints a table and writes `input_service.json`.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

import input_pipeline

from keras_multigrid.data.input import training_batches
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid, MultigridSchedule

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Long enough that nothing which was ready before the clock started counts for much.
AHEAD, TIMED = 24, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", default="data/benchmark", help="where they are written")
    parser.add_argument("--num_videos", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=8, help="clips of the base grid")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", default="results")
    settings = parser.parse_args()
    paths = input_pipeline.benchmark_videos.write_videos(
        settings.videos, "h264", settings.num_videos
    )
    videos = input_pipeline.records_of(
        f"{settings.videos}/h264_records",
        [VideoRecord(path=path, label=0) for path in paths],
        input_pipeline.FORMATS["records"],
    )
    processes, service = _start(settings.workers)
    try:
        results = [_measure(videos, schedule, service, settings) for schedule in _grids(settings)]
    finally:
        for process in processes:
            process.terminate()
    print(
        f"{'clips x frames x crop²':>22}{'local clips/s':>15}{'service clips/s':>17}{'ratio':>7}"
        f"{'trainer, core ms a clip: local':>32}{'service':>9}"
    )
    for row in results:
        (local, own), (served, rest) = (
            (statistics.median(values) for values in zip(*row[name], strict=True))
            for name in ("local", "service")
        )
        ratio = statistics.median(
            theirs / ours
            for (ours, _), (theirs, _) in zip(row["local"], row["service"], strict=True)
        )
        print(
            f"{row['grid']:>22}{local:>15.1f}{served:>17.1f}{ratio:>7.2f}{own:>32.2f}{rest:>9.2f}"
        )
    os.makedirs(settings.out, exist_ok=True)
    facts = {"command": sys.argv, "cpus": os.cpu_count(), "versions": input_pipeline.versions()}
    with open(os.path.join(settings.out, "input_service.json"), "w", encoding="utf-8") as file:
        json.dump({**facts, "results": results}, file, indent=1)


def _grids(settings):
    """The base grids of the published long cycle, coarse to fine, each for ever."""
    frames, crop = input_pipeline.NUM_FRAMES, input_pipeline.CROP_SIZE
    base = Grid(batch_size=settings.batch_size, num_frames=frames, crop_size=crop)
    for shape in ((0.25, 0.5), (0.25, 0.5**0.5), (0.5, 1.0), (1.0, 1.0)):
        cycle = (shape, (1.0, 1.0)) if shape != (1.0, 1.0) else (shape,)
        yield input_pipeline.schedule_of(base, settings.num_videos, cycle)


def _start(num_workers: int) -> tuple[list[subprocess.Popen], str]:
    dispatcher = _process("dispatcher", "--port=0")
    port = re.search(r":(\d+)'", dispatcher.stdout.readline())[1]
    workers = [
        _process("worker", f"--dispatcher=localhost:{port}", "--host=localhost")
        for _ in range(num_workers)
    ]
    for worker in workers:
        worker.stdout.readline()
    return [*workers, dispatcher], f"grpc://localhost:{port}"


def _process(*arguments: str) -> subprocess.Popen:
    tool = os.path.join(_ROOT, "tools", "serve_data.py")
    return subprocess.Popen(
        [sys.executable, tool, *arguments], stdout=subprocess.PIPE, text=True, cwd=_ROOT
    )


def _measure(videos, schedule: MultigridSchedule, service: str, settings) -> dict:
    row = {"grid": str(schedule.grid(0)), "local": [], "service": []}
    for _ in range(settings.rounds):
        row["local"].append(_rate(videos, schedule, None, settings.threads))
        row["service"].append(_rate(videos, schedule, service, settings.threads))
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def _rate(
    videos, schedule: MultigridSchedule, service: str | None, threads: int
) -> tuple[float, float]:
    """Clips a second, and milliseconds of this process's cores for each clip."""
    batches = iter(
        training_batches(
            videos,
            schedule,
            seed=0,
            sampling=input_pipeline.SAMPLING,
            workers=threads,
            service=service,
        )
    )
    for _ in range(AHEAD):
        next(batches)
    begun, busy = time.perf_counter(), time.process_time()
    for _ in range(TIMED):
        next(batches)
    count = TIMED * schedule.grid(0).batch_size
    seconds = time.perf_counter() - begun
    return count / seconds, 1e3 * (time.process_time() - busy) / count


if __name__ == "__main__":
    main()
