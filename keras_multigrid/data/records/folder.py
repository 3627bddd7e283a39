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
from typing import NamedTuple

from keras_multigrid import files
from keras_multigrid.data.records.format import (
    MANIFEST,
    PARTS,
    Entry,
    Manifest,
    Names,
    RecordFormat,
    Shard,
    index_content,
    shard_files,
    shard_name,
)
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

# What the folder was begun with.
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

    A shard is whole when its names file is there, which is written last; the folder is when its
    manifest is. Both hold nothing but what the settings and the videos decide: who writes them,
    how often, and in which order makes no difference to any byte.

    Args:
        root: the folder, local or remote.
        form: how videos are written.
        class_names: name of each class.
        multi_label: videos may show several classes.
        num_videos: listed videos of each part.
        scratch: local folder for pieces of shards; None: in `root`, if it is remote among the
            temporary files.
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
        return tuple(
            ShardRange(part, shard_name(part, shard, num_shards), start, min(start + size, count))
            for size in [self.form.videos_per_shard]
            for part, count in self.num_videos.items()
            for num_shards in [self.form.num_shards(count)]
            for shard, start in enumerate(range(0, count, size))
        )

    @property
    def pieces_folder(self) -> str:
        """The folder of this machine for pieces of shards."""
        if self.scratch is None and not files.is_remote(self.root):
            return os.path.join(self.root, "pieces")
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        scratch = tempfile.gettempdir() if self.scratch is None else self.scratch
        return os.path.join(scratch, f"keras_multigrid_pieces_{digest}")

    def path(self, name: str) -> str:
        """Of a file by its name below the root."""
        return f"{self.root.rstrip('/')}/{name}"

    def begin(self, videos: VideoSet) -> None:
        """Write down the settings and what the list of videos is, or compare them.

        Raises:
            ValueError: if the folder was begun with others.
            OSError: if the folder cannot be written.
        """
        settings = _settings(self, videos)
        path = self.path(SETTINGS)
        begun = files.read(path)
        if begun is None:
            self.write(SETTINGS, json.dumps(settings, indent=1).encode())
        elif differences := _differences(json.loads(begun), settings):
            raise ValueError(
                f"{self.root} was begun with other settings or videos: {'; '.join(differences)}. "
                "Use those, or another folder."
            )

    def manifest(self) -> Manifest | None:
        """The manifest, if all shards are written and it is whole."""
        content = files.read(self.path(MANIFEST))
        with contextlib.suppress(ValueError):
            return None if content is None else Manifest.from_json(content)
        return None

    def finished(self) -> dict[str, Names]:
        """The names files of the shards that are whole."""
        there = set(files.list_folder(self.root))
        names = [place.name for place in self.shards if f"{place.name}.json" in there]
        # Those of a remote folder take their time to come, not ours.
        with ThreadPoolExecutor(16) as threads:
            contents = threads.map(lambda name: files.read(self.path(f"{name}.json")), names)
            return {
                name: Names.from_json(content)
                for name, content in zip(names, contents, strict=True)
                if content is not None
            }

    def is_finished(self, shard: str) -> bool:
        """Whether a shard is whole, by its name."""
        return files.exists(self.path(f"{shard}.json"))

    def add(
        self,
        name: str,
        videos: Sequence[VideoRecord],
        pieces: Sequence[Piece | str],
    ) -> Names:
        """Write the files of a shard.

        Args:
            name: of the shard.
            videos: all its listed videos.
            pieces: of each of them its records, or why it has none.

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
                    "with --retry_bad."
                )
        manifest = Manifest(
            form=self.form,
            class_names=self.class_names,
            multi_label=self.multi_label,
            shards={part: tuple(of_part) for part, of_part in shards.items()},
        )
        self.write(MANIFEST, manifest.to_json().encode())
        files.remove(self.path(LIST))
        return manifest

    @contextlib.contextmanager
    def appearing(self, name: str) -> Iterator[str]:
        """A local file to write, which then appears under its name, whole.

        Raises:
            OSError: if it cannot be written.
        """
        path = self.path(name)
        with _told(path):
            if files.is_remote(path):
                os.makedirs(self.pieces_folder, exist_ok=True)
                unfinished = os.path.join(self.pieces_folder, uuid.uuid4().hex)
            else:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                # Of this process alone: another one may be at the same file, with the same bytes.
                unfinished = f"{path}.{uuid.uuid4().hex}{_UNFINISHED}"
            try:
                yield unfinished
                if files.is_remote(path):
                    files.upload(unfinished, path)
                else:
                    _sync(unfinished)
                    os.replace(unfinished, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(unfinished)

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole.

        Raises:
            OSError: if it cannot be written.
        """
        with self.appearing(name) as path, open(path, "wb") as file:
            file.write(content)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes of this machine from writing here, and remove what killed ones left.

        Raises:
            RuntimeError: if another one is at work.
            OSError: if the folder cannot be written.
        """
        pieces, is_remote = self.pieces_folder, files.is_remote(self.root)
        lock = f"{pieces}.lock" if is_remote else self.path("lock")
        with contextlib.ExitStack() as stack:
            with _told(os.path.dirname(lock)):
                stack.enter_context(_locked(lock, self.root))
                shutil.rmtree(pieces, ignore_errors=True)
                if not is_remote:
                    _remove_unfinished(self.root)
                os.makedirs(pieces, exist_ok=True)
            stack.callback(shutil.rmtree, pieces, ignore_errors=True)
            yield


def video_line(video: VideoRecord) -> bytes:
    """A video as a line of JSON."""
    values = (video.path, video.label, video.frame_paths, video.frame_labels)
    return json.dumps(values).encode("ascii") + b"\n"


def video_of_line(line: bytes) -> VideoRecord:
    """The video that a line stands for."""
    path, label, frame_paths, frame_labels = json.loads(line)
    return VideoRecord(
        path=path,
        label=tuple(label) if isinstance(label, list) else label,
        frame_paths=tuple(frame_paths),
        frame_labels=tuple(map(tuple, frame_labels)),
    )


def _settings(folder: RecordFolder, videos: VideoSet) -> dict[str, object]:
    lists = {}
    for part in PARTS:
        digest = hashlib.sha256()
        for video in getattr(videos, part):
            digest.update(video_line(video))
        lists[f"{part} videos"] = [len(getattr(videos, part)), digest.hexdigest()]
    form = {name: _plain(value) for name, value in dataclasses.asdict(folder.form).items()}
    return {
        **form,
        "class_names": list(folder.class_names),
        "multi_label": folder.multi_label,
        **lists,
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _differences(begun: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    names = [name for name in {**now, **begun} if begun.get(name) != now.get(name)]
    return [_difference(name, begun.get(name), now.get(name)) for name in names]


def _difference(name: str, begun: object, now: object) -> str:
    if not name.endswith(" videos"):
        return f"{name} was {begun}, and is {now}"
    (count_begun, _), (count, _) = begun, now
    if count_begun != count:
        return f"there were {count_begun} {name}, and are {count}"
    return f"the {count} {name} are others, in another order or with other labels"


def _join(pieces: Sequence[str], path: str) -> tuple[int, str]:
    """Write files one behind the other; size and checksum of all."""
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


def _sync(path: str) -> None:
    """A machine may lose its power, too: what a file is renamed to must be there."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _remove_unfinished(root: str) -> None:
    for folder in (root, *(entry.path for entry in os.scandir(root) if entry.is_dir())):
        for entry in os.scandir(folder):
            if entry.name.endswith(_UNFINISHED):
                os.remove(entry.path)


@contextlib.contextmanager
def _locked(path: str, root: str) -> Iterator[None]:
    """Hold a lock file, which is gone afterwards."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, root)
            # Its last holder may have removed it since it was opened.
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(descriptor)):
                try:
                    yield
                finally:
                    os.remove(path)
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, root: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(
            f"Another process on this machine is preparing {root}: wait until it ends."
        ) from None
    except OSError as error:
        # Not every network disk knows locks. Two writers are slow, not wrong.
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Errors of the system in our words, with the path."""
    try:
        yield
    except files.StorageError:
        raise
    except OSError as error:
        raise files.StorageError(f"Cannot write {path}: {error.strerror or error}.") from error
