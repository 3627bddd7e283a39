"""Where in a clip a network sees a class: class-activation maps.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, section 2. A
linear classifier of pooled features gives the mean over all positions of what each of them adds to
the score of a class; that is the map. It needs no gradient, so it is the same on every backend.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

# Layers between pooling and classifier that work on each position by itself.
_POINTWISE = (keras.layers.Dense, keras.layers.ReLU, keras.layers.Activation, keras.layers.Dropout)


def activation_maps(
    network: keras.Model, clips: np.ndarray, labels: Sequence[int]
) -> np.ndarray | None:
    """What each position of a clip adds to the score of a class.

    Args:
        network: ends in global average pooling, of one or several pathways that are joined, perhaps
            layers on the pooled features, and a dense layer, as `C2D`, `I3D`, `Slow`, `SlowFast`
            and `X3D` do.
        clips: float32 (n, frames, height, width, 3), as the network takes them.
        labels: a class for each clip.

    Returns:
        float32 (n, frames, height, width), in units of the score before the softmax, without the
        bias. The mean of a map is the score, up to what interpolation between positions changes;
        with layers between pooling and classifier, as `X3D` has, nearly. None where the network
        ends otherwise.

    Example:

    >>> maps = activation_maps(model, clips, labels)
    >>> heat = np.maximum(maps, 0) / maps.max()
    """
    head = _head(network)
    if head is None:
        return None
    pools, between, classifier = head
    features = keras.Model(network.inputs[0], [pool.input for pool in pools])
    outputs = features.predict_on_batch(np.asarray(clips, np.float32))
    kernel = keras.ops.convert_to_numpy(classifier.kernel)
    maps, first = np.zeros(clips.shape[:-1], np.float32), 0
    for output in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
        for layer in between:
            output = layer(output)
        output = keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))
        weights = kernel[first : first + output.shape[-1], np.asarray(labels)]
        first += output.shape[-1]
        # Each clip by its own class.
        own = np.einsum("nthwc,cn->nthw", output, weights)
        maps += _stretched(own, clips.shape[1:4])
    return maps


def _head(network: Any) -> tuple[list, list, keras.layers.Dense] | None:
    """Pooling layers, the layers between them and the classifier, and the classifier."""
    if not getattr(network, "outputs", None) or len(network.inputs) != 1:
        return None
    made_by = {}
    for layer in network.layers:
        try:
            made_by[id(layer.output)] = layer
        except (AttributeError, ValueError):
            # It is called several times, or has several outputs.
            continue
    classifier = made_by.get(id(network.outputs[0]))
    if not isinstance(classifier, keras.layers.Dense):
        return None
    between, layer = [], made_by.get(id(classifier.input))
    while isinstance(layer, _POINTWISE):
        between.insert(0, layer)
        layer = made_by.get(id(layer.input))
    pools = [layer]
    if isinstance(layer, keras.layers.Concatenate):
        pools = [made_by.get(id(tensor)) for tensor in layer.input]
        if not all(isinstance(one, keras.layers.Dropout) for one in between):
            return None
    is_pooled = all(isinstance(pool, keras.layers.GlobalAveragePooling3D) for pool in pools)
    return (pools, between, classifier) if is_pooled else None


def _stretched(maps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Maps (n, t, h, w) interpolated linearly to another size of the last three axes."""
    for axis, count in enumerate(size, start=1):
        old = maps.shape[axis]
        # Centres of positions lie where those of the pixels that they stand for lie.
        at = np.clip((np.arange(count) + 0.5) * old / count - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, old - 1)
        shape = [1] * maps.ndim
        shape[axis] = count
        share = (at - low).reshape(shape).astype(maps.dtype)
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps
