"""What a type checker sees of the public names: `make types` reads this file, pytest runs it.

A comment `type: ignore[...]` marks a mistake that the checker must find: it reports those that it
need not ignore.
"""

import ast
import importlib
import pathlib
from collections.abc import Callable
from typing import assert_type

import pytest

import keras_multigrid as mg
from keras_multigrid import data, runs
from keras_multigrid.data import clips, lists, records

PACKAGE = pathlib.Path(__file__).parents[1] / "keras_multigrid"
STUBS = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.pyi"))
BASE = mg.Grid(batch_size=4, num_frames=8, crop_size=32)


def test_a_schedule() -> None:
    schedule = mg.MultigridSchedule(BASE, num_clips=32, epochs=6, boundaries=(3, 5))
    assert_type(schedule.grid(0), mg.Grid)
    assert_type(schedule.grid(0).crop_size, int)
    assert_type(schedule.phases, tuple[mg.Phase, ...])
    assert_type(schedule.total_steps, int)
    assert_type(schedule.clips_before(3), int)
    assert_type(schedule.baseline_steps, int)
    assert_type(mg.MultigridLearningRate(schedule, 0.1), mg.MultigridLearningRate)
    with pytest.raises(ValueError):
        mg.Grid(batch_size="4", num_frames=8, crop_size=32)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        mg.Grid(4, 8, 32)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        mg.MultigridSchedule(BASE, num_clips=32, epoch=6)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        _ = schedule.steps  # type: ignore[attr-defined]


def test_videos() -> None:
    videos = [mg.VideoRecord(path=f"{number}.mp4", label=number % 2) for number in range(4)]
    found = mg.VideoSet(train=videos, validation=videos[:2], class_names=("left", "right"))
    assert_type(found.num_classes, int)
    sampling = mg.ClipSampling(min_scale=36, max_scale=40, flip=False)
    assert_type(sampling.flip, bool)
    with pytest.raises(TypeError):
        mg.ClipSampling(mirror=False)  # type: ignore[call-arg]


def test_functions_of_packages_that_are_imported_when_they_are_used() -> None:
    train: Callable[[runs.Settings], runs.Report | None] = runs.train
    recorded: Callable[[str], data.VideoSet] = records.recorded_videos
    assert callable(train)
    assert callable(recorded)
    with pytest.raises(TypeError):
        lists.class_folders("videos")  # type: ignore[call-arg]
    assert_type(clips.Views(clips=2, crops=3).clips, int)
    with pytest.raises(AttributeError):
        _ = mg.Multigrid  # type: ignore[attr-defined]


@pytest.mark.parametrize("stub", STUBS)
def test_checkers_see_the_names_that_there_are(stub: str) -> None:
    name = f"keras_multigrid.{stub.removesuffix('__init__.pyi').replace('/', '.')}".rstrip(".")
    package = importlib.import_module(name)
    tree = ast.parse((PACKAGE / stub).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    sources = {alias.name: node.module for node in imports for alias in node.names}
    assert set(sources) == set(package.__all__)
    for public, source in sources.items():
        assert source is not None
        if source == name:
            found = importlib.import_module(f"{name}.{public}")
        else:
            found = getattr(importlib.import_module(source), public)
        assert getattr(package, public) is found


def test_all_packages_with_lazy_names_have_a_stub() -> None:
    lazy = {
        path.with_suffix(".pyi")
        for path in PACKAGE.rglob("__init__.py")
        if "public_names(" in path.read_text(encoding="utf-8")
    }
    assert lazy == {PACKAGE / stub for stub in STUBS}
