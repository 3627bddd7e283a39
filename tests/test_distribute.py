"""One training on one device, several devices and several workers: the same run.

Real processes: a strategy needs one of its own.
"""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import Process, run
from worker_group import worker_environments

from keras_multigrid.data.synthetic.videos import write_videos
from keras_multigrid.distribute import find_strategy

TESTS = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion")
    write_videos(root, num_train=48, num_validation=12, processes=1)
    # 13 videos, of which one cannot be read: batches that leave devices without a clip.
    (root / "validation" / "grow" / "cut.mp4").write_bytes(b"no video")
    return root


def start(data, folder, *, workers=1, name="run", anew=False, **settings):
    """Start a training of one or several workers; what they write is in `folder`."""
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    processes = []
    for index, env in enumerate(worker_environments(workers)):
        out = folder / f"{name}.{index}.npz"
        command = [TESTS / "small_run.py", f"--data={data}", f"--out={out}"]
        with open(folder / f"{name}.{index}.log", "w") as log:
            command = [*command, f"--run_dir={folder / name}", *arguments]
            settings = {"env": env, "stdout": log, "stderr": subprocess.STDOUT}
            if anew:
                processes.append(subprocess.Popen([sys.executable, *command], **settings))
            else:
                processes.append(Process(*command, **settings))
    return processes


def finish(processes, folder, name="run"):
    """What each worker saw, and its weights."""
    codes = [process.wait(timeout=900) for process in processes]
    logs = [(folder / f"{name}.{n}.log").read_text()[-3000:] for n in range(len(processes))]
    assert codes == [0] * len(processes), "\n".join(logs)
    told = []
    for index in range(len(processes)):
        out = folder / f"{name}.{index}.npz"
        with np.load(out) as arrays:
            weights = [arrays[key] for key in arrays.files]
        told.append((json.loads(pathlib.Path(f"{out}.json").read_text()), weights))
    return told


@pytest.fixture(scope="module")
def single(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    ((told, weights),) = finish(start(data, folder, views=2), folder)
    return told, weights


@pytest.fixture(scope="module")
def two_workers(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    # Each with a seed of hashes of its own.
    workers = start(data, folder, workers=2, strategy="multi_worker", views=2, anew=True)
    return folder / "run", finish(workers, folder)


def assert_same_run(single, workers, devices):
    """Batches clip by clip; losses, validations and the test to rounding."""
    told, weights = single
    num_steps = len(told["steps"])
    assert num_steps > 20
    for step in range(num_steps):
        batch = []
        for seen, _ in workers:
            for device in range(devices):
                batch += seen["clips"][step * devices + device]
        assert batch == told["clips"][step], f"step {step}"
    for seen, other in workers:
        np.testing.assert_allclose(seen["steps"], told["steps"], rtol=1e-5)
        for point, expected in zip(seen["curve"], told["curve"], strict=True):
            assert point["val_accuracy"] == expected["val_accuracy"]
            assert point["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-5)
        assert seen["metrics"]["loss"] == pytest.approx(told["metrics"]["loss"], rel=1e-5)
        assert seen["views"] == told["views"]
        for one, another in zip(workers[0][1], other, strict=True):
            np.testing.assert_array_equal(one, another)
        floats = [w for w in weights if w.ndim]
        for one, another in zip(floats, [w for w in other if w.ndim], strict=True):
            np.testing.assert_allclose(another, one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "devices", [pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.every)]
)
def test_several_devices(data, single, tmp_path, devices):
    run = start(data, tmp_path, strategy="mirrored", logical_cpus=devices, views=2)
    assert_same_run(single, finish(run, tmp_path), devices)


def test_several_workers(single, two_workers):
    assert_same_run(single, two_workers[1], 1)


@pytest.mark.every
def test_three_workers(data, tmp_path):
    # 8 clips on each: the groups of one device.
    settings = {"batch_size": 24, "epochs": 48, "views": 1}
    (single,) = finish(start(data, tmp_path, name="one", **settings), tmp_path, "one")
    workers = start(data, tmp_path, workers=3, strategy="multi_worker", **settings)
    assert_same_run(single, finish(workers, tmp_path), 1)


def test_the_chief_alone_writes(two_workers):
    names = [path.name for path in two_workers[0].iterdir()]
    assert len([name for name in names if name.startswith("events.out")]) == 1
    assert {"checkpoints", "curve.json", "model.keras", "report.json"} <= set(names)


@pytest.mark.slow
def test_a_lost_worker_ends_the_others_and_all_go_on(data, single, two_workers, tmp_path):
    settings = {"workers": 2, "strategy": "multi_worker", "views": 2}
    processes = start(data, tmp_path, **settings)
    checkpoints = tmp_path / "run" / "checkpoints"
    _wait_for(lambda: list(checkpoints.glob("step-*.h5")), processes)
    processes[1].send_signal(signal.SIGKILL)
    assert processes[0].wait(timeout=180) == 1
    log = (tmp_path / "run.0.log").read_text()
    assert "WorkerLostError: Another worker of the group is lost" in log
    shutil.copytree(tmp_path / "run", tmp_path / "alone")
    resumed = finish(start(data, tmp_path, **settings), tmp_path)
    first = resumed[0][0]["steps"][0][0]
    assert first > 0
    # Or one goes on alone, and reads what both would have read.
    ((alone, _),) = finish(start(data, tmp_path, name="alone"), tmp_path, "alone")
    assert alone["steps"][0][0] == first
    num_steps = len(alone["steps"])
    assert alone["clips"][:num_steps] == single[0]["clips"][first : first + num_steps]
    for (_, weights), (_, expected) in zip(resumed, two_workers[1], strict=True):
        for one, another in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(one, another)
    # The same results on the way, those before the loss included.
    curves = [
        [{k: v for k, v in point.items() if k.startswith("val_")} for point in told["curve"]]
        for told, _ in (resumed[0], two_workers[1][0])
    ]
    assert curves[0] == curves[1]


# Of layers of Keras, it is in the example of docs/scaling.md: test_readme.py.
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("subclassed", marks=pytest.mark.slow),
        pytest.param("functional", marks=pytest.mark.every),
    ],
)
def test_a_model_and_data_of_ones_own(tmp_path, kind):
    """Trained by stock `fit` on one device, two devices and two workers."""
    results = []
    for name, cpus, workers in (("one_device", 0, 1), ("mirrored", 2, 1), ("multi_worker", 0, 2)):
        outs = [tmp_path / f"{name}{index}.npz" for index in range(workers)]
        processes = []
        for out, env in zip(outs, worker_environments(workers), strict=True):
            processes.append(Process(TESTS / "user_fit.py", kind, name, cpus, out, env=env))
        for process in processes:
            _, log = process.communicate(timeout=900)
            assert process.returncode == 0, log[-3000:]
        for out in outs:
            with np.load(out) as arrays:
                results.append({key: arrays[key] for key in arrays.files})
    first, mirrored, *workers = results
    assert first["steps"] > 15
    for result in (mirrored, *workers):
        assert result.keys() == first.keys()
        for key, expected in first.items():
            # Groups and shared statistics are counts by replica.
            if expected.dtype != np.int32:
                # Two equal scores are a matter of rounding.
                atol = 0.01 if "accuracy" in key else 1e-5
                np.testing.assert_allclose(result[key], expected, 1e-3, atol, err_msg=key)
    for key, expected in workers[0].items():
        np.testing.assert_array_equal(workers[1][key], expected, err_msg=key)


