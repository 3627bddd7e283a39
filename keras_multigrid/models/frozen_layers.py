"""Which layers of a network are frozen, as its config holds it."""

from collections.abc import Sequence

import keras

from keras_multigrid import compat


def frozen_layers(network: keras.layers.Layer) -> list[str]:
    """Paths of the outermost layers that do not learn.

    Example:

    >>> frozen_layers(network)
    ["s1-patch_embed-proj", "s2-blocks-0/attn/qkv"]
    """
    paths = []
    for layer in compat.flatten_layers(network, recursive=False):
        if layer.trainable:
            paths += [f"{layer.name}/{path}" for path in frozen_layers(layer)]
        else:
            paths.append(layer.name)
    return paths


def freeze_layers(network: keras.layers.Layer, paths: Sequence[str]) -> None:
    """Freeze the layers of these paths.

    Raises:
        ValueError: a path is of no layer.
    """
    for path in paths:
        layer = network
        for name in path.split("/"):
            inside = {layer.name: layer for layer in compat.flatten_layers(layer, recursive=False)}
            if name not in inside:
                raise ValueError(
                    "`frozen_layers` must be paths of layers in the network. Received: "
                    f"{path!r}. There are: {', '.join(inside)}."
                )
            layer = inside[name]
        layer.trainable = False
