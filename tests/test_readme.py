"""The README's example runs as it stands there."""

import pathlib
import re
import subprocess
import sys

import pytest
from worker_group import worker_environments

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


@pytest.mark.parametrize("workers", [1, 2])
def test_the_example_of_several_machines(tmp_path, workers):
    (example,) = re.findall(r"```python\n(.*?)```", SCALING.read_text(), flags=re.DOTALL)
    print_steps = "\nprint(int(model.optimizer.iterations.numpy()), schedule.total_steps)"
    (tmp_path / "example.py").write_text(example + print_steps)
    processes = [
        subprocess.Popen(
            [sys.executable, "example.py"],
            cwd=tmp_path,
            env={**env, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for env in worker_environments(workers)
    ]
    for process in processes:
        out, error = process.communicate(timeout=900)
        assert process.returncode == 0, error[-3000:]
        assert out.split()[-2:] == ["29", "29"]
    assert (tmp_path / "runs" / "mine" / "index.json").exists()
