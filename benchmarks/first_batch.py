"""Time and memory to the first batch, by the number of videos and the step that a run begins at.

    python benchmarks/first_batch.py --out=results

Each figure comes from a process of its own, which reads a list of so many videos (links to a few
files), makes the stream at the step, and takes its first batch. The time of the batch holds making
the stream; that of the list stands apart. Prints a table and writes `first_batch.json`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

NUM_FILES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", default="data/benchmark")
    parser.add_argument("--num_videos", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", default="results")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.case:
        print(json.dumps(_measure(**json.loads(settings.case))))
        return
    results = []
    print(f"{'videos':>10}{'step':>12}{'list s':>9}{'first batch s':>15}{'peak MB':>10}")
    for num_videos in settings.num_videos:
        path = _write_list(settings.folder, num_videos)
        validation = _write_list(settings.folder, 1)
        for step in settings.steps:
            rows = [
                _run(list_path=path, validation=validation, step=step)
                for _ in range(settings.repeats)
            ]
            row = {name: sorted(row[name] for row in rows)[len(rows) // 2] for name in rows[0]}
            results.append({"num_videos": num_videos, "step": step, **row})
            print(
                f"{num_videos:>10,}{step:>12,}{row['list_seconds']:>9.2f}"
                f"{row['batch_seconds']:>15.2f}{row['peak_megabytes']:>10.0f}",
                flush=True,
            )
    os.makedirs(settings.out, exist_ok=True)
    with open(os.path.join(settings.out, "first_batch.json"), "w", encoding="utf-8") as file:
        json.dump({"command": sys.argv, "results": results}, file, indent=1)


def _write_list(folder: str, num_videos: int) -> str:
    import benchmark_videos

    files = benchmark_videos.write_videos(folder, "h264", NUM_FILES)
    links = os.path.join(os.path.abspath(folder), "links")
    os.makedirs(links, exist_ok=True)
    for number in range(1000):
        link = os.path.join(links, f"{number:03d}.mp4")
        if not os.path.lexists(link):
            os.symlink(os.path.abspath(files[number % NUM_FILES]), link)
    path = os.path.join(folder, f"list_{num_videos}.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{links}/{n % 1000:03d}.mp4 {n % 400}\n" for n in range(num_videos))
    return path


def _run(**case) -> dict[str, float]:
    command = [sys.executable, os.path.abspath(__file__), f"--case={json.dumps(case)}"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def _measure(list_path: str, validation: str, step: int) -> dict[str, float]:
    from keras_multigrid.data.annotations import path_label_lists
    from keras_multigrid.data.pipeline import training_batches
    from keras_multigrid.schedule import Grid, MultigridSchedule

    begun = time.perf_counter()
    videos = path_label_lists(list_path, validation=validation).train
    list_seconds = time.perf_counter() - begun
    base = Grid(batch_size=4, num_frames=8, crop_size=112)
    epochs = 2 + 64 * 2_000_000 // len(videos)
    schedule = MultigridSchedule(base, num_clips=len(videos), epochs=epochs)
    begun = time.perf_counter()
    next(iter(training_batches(videos, schedule, seed=0, start_step=step)))
    return {
        "list_seconds": list_seconds,
        "batch_seconds": time.perf_counter() - begun,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


if __name__ == "__main__":
    main()
