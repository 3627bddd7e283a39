"""The folder of a run's checkpoints: its index, which of them are whole, and which is best."""

import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping

import keras
from absl import logging

from keras_multigrid import files

_INDEX = "index.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint in the folder.

    Args:
        step: steps trained.
        file: its name, in the folder.
        digest: SHA-256 of its content.
        results: of the validation that ended the Keras epoch; None if it was saved before that, in
            the middle of the epoch or of the validation.
    """

    step: int
    file: str
    digest: str
    results: Mapping[str, float] | None


def load_checkpoint(model: keras.Model, folder: str, *, best: str | None = None) -> int:
    """Load weights of a run into a model, to use it.

    Args:
        model: the model, built.
        folder: of a `MultigridCheckpoint`.
        best: name of a result, such as "val_accuracy": the checkpoint where it is largest. None
            takes the last.

    Returns:
        Its step.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        StorageError: if it cannot be read.
    """
    files.check_scheme(folder)
    saved = read_index(folder)
    if best is not None:
        entry = find_best(saved, best, "max")
        saved = [] if entry is None else [entry]
    if not saved:
        what = "checkpoint" if best is None else f"checkpoint with a result named {best!r}"
        raise FileNotFoundError(
            f"There is no {what} in '{folder}'. Train first, or name a file of weights: "
            "runs.MultiViewTest.weights = 'PATH'."
        )
    entry, content = read_last(folder, saved)
    load_weights(model, content)
    return entry.step


def read_index(folder: str) -> list[Saved]:
    """The checkpoints in a folder, by step; none if there is no index."""
    path = os.path.join(folder, _INDEX)
    content = files.read(path)
    if content is None:
        if files.holds(folder, "step-"):
            raise files.StorageError(
                f"{folder} holds checkpoints but no {_INDEX}, which names those that count. Put it "
                "back, or delete the folder to begin anew."
            )
        return []
    try:
        saved = [Saved(**entry) for entry in json.loads(content)]
        # Old files are deleted: no index may name those of another folder.
        for entry in saved:
            if os.path.basename(entry.file) != entry.file:
                raise ValueError(f"{entry.file!r} is not a name of this folder")
        return saved
    except (ValueError, TypeError) as error:
        raise files.StorageError(
            f"{path} must be a list of checkpoints in JSON ({error}). Put back the one that was "
            "there, or delete the folder to begin anew."
        ) from None


def write_index(folder: str, saved: list[Saved]) -> None:
    """Name the checkpoints that count."""
    index = [dataclasses.asdict(entry) for entry in saved]
    files.write(os.path.join(folder, _INDEX), json.dumps(index, indent=1))


def read_last(folder: str, saved: list[Saved]) -> tuple[Saved, bytes]:
    """The last checkpoint that is whole, and its content."""
    for entry in reversed(saved):
        path = os.path.join(folder, entry.file)
        content = files.read(path)
        if content is not None and digest(content) == entry.digest:
            return entry, content
        logging.warning(
            "The checkpoint of step %d, %s, is %s.",
            entry.step,
            path,
            "missing" if content is None else "damaged",
        )
    raise files.StorageError(
        f"None of the {len(saved)} checkpoints in {folder} can be read: missing or damaged. Put "
        "one back, or delete the folder to begin anew."
    )


def find_best(entries: list[Saved], monitor: str | None, mode: str) -> Saved | None:
    """The first of those with the best result; None if no checkpoint has it."""
    values = [
        entry
        for entry in entries
        if math.isfinite((entry.results or {}).get(monitor, float("nan")))
    ]
    sign = 1 if mode == "max" else -1
    return max(values, key=lambda entry: sign * entry.results[monitor], default=None)


def digest(content: bytes) -> str:
    """The SHA-256 by which a damaged checkpoint is recognized."""
    return hashlib.sha256(content).hexdigest()


def load_weights(model: keras.Model, content: bytes) -> None:
    """Give a model the weights of a checkpoint's content."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint.weights.h5")
        with open(path, "wb") as file:
            file.write(content)
        model.load_weights(path)
