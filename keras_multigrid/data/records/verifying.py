"""Check that the files of a folder of records are those that were written."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from keras_multigrid import files
from keras_multigrid.data.records.format import read_manifest

# Each block of a remote file is a request.
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
    root = root.rstrip("/")
    files.check_scheme(root)
    manifest = read_manifest(root)
    shards = [shard for part in manifest.shards.values() for shard in part]
    listed = [(shard, file) for shard in shards for file in shard.bytes]
    faults = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        reasons = threads.map(
            lambda shard, file: _reason(f"{root}/{file}", shard.bytes[file], shard.sha256[file]),
            *zip(*listed, strict=True),
        )
        for done, ((shard, file), reason) in enumerate(zip(listed, reasons, strict=True), 1):
            if reason is not None:
                faults.append(Fault(file=file, shard=shard.name, reason=reason))
            if progress is not None:
                progress(done, len(listed))
    return tuple(faults)


def _reason(path: str, size: int, sha256: str) -> str | None:
    """What is wrong with a file; None if nothing is."""
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
