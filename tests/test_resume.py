"""A run that is killed anywhere and started again ends as if nothing had happened."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from processes import Process
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_multigrid.data.synthetic.videos import write_videos

ROOT = pathlib.Path(__file__).parents[1]
# Curves that tell times, not results.
TIMES = ("multigrid/clips_per_second", "multigrid/input_wait_share")


def small_run(data, folder):
    """The command of a run of half a minute's steps, a checkpoint every few of them."""
    return [
        *(str(ROOT / "tests" / "small_run.py"), f"--data={data}"),
        *(f"--run_dir={folder / 'run'}", f"--out={folder / 'out.npz'}"),
        *("--epochs=20", "--dropout=0.5", "--checkpoint_every=4"),
    ]


def quickstart(data, folder):
    return [
        *(str(ROOT / "tools" / "train.py"), "--gin_file=gin/quickstart.gin"),
        *(f"--gin_param=DATA_DIR='{data}'", f"--gin_param=RUN_DIR='{folder / 'run'}'"),
        *("--gin_param=runs.Checkpoints.every=20",),
        *("--gin_param=runs.Logging.still_control=False",),
        # Read by a training step, unlike the quickstart's own.
        *("--gin_param=models.I3D.dropout=0.2",),
    ]


def run_to_the_end(command, folder):
    folder.mkdir(exist_ok=True)
    with open(folder / "log", "a") as log:
        # With a seed of hashes of its own, unlike those that are forked from one process.
        command = [sys.executable, *command]
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    assert done.returncode == 0, (folder / "log").read_text()[-3000:]
    return folder / "run"


def kill_when(command, folder, is_time, kill):
    """Start a run and end it at a moment; its exit code. None if it had ended before."""
    folder.mkdir(exist_ok=True)
    with open(folder / "log", "a") as log:
        process = Process(*command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    while process.poll() is None and not is_time():
        time.sleep(0.002)
    if process.poll() is not None:
        assert process.returncode == 0, (folder / "log").read_text()[-3000:]
        return None
    process.send_signal(kill)
    return process.wait(timeout=180)


def assert_same_results(run_dir, whole):
    saved = [_arrays(folder) for folder in (run_dir, whole)]
    assert saved[0].keys() == saved[1].keys()
    for name, array in saved[0].items():
        np.testing.assert_array_equal(array, saved[1][name], err_msg=name)
    curves = [json.loads((folder / "curve.json").read_text()) for folder in (run_dir, whole)]
    for point in (*curves[0], *curves[1]):
        del point["seconds"]
    assert curves[0] == curves[1]
    logged = [_scalars(folder) for folder in (run_dir, whole)]
    assert logged[0] == logged[1]


def _arrays(run_dir):
    """Weights, optimizer, states of random generators and settings at the end of a run."""
    arrays = {}
    (*_, last) = sorted((run_dir / "checkpoints").glob("step-*.h5"))
    with h5py.File(last) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()]} if hasattr(item, "dtype") else {})
        )
    assert any(name.startswith("optimizer") for name in arrays)
    assert any("random" in name for name in arrays)
    return arrays


def _scalars(run_dir):
    """What TensorBoard shows of every curve."""
    events = EventAccumulator(str(run_dir), size_guidance={"scalars": 0}).Reload()
    names = [name for name in events.Tags()["scalars"] if name not in TIMES]
    return {n: {event.step: event.value for event in events.Scalars(n)} for n in names}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion")
    write_videos(root, num_train=48, num_validation=12, processes=1)
    return root


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run_to_the_end(small_run(data, folder), folder)


def checkpoints(run_dir):
    path = run_dir / "checkpoints" / "index.json"
    return [entry["step"] for entry in json.loads(path.read_text())] if path.exists() else []


def after_checkpoint(run_dir, count, delay, unfinished=False):
    """Tells when so many more checkpoints are saved, and some time is over, or one is written."""
    before = checkpoints(run_dir)[-1:]
    seen, since = set(), []

    def is_time():
        seen.update(step for step in checkpoints(run_dir) if [step] > before)
        if len(seen) < count:
            return False
        if unfinished:
            return bool(list((run_dir / "checkpoints").glob("*.unfinished")))
        since.append(time.monotonic())
        return since[-1] - since[0] >= delay

    return is_time


@pytest.mark.slow
def test_killed_and_asked_to_end(data, whole, tmp_path):
    """After SIGTERM the step is saved at once, and the exit code tells."""
    command, run_dir = small_run(data, tmp_path), tmp_path / "run"
    # The second one while a checkpoint is written.
    for count, kill in ((1, signal.SIGTERM), (2, signal.SIGKILL), (1, signal.SIGKILL)):
        last = checkpoints(run_dir)[-1:]
        is_time = after_checkpoint(run_dir, count, 0.1, unfinished=count == 2)
        code = kill_when(command, tmp_path, is_time, kill)
        assert code == (-kill if kill == signal.SIGKILL else 128 + kill)
        assert checkpoints(run_dir)[-1:] > last
    log = (tmp_path / "log").read_text()
    assert "Asked to end (SIGTERM): step" in log
    assert "Traceback" not in log
    assert_same_results(run_to_the_end(command, tmp_path), whole)


@pytest.mark.every
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_quickstart_killed_at_twenty_random_moments(tmp_path_factory, kill):
    """An hour for both: run it by hand, `make test-every`."""
    root = pathlib.Path(os.environ.get("QUICKSTART_RUNS", tmp_path_factory.mktemp("quickstart")))
    data, whole, killed = root / "data", root / "whole", root / kill.name
    if not (whole / "run" / "report.json").exists():
        run_to_the_end(quickstart(data, whole), whole)
    command, run_dir = quickstart(data, killed), killed / "run"
    generator = random.Random(int(kill))
    moments = []
    while len(moments) < 20:
        is_time = after_checkpoint(
            run_dir, generator.randint(1, 2), 3 * generator.random(), len(moments) % 5 == 4
        )
        code = kill_when(command, killed, is_time, kill)
        assert code is not None, f"ended after {len(moments)} kills: {moments}"
        assert code == (-kill if kill == signal.SIGKILL else 128 + kill)
        moments.append(checkpoints(run_dir)[-1])
    print(f"{kill.name} after checkpoints {moments}")
    assert_same_results(run_to_the_end(command, killed), whole / "run")
