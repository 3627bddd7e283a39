"""Runs of an experiment by tools/train.py, each in a process of its own, several side by side."""

import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def report_of(
    run_dir: str, gin_files: Sequence[str], bindings: Sequence[str], cores: set[int]
) -> dict[str, Any]:
    """Train once on these cores, unless that was done; the run's report.

    A run that was killed resumes. What it prints is in `run_dir`.log.

    Raises:
        SystemExit: if it fails, with the end of its log.
    """
    report = os.path.join(run_dir, "report.json")
    if not os.path.exists(report):
        print(f"{os.path.basename(run_dir)} ...", file=sys.stderr, flush=True)
        own = [f"RUN_DIR='{run_dir}'", f"runs.Data.workers={len(cores)}"]
        with open(f"{run_dir}.log", "w", encoding="utf-8") as log:
            done = subprocess.run(
                [
                    sys.executable,
                    os.path.join(ROOT, "tools", "train.py"),
                    *(f"--gin_file={file}" for file in gin_files),
                    *(f"--gin_param={binding}" for binding in [*own, *bindings]),
                ],
                check=False,
                env={**os.environ, **_threads(len(cores))},
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if done.returncode != 0:
            raise SystemExit(_failure(run_dir, done.returncode))
    with open(report, encoding="utf-8") as file:
        return json.load(file)


def _failure(run_dir: str, code: int) -> str:
    with open(f"{run_dir}.log", encoding="utf-8", errors="replace") as log:
        last = "".join(log.readlines()[-20:]).rstrip()
    return (
        f"{os.path.basename(run_dir)} failed, with exit code {code}. The end of {run_dir}.log:\n"
        f"{last}\nOnce the cause is mended, the same command goes on: finished runs are kept, and "
        "this one resumes."
    )


def on_shares_of_the_cores(
    function: Callable[[Any, set[int]], Any], jobs: Iterable[Any], processes: int
) -> list[Any]:
    """`function(job, cores)` of all jobs, in order, so many at a time, each on cores of its own."""
    available = sorted(os.sched_getaffinity(0))
    share = max(1, len(available) // processes)
    free = queue.SimpleQueue()
    for number in range(processes):
        # More processes than cores: several share one.
        first = number * share % len(available)
        free.put(set(available[first : first + share]))

    def run(job):
        cores = free.get()
        try:
            return function(job, cores)
        finally:
            free.put(cores)

    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(run, jobs))


def _threads(count: int) -> dict[str, str]:
    return dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(count))
