"""Normalization groups of the layers of a model."""

from collections.abc import Iterable

import keras


def set_groups(
    layers: Iterable[keras.layers.Layer], groups: int, synchronized_replicas: int
) -> None:
    """Give normalization layers their groups, and the number of replicas that share statistics.

    Layers that have neither, such as `keras.layers.BatchNormalization`, stay as they are.
    """
    for layer in layers:
        if hasattr(layer, "initial_groups"):
            # For variables that are made later, when `fit` builds the layer.
            layer.initial_groups = groups
            layer.initial_synchronized_replicas = synchronized_replicas
        # Convolutions have a number called groups: only a variable can follow the schedule.
        if isinstance(getattr(layer, "groups", None), keras.Variable):
            layer.groups.assign(groups)
        if hasattr(layer, "synchronized_replicas"):
            layer.synchronized_replicas.assign(synchronized_replicas)
