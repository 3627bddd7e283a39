"""Published weights by name: from a folder, from Keras' cache, or fetched into it."""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator

import keras

from keras_multigrid.models.preset_folder import from_preset
from keras_multigrid.models.weights import pickles
from keras_multigrid.models.weights.published import load_published_weights, published_arrays
from keras_multigrid.models.weights.published_files import PublishedFile, published_file
from keras_multigrid.models.weights.safetensors import read_safetensors

# A folder of published files, or the address of one on a server.
WEIGHTS_VARIABLE = "KERAS_MULTIGRID_WEIGHTS"
# Seconds that a server may be silent: without a limit, `get_file` waits for ever.
_SILENCE = 60.0
_READERS = {".pkl": pickles.read_caffe2, ".safetensors": read_safetensors}
_UNFINISHED = "unfinished-"
_DAY = 86400.0


class WeightsUnavailable(OSError):
    """Published weights that are neither here nor could be fetched whole."""


def find_weights(name: str, tag: str) -> str:
    """Path of a published file of weights, which is whole.

    It is taken from the folder that the environment variable KERAS_MULTIGRID_WEIGHTS names, where
    it is set; nothing is fetched then. Otherwise it is in Keras' cache, `~/.keras/models`, or
    fetched into it. The variable may also be an address, http:// or https://, of a copy of the
    files, which is then asked instead of their authors' server.

    Args:
        name: of a network, one of `models.names()`.
        tag: which of its weights: one of `published_tags(name)`, like "kinetics400".

    Returns:
        The path of a file that `load_published_weights` reads.

    Raises:
        ValueError: this package knows of no such weights.
        WeightsUnavailable: they are not in the folder, could not be fetched whole, or have another
            checksum than published; with how to bring the file by hand.

    Example:

    >>> load_published_weights(model, find_weights("slowfast_8x8_r50", "kinetics400"))
    """
    return fetched(published_file(name, tag))


def load_weights(model: keras.Model, weights: str | os.PathLike[str]) -> None:
    """Give a network weights, by name or from a file.

    Args:
        model: a network of this package, with the name that it was published under.
        weights: a tag of published weights, like "kinetics400"; the path of a `.weights.h5` file of
            the same network, or of any file that `load_published_weights` takes; or the folder or
            "hf://" address of a preset of the same architecture (`from_preset`). But for
            `.weights.h5`, the classifier is left out if it has another number of classes.

    Raises:
        ValueError: there is no such tag, or the weights do not fit the network.
        FileNotFoundError: there is no such file.
        WeightsUnavailable: published weights cannot be had.

    Example:

    >>> load_weights(create("slowfast_8x8_r50", classes=174), "kinetics400")
    """
    weights = os.fspath(weights)
    if is_tag(weights):
        weights = find_weights(model.name, weights)
    if weights.endswith(".weights.h5"):
        if not os.path.isfile(weights):
            raise FileNotFoundError(f"There are no weights '{weights}'. Give the path of a file.")
        model.load_weights(weights)
    elif weights.startswith("hf://") or os.path.isdir(weights):
        arrays = published_arrays(from_preset(weights))
        load_published_weights(model, arrays, skip_head=None)
    else:
        load_published_weights(model, weights, skip_head=None)


def is_tag(weights: str) -> bool:
    """Whether weights are named by a tag, not by a path; a file of that name goes before."""
    return re.fullmatch(r"\w+", weights) is not None and not os.path.exists(weights)


def fetched(file: PublishedFile) -> str:
    """Path of a published file; see `find_weights`."""
    place = os.environ.get(WEIGHTS_VARIABLE, "")
    if place and "://" not in place:
        path = os.path.join(os.path.expanduser(place), file.file)
        if not os.path.isfile(path):
            raise _unavailable(file, f"There is no file '{path}', and {WEIGHTS_VARIABLE} is set.")
        _check(file, path)
        return path
    path = os.path.join(_cache_folder(), file.file)
    if os.path.isfile(path):
        # Only whole files get their names, but anything may have been done to one since.
        _check(file, path)
        return path
    url = f"{place.rstrip('/')}/{file.file}" if place else file.url
    _download(file, url, path)
    return path


def _cache_folder() -> str:
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    return os.path.join(os.path.expanduser(home), "models", "keras_multigrid")


def _download(file: PublishedFile, url: str, path: str) -> None:
    """Fetch a file, which appears at its path when it is whole and has been read."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
        _remove_left(folder)
        # A folder of its own, since several processes may fetch the same file.
        unfinished = tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder)
    except OSError as error:
        reason = f"Cannot write to Keras' cache '{folder}': {error.strerror}."
        raise _unavailable(file, f"{reason} Set KERAS_HOME to a folder that can be written.") from (
            error
        )
    try:
        with _limited_silence():
            # With the name that the file will have, which says how to read it.
            found = keras.utils.get_file(
                file.file, url, cache_dir=unfinished, cache_subdir="", force_download=True
            )
        _check(file, found, url)
        # Where a server does not say how long the file is, a part of it looks like the whole.
        _READERS.get(os.path.splitext(found)[1], pickles.read_pytorch)(found)
        os.replace(found, path)
    except WeightsUnavailable:
        raise
    except pickles.CheckpointError as error:
        raise _unavailable(file, f"What {url} gave is no whole checkpoint. {error}") from error
    except Exception as error:
        # `get_file` raises `Exception` itself.
        reason = str(error) or type(error).__name__
        raise _unavailable(file, f"Could not fetch it: {reason}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check(file: PublishedFile, path: str, url: str | None = None) -> None:
    """Refuse a file of another checksum than published."""
    if file.sha256 is None:
        return
    with open(path, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.sha256.lower():
        place = f"What {url} gave" if url else f"'{path}'"
        raise _unavailable(
            file,
            f"{place} has the SHA-256 {found}, not {file.sha256} as published: it is damaged, or "
            "another file.",
        )


def _unavailable(file: PublishedFile, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"No weights {file.tag!r} of {file.name}. {reason} To bring the file by hand, download "
        f"{file.url} where there is a network, put it into a folder as {file.file}, and set the "
        f"environment variable {WEIGHTS_VARIABLE} to that folder."
    )


@contextlib.contextmanager
def _limited_silence() -> Iterator[None]:
    """Sockets that are opened meanwhile end when their peer says nothing."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _remove_left(folder: str) -> None:
    """Delete what processes that were killed have left."""
    for left in glob.glob(os.path.join(glob.escape(folder), f"{_UNFINISHED}*")):
        with contextlib.suppress(OSError):
            if time.time() - os.stat(left).st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
