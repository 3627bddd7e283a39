"""The pages of the site say what the package does, and the examples run."""

import ast
import importlib
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import matplotlib
import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_messages_are_those_of_the_package():
    page = (DOCS / "troubleshooting.md").read_text()
    quoted = re.findall(r'\*\*"([^"]+)"', page) + re.findall(r'\*\* or \*\*"([^"]+)"', page)
    assert len(quoted) > 20
    texts = set()
    for path in (ROOT / "keras_multigrid").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    assert [words for words in quoted if not any(words in text for text in texts)] == []


def test_the_reference_has_all_public_names():
    pages = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    for name, listed in re.findall(r"^::: (\S+)\n((?:    .*\n)*)", pages, flags=re.MULTILINE):
        module = importlib.import_module(name)
        # Names that are imported when they are used cannot be read from the source.
        if "public_names" not in inspect.getsource(module):
            continue
        public = {
            public
            for public in module.__all__
            if not isinstance(getattr(module, public), types.ModuleType)
        }
        assert set(re.findall(r"- (\w+)", listed)) == public, name


def test_names_for_pytorch_users_are_there():
    import keras_multigrid as mg
    from keras_multigrid import augmentation, data, models, optimizers, runs
    from keras_multigrid.data import lists

    rows = re.findall(r"^\|.*\| (.*) \|$", (DOCS / "pytorch_users.md").read_text(), re.MULTILINE)
    calls = [call for row in rows for call in re.findall(r"`((?:\w+\.)?\w+)\(([^`]*)\)`", row)]
    assert len(calls) > 15
    modules = {"lists": lists, "models": models, "optimizers": optimizers}
    for name, arguments in calls:
        module, _, last = name.rpartition(".")
        owners = [modules[module]] if module else [mg, runs, augmentation, data]
        found = next(getattr(owner, last) for owner in owners if hasattr(owner, last))
        known = inspect.signature(found).parameters
        for argument in re.findall(r"(\w+)=", arguments):
            is_open = any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values())
            assert argument in known or is_open, (name, argument)


@pytest.mark.parametrize(
    "name",
    [
        "stock_model",
        pytest.param("several_devices", marks=pytest.mark.slow),
        pytest.param("custom_task", marks=pytest.mark.slow),
    ],
)
def test_examples_run(name, tmp_path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert list((tmp_path / "runs" / name).iterdir())


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    cells = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in cells)
    small = "NUM_TRAIN, NUM_VALIDATION, EPOCHS = 24, 12, 2"
    sources = [re.sub(r"^NUM_TRAIN.*", small, source, flags=re.MULTILINE) for source in sources]
    names = {"__name__": "notebook"}
    for source in sources:
        exec(compile(source, "quickstart.ipynb", "exec"), names)
    assert int(names["model"].optimizer.iterations) == names["schedule"].total_steps
