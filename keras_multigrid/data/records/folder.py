"""A folder of records while it is written: what is in it is whole, whenever it is left."""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from keras_multigrid import files, temporary_files
from keras_multigrid.data.records.format import (
    MANIFEST,
    PARTS,
    Manifest,
    Names,
    RecordFormat,
    Shard,
    label_of_json,
    labels_name,
    read_manifest,
    shard_files,
    shard_name,
)
from keras_multigrid.data.records.index import Entry, index_content, labels_content
from keras_multigrid.data.videos.video import Span, VideoRecord, VideoSet

# What the folder was begun with: settings, and a digest of the videos.
SETTINGS = "settings.json"
# The listed videos for the workers of a pipeline, while it runs.
LIST = "videos.jsonl"

_BLOCK_BYTES = 1 << 20
_UNFINISHED = ".unfinished"


class ShardRange(NamedTuple):
    """The listed videos of a part that a shard is made of: `start` to `stop` - 1."""

    part: str
    name: str
    start: int
    stop: int


class Piece(NamedTuple):
    """The records of one video: where they stand, and their local files, one for each copy."""

    entry: Entry
    paths: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordFolder:
    """A folder of records that is being written.

    A shard is complete when its names file is there, which is written last, and the folder when its
    manifest is. Every byte depends on the settings and the videos alone, not on who writes it, how
    often, and in which order.

    Args:
        root: the folder, local or remote.
        form: how videos are written.
        class_names: name of each class.
        multi_label: whether a video may show several classes.
        num_videos: listed videos of each part.
        scratch: local folder for pieces of shards; None takes one in `root`, or among the temporary
            files if `root` is remote.
    """

    root: str
    form: RecordFormat
    class_names: tuple[str, ...]
    multi_label: bool
    num_videos: Mapping[str, int]
    scratch: str | None = None

    @property
    def shards(self) -> tuple[ShardRange, ...]:
        """All shards, training first."""
        shards = []
        for part, count in self.num_videos.items():
            starts = range(0, count, self.form.videos_per_shard)
            for shard, start in enumerate(starts):
                name = shard_name(part, shard, len(starts))
                end = min(start + self.form.videos_per_shard, count)
                shards.append(ShardRange(part, name, start, end))
        return tuple(shards)

    @property
    def pieces_folder(self) -> str:
        """The folder on this machine for pieces of shards."""
        if self.scratch is None and not files.is_remote(self.root):
            return os.path.join(self.root, "pieces")
        scratch = temporary_files.private_folder() if self.scratch is None else self.scratch
        return os.path.join(scratch, f"keras_multigrid_pieces_{_digest(self.root)}")

    def path(self, name: str) -> str:
        """The path of a file, by its name below the root."""
        return f"{self.root.rstrip('/')}/{name}"

    def begin(self, videos: VideoSet) -> None:
        """Write down the settings and a digest of the videos, or compare them with what is there.

        Raises:
            ValueError: if the folder was begun with others.
            OSError: if the folder cannot be written.
        """
        settings = _settings(self, videos)
        begun = files.read(self.path(SETTINGS))
        if begun is None:
            self.write(SETTINGS, json.dumps(settings, indent=1).encode())
            return
        try:
            differences = _differences(json.loads(begun), settings)
        except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(
                f"{self.path(SETTINGS)} is damaged: {error!r}. Delete it: the same command writes "
                "it again."
            ) from None
        if differences:
            raise ValueError(
                f"{self.root} was begun with other settings or videos: {'; '.join(differences)}. "
                "Use those, or another folder."
            )

    def manifest(self) -> Manifest | None:
        """The manifest; None if there is none, or a damaged one."""
        try:
            return read_manifest(self.root.rstrip("/"))
        except (FileNotFoundError, ValueError):
            return None

    def finished(self) -> dict[str, Names]:
        """The names files of the complete shards, by the shard's name."""
        there = set(files.list_folder(self.root))
        shards = [place.name for place in self.shards if f"{place.name}.json" in there]
        # Reading a remote one is mostly waiting.
        with ThreadPoolExecutor(16) as threads:
            found = zip(shards, threads.map(self.names, shards), strict=True)
            return {shard: names for shard, names in found if names is not None}

    def names(self, shard: str) -> Names | None:
        """The names file of a shard, by its name; None if there is none, or a damaged one."""
        content = files.read(self.path(f"{shard}.json"))
        try:
            return None if content is None else Names.from_json(content)
        except ValueError:
            return None

    def add(self, name: str, videos: Sequence[VideoRecord], pieces: Sequence[Piece | str]) -> Names:
        """Write the files of a shard.

        Args:
            name: of the shard.
            videos: all its listed videos.
            pieces: the records of each of them, or why it has none.

        Raises:
            OSError: if they cannot be written.
        """
        good = [(v, p) for v, p in zip(videos, pieces, strict=True) if isinstance(p, Piece)]
        bad = [(v.path, p) for v, p in zip(videos, pieces, strict=True) if isinstance(p, str)]
        *records, index, names_file = shard_files(self.form, name)
        sizes, sha256 = {}, {}
        for copy, file in enumerate(records):
            with self.appearing(file) as path:
                parts = [piece.paths[copy] for _, piece in good]
                sizes[file], sha256[file] = _join(parts, path)
        content = index_content([piece.entry for _, piece in good])
        self.write(index, content)
        sizes[index], sha256[index] = len(content), hashlib.sha256(content).hexdigest()
        names = Names(
            videos=tuple((video.path, video.label) for video, _ in good),
            bad=tuple(bad),
            num_frames=sum(piece.entry.num_frames for _, piece in good),
            bytes=sizes,
            sha256=sha256,
        )
        self.write(names_file, names.to_json())
        return names

    def finish(self, finished: Mapping[str, Names]) -> Manifest:
        """Write the manifest.

        Args:
            finished: the names files of all shards, by the shard's name.

        Raises:
            ValueError: if a part has no readable video.
            OSError: if it cannot be written.
        """
        shards: dict[str, list[Shard]] = {part: [] for part in self.num_videos}
        for place in self.shards:
            shards[place.part].append(finished[place.name].shard(place.name))
        for part, of_part in shards.items():
            if not sum(shard.num_videos for shard in of_part):
                _, reason = finished[of_part[0].name].bad[0]
                raise ValueError(
                    f"None of the {self.num_videos[part]} {part} videos can be read: is the disk "
                    f"with the videos there? The first: {reason} Mend it, and prepare them again "
                    "after `forget_bad` (keras-multigrid prepare --retry_bad)."
                )
        if not self.multi_label:
            self._write_labels(finished)
        manifest = Manifest(
            form=self.form,
            class_names=self.class_names,
            multi_label=self.multi_label,
            shards={part: tuple(of_part) for part, of_part in shards.items()},
        )
        self.write(MANIFEST, manifest.to_json().encode())
        files.remove(self.path(LIST))
        return manifest

    def _write_labels(self, finished: Mapping[str, Names]) -> None:
        """Write the labels of each part in one file: the names of all shards take long to read."""
        for part in self.num_videos:
            names = [finished[place.name] for place in self.shards if place.part == part]
            labels = [label for of_shard in names for _, label in of_shard.videos]
            self.write(labels_name(part), labels_content(labels))

    def appearing(self, name: str) -> contextlib.AbstractContextManager[str]:
        """`files.appearing` for a file of the folder, by its name below the root."""
        path = self.path(name)
        # A name for this call alone: another process may write the same file, with the same bytes.
        own = uuid.uuid4().hex
        if files.is_remote(path):
            return files.appearing(path, os.path.join(self.pieces_folder, own))
        return files.appearing(path, f"{path}.{own}{_UNFINISHED}")

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole.

        Raises:
            OSError: if it cannot be written.
        """
        with self.appearing(name) as path, open(path, "wb") as file:
            file.write(content)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock out other processes of this machine, and remove what killed ones have left.

        Raises:
            RuntimeError: if another one is at work.
            OSError: if the folder cannot be written.
        """
        pieces = self.pieces_folder
        with locked(self.root), contextlib.ExitStack() as stack:
            with files.storage_errors(os.path.dirname(pieces), "write"):
                shutil.rmtree(pieces, ignore_errors=True)
                if not files.is_remote(self.root):
                    _remove_unfinished(self.root)
                os.makedirs(pieces, exist_ok=True)
            stack.callback(shutil.rmtree, pieces, ignore_errors=True)
            yield


