"""Videos or frames to records: in parallel, and again from where it was killed."""

import contextlib
import dataclasses
import itertools
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import cv2

from keras_multigrid import storage
from keras_multigrid.data.annotations import VideoRecord, VideoSet
from keras_multigrid.data.decode import DecodeError
from keras_multigrid.data.isolation import Lost, isolated_map
from keras_multigrid.data.record_folder import Piece, RecordFolder, ShardRange
from keras_multigrid.data.recorded_videos import RecordedVideos
from keras_multigrid.data.records import MANIFEST, PARTS, Manifest, Names, RecordFormat, write_video


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BadVideo:
    """A video that is in no shard.

    Args:
        part: "train" or "validation".
        path: of the video.
        reason: why it could not be read.
    """

    part: str
    path: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A finished folder of records.

    Args:
        manifest: what it holds.
        bad: videos that it does not hold, in the set's order.
        num_new_shards: shards that the call has written; 0: the folder was finished before.
    """

    manifest: Manifest
    bad: tuple[BadVideo, ...]
    num_new_shards: int


def prepare(
    videos: VideoSet,
    *,
    root: str,
    form: RecordFormat,
    workers: int | None = None,
    time_limit: float = 600.0,
    scratch: str | None = None,
    retry_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    beam_options: Sequence[str] | None = None,
) -> Prepared:
    """Write the videos of a set as records.

    A call that was killed goes on with the shards that it has not finished. The bytes of the files
    depend on the settings and the videos alone, not on the number of workers, kills or machines.

    Videos that cannot be read, or that crash or hang the process that reads them, are left out and
    reported. A folder that cannot be written ends the call.

    Args:
        videos: the set.
        root: folder to write to, local or remote (s3://, gs://).
        form: how the videos are written.
        workers: processes; by default the number of cores. On Beam: processes for each shard that
            is being written, by default one.
        time_limit: seconds after which a video counts as unreadable.
        scratch: local folder for pieces of the shards that are being written, twice their size at
            most; by default in `root`, if it is remote among the temporary files.
        retry_bad: write finished shards again that lack videos, which may be readable by now.
        progress: called with the number of videos that are done and the number of all.
        beam_options: of an Apache Beam pipeline that does the work, such as
            ["--runner=DataflowRunner", ...]. None: this process does it.

    Returns:
        What the folder holds.

    Raises:
        ValueError: the folder was begun with other settings or videos, a part of the set has no
            readable video, or the videos are records themselves.
        OSError: a file cannot be written, or a remote file system does not answer.
        RuntimeError: another process is writing there, or the pipeline failed.
        ImportError: apache-beam is wanted and missing.

    Example:

    >>> prepared = prepare(videos, root="data/kinetics_records", form=RecordFormat())
    >>> prepared.bad
    ()
    """
    _check(videos, root)
    folder = RecordFolder(
        root=root,
        form=form,
        class_names=tuple(videos.class_names),
        multi_label=videos.multi_label,
        num_videos={part: len(getattr(videos, part)) for part in PARTS},
        scratch=scratch,
    )
    if beam_options is not None:
        # An extra.
        from keras_multigrid.data.beam_preparing import make_with_beam
    with folder.alone():
        folder.begin(videos)
        finished = folder.finished()
        if retry_bad:
            for name in [name for name, names in finished.items() if names.bad]:
                del finished[name]
                storage.remove(folder.path(f"{name}.json"))
        missing = [place for place in folder.shards if place.name not in finished]
        shards = (
            (place, getattr(videos, place.part)[place.start : place.stop]) for place in missing
        )
        if missing:
            storage.remove(folder.path(MANIFEST))
        if missing and beam_options is not None:
            make_with_beam(
                folder, shards, beam_options, workers=workers or 1, time_limit=time_limit
            )
            finished = folder.finished()
        elif missing:
            made = make_shards(
                folder,
                shards,
                workers=workers or os.cpu_count(),
                time_limit=time_limit,
                on_video=_counting(folder, missing, progress),
            )
            finished.update(made)
        manifest = (not missing and folder.manifest()) or folder.finish(finished)
    bad = tuple(
        BadVideo(part=place.part, path=path, reason=reason)
        for place in folder.shards
        for path, reason in finished[place.name].bad
    )
    return Prepared(manifest=manifest, bad=bad, num_new_shards=len(missing))


def make_shards(
    folder: RecordFolder,
    shards: Iterable[tuple[ShardRange, Sequence[VideoRecord]]],
    *,
    workers: int,
    time_limit: float,
    on_video: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, Names]]:
    """Write shards.

    Args:
        folder: where to.
        shards: the shards and all their listed videos, taken as workers get free.
        workers: processes.
        time_limit: seconds after which a video counts as unreadable.
        on_video: called when a video is done.

    Yields:
        The name of each finished shard and what its names file says.

    Raises:
        OSError: if they cannot be written, or a remote file system does not answer.
    """
    os.makedirs(folder.pieces_folder, exist_ok=True)
    with contextlib.ExitStack() as stack:
        pieces = stack.enter_context(tempfile.TemporaryDirectory(dir=folder.pieces_folder))
        # Written by a thread, while the workers go on with the next shards.
        writer = stack.enter_context(ThreadPoolExecutor(1))
        write_piece = partial(_write_piece, form=folder.form, class_names=folder.class_names)
        results = isolated_map(
            write_piece, _items(shards, pieces), workers=workers, time_limit=time_limit
        )
        stack.enter_context(contextlib.closing(results))
        open_shards, writing = {}, deque()
        for item, result in results:
            if isinstance(result, storage.StorageError):
                raise result
            if isinstance(result, OSError):
                raise storage.StorageError(f"Cannot write into {pieces}: {result}") from result
            done = open_shards.setdefault(item.shard, {})
            done[item.index] = item.video, _piece(item, result)
            on_video()
            if len(done) == item.count:
                del open_shards[item.shard]
                # No more than two on the disk that wait: uploads may be slower than the workers.
                while writing and (len(writing) > 1 or writing[0].done()):
                    yield writing.popleft().result()
                in_order = [done[index] for index in range(item.count)]
                writing.append(writer.submit(_write_shard, folder, item, in_order))
        for shard in writing:
            yield shard.result()


class _Item(NamedTuple):
    """A video of a shard, and the local folder for the pieces of the shard."""

    shard: str
    count: int
    index: int
    video: VideoRecord
    folder: str

    def paths(self, num_copies: int) -> tuple[str, ...]:
        """Files of its piece."""
        return tuple(
            os.path.join(self.folder, f"{self.index}-{copy}") for copy in range(num_copies)
        )


def _items(
    shards: Iterable[tuple[ShardRange, Sequence[VideoRecord]]], pieces: str
) -> Iterator[_Item]:
    for place, videos in shards:
        folder = os.path.join(pieces, place.name)
        os.mkdir(folder)
        for index, video in enumerate(videos):
            yield _Item(place.name, len(videos), index, video, folder)


def _write_piece(
    item: _Item, *, form: RecordFormat, class_names: Sequence[str]
) -> Piece | str | OSError:
    """In a worker: the video's piece; or why there is none; or what is wrong with a disk."""
    # Work is parallel over videos: threads inside one would only compete with the others.
    cv2.setNumThreads(1)
    paths = item.paths(len(form.copies))
    try:
        return Piece(write_video(item.video, form, paths, class_names), paths)
    except DecodeError as error:
        return str(error)
    except OSError as error:
        return error


def _piece(item: _Item, result: Piece | str | Lost) -> Piece | str:
    if isinstance(result, Lost):
        return f"Cannot read '{item.video.path}': {result.reason}."
    return result


def _write_shard(
    folder: RecordFolder, item: _Item, pieces: Sequence[tuple[VideoRecord, Piece | str]]
) -> tuple[str, Names]:
    names = folder.add(item.shard, *zip(*pieces, strict=True))
    shutil.rmtree(item.folder, ignore_errors=True)
    return item.shard, names


def _counting(
    folder: RecordFolder,
    missing: Sequence[ShardRange],
    progress: Callable[[int, int], None] | None,
) -> Callable[[], None]:
    if progress is None:
        return lambda: None
    total = sum(folder.num_videos.values())
    done = itertools.count(total - sum(place.stop - place.start for place in missing) + 1)
    return lambda: progress(next(done), total)


def _check(videos: VideoSet, root: str) -> None:
    for part in PARTS:
        if not len(getattr(videos, part)):
            raise ValueError(f"`videos` must have {part} videos. Received: none.")
        if isinstance(getattr(videos, part), RecordedVideos):
            raise ValueError(
                "`videos` must be files or folders of images. Received: the records "
                f"{getattr(videos, part).root}. Make others from what those were made from."
            )
    if root.startswith(("http://", "https://")):
        raise ValueError(f"`root` must be a folder that can be written. Received: {root}.")
    storage.check_scheme(root)
