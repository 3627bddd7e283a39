"""The examples of README and docs run as they stand there."""

import os
import pathlib
import re

import keras
import numpy as np
import processes
import pytest
from worker_group import worker_environments

from keras_multigrid.callbacks.lookup import steps_trained

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
SCALING = ROOT / "docs" / "scaling.md"


def test_example_trains_in_at_most_twenty_lines(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(example.strip().splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(example, str(README), "exec"), names)
    assert names["model"].optimizer.iterations == names["schedule"].total_steps
    assert list((tmp_path / "logs").iterdir())


def test_the_rule_says_why(capsys):
    text = (ROOT / "docs" / "guide.md").read_text()
    (example,) = re.findall(r"```python\n(import keras_multigrid as mg\n.*?)```", text, re.DOTALL)
    names = {}
    exec(compile(example, "guide.md", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == 5
    # A tenth of the epochs, times the cube root of the first phase's rate.
    assert names["rate"].warmup_epochs > 0.1 * names["schedule"].phases[-1].end_epoch


@pytest.mark.slow
def test_the_example_of_a_set_of_ones_own_resumes(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "guide.md").read_text()
    (example,) = re.findall(r"```python\n(import keras\n.*?)```", text, flags=re.DOTALL)
    assert len(example.strip().splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    killing = """
class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if steps_trained(self.model) == 13:
            raise InterruptedError
"""
    killed = example.replace("checkpoint])", "checkpoint, Kill()])").replace(
        "base =", killing + "base ="
    )
    weights = []
    try:
        with pytest.raises(InterruptedError):
            exec(compile(killed, "guide.md", "exec"), {"steps_trained": steps_trained})
        for folder in ("runs/mine", "runs/whole"):
            names = {}
            code = example.replace("runs/mine", folder)
            exec(compile(code, "guide.md", "exec"), names)
            assert names["start_step"] == (10 if folder == "runs/mine" else 0)
            assert steps_trained(names["model"]) == names["schedule"].total_steps
            weights.append(names["model"].get_weights())
    finally:
        keras.config.set_dtype_policy("float32")
    for one, another in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, another)


def test_the_example_of_several_machines(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", SCALING.read_text(), flags=re.DOTALL)
    print_steps = "\nprint(int(model.optimizer.iterations.numpy()), schedule.total_steps)"
    (tmp_path / "example.py").write_text(example + print_steps)
    started = [
        processes.Process("example.py", cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)})
        for env in worker_environments(2)
    ]
    for process in started:
        out, error = process.communicate(timeout=900)
        assert process.returncode == 0, error[-3000:]
        assert out.split()[-2:] == ["29", "29"]
    assert (tmp_path / "runs" / "mine" / "index.json").exists()


@pytest.mark.slow
def test_the_example_of_several_machines_goes_on_when_killed(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", SCALING.read_text(), flags=re.DOTALL)
    killing = """
import os
class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) == 13:
            os._exit(9)
"""
    example = example.replace("find_strategy()", "find_strategy('mirrored', logical_cpus=2)")
    imported = "import keras_multigrid as mg\n"
    killed = example.replace(imported, imported + killing)
    killed = killed.replace("checkpoint])", "checkpoint, Kill()])")
    (tmp_path / "killed.py").write_text(killed)
    print_steps = "\nprint(start_step, int(model.optimizer.iterations.numpy()))"
    (tmp_path / "example.py").write_text(example + print_steps)
    for name, code, told in (("killed.py", 9, []), ("example.py", 0, ["10", "29"])):
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        result = processes.run(name, cwd=tmp_path, env=env)
        assert result.returncode == code, result.stderr[-3000:]
        assert result.stdout.split()[-2:] == told or code
