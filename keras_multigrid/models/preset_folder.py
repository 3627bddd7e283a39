"""Presets: a network with its weights, and what it takes to use it, in one folder.

    config.json           the network, as Keras saves it
    metadata.json         the version of Keras
    model.weights.h5      its weights
    classes.json          the names of its classes
    preprocessing.json    the clips that it takes
    README.md             a model card

The first three are what `keras.saving.save_model(model, folder, zipped=False)` writes, and so what
Keras puts on Hugging Face.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

import keras

from keras_multigrid.models.model_card import model_card
from keras_multigrid.models.preset import Origin, Preprocessing, Preset
from keras_multigrid.models.weights import pickles

CLASSES, PREPROCESSING = "classes.json", "preprocessing.json"
_CONFIG, _WEIGHTS, _CARD = "config.json", "model.weights.h5", "README.md"
_OURS = "keras_multigrid>"


def save_preset(model: keras.Model, folder: str, preset: Preset, origin: Origin = Origin()) -> None:
    """Write a network and all that it takes to use it: the whole folder, or nothing.

    Args:
        model: a network of this package.
        folder: a local one, which is not there yet, or empty.
        preset: its class names and its clips.
        origin: where it is from, for the model card.

    Raises:
        ValueError: the network is not of this package, or has another number of classes.
        FileExistsError: there is something in the folder.

    Example:

    >>> save_preset(model, "presets/mine", Preset(
    ...     class_names=("run", "walk"),
    ...     preprocessing=Preprocessing(num_frames=16, stride=2, crop_size=112)))
    """
    config = keras.saving.serialize_keras_object(model)
    _check_class(config, type(model).__name__)
    classes = model.output_shape[-1]
    if len(preset.class_names) != classes:
        raise ValueError(
            f"`class_names` must be one for each of the {classes} outputs of {model.name}. "
            f"Received: {len(preset.class_names)} names."
        )
    folder = os.path.abspath(os.path.expanduser(folder))
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise FileExistsError(f"'{folder}' is there already. Give another folder, or delete it.")
    unfinished = f"{folder}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        keras.saving.save_model(model, unfinished, zipped=False)
        with contextlib.suppress(OSError):
            # Empty: these networks have none.
            os.rmdir(os.path.join(unfinished, "assets"))
        classes = {"names": list(preset.class_names), "multi_label": preset.multi_label}
        for name, content in (
            (CLASSES, json.dumps(classes, indent=1)),
            (PREPROCESSING, json.dumps(dataclasses.asdict(preset.preprocessing), indent=1)),
            (_CARD, model_card(model, preset, origin)),
        ):
            with open(os.path.join(unfinished, name), "w", encoding="utf-8") as file:
                file.write(content)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def from_preset(folder: str) -> keras.Model:
    """The network of a preset, with its weights. Nothing that is in the folder is executed.

    Args:
        folder: of `save_preset` or `keras-multigrid convert`; or "hf://" and a repository of
            Hugging Face with one, which needs `huggingface_hub`.

    Raises:
        FileNotFoundError: there is no preset in the folder.
        CheckpointError: the preset is damaged, or its network is not of this package.

    Example:

    >>> model = from_preset("presets/slowfast_8x8_r50")
    >>> class_names = read_preset("presets/slowfast_8x8_r50").class_names
    """
    folder = _local(folder)
    config = _read_json(folder, _CONFIG)
    path = os.path.join(folder, _WEIGHTS)
    _check_there(path)
    with pickles.reading(os.path.join(folder, _CONFIG)):
        name = config.get("class_name")
        _check_class(config, name)
        # Losses and optimizers are not needed, and may be anything.
        config = {**config, "compile_config": None}
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    with pickles.reading(path):
        model.load_weights(path)
    return model


def read_preset(folder: str) -> Preset:
    """What a preset says beside the network.

    Args:
        folder: same as for `from_preset`.

    Raises:
        FileNotFoundError, CheckpointError: same as for `from_preset`.
    """
    folder = _local(folder)
    classes, clips = _read_json(folder, CLASSES), _read_json(folder, PREPROCESSING)
    with pickles.reading(os.path.join(folder, CLASSES)):
        names, multi_label = classes["names"], classes["multi_label"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise pickles.CheckpointError("`names` must be a list of texts.")
    with pickles.reading(os.path.join(folder, PREPROCESSING)):
        preprocessing = Preprocessing(**clips)
    return Preset(
        class_names=tuple(names), preprocessing=preprocessing, multi_label=bool(multi_label)
    )


def _local(folder: str) -> str:
    """The folder, fetched first where it is on Hugging Face, as Keras does."""
    if not folder.startswith("hf://"):
        return os.path.expanduser(folder)
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"'{folder}' needs huggingface_hub: pip install huggingface_hub."
        ) from error
    return huggingface_hub.snapshot_download(folder.removeprefix("hf://"), library_name="keras")


def _read_json(folder: str, name: str) -> Mapping[str, Any]:
    path = os.path.join(folder, name)
    _check_there(path)
    with pickles.reading(path):
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if not isinstance(content, dict):
            raise pickles.CheckpointError("it must be a JSON object.")
        return content


def _check_there(path: str) -> None:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"There is no preset in '{os.path.dirname(path)}': '{os.path.basename(path)}' is "
            "missing. Write one with save_preset or keras-multigrid convert."
        )


def _check_class(config: Any, name: Any) -> None:
    """Refuse networks that are not of this package: their classes may be anything."""
    registered = config.get("registered_name") if isinstance(config, dict) else None
    known = str(registered).startswith(_OURS) and keras.saving.get_registered_object(registered)
    if not (isinstance(known, type) and issubclass(known, keras.Model)):
        raise pickles.CheckpointError(
            f"its network is a {name}, which is none of keras_multigrid.models. Use "
            "keras.saving.load_model and model.save for other networks that you trust."
        )
