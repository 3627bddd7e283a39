"""Published keys of VideoMAE, in the forms that they are published in.

Those of the official repositories (MCG-NJU/VideoMAE, OpenGVLab/VideoMAEv2) are the ones that
`published_arrays` gives: `blocks.0.attn.qkv.weight`. Networks that learnt to fill in have them
below `encoder.`, beside a decoder. Hugging Face's transformers has queries, keys and values apart.
"""

import re
from collections.abc import Callable, Iterator, Mapping

import keras
import numpy as np

from keras_multigrid.models.videomae import VideoMAE

HEAD = "head."
# The normalization before the classifier, which networks that learnt to fill in do not have.
HEAD_NORM = "fc_norm."
_ENDS = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
_LAYERS = {"head-norm": "fc_norm", "head-projection": "head"}
_WRAPPERS = ("module.", "model.", "backbone.")
# Of networks that fill in: what the classifier's network has not.
_DECODER = ("decoder.", "encoder_to_decoder.", "mask_token")
_ENCODER_NORM = ("norm.", "layernorm.")
_HUGGING_FACE = tuple(
    (re.compile(pattern), key)
    for pattern, key in (
        (r"^embeddings\.patch_embeddings\.projection\b", "patch_embed.proj"),
        (r"^layer\.(\d+)\.", r"blocks.\1."),
        (r"\blayernorm_before\b", "norm1"),
        (r"\blayernorm_after\b", "norm2"),
        # In files of before transformers 5.
        (r"\battention\.attention\.(q|v)_bias$", r"attn.\1_bias"),
        (r"\battention\.attention\.query\.bias$", "attn.q_bias"),
        (r"\battention\.attention\.value\.bias$", "attn.v_bias"),
        (r"\battention\.attention\.(query|key|value)\.weight$", r"attn.\1.weight"),
        (r"\battention\.output\.dense\b", "attn.proj"),
        (r"\bintermediate\.dense\b", "mlp.fc1"),
        (r"\boutput\.dense\b", "mlp.fc2"),
        (r"^classifier\b", "head"),
    )
)


def videomae_variables(
    model: VideoMAE,
) -> Iterator[tuple[str, keras.Variable, tuple[int, ...]]]:
    """Published key of each weight, the weight, and its axes in the published order.

    "s2-blocks-0/attn/qkv/kernel" is `blocks.0.attn.qkv.weight`.
    """
    for layer in model.layers:
        for variable in layer.weights:
            path = variable.path.split(f"{layer.name}/", 1)[1]
            name = _LAYERS.get(layer.name, re.sub(r"^s\d-", "", layer.name))
            *names, end = f"{name}/{path}".split("/")
            key = ".".join((*names, _ENDS.get(end, end))).replace("-", ".")
            axes = tuple(range(len(variable.shape)))
            if end == "kernel":
                axes = (1, 0) if len(axes) == 2 else (2, 3, 4, 1, 0)
            yield key, variable, axes


def videomae_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by the keys of the official classifiers, of a checkpoint in any of the forms.

    Decoders are left out. Keys that are none of VideoMAE's stay, and are then an error, as are
    queries, keys and values that cannot be joined.

    Raises:
        ValueError: if two keys stand for one array.
    """
    arrays = _renamed(arrays, _unwrapped)
    if not any(key.startswith(HEAD_NORM) for key in arrays):
        # The classifier has a normalization of its own, of the mean of all tubelets.
        arrays = {k: array for k, array in arrays.items() if not k.startswith(_ENCODER_NORM)}
    arrays = {k: array for k, array in arrays.items() if not k.startswith(_DECODER)}
    arrays = _renamed(arrays, _official)
    for key in [key for key in arrays if key.endswith(".attn.query.weight")]:
        stem = key.removesuffix("query.weight")
        names = [f"{stem}{name}.weight" for name in ("query", "key", "value")]
        joined, shapes = f"{stem}qkv.weight", {np.shape(arrays.get(name)) for name in names}
        if joined not in arrays and len(shapes) == 1 and shapes != {()}:
            arrays[joined] = np.concatenate([arrays.pop(name) for name in names])
    return arrays


def _renamed(
    arrays: Mapping[str, np.ndarray], rename: Callable[[str], str]
) -> dict[str, np.ndarray]:
    """Arrays by other keys, of which no two may be one."""
    origins: dict[str, str] = {}
    for key in arrays:
        if origins.setdefault(rename(key), key) != key:
            raise ValueError(
                f"Two arrays stand for {rename(key)}: {origins[rename(key)]} and {key}. Leave out "
                "the one that is not wanted. Nothing was loaded."
            )
    return {name: arrays[key] for name, key in origins.items()}


def _unwrapped(key: str) -> str:
    """A key without what stands around the encoder."""
    while key.startswith(_WRAPPERS):
        key = key.split(".", 1)[1]
    return key.removeprefix("videomae.").removeprefix("encoder.")


def _official(key: str) -> str:
    for pattern, replacement in _HUGGING_FACE:
        key = pattern.sub(replacement, key)
    return key
