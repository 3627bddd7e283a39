"""What each part of the package may import, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_multigrid"

# Part -> what it may import beside the standard library and itself. A folder stands for its files.
SCHEDULE = {"keras_multigrid.schedule", "keras_multigrid.grid", "keras_multigrid.phases"}
LEARNING_RATE = {"keras", "keras_multigrid.learning_rate", *SCHEDULE}
FIGURES = {"keras", "numpy", "matplotlib", "keras_multigrid.plan", "keras_multigrid.learning_rate"}
FIGURES |= SCHEDULE
CALLBACKS = {"event_file", "figures", "input_monitor", "model_state", "replicas"}
CALLBACKS = {f"keras_multigrid.{name}" for name in CALLBACKS} | LEARNING_RATE
PRECISE = {"keras", "keras_multigrid.model_state", "keras_multigrid.replicas"}
# TensorFlow for remote files alone: checkpoints work on every backend.
REMOTE = {"tensorflow", "tensorflow_io", "absl"}
STORAGE = {"keras_multigrid.remote"}
CHECKPOINT_FOLDER = {"keras", "absl", "keras_multigrid.storage"}
CHECKPOINT = {"numpy", "h5py", "keras_multigrid.replicas", "keras_multigrid.checkpoint_folder"}
CHECKPOINT |= CHECKPOINT_FOLDER | LEARNING_RATE | {"keras_multigrid.termination"}
MODELS = {"keras", "numpy"}
# What single files may import, too: a backend, an extra.
FILES_ALLOWED = {
    "models/fused_normalization.py": {"tensorflow", "torch"},
    "data/beam_preparing.py": {"apache_beam"},
}
DATA = {
    "tensorflow",
    "numpy",
    "av",
    "cv2",
    "PIL",
    "absl",
    "keras_multigrid.input_monitor",
    "keras_multigrid.remote",
    "keras_multigrid.storage",
    *SCHEDULE,
}
PREDICTOR = {"keras", "numpy", "tensorflow", "keras_multigrid.distribute"}
PREDICTOR |= {"keras_multigrid.data", *SCHEDULE}
TOP = {"keras_multigrid", *CALLBACKS, *CHECKPOINT, *FIGURES, *MODELS, *DATA}
ALLOWED = {
    "__init__": {"keras_multigrid"},
    "schedule": SCHEDULE,
    "grid": set(),
    "phases": SCHEDULE,
    "input_monitor": set(),
    "plan": {"keras_multigrid"},
    "plan_table": SCHEDULE,
    "figures": FIGURES,
    "learning_rate": LEARNING_RATE,
    "sgd": {"keras"},
    "callbacks": CALLBACKS,
    "model_state": {"keras"},
    "precise_batch_normalization": PRECISE,
    "event_file": {"tensorboard", "PIL", "keras_multigrid.storage"},
    "replicas": {"keras"},
    "termination": set(),
    "remote": REMOTE,
    "storage": STORAGE,
    "checkpoint": CHECKPOINT,
    "checkpoint_folder": CHECKPOINT_FOLDER,
    "browse": TOP | {"PIL"},
    "models": MODELS,
    "data": DATA,
    "distribute": TOP,
    "training": TOP,
    "evaluation": TOP,
    "measures": {"numpy"},
    "predictor": PREDICTOR,
}


def _imports(source: str) -> set[str]:
    """Full names of all imported modules, those inside of functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "Name the module in full: relative imports are not followed."
            # `from keras_multigrid import figures` names a module of the package.
            if node.module == "keras_multigrid":
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def _is_in(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


FILES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_imports(file):
    part = Path(file).parts[0].removesuffix(".py")
    assert part in ALLOWED, f"Add {part} to ALLOWED, with what it may import."
    allowed = ALLOWED[part] | {f"keras_multigrid.{part}"} | sys.stdlib_module_names
    allowed |= FILES_ALLOWED.get(file, set())
    imports = _imports((PACKAGE / file).read_text(encoding="utf-8"))
    assert {name for name in imports if not _is_in(name, allowed)} == set()


def test_imports_are_found():
    source = (
        "import gin.tf\n"
        "from keras_multigrid import figures, schedule\n"
        "def f():\n    from av.video import frame\n"
    )
    found = {"gin.tf", "keras_multigrid.figures", "keras_multigrid.schedule", "av.video"}
    assert _imports(source) == found
    assert _is_in("keras.ops", {"keras"})
    assert not _is_in("keras_multigrid.data", {"keras"})


@pytest.mark.parametrize(
    "statement",
    [
        "import keras_multigrid; keras_multigrid.MultigridSchedule",
        "import keras_multigrid; keras_multigrid.Grid; dir(keras_multigrid)",
        "from keras_multigrid import MultigridSchedule, Phase",
    ],
)
def test_the_schedule_is_imported_without_tensorflow(statement):
    code = f"{statement}; import sys; print({{'tensorflow', 'keras', 'numpy'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "set()\n", run.stderr


def test_an_unknown_public_name():
    import keras_multigrid

    with pytest.raises(AttributeError, match="'keras_multigrid' has no attribute 'Multigrid'"):
        _ = keras_multigrid.Multigrid
