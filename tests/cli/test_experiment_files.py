"""Which gin file a name, a path and an include stand for."""

import shutil

import pytest

import gin
from keras_multigrid.cli import experiments


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    gin.clear_config()
    yield tmp_path / "empty"
    gin.clear_config()


def run_dir(path):
    gin.clear_config()
    experiments.parse([path], [])
    return gin.query_parameter("%RUN_DIR")


@pytest.mark.parametrize("path", ["quickstart", "quickstart.gin", "gin/quickstart.gin"])
def test_an_experiment_in_any_folder(path):
    assert run_dir(path) == "runs/quickstart"


@pytest.mark.parametrize("path", ["slow_charades", "gin/slow_charades.gin"])
def test_a_row_of_the_table_in_any_folder(path):
    assert run_dir(path) == "runs/slow_charades"


def test_a_recipe_by_its_name():
    experiments.parse(["quickstart", "recipes/augmentation"], [])
    assert gin.query_parameter("augmentation.MixUp.alpha") == 0.8


def test_what_is_shipped_includes_what_is_shipped(empty_folder):
    for name in ("experiment.gin", "models/i3d_small.gin"):
        (empty_folder / name).parent.mkdir(exist_ok=True)
        (empty_folder / name).write_text("RUN_DIR = 'of a file that happens to be there'\nX = %Y\n")
    assert run_dir("gin/quickstart.gin") == "runs/quickstart"
    # By its path, too.
    assert run_dir(str(experiments.FOLDER / "quickstart.gin")) == "runs/quickstart"


@pytest.mark.parametrize("include", ["gin/quickstart.gin", "quickstart.gin", "quickstart"])
def test_own_files_include_what_is_shipped(empty_folder, include):
    (empty_folder / "own.gin").write_text(f"include '{include}'\nRUN_DIR = 'runs/own'\n")
    assert run_dir("own.gin") == "runs/own"
    assert gin.query_parameter("%CROP_SIZE") == 64


@pytest.mark.parametrize("path", ["quickstart", "gin/quickstart.gin"])
def test_a_changed_copy_of_the_experiments_goes_before_them(empty_folder, path):
    shutil.copytree(experiments.FOLDER, empty_folder / "gin")
    model = empty_folder / "gin" / "models" / "i3d_small.gin"
    model.write_text(model.read_text().replace("width = 16", "width = 4"))
    assert run_dir(path) == "runs/quickstart"
    assert gin.query_parameter("models.I3D.width") == 4


def test_a_fault_in_an_own_file_is_named_with_its_file_and_line(empty_folder):
    (empty_folder / "gin").mkdir()
    (empty_folder / "gin" / "own.gin").write_text("include 'quickstart'\nEPOCHS = = 3\n")
    with pytest.raises(SyntaxError, match=r"own\.gin"):
        experiments.parse(["own"], [])


def test_what_there_is_not_is_named_with_what_is_close():
    with pytest.raises(FileNotFoundError, match="Do you mean --gin_file=quickstart"):
        experiments.parse(["gin/quickstar.gin"], [])
    with pytest.raises(FileNotFoundError, match=r"'zzz'\. Experiments: .*, quickstart, "):
        experiments.parse(["zzz"], [])
