"""Checkpoints on a real S3 endpoint of this machine; each process that touches it is its own."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import boto3
import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.synthetic import write_videos

ROOT = pathlib.Path(__file__).parents[1]
BUCKET = "runs"

pytestmark = pytest.mark.skipif(
    tuple(map(int, tf.__version__.split(".")[:2])) > (2, 17),
    reason="tensorflow-io has no s3:// for this TensorFlow: test_checkpoint.py holds the error",
)


class Server:
    """Of moto; its objects live as long as it does."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.env = {
            "S3_ENDPOINT": self.endpoint,
            "S3_USE_HTTPS": "0",
            "S3_VERIFY_SSL": "0",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            # A server that is away is waited for a second, not a minute.
            "AWS_MAX_ATTEMPTS": "2",
            "AWS_RETRY_MODE": "standard",
        }
        command = [sys.executable, "-m", "moto.server", "-p", str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self._wait()

    def _wait(self):
        end = time.monotonic() + 60
        while True:
            try:
                self.client.create_bucket(Bucket=BUCKET)
                return
            except Exception:
                assert time.monotonic() < end
                time.sleep(0.2)

    def names(self):
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())
        return [item["Key"] for item in found]


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion")
    write_videos(root, num_train=96, num_validation=12, processes=1)
    return root


def start(server, data, folder, name, **settings):
    command = [sys.executable, str(ROOT / "tests" / "small_run.py"), f"--data={data}"]
    command += [f"--run_dir={folder / name}", f"--out={folder / name}.npz"]
    command += [f"--{key}={value}" for key, value in settings.items()]
    with open(folder / f"{name}.log", "a") as log:
        return subprocess.Popen(
            command, env={**os.environ, **server.env}, stdout=log, stderr=subprocess.STDOUT
        )


def weights(path):
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def test_a_run_with_checkpoints_on_s3_is_killed_and_goes_on(server, data, tmp_path):
    assert start(server, data, tmp_path, "whole").wait(timeout=600) == 0
    remote = {"checkpoint_dir": f"s3://{BUCKET}/killed"}
    process = start(server, data, tmp_path, "killed", **remote)
    while len(server.names()) < 3:
        assert process.poll() is None, (tmp_path / "killed.log").read_text()[-2000:]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = start(server, data, tmp_path, "killed", **remote)
    assert process.wait(timeout=600) == 0, (tmp_path / "killed.log").read_text()[-2000:]
    told = json.loads((tmp_path / "killed.npz.json").read_text())
    assert told["steps"][0][0] > 0
    whole, killed = (weights(tmp_path / f"{name}.npz") for name in ("whole", "killed"))
    for one, other in zip(whole, killed, strict=True):
        np.testing.assert_array_equal(one, other)
    # The last three, the best among them or not, and their index.
    assert len(server.names()) in (4, 5)


def train(server, data, folder, checkpoint_dir):
    params = ("NUM_CLIPS=96", "CROP_SIZE=32", "NUM_FRAMES=8", "EPOCHS=2", "BOUNDARIES=(1,)")
    params += (f"DATA_DIR='{data}'", f"RUN_DIR='{folder}'")
    params += ("learning_rate.MultigridLearningRate.warmup_epochs=0",)
    params += ("synthetic.motion_videos.num_train=96", "synthetic.motion_videos.num_validation=12")
    params += ("training.train.still_control=False", "training.train.validations=1")
    params += (f"training.train.checkpoint_dir='{checkpoint_dir}'",)
    return subprocess.run(
        [
            *(sys.executable, str(ROOT / "tools" / "train.py"), "--gin_file=gin/quickstart.gin"),
            *(f"--gin_param={param}" for param in params),
        ],
        env={**os.environ, **server.env},
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_the_tool_ends_well_after_s3_and_says_when_it_is_away(data, tmp_path):
    server = Server()
    try:
        done = train(server, data, tmp_path / "run", f"s3://{BUCKET}/tool")
        assert done.returncode == 0, done.stderr[-2000:]
        assert "validation at the base grid" in done.stdout
    finally:
        server.process.kill()
        server.process.wait()
    # It must not take a silent server for an empty folder, and begin anew.
    away = train(server, data, tmp_path / "run", f"s3://{BUCKET}/tool")
    assert away.returncode == 1
    assert "error: Cannot read s3://runs/tool/index.json" in away.stderr
    assert "Traceback" not in away.stderr
