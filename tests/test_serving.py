"""An input service of real processes: a dispatcher, workers, and trainers that read from it."""

import json
import os
import pathlib
import re
import signal
import socket
import time

import numpy as np
import processes
import pytest
import tensorflow as tf
from service_trainer import schedule, seen
from test_tools import TINY

from keras_multigrid.data.input import training_batches
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

ROOT = pathlib.Path(__file__).parents[1]
STEPS = 70
# Seconds to wait for a service. Longer than a loaded machine takes to start a dispatcher.
PATIENCE = 120


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """24 videos of noise, as records."""
    folder = tmp_path_factory.mktemp("images")
    videos = []
    for number in range(24):
        (folder / f"{number}").mkdir()
        for frame in range(12):
            image = np.random.default_rng([number, frame]).integers(0, 255, (40, 48, 3), np.uint8)
            jpeg = tf.io.encode_jpeg(image).numpy()
            (folder / f"{number}" / f"{frame:02d}.jpg").write_bytes(jpeg)
        videos.append(VideoRecord(path=str(folder / f"{number}"), label=number))
    root = tmp_path_factory.mktemp("records")
    form = RecordFormat(short_sides=(None,), videos_per_shard=5)
    names = tuple(map(str, range(24)))
    videos = VideoSet(train=videos, validation=videos[:7], class_names=names)
    prepare(videos, root=str(root), form=form, workers=2)
    return str(root)


class Process(processes.Process):
    """A process whose output is waited for."""

    def __init__(self, *command, patience=PATIENCE):
        env = {**os.environ, "KERAS_MULTIGRID_RETRY_SECONDS": str(patience)}
        super().__init__(*command, env=env, cwd=ROOT)

    def wait_for(self, pattern):
        text = ""
        while not (found := re.search(pattern, text, re.MULTILINE)):
            has_ended = self.poll() is not None
            text += self.stdout.read()
            if has_ended and not re.search(pattern, text, re.MULTILINE):
                raise AssertionError(self.stderr.read()[-3000:])
            time.sleep(0.02)
        return found

    def end(self):
        """Exit code and errors."""
        _, errors = self.communicate(timeout=300)
        return self.returncode, errors


def start_dispatcher(*flags):
    dispatcher = Process("tools/serve_data.py", "dispatcher", *flags)
    port = dispatcher.wait_for(r"grpc://.*:(\d+)'")[1]
    return dispatcher, port


def start_worker(port):
    return Process(
        "tools/serve_data.py", "worker", f"--dispatcher=localhost:{port}", "--host=localhost"
    )


def start_trainer(root, number, port, out, steps=STEPS, patience=PATIENCE):
    settings = {"root": root, "number": number, "steps": steps, "out": out}
    settings["service"] = f"grpc://localhost:{port}"
    flags = [f"--{name}={value}" for name, value in settings.items()]
    return Process("tests/service_trainer.py", *flags, patience=patience)