@pytest.mark.every
def test_three_workers_read_what_two_would(data, tmp_path):
    settings = {"strategy": "multi_worker", "batch_size": 12, "epochs": 8}
    whole = finish(start(data, tmp_path, workers=2, name="whole", **settings), tmp_path, "whole")
    processes = start(data, tmp_path, workers=2, **settings)
    checkpoints = tmp_path / "run" / "checkpoints"
    _wait_for(lambda: list(checkpoints.glob("step-*.h5")), processes)
    for process in processes:
        process.kill()
        process.wait()
    three = finish(start(data, tmp_path, workers=3, **settings), tmp_path)
    first = three[0][0]["steps"][0][0]
    assert first > 0
    for index in range(len(three[0][0]["steps"])):
        batch, expected = (
            [clip for told, _ in run for clip in told["clips"][number]]
            for run, number in ((three, index), (whole, first + index))
        )
        assert batch == expected


def _wait_for(condition, processes, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


# The choice of a strategy.


def test_a_wrong_strategy_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"one of .*'multi_worker'.* Received: name='many'"):
        find_strategy("many")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=r"needs the environment variable TF_CONFIG"):
        find_strategy("multi_worker")
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(ValueError, match=r"TF_CONFIG must be JSON like .*Received: '\{'"):
        find_strategy()


@pytest.mark.parametrize(
    ("worker", "task", "message"),
    [
        (["a:1", "b:2"], {}, r"task\.type must be worker"),
        (["a:1", "b:2"], {"type": "worker", "index": 2}, r"task\.index must be in \[0, 2\), not 2"),
        (["a:1", "b:2"], {"type": "worker", "index": "0"}, r"task\.index must be .* not '0'"),
        (["a:1", "b:2"], {"type": "chief", "index": 0}, r"task\.type must be worker"),
        (["a", "b:2"], {"type": "worker", "index": 0}, r"list of host:port"),
        ("a:1,b:2", {"type": "worker", "index": 0}, r"list of host:port"),
    ],
)
def test_a_wrong_tf_config_is_told(monkeypatch, worker, task, message):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": worker}, "task": task}))
    with pytest.raises(ValueError, match=rf"TF_CONFIG must be JSON like .*{message}"):
        find_strategy()


def test_a_worker_that_waits_in_vain_ends():
    environment, _ = worker_environments(2)
    code = "from keras_multigrid.distribute import find_strategy; find_strategy(wait_seconds=3)"
    environment["PYTHONPATH"] = str(TESTS.parent)
    process = run("-c", code, env=environment, timeout=180)
    assert process.returncode == 1
    assert "Waiting up to 3 s for all of 127.0.0.1:" in process.stderr


def test_one_device_where_nothing_else_is_there(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert find_strategy().num_replicas_in_sync == 1
