"""The weights that a training begins with, and the network that they are of."""

import json
import os
import re
import zipfile

from keras_multigrid import files, models
from keras_multigrid.models import WeightsUnavailable, find_weights
from keras_multigrid.models.weights.pretrained import is_tag
from keras_multigrid.runs import run_folder
from keras_multigrid.runs.finetuning.rules import PUBLISHED, SMALL

# Given instead of a path: train from scratch.
NONE = "none"
# Of which every published network has weights.
_PUBLISHED = "kinetics400"


def find_initial_weights(model: str, given: str | None) -> tuple[str | None, str]:
    """The weights that a network begins with, and why these.

    Args:
        model: name of the network.
        given: path of a checkpoint; the name of published weights; `NONE`; None takes the
            published ones, if they can be had.

    Returns:
        The path, or None for training from scratch; and the reason.

    Raises:
        FileNotFoundError: there is no file at the path.
        WeightsUnavailable, ValueError: the published weights cannot be had, or there are none.
    """
    if given == NONE:
        return None, "as given"
    if given is not None and is_tag(given):
        return find_weights(model, given), f"published, trained on {given}"
    if given is not None:
        if not files.is_file(given):
            raise FileNotFoundError(
                f"`weights` must be the file of a checkpoint. Received: '{given}', which is no "
                "file. Give the path of a .pkl, .pyth or .keras file, or 'none'."
            )
        return given, "as given"
    if model == SMALL:
        return None, "nobody has published weights of this network: it is trained from scratch"
    try:
        return find_weights(model, _PUBLISHED), f"published, trained on {_PUBLISHED}"
    except (WeightsUnavailable, ValueError) as error:
        return None, f"{error} Until then it is trained from scratch"


def network_of(path: str) -> str:
    """The name of the network that weights are of, by their file; of a tag, the usual one.

    Raises:
        ValueError: it cannot be told.

    Example:

    >>> network_of("SLOWFAST_8x8_R50.pkl")
    'slowfast_8x8_r50'
    """
    if is_tag(path):
        return PUBLISHED
    name = os.path.splitext(os.path.basename(path))[0].lower()
    if path.endswith(".keras"):
        with files.local_copy(path) as file:
            name = _name_in(file)
    name = re.sub(r"[\s\-]+", "_", name)
    matches = [known for known in models.names() if name.startswith(known)]
    if not matches:
        raise ValueError(
            f"`weights` must tell their network by their name, such as SLOWFAST_8x8_R50.pkl. "
            f"Received: '{path}'. Name the network, too: model=slowfast_8x8_r50."
        )
    return max(matches, key=len)


def subtracts_clip_mean(path: str | None) -> bool | None:
    """Whether the run whose folder weights lie in subtracted the mean of clips; None: no run."""
    if path is None or not path.endswith(".keras"):
        return None
    try:
        _, sampling = run_folder.read_clips(os.path.dirname(path))
    except FileNotFoundError:
        return None
    return sampling.subtract_clip_mean


def _name_in(file: str) -> str:
    """The name of a network in a `.keras` file, whose configuration is read as plain JSON."""
    try:
        with zipfile.ZipFile(file) as archive:
            return str(json.loads(archive.read("config.json"))["config"]["name"])
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return ""
