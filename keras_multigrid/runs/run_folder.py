"""The files of a run's folder, local or remote."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import keras

from keras_multigrid import files
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.runs.report import Report
from keras_multigrid.schedule import Grid
from keras_multigrid.task import SingleLabel, Task, classification
from keras_multigrid.temporary_files import temporary_folder

CLASSES = "classes.json"
CLIPS = "clips.json"
CURVE = "curve.json"
# Folder of the lists of its videos, where `finetune` split them.
LISTS = "videos"
MODEL = "model.keras"
_UNFINISHED_MODEL = "unfinished.keras"
_REPORT = "report.json"


def save_texts(texts: Mapping[str, str], run_dir: str) -> None:
    """Write texts by their file names."""
    for name, text in texts.items():
        files.write(os.path.join(run_dir, name), text)


def read_json(run_dir: str, name: str) -> Any:
    """The content of a JSON file; None if there is none.

    Raises:
        StorageError: if it is damaged.
    """
    path = os.path.join(run_dir, name)
    content = files.read(path)
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise files.StorageError(
            f"{path} must be JSON ({error}). Delete it: the run then resumes without it."
        ) from None


def save_report(report: Report, run_dir: str) -> None:
    """Write the report of a finished run."""
    save_texts({_REPORT: json.dumps(dataclasses.asdict(report), indent=1)}, run_dir)


def read_report(run_dir: str) -> Report | None:
    """The report of a finished run; None if there is none."""
    content = read_json(run_dir, _REPORT)
    return None if content is None else Report(**content)


def save_model(network: keras.Model, run_dir: str) -> None:
    """Write the whole network, which `keras.models.load_model` reads."""
    path = os.path.join(run_dir, MODEL)
    with temporary_folder() as folder:
        # Keras wants the ending.
        unfinished = os.path.join(folder if files.is_remote(path) else run_dir, _UNFINISHED_MODEL)
        with files.appearing(path, unfinished) as file:
            network.save(file)


def remove_unfinished(run_dir: str) -> None:
    """Delete what a process that was killed has left half-written on a local disk."""
    if files.is_remote(run_dir) or not files.is_folder(run_dir):
        return
    for name in files.list_folder(run_dir):
        path = os.path.join(run_dir, name)
        if (name.endswith(".unfinished") or name == _UNFINISHED_MODEL) and files.is_file(path):
            files.remove(path)


def save_classes(videos: VideoSet, run_dir: str) -> None:
    """Write the class names of a run, which predictions need."""
    content = {"names": videos.class_names, "multi_label": videos.multi_label}
    files.write(os.path.join(run_dir, CLASSES), json.dumps(content, indent=1))


def save_clips(grid: Grid, sampling: ClipSampling, run_dir: str) -> None:
    """Write what clips a run is trained on, which predictions need: base grid and sampling."""
    content = {"grid": dataclasses.asdict(grid), "sampling": dataclasses.asdict(sampling)}
    save_texts({CLIPS: json.dumps(content, indent=1)}, run_dir)


def read_clips(run_dir: str) -> tuple[Grid, ClipSampling]:
    """What `save_clips` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it is damaged.
    """
    content = read_json(run_dir, CLIPS)
    path = os.path.join(run_dir, CLIPS)
    if content is None:
        raise FileNotFoundError(
            f"There is no '{path}', which says what clips the network takes. Train first; for a "
            "run of an earlier version, or one that trains, name the experiment: --gin_file=NAME."
        )
    try:
        return Grid(**content["grid"]), ClipSampling(**content["sampling"])
    except (KeyError, TypeError, ValueError) as error:
        raise files.StorageError(
            f"{path} must hold the grid and the sampling of a run. Received: {error}. Name the "
            "experiment instead: --gin_file=NAME."
        ) from None


def read_task(path: str) -> Task:
    """The task of a run's `classes.json`, or of a text file with one class name per line.

    Raises:
        FileNotFoundError: there is no such file.
    """
    content = files.read(path)
    if content is None:
        raise FileNotFoundError(
            f"There are no class names at '{path}'. Train first, or name a file with one name a "
            "line: runs.predict.classes = 'PATH'."
        )
    text = content.decode()
    if path.endswith(".json"):
        classes = json.loads(text)
        return classification(classes["names"], multi_label=classes["multi_label"])
    return SingleLabel(tuple(line.strip() for line in text.split("\n") if line.strip()))


def refuse_earlier_version(run_dir: str) -> None:
    """Refuse a folder whose run this version cannot resume."""
    # No run of that version was remote.
    if os.path.exists(os.path.join(run_dir, "checkpoint.weights.h5")):
        raise ValueError(
            f"{run_dir} holds a run of an earlier version, which this one cannot resume. Use "
            "another RUN_DIR."
        )
