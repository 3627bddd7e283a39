"""What the folder of a finished run holds for predictions and tests, without the experiment."""

import dataclasses
import os
from typing import Any

import keras
from absl import logging

from keras_multigrid import files
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.lists.labelled_videos import labelled_videos
from keras_multigrid.data.lists.path_lists import path_label_lists
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.runs import run_folder
from keras_multigrid.runs.settings import Data, Model, MultiViewTest
from keras_multigrid.task import SingleLabel


def finished_run(run_dir: str) -> dict[str, Any]:
    """The settings `model`, `test` and `sampling` of `predict`, by `model.keras` and `clips.json`.

    Args:
        run_dir: folder of the run, local or remote.

    Raises:
        FileNotFoundError: it is no run, or has not finished.

    Example:

    >>> predict(["my.mp4"], **finished_run("runs/mine"))
    {'my.mp4': [('walk', 0.91), ('run', 0.06)]}
    """
    run_dir = files.expanded(run_dir)
    files.check_scheme(run_dir)
    grid, sampling = run_folder.read_clips(run_dir)
    weights = os.path.join(run_dir, run_folder.MODEL)
    if not files.exists(weights):
        raise FileNotFoundError(
            f"There is no '{weights}': the run has not finished. Give the command that trains it "
            "again, or name the experiment: --gin_file=NAME."
        )

    def network(**_) -> keras.Model:
        with files.local_copy(weights) as file:
            return keras.models.load_model(file, compile=False)

    return {
        "model": Model(model=network),
        "test": MultiViewTest(run_dir=run_dir, grid=grid, weights=weights),
        "sampling": sampling,
    }


def settings_of_test(
    run_dir: str, source: str | None = None, views: Views = Views()
) -> dict[str, Any]:
    """The settings `data`, `model` and `test` of `evaluate`, for a finished run.

    Args:
        run_dir: same as for `finished_run`.
        source: videos with their classes, same as for `labelled_videos`; the results are written
            into a folder of theirs, `tests/NAME` below the run's. None: the validation videos that
            `finetune` kept the list of.
        views: clips and crops of each video.

    Raises:
        FileNotFoundError: it is no finished run, or there is no list of its videos.
        ValueError: its videos may show several classes, or the given ones show others.

    Example:

    >>> evaluate(**settings_of_test("runs/mine", "new_videos")).metrics
    {'top1': 0.81, 'top5': 0.97}
    """
    found = finished_run(run_dir)
    test = dataclasses.replace(found["test"], views=views)
    if source is None:
        videos = _kept(test.run_dir)
    else:
        videos = _given(test.run_dir, source)
        _warn_of_seen(test.run_dir, videos)
        name = os.path.splitext(os.path.basename(source.rstrip("/")))[0]
        test = dataclasses.replace(test, run_dir=os.path.join(test.run_dir, "tests", name))
    data = Data(videos=videos, sampling=found["sampling"])
    return {"data": data, "model": found["model"], "test": test}


def _kept(run_dir: str) -> VideoSet:
    folder = os.path.join(run_dir, run_folder.LISTS)
    names = ("train.txt", "validation.txt", "class_names.txt")
    train, validation, class_names = (os.path.join(folder, name) for name in names)
    if not files.exists(validation):
        raise FileNotFoundError(
            f"There is no '{validation}': only finetune keeps the lists of its videos. Name videos "
            "to test on, a folder or a list, or the experiment: --gin_file=NAME."
        )
    return path_label_lists(train, validation=validation, class_names=class_names)


def _given(run_dir: str, source: str) -> VideoSet:
    task = run_folder.read_task(os.path.join(run_dir, run_folder.CLASSES))
    if not isinstance(task, SingleLabel):
        raise ValueError(
            f"The videos of '{run_dir}' may show several classes each: name the experiment that "
            "lists them, --gin_file=NAME, instead of a folder."
        )
    return labelled_videos(source, task.class_names)


def _warn_of_seen(run_dir: str, videos: VideoSet) -> None:
    """On the videos that it was trained on, a network is better than on any others."""
    if not files.exists(os.path.join(run_dir, run_folder.LISTS, "train.txt")):
        return
    seen = {os.path.realpath(record.path) for record in _kept(run_dir).train}
    count = sum(os.path.realpath(record.path) in seen for record in videos.validation)
    if count:
        logging.warning(
            "The run was trained on %d of these %d videos, so the result is too good. Without a "
            "folder, those that it was not trained on are tested.",
            count,
            len(videos.validation),
        )