def video_line(video: VideoRecord) -> bytes:
    """A video as a line of JSON."""
    values = [video.path, video.label, video.frame_paths, video.frame_labels]
    if video.span is not None:
        values.append(dataclasses.asdict(video.span))
    return json.dumps(values).encode("ascii") + b"\n"


def video_of_line(line: bytes) -> VideoRecord:
    """The video that a line stands for."""
    path, label, frame_paths, frame_labels, *span = json.loads(line)
    return VideoRecord(
        path=path,
        label=label_of_json(label),
        frame_paths=tuple(frame_paths),
        frame_labels=tuple(map(tuple, frame_labels)),
        span=Span(**span[0]) if span else None,
    )


def _settings(folder: RecordFolder, videos: VideoSet) -> dict[str, Any]:
    settings = {
        **dataclasses.asdict(folder.form),
        "class_names": folder.class_names,
        "multi_label": folder.multi_label,
    }
    for part in PARTS:
        listed, digest = getattr(videos, part), hashlib.sha256()
        for video in listed:
            digest.update(video_line(video))
        settings[f"{part} videos"] = len(listed), digest.hexdigest()
    # As they are when they are read again.
    return json.loads(json.dumps(settings))


def _differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    differences = []
    for name in {**now, **begun}:
        was, is_now = begun.get(name), now.get(name)
        if was == is_now:
            continue
        if not name.endswith(" videos"):
            differences.append(f"{name} was {was}, and is {is_now}")
        elif was[0] != is_now[0]:
            differences.append(f"there were {was[0]} {name}, and are {is_now[0]}")
        else:
            differences.append(
                f"the {was[0]} {name} are others, in another order or with other labels"
            )
    return differences


