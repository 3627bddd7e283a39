"""What each part of the package may import, read from the source."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_multigrid"


# Part -> what it may import beside the standard library and itself. A folder stands for its files.
def ours(*names: str) -> set[str]:
    return {f"keras_multigrid.{name}" for name in names}


KERAS = {"keras", "numpy"}
SCHEDULE = ours("schedule", "checks")
LEARNING_RATE = KERAS | SCHEDULE | ours("learning_rate", "compat")
FILES = ours("files", "machine_faults", "remote_files", "temporary_files")
CALLBACKS = LEARNING_RATE | FILES | ours("figures", "monitor", "progress", "replicas", "signals")
CALLBACKS |= ours("cpu_faults", "data_parallel")
CALLBACKS |= {"h5py", "tensorboard", "PIL", "absl"}
DATA = {"tensorflow", "numpy", "av", "cv2", "PIL", "absl", "google.protobuf"}
DATA |= SCHEDULE | FILES | ours("backend", "class_weights", "compat", "lazy", "monitor", "task")
RUNS = CALLBACKS | DATA
RUNS |= ours("augmentation", "callbacks", "data", "distribute", "layers", "losses", "models")
RUNS |= ours("measures", "optimizers")
ALLOWED = {
    "__init__": {"keras_multigrid"},
    "__main__": ours("cli"),
    "lazy": set(),
    "moved": set(),
    "checks": set(),
    "monitor": set(),
    "progress": {"keras"},
    "signals": set(),
    "temporary_files": set(),
    "schedule": ours("checks"),
    "compat": KERAS | {"tensorflow"} | ours("last_batch"),
    "backend": KERAS,
    "last_batch": {"keras", "tensorflow"},
    "learning_rate": LEARNING_RATE,
    "optimizers": LEARNING_RATE,
    "class_weights": {"numpy"} | ours("checks"),
    "augmentation": LEARNING_RATE,
    "layers": KERAS | ours("checks"),
    "losses": KERAS,
    "models": KERAS | ours("checks", "compat", "layers"),
    "measures": {"numpy"},
    "task": KERAS | ours("measures", "soft_metrics"),
    "soft_metrics": {"keras"},
    "figures": LEARNING_RATE | {"matplotlib"},
    "replicas": {"keras"},
    "data_parallel": {"keras"},
    "cpu_faults": {"keras", "tensorflow"} | ours("backend"),
    # TensorFlow for remote files alone: checkpoints work on every backend.
    "machine_faults": {"absl"},
    "remote_files": {"absl", "tensorflow", "tensorflow_io"} | ours("machine_faults"),
    "files": ours("machine_faults", "remote_files", "temporary_files"),
    "callbacks": CALLBACKS,
    "data": DATA,
    "distribute": RUNS,
    "runs": RUNS,
    # All of the package, whose version it shows.
    "cli": RUNS | {"absl", "gin", "keras_multigrid"},
}
# What single files may import, too: a backend, an extra.
FILES_ALLOWED = {
    "layers/depthwise_kernels.py": {"tensorflow", "torch", "jax"},
    "layers/fused_normalization.py": {"tensorflow", "torch"},
    "layers/moving_statistics.py": {"tensorflow"},
    "layers/sizes.py": {"tensorflow"},
    "models/preset_folder.py": {"huggingface_hub"},
    "data/records/beam.py": {"apache_beam"},
    "data/hugging_face_videos.py": {"datasets", "fsspec"},
    "data/tfds_videos.py": {"tensorflow_datasets"},
    # The extra `onnx`.
    "runs/exporting.py": {"onnx", "onnxruntime", "tf2onnx"},
    "runs/peak_memory.py": {"torch", "jax"},
    "runs/step_seed.py": {"torch"},
    "data_parallel.py": {"jax"},
    "remote_files/fsspec_files.py": {"fsspec", "aiohttp"},
}


MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def _module_name(file: str) -> str:
    name = f"keras_multigrid.{file.removesuffix('.py').replace('/', '.')}"
    return name.removesuffix(".__init__")


NAMES = set(map(_module_name, MODULES))


def _imports(source: str) -> set[str]:
    """Full names of all imported modules, those inside of functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "Name the module in full: relative imports are not followed."
            # `from keras_multigrid import figures` names a module of the package.
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = full & NAMES if node.module != "keras_multigrid" else full
            names |= modules
            if len(modules) < len(full):
                names.add(node.module)
    return names


def _is_in(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


@pytest.mark.parametrize("file", MODULES)
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


def test_no_module_imports_itself_in_a_circle():
    imports = {
        _module_name(file): _imports((PACKAGE / file).read_text(encoding="utf-8"))
        for file in MODULES
    }
    # Imports inside a function are made when it is called, so that they count as well.
    graph = {
        name: {other for other in imports if other in found and other != name}
        for name, found in imports.items()
    }
    graphlib.TopologicalSorter(graph).prepare()
