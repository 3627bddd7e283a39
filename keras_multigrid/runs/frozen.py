"""Which layers of a network learn."""

import dataclasses
import re
from collections.abc import Callable, Sequence

import keras

from keras_multigrid import compat


@dataclasses.dataclass(frozen=True)
class AllBut:
    """Freezes all layers but those of some stages: for `Model.frozen`.

    Args:
        stages: the beginnings of the layers' names, as regular expressions: ("head",) for the
            classifier alone, ("s5", "head") for the last stage and the classifier.

    Example:

    >>> runs.Model(model=I3D, initial_weights="i3d.pyth", frozen=runs.AllBut(("s5", "head")))
    """

    stages: Sequence[str]

    def __call__(self, layer: keras.layers.Layer) -> bool:
        return not any(re.match(rf"({stage})(?![0-9])", layer.name) for stage in self.stages)


def freeze(
    network: keras.Model, frozen: Sequence[str] | Callable[[keras.layers.Layer], bool]
) -> None:
    """Let layers of a network not learn: neither weights nor statistics of batch normalization.

    Raises:
        ValueError: if a name is of no layer, or if nothing is left to learn.
    """
    if isinstance(frozen, Callable):
        chosen = [layer for layer in network.layers if frozen(layer)]
    else:
        names = {layer.name for layer in network.layers}
        unknown = sorted(set(frozen) - names)
        if unknown:
            raise ValueError(
                f"`frozen` must name layers of the network. Received: {unknown}, which it does not "
                f"have. Its layers: {', '.join(layer.name for layer in network.layers)}."
            )
        chosen = [layer for layer in network.layers if layer.name in frozen]
    for layer in chosen:
        layer.trainable = False
    if chosen and not network.trainable_variables:
        raise ValueError(
            "`frozen` must leave a layer that learns. Received: "
            f"{frozen!r}, which freezes all of {', '.join(layer.name for layer in network.layers)}."
        )


def parameters_in_words(network: keras.Model) -> str:
    """How many parameters learn, and in which layers; empty if none is frozen."""
    layers = [layer for layer in compat.flatten_layers(network) if layer.variables]
    # Those that hold variables themselves.
    layers = [layer for layer in layers if not getattr(layer, "layers", None)]
    learning = [layer.name for layer in layers if layer.trainable_variables]
    frozen = [layer for layer in layers if not layer.trainable]
    if not frozen:
        return ""
    number = sum(layer.count_params() for layer in frozen)
    shown = ", ".join(learning if len(learning) <= 4 else [*learning[:2], "...", *learning[-2:]])
    return (
        f"Parameters: {network.count_params() - number:,} of {network.count_params():,} learn "
        f"({shown}); {len(frozen)} layers are frozen, with their statistics."
    )
