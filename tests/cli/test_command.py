"""What all commands share, as processes."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import processes
import pytest

from keras_multigrid.cli import commands

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
LOGS = """
import logging
import sys
sys.path.insert(0, {root!r})
import absl.logging
from keras_multigrid.cli import command

def main():
    absl.logging.info("a note of another library")
    logging.getLogger("tensorflow").warning("%s calls triggered tf.function retracing.", 5)
    absl.logging.warning("one video is damaged")

sys.argv = ["command"]
command.run(main)
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
@pytest.mark.parametrize(
    "number, code, word",
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_signals_end_a_command_that_waits_for_input(tmp_path, in_tensorflow, number, code, word):
    os.mkfifo(tmp_path / "pipe")
    values = {"root": str(ROOT), "pipe": str(tmp_path / "pipe"), "in_tensorflow": in_tensorflow}
    process = processes.Process("-c", WAITS.format(**values))
    text = ""
    while "waits" not in text:
        assert process.poll() is None, process.stderr.read()
        text += process.stdout.read()
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == code
    assert f"{word}: give the same command again" in process.stderr.read()


def test_an_error_that_no_check_foresaw_is_short_and_has_no_secrets():
    result = processes.run("-c", FAILS.format(root=str(ROOT)))
    assert result.returncode == 1
    assert "error: KeyError: 'https://host/1.mp4?hidden-" in result.stderr
    assert "--debug shows all calls" in result.stderr
    assert len(result.stderr.splitlines()) < 15
    assert "word" not in result.stderr
    assert "abc" not in result.stderr


def test_warnings_are_plain_and_notes_of_other_libraries_are_left_out():
    result = processes.run("-c", LOGS.format(root=str(ROOT)))
    assert (result.returncode, result.stderr) == (0, "WARNING: one video is damaged\n")


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


def call(*arguments, cwd):
    """`keras-multigrid *arguments`, in a folder that is not the clone's."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    code += "from keras_multigrid.cli import command; command.main()"
    return processes.run("-c", code, *arguments, cwd=cwd)


def test_help_lists_the_commands_with_a_line_each(tmp_path):
    result = call("--help", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    listed = [line.split() for line in result.stdout.splitlines()]
    names = [words[0] for words in listed if words and words[0] in commands.COMMANDS]
    assert names == [
        *("finetune", "plan", "probe", "browse", "check", "prepare"),
        *("train", "evaluate", "predict", "export", "serve", "convert"),
    ]
    assert "  check     Find bad videos and bad lines before training.\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_of_a_command_has_examples_and_its_own_flags(name, tmp_path):
    result = call(name, "--help", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    text = result.stdout
    assert f"\n    keras-multigrid {name} " in text
    assert f"usage: keras-multigrid {name} [--FLAG=VALUE ...]" in text
    assert "  --debug " in text
    # Neither absl's, nor those of other commands.
    assert "logtostderr" not in text
    assert ("--replicas=N" in text) is (name == "plan")
    takes_settings = name not in ("serve", "convert")
    assert ("--gin_file=TEXT" in text) is (takes_settings and name != "finetune")
    assert ("boundaries=10,15" in text) is (takes_settings and name != "finetune")
    assert ("epochs=20" in text) is takes_settings
    assert max(map(len, text.splitlines())) <= 100
    assert "<" not in text
    # Lines that a shell would join stand as they are typed.
    assert all(line.endswith("\\") for line in text.splitlines() if "\\" in line)


def test_commands_are_known_by_their_modules_too(tmp_path):
    for short, module in (
        ("check", "check_data"),
        ("serve", "serve_data"),
        ("convert", "convert_weights"),
    ):
        assert call(module, "-h", cwd=tmp_path).stdout == call(short, "-h", cwd=tmp_path).stdout


def test_all_flags_are_shown_on_demand(tmp_path):
    result = call("plan", "--helpfull", cwd=tmp_path)
    assert result.returncode == 0
    assert "--[no]logtostderr" in result.stdout


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ((), ["Expected a command. Received: ''. finetune, plan, ", "keras-multigrid --help"]),
        (("trian",), ["Received: 'trian'. Do you mean train?"]),
        (("train",), ["--gin_file is missing", "See keras-multigrid train --help."]),
        (("train", "--gin_files=a"), ["'gin_files'", "gin_file", "train --help"]),
        (("plan", "--replicas=some"), ["--replicas must be a positive integer. Received: --rep"]),
        (("finetune", "a", "--minutes=0"), ["--minutes must be a number of at least 0.1. Rec"]),
        (("finetune", "a", "--balance=x"), ["--balance must be one of none, inverse_square_root"]),
        (("train", "--measure=x"), ["--measure must be true or false. Received: --measure=x"]),
        (("plan", "--gin_file=quickstart", "epoch=1"), ["Do you mean epochs"]),
        (("plan", "--gin_file=quickstart", "--epochs=1"), ["without dashes: epochs=20"]),
        (("plan", "quickstart"), ["Expected flags", "Received: quickstart"]),
        (
            ("plan", "--gin_file=a", "--gin_param=x"),
            ["--gin_param must be NAME=VALUE. Received: x"],
        ),
        (("convert", "epochs=1"), ["Received: epochs=1"]),
        (("convert", "--model=c2d_8x8_r50"), ["--source is missing"]),
        (("convert", "--source=.", "--out=p"), ["There is no './model.keras'", "has not finished"]),
        (("serve",), ["dispatcher or worker"]),
    ],
)
def test_wrong_usage_ends_with_2_and_one_message(arguments, parts, tmp_path):
    result = call(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    for part in parts:
        assert part in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_settings_and_flags_stand_in_any_order(tmp_path):
    arguments = ("epochs=20", "--json", "batch_size=16", "--gin_file=quickstart", "multigrid=false")
    result = call("plan", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    # 1,800 clips make 113 batches of 16.
    assert json.loads(result.stdout)["totals"]["steps"] == 20 * 1800 // 16


def test_an_error_names_the_setting_that_was_typed(tmp_path):
    result = call("train", "--gin_file=i3d_weizmann", "data_dir=nothing", cwd=tmp_path)
    assert result.returncode != 0
    assert "`root` must be a folder" in result.stderr
    assert "Received: data_dir='nothing', which is missing" in result.stderr


@pytest.mark.parametrize("what", ["help", "main"])
def test_output_that_nobody_reads_any_more(what):
    """As of `keras-multigrid ... | head`: no traceback."""
    code = "from keras_multigrid.cli import command; import sys; sys.argv[1:] = {}; command.{}"
    call = {
        "help": code.format(["--help"], "main()"),
        "main": code.format([], "run(lambda: [print('x' * 100) for _ in range(1000)])"),
    }[what]
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert result.stderr == ""
    assert result.returncode == {"help": 0, "main": 128 + signal.SIGPIPE}[what]


def test_ctrl_c_while_it_starts():
    code = (
        "import sys; from keras_multigrid.cli import command, help\n"
        "def stopped(): raise KeyboardInterrupt\n"
        "sys.argv[1:] = ['--help']; help.of_program = stopped; command.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (130, "\ninterrupted\n")
