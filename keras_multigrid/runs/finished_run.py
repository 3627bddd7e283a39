"""What the folder of a finished run holds for predictions, without the experiment."""

import os
from typing import Any

import keras

from keras_multigrid import files
from keras_multigrid.runs import run_folder
from keras_multigrid.runs.settings import Model, MultiViewTest


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
