"""The state of a model that callbacks change while `fit` runs, besides its weights."""

from collections.abc import Iterable

import keras


def set_groups(
    layers: Iterable[keras.layers.Layer], groups: int, synchronized_replicas: int
) -> None:
    """Give normalization layers their groups, and the replicas that share statistics."""
    for layer in layers:
        if hasattr(layer, "initial_groups"):
            layer.initial_groups = groups
            layer.initial_synchronized_replicas = synchronized_replicas
        # Convolutions have a number called groups: only a variable can follow the schedule.
        if isinstance(getattr(layer, "groups", None), keras.Variable):
            layer.groups.assign(groups)
        if hasattr(layer, "synchronized_replicas"):
            layer.synchronized_replicas.assign(synchronized_replicas)


def sync_state(model: keras.Model) -> None:
    """On JAX, fit keeps variables to itself until asked for them; then it takes up changes."""
    if getattr(model, "_jax_state", None) is not None:
        model.jax_state_sync()
