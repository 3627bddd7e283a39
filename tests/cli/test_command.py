"""What all commands share, as processes."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import processes
import pytest

ROOT = pathlib.Path(__file__).parents[2]
WAITS = """
import sys, time
sys.path.insert(0, {root!r})
from keras_multigrid.cli import command
import tensorflow as tf

def main():
    def read(number):
        if number:
            print("waits", flush=True)
            open({pipe!r}, "rb").read()
        return number
    batches = tf.data.Dataset.range(2).map(lambda n: tf.numpy_function(read, [n], tf.int64))
    iterator = iter(batches.prefetch(1))
    next(iterator)
    # In TensorFlow, or elsewhere while a thread of the input waits.
    next(iterator) if {in_tensorflow} else time.sleep(60)

sys.argv = ["command"]
command.run(main)
"""
FAILS = """
import sys
sys.path.insert(0, {root!r})
from keras_multigrid.cli import command

def deeper(depth):
    if depth:
        return deeper(depth - 1)
    raise KeyError("https://me:word@host/1.mp4?sig=abc")

sys.argv = ["command"]
command.run(lambda: deeper(50))
"""
HOME = """
import sys
sys.path.insert(0, {root!r})
from keras_multigrid.cli import experiments
import gin

experiments.parse(["gin/quickstart.gin"], [
    "RUN_DIR = '~/runs/1'", "runs.Checkpoints.folder = '~/kept'", "runs.Model.frozen = ('a~', '~b')"
])
print(gin.config_str())
"""


@pytest.mark.parametrize("in_tensorflow", [True, False])
def test_ctrl_c_ends_a_command_that_waits_for_input(tmp_path, in_tensorflow):
    os.mkfifo(tmp_path / "pipe")
    values = {"root": str(ROOT), "pipe": str(tmp_path / "pipe"), "in_tensorflow": in_tensorflow}
    code = WAITS.format(**values)
    process = processes.Process("-c", code)
    text = ""
    while "waits" not in text:
        assert process.poll() is None, process.stderr.read()
        text += process.stdout.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "interrupted" in process.stderr.read()


def test_an_error_that_no_check_foresaw_is_short_and_has_no_secrets():
    result = processes.run("-c", FAILS.format(root=str(ROOT)))
    assert result.returncode == 1
    assert "error: KeyError: 'https://host/1.mp4?hidden-" in result.stderr
    assert "--debug shows all calls" in result.stderr
    assert len(result.stderr.splitlines()) < 15
    assert "word" not in result.stderr
    assert "abc" not in result.stderr


def test_home_stands_in_every_path():
    env = {**os.environ, "HOME": "/home/me"}
    result = processes.run("-c", HOME.format(root=str(ROOT)), env=env, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "RUN_DIR = '/home/me/runs/1'" in result.stdout
    assert "runs.Checkpoints.folder = '/home/me/kept'" in result.stdout
    assert "('a~', '~b')" in result.stdout


def test_a_plan_on_a_terminal_without_utf_8_and_a_picture_at_home(tmp_path):
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    arguments = ("--gin_file=gin/quickstart.gin", "--png=~/plans/1.png")
    # Its own interpreter: how output is encoded is settled when one begins.
    command = [sys.executable, ROOT / "tools" / "plan.py", *arguments]
    result = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "x 64^2" in result.stdout
    assert (tmp_path / "plans" / "1.png").read_bytes().startswith(b"\x89PNG")


def test_an_output_folder_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for tool, flag in (("plan", "png"), ("browse", "out"), ("check_data", "out")):
        out = tmp_path / "file" / "a.png"
        arguments = ("--gin_file=gin/quickstart.gin", f"--{flag}={out}")
        result = processes.run(ROOT / "tools" / f"{tool}.py", *arguments, cwd=tmp_path)
        assert result.returncode == 1
        assert f"error: Cannot write {out}: " in result.stderr
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "data").exists()
