"""The folder of a run's checkpoints: its index, which of them are whole, and which is best."""

import dataclasses
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import h5py
import keras
import numpy as np
from absl import logging

from keras_multigrid import files
from keras_multigrid.callbacks.settings import parse_settings
from keras_multigrid.temporary_files import temporary_folder

Value = TypeVar("Value")

# Group of the weights file that holds what Keras leaves out; Keras passes over it.
_STATE = "keras_multigrid"
_INDEX = "index.json"
# What a process that was killed may leave, if the index does not name it.
_ORPHAN = re.compile(r"step-\d+\.weights\.h5(\.unfinished)?|(index|lease)\.json\.unfinished")


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What a checkpoint holds.

    Args:
        content: the whole file.
        settings: those of the run, by dotted name.
        random: states of random generators.
        metrics: what the metrics of the Keras epoch under way had seen.
        averaged: all weights with which the validation was done, if it was with averages.
    """

    content: bytes
    settings: Mapping[str, Any]
    random: list[np.ndarray]
    metrics: list[np.ndarray]
    averaged: list[np.ndarray] | None = None


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
    """Load weights of a run into a model, to use it: those that its validation was done with.

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
    folder = files.expanded(folder)
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
    with h5py.File(io.BytesIO(content)) as file:
        averaged = _read_averaged(file.get(_STATE, {}))
    if averaged is not None:
        for variable, value in zip(model.weights, averaged, strict=True):
            variable.assign(value)
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
        entries = json.loads(content)
        if not isinstance(entries, list):
            raise ValueError(f"it is {type(entries).__name__}")
        saved = [Saved(**entry) for entry in entries]
        for entry in saved:
            _check_entry(entry)
        return saved
    except (ValueError, TypeError, RecursionError) as error:
        raise files.StorageError(
            f"{path} must be a list of checkpoints in JSON ({error}). Put back the one that was "
            "there, or delete the folder to begin anew."
        ) from None


def _check_entry(entry: Saved) -> None:
    results = {} if entry.results is None else entry.results
    if not (
        isinstance(entry.step, int)
        and isinstance(entry.file, str)
        and isinstance(results, dict)
        and all(isinstance(value, int | float) for value in results.values())
    ):
        raise ValueError(f"{entry} is no checkpoint")
    # Old files are deleted: no index may name those of another folder.
    if os.path.basename(entry.file) != entry.file:
        raise ValueError(f"{entry.file!r} is not a name of this folder")


def write_index(folder: str, saved: list[Saved]) -> None:
    """Name the checkpoints that count."""
    index = [dataclasses.asdict(entry) for entry in saved]
    files.write(os.path.join(folder, _INDEX), json.dumps(index, indent=1))


def read_last(
    folder: str, saved: list[Saved], parse: Callable[[bytes], Value] = bytes
) -> tuple[Saved, Value]:
    """The last checkpoint that is whole, and what `parse` makes of its content.

    Raises:
        StorageError: if none can be read, or a remote file system does not answer.
    """
    for entry in reversed(saved):
        path = os.path.join(folder, entry.file)
        try:
            content = files.read(path)
            if content is None:
                fault = "missing"
            elif digest(content) != entry.digest:
                fault = "damaged"
            else:
                return entry, parse(content)
        except files.StorageUnavailableError:
            # It may be whole.
            raise
        except files.StorageError as error:
            fault = f"unreadable: {error}"
        except (OSError, LookupError, ValueError, TypeError, RecursionError) as error:
            fault = f"no checkpoint: {type(error).__name__}: {error}"
        logging.warning("The checkpoint of step %d, %s, is %s.", entry.step, path, fault)
    raise files.StorageError(
        f"None of the {len(saved)} checkpoints in {folder} can be read: missing or damaged. Put "
        "one back, or delete the folder to begin anew."
    )


def to_content(
    model: keras.Model,
    settings: Mapping[str, Any],
    random: list,
    metrics: list[np.ndarray],
    averaged: list[np.ndarray] | None = None,
) -> bytes:
    """The file that Keras writes, with what Keras leaves out of it, as `State` names it.

    Raises:
        StorageError: it cannot be written to the folder for temporary files.
    """
    settings = json.dumps(settings, sort_keys=True).encode()
    random = [keras.ops.convert_to_numpy(variable) for variable in random]
    try:
        with temporary_folder() as folder:
            path = os.path.join(folder, "checkpoint.weights.h5")
            model.save_weights(path)
            with h5py.File(path, "a") as file:
                state = file.create_group(_STATE)
                state["settings"] = np.frombuffer(settings, np.uint8)
                parts = {"random": random, "metrics": metrics, "averaged": averaged}
                for name, values in parts.items():
                    if values is None:
                        continue
                    part = state.create_group(name)
                    for number, value in enumerate(values):
                        part[str(number)] = value
            with open(path, "rb") as file:
                return file.read()
    except (OSError, RuntimeError) as error:
        raise files.StorageError(
            f"Cannot write to the folder for temporary files ({error}): set TMPDIR to another."
        ) from error


def read_state(content: bytes) -> State:
    """The parts of a checkpoint; any error if it is none."""
    with h5py.File(io.BytesIO(content)) as file:
        state = file[_STATE]
        random, metrics = _read_arrays(state["random"]), _read_arrays(state["metrics"])
        averaged = _read_averaged(state)
        settings = parse_settings(np.array(state["settings"]).tobytes().decode())
    return State(
        content=content, settings=settings, random=random, metrics=metrics, averaged=averaged
    )


def _read_arrays(part: h5py.Group) -> list[np.ndarray]:
    return [np.array(part[str(number)]) for number in range(len(part))]


def _read_averaged(state: Mapping[str, Any]) -> list[np.ndarray] | None:
    return _read_arrays(state["averaged"]) if "averaged" in state else None


def remove_orphans(folder: str, saved: list[Saved]) -> None:
    """Delete what a process that was killed has left; for the one process that trains there."""
    named = {entry.file for entry in saved}
    try:
        names = files.list_folder(folder)
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if _ORPHAN.fullmatch(name) and name not in named and files.is_file(path):
            files.remove(path)


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
    with temporary_folder() as folder:
        path = os.path.join(folder, "checkpoint.weights.h5")
        with open(path, "wb") as file:
            file.write(content)
        model.load_weights(path)
