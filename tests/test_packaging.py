"""The wheel, the source distribution and an editable install, each used from an empty folder."""

import email
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What belongs to a source distribution; a clone has environments, runs and data beside it.
FOLDERS = ("keras_multigrid", "gin", "tests", "tools", "docs")
FILES = (
    *("setup.py", "pyproject.toml", "MANIFEST.in", "Makefile", "LICENSE", "README.md"),
    *("CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("constraints.txt", "constraints-backends.txt", "constraints-beam.txt"),
)
BUILD = "from setuptools import build_meta; build_meta.build_sdist('dist')"


def clean_environment():
    """Without the folders of tests, in which the package is, too."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def call(*command, cwd):
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=clean_environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packaging") / "source"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def sdist(source):
    call(sys.executable, "-c", BUILD, cwd=source)
    (file,) = (source / "dist").glob("*.tar.gz")
    return file


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation")
    call(*pip, "--wheel-dir", folder, sdist, cwd=folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(source, sdist, wheel, tmp_path_factory):
    """The folder of commands of an environment in which one of them is installed."""
    what = {"wheel": [wheel], "sdist": [sdist], "editable": ["--editable", source]}

    def install(kind):
        folder = tmp_path_factory.mktemp(kind)
        venv.create(folder / "venv", with_pip=False)
        python = folder / "venv" / "bin" / "python"
        site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd="/")
        # The packages that it needs are those of the tests; `.pth` files there are not read again,
        # so that an editable install of this clone is not among them.
        path = sysconfig.get_path("purelib")
        # But for that of setuptools: TensorFlow imports distutils, which Python 3.12 has no more.
        shim = pathlib.Path(path, "distutils-precedence.pth").read_text()
        (pathlib.Path(site.strip()) / "of_tests.pth").write_text(f"{path}\n{shim}\n")
        pip = (sys.executable, "-m", "pip", f"--python={python}", "install", "--no-index")
        flags = ("--no-deps", "--no-build-isolation", "--ignore-installed", "--no-compile")
        call(*pip, *flags, *what[kind], cwd=folder)
        return python.parent

    return install


def test_the_source_distribution_has_all_that_a_wheel_is_built_from(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(FILES) <= names
    assert {"gin/experiments.csv", "gin/models/published.gin", "keras_multigrid/py.typed"} <= names
    assert {"docs/guide.md", "tools/train.py", "tests/test_packaging.py"} <= names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel(wheel):
    import keras_multigrid

    assert wheel.stat().st_size < 1_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"keras_multigrid-{keras_multigrid.__version__}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    assert metadata["Version"] == keras_multigrid.__version__
    inside = {name.removeprefix("keras_multigrid/") for name in names if info not in name}
    assert {"py.typed", "__main__.py", "runs/__init__.pyi", "experiments/experiments.csv"} <= inside
    for folder in ("keras_multigrid", "gin"):
        files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".gin")]
        assert files
        for file in files:
            name = file.relative_to(ROOT / folder).as_posix()
            assert (f"experiments/{name}" if folder == "gin" else name) in inside
    # Nothing else would land beside other people's packages.
    assert {name.partition("/")[0] for name in names} == {"keras_multigrid", info}


@pytest.mark.parametrize(
    "kind",
    [
        "wheel",
        pytest.param("sdist", marks=pytest.mark.slow),
        pytest.param("editable", marks=pytest.mark.slow),
    ],
)
def test_the_commands_work_in_an_empty_folder(kind, installed, tmp_path):
    commands = installed(kind)
    (tmp_path / "empty").mkdir()
    text = call(
        *(commands / "keras-multigrid", "plan", "--gin_file=gin/slow_charades.gin", "--json"),
        "batch_size=8",
        cwd=tmp_path / "empty",
    )
    # 7,985 videos make 998 batches of 8: 57 epochs of them.
    assert json.loads(text)["totals"]["baseline_steps"] == 56_886
    version = call(commands / "keras-multigrid", "--version", cwd=tmp_path / "empty")
    assert version.startswith("keras-multigrid 0.1.0 (Python 3.")
    assert call(commands / "multigrid", "--version", cwd=tmp_path / "empty") == version
    module = (commands / "python", "-m", "keras_multigrid", "--version")
    assert call(*module, cwd=tmp_path / "empty") == version
    where = "import keras_multigrid; print(keras_multigrid.__file__)"
    file = pathlib.Path(call(commands / "python", "-c", where, cwd=tmp_path / "empty").strip())
    assert file.is_relative_to(ROOT) is False
    assert ("source" in file.parts) is (kind == "editable")
    assert not list((tmp_path / "empty").iterdir())