def _join(pieces: Sequence[str], path: str) -> tuple[int, str]:
    """Write files one after the other; size and checksum of the result."""
    size, digest = 0, hashlib.sha256()
    with open(path, "wb") as file:
        for piece in pieces:
            with open(piece, "rb") as source:
                while block := source.read(_BLOCK_BYTES):
                    file.write(block)
                    digest.update(block)
                    size += len(block)
            os.remove(piece)
    return size, digest.hexdigest()


def _remove_unfinished(root: str) -> None:
    for folder in (root, *(entry.path for entry in os.scandir(root) if entry.is_dir())):
        for entry in os.scandir(folder):
            if entry.name.endswith(_UNFINISHED):
                os.remove(entry.path)


@contextlib.contextmanager
def locked(root: str) -> Iterator[None]:
    """Lock a folder of records against other processes of this machine, by a file that goes again.

    Raises:
        RuntimeError: if another one has locked it.
        StorageError: if the lock cannot be written.
    """
    path = os.path.join(root, "lock")
    if files.is_remote(root):
        name = f"keras_multigrid_{os.geteuid()}_{_digest(root)}.lock"
        path = os.path.join(tempfile.gettempdir(), name)
    folder = os.path.dirname(path)
    with contextlib.ExitStack() as stack:
        with files.storage_errors(folder, "write"):
            os.makedirs(folder, exist_ok=True)
            # Others may have put a link there.
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"Another process on this machine is preparing {root}: wait until it ends."
            ) from None
        except OSError as error:
            # Not every network disk has locks. Two writers are slow, not wrong.
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        stack.callback(os.remove, path)
        yield


def _digest(root: str) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
