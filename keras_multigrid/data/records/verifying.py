"""Whether the files of a folder of records are those that were written."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from keras_multigrid import files
from keras_multigrid.data.records.format import MANIFEST, Manifest

# Remote blocks are asked for one by one.
_BLOCK_BYTES = 1 << 24


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A file that is not as it was written.

    Args:
        file: its name below the root.
        shard: the shard that it belongs to.
        reason: what is wrong with it.
    """

    file: str
    shard: str
    reason: str


def verify(root: str, *, progress: Callable[[int, int], None] | None = None) -> tuple[Fault, ...]:
    """Read every file of a folder of records, and compare it with the manifest.

    To make a faulty shard anew, delete its names file (train-00003-of-00010.json) and prepare the
    folder again.

    Args:
        root: the folder, local or remote.
        progress: called with the number of files read and the number of all.

    Returns:
        Files that are missing, short or corrupt.

    Raises:
        FileNotFoundError: the folder has no manifest: it is not finished.
        ValueError: its manifest is damaged.
        OSError: a file cannot be read.

    Example:

    >>> verify("data/kinetics_records")
    ()
    """
    files.check_scheme(root)
    path = f"{root.rstrip('/')}/{MANIFEST}"
    content = files.read(path)
    if content is None:
        raise FileNotFoundError(f"There is no {path}: prepare the records to their end first.")
    try:
        manifest = Manifest.from_json(content)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read: {error}. Make it anew: prepare the folder again."
        ) from None
    shards = [shard for part in manifest.shards.values() for shard in part]
    placed = [(shard, file) for shard in shards for file in shard.bytes]
    faults = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        reasons = threads.map(
            lambda item: _reason(
                f"{root.rstrip('/')}/{item[1]}", item[0].bytes[item[1]], item[0].sha256[item[1]]
            ),
            placed,
        )
        for done, ((shard, file), reason) in enumerate(zip(placed, reasons, strict=True), 1):
            if reason is not None:
                faults.append(Fault(file=file, shard=shard.name, reason=reason))
            if progress is not None:
                progress(done, len(placed))
    return tuple(faults)


def _reason(path: str, size: int, sha256: str) -> str | None:
    """What is wrong with a file."""
    found, digest = 0, hashlib.sha256()
    try:
        while block := files.read_range(path, offset=found, length=_BLOCK_BYTES):
            digest.update(block)
            found += len(block)
    except FileNotFoundError:
        return "missing"
    if found != size:
        return f"{found} bytes instead of {size}"
    return None if digest.hexdigest() == sha256 else "corrupt: its checksum differs"