def test_two_trainers_get_their_slices_of_each_batch_though_a_worker_is_killed(root, tmp_path):
    dispatcher, port = start_dispatcher("--port=0")
    workers = [start_worker(port) for _ in range(2)]
    outs = [tmp_path / f"{number}.json" for number in range(2)]
    trainers = [start_trainer(root, number, port, out) for number, out in enumerate(outs)]
    try:
        for trainer in trainers:
            trainer.wait_for("^40$")
        workers[1].kill()
        trainers[0].wait_for("^50$")
        workers.append(start_worker(port))
        workers[2].wait_for("worker of")
        for trainer in trainers:
            code, errors = trainer.end()
            assert code == 0, errors[-3000:]
        running = (*workers[::2], dispatcher)
        for process in running:
            process.send_signal(signal.SIGTERM)
        assert [process.end()[0] for process in running] == [0, 0, 0]
    finally:
        for process in (*trainers, *workers, dispatcher):
            process.kill()
    found = [json.loads(out.read_text()) for out in outs]
    # As each trainer would have read them itself: in order, each once, none lost.
    for number, batches in enumerate(found):
        assert batches == list(seen(root, number, STEPS, None))
    # The same grids on both, and together each step's batch.
    its_schedule = schedule(24)
    for step, slices in enumerate(zip(*(batches[:STEPS] for batches in found), strict=True)):
        grid = its_schedule.grid(step)
        assert [shape for shape, *_ in slices] == [[grid.batch_size // 2, *grid.shape[1:]]] * 2
    # Every video once an epoch.
    labels = [label for step in zip(*found, strict=True) for _, _, own in step for label in own]
    assert sorted(labels[:24]) == list(range(24)) == sorted(labels[24:48])


@pytest.mark.slow
def test_a_dispatcher_that_is_restarted_and_one_that_stays_away(root, tmp_path):
    dispatcher, port = start_dispatcher("--port=0")
    worker = start_worker(port)
    # More than are read ahead when the service is gone.
    trainer = start_trainer(root, 0, port, tmp_path / "0.json", steps=150, patience=30)
    try:
        trainer.wait_for("^40$")
        dispatcher.kill()
        # It knows nothing of what it did before.
        dispatcher, _ = start_dispatcher(f"--port={port}")
        trainer.wait_for("^80$")
        dispatcher.kill()
        worker.kill()
        code, errors = trainer.end()
    finally:
        for process in (trainer, worker, dispatcher):
            process.kill()
    assert code == 1
    assert (
        f"InputServiceError: No batch came from the input service grpc://localhost:{port}" in errors
    )


@pytest.mark.slow
def test_a_training_by_the_command_line_is_the_same(tmp_path):
    params = (*TINY, f"DATA_DIR='{tmp_path}/data'", "runs.Data.keep_decoded=False")
    files = ("--gin_file=gin/quickstart.gin", f"--gin_file={tmp_path}/records/records.gin")
    flags = [f"--gin_param={param}" for param in params]
    prepare = Process("tools/prepare.py", files[0], f"--out={tmp_path}/records", *flags)
    dispatcher, port = start_dispatcher("--port=0")
    worker = start_worker(port)
    try:
        code, errors = prepare.end()
        assert code == 0, errors
        trainers = []
        for name, service in (("here", None), ("there", f"grpc://localhost:{port}")):
            own = (f"RUN_DIR='{tmp_path}/{name}'", f"runs.Data.service={service!r}")
            own = [f"--gin_param={param}" for param in own]
            trainers.append(Process("tools/train.py", *files, *flags, *own))
        for trainer in trainers:
            code, errors = trainer.end()
            assert code == 0, errors
    finally:
        for process in (worker, dispatcher):
            process.kill()
    here, there = (
        [{**point, "seconds": None} for point in json.loads((path / "curve.json").read_text())]
        for path in (tmp_path / "here", tmp_path / "there")
    )
    assert here == there


@pytest.mark.parametrize("address", ["localhost:1", None])
def test_a_worker_without_a_dispatcher_says_so(address):
    with socket.create_server(("localhost", 0)) as silent:
        # Nobody there, or somebody else, who says nothing.
        address = address or f"localhost:{silent.getsockname()[1]}"
        worker = Process("tools/serve_data.py", "worker", f"--dispatcher={address}", patience=1)
        code, errors = worker.end()
    assert code == 1
    assert "error: The dispatcher at " in errors
    assert f"{address} does not answer" in errors


def test_a_worker_that_waits_can_be_stopped():
    worker = Process("tools/serve_data.py", "worker", "--dispatcher=localhost:1")
    worker.wait_for("waits for")
    worker.send_signal(signal.SIGTERM)
    assert worker.end()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("dispatcher",), "--port=5050"),
        (("dispatcher", "--port=70000"), "Received: --port=70000."),
        (("worker", "--dispatcher=localhost"), "must be HOST:PORT, such as localhost:5050"),
        (
            ("worker", "--dispatcher=localhost:1", "--gin_file=a.gin"),
            "Unknown command line flag",
        ),
    ],
)
def test_wrong_flags_of_a_server(arguments, told):
    code, errors = Process("tools/serve_data.py", *arguments).end()
    assert code == 2
    assert told in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "service", ["localhost:5050", "grpc://localhost", "grpc://:1", "grpc://a:b"]
)
def test_what_is_no_address_is_refused(root, service):
    videos = recorded_videos(root).train
    with pytest.raises(ValueError, match=r"grpc://HOST:PORT.*keras-multigrid serve"):
        training_batches(videos, schedule(24), seed=0, service=service)


def test_videos_that_are_no_records_are_refused(root):
    videos = recorded_videos(root).train
    files = [VideoRecord(path="1.mp4", label=0)] * 24
    for given in ({"videos": files}, {"videos": videos, "keep_decoded": True}):
        with pytest.raises(ValueError, match=r"reads records alone.*keras-multigrid prepare"):
            training_batches(
                schedule=schedule(24), seed=0, service="grpc://localhost:5050", **given
            )
