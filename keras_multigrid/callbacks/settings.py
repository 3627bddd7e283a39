"""The settings that a run must keep from one start to the next."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_multigrid import compat, files
from keras_multigrid.learning_rate import policy_of

# Settings that may change: Keras counts names up; replicas matter by the grids they make.
_IMMATERIAL = ("name", "replicas")


class ChangedSettingsError(ValueError):
    """A run would resume with other settings than it began with."""


def settings_of(model: keras.Model, others: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name to value, as JSON takes it: those of a model's optimizer, and others.

    Without the secrets of addresses, as they are saved.
    """
    optimizer = {"class": type(model.optimizer).__name__, **model.optimizer.get_config()}
    settings = {"optimizer": optimizer, **others}
    frozen = [
        number
        for number, layer in enumerate(compat.flatten_layers(model))
        if not layer.trainable and layer.weights
    ]
    # By their places: names count the layers of a process.
    settings["frozen_layers"] = frozen
    policy = policy_of(model)
    if policy is not None:
        # With other replicas it may be another, and with it all batches.
        settings["baseline_grid"] = str(policy.schedule.baseline_grid)
    return parse_settings(json.dumps(dict(_flat(settings)), default=_plain))


def parse_settings(text: str) -> dict[str, Any]:
    """Settings from JSON.

    Raises:
        ValueError: it is no JSON object.
    """
    settings = json.loads(files.redacted(text))
    if not isinstance(settings, dict):
        raise ValueError("settings must be a JSON object")
    return settings


def changed_settings(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """All differences in words: "seed: 0 is now 1; ..."; empty if there are none."""

    def shown(settings, name):
        return repr(settings[name]) if name in settings else "nothing"

    return "; ".join(
        f"{name}: {shown(saved, name)} is now {shown(now, name)}"
        for name in sorted({*saved, *now})
        if saved.get(name) != now.get(name)
    )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, value), but for what changes nothing."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in _IMMATERIAL:
                yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _plain(value: Any) -> Any:
    """Values that JSON lacks, in others that it has."""
    return value.item() if isinstance(value, np.generic) else type(value).__name__
