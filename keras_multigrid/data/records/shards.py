"""Writing the shards of a folder of records, in parallel."""

import contextlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import cv2

from keras_multigrid import files
from keras_multigrid.data.isolation import Lost, isolated_map
from keras_multigrid.data.records.folder import Piece, RecordFolder, ShardRange
from keras_multigrid.data.records.format import Names, RecordFormat, write_video
from keras_multigrid.data.videos.decode import patiently
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord


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
        shards: the shards and all their listed videos, taken as workers become free.
        workers: number of processes.
        time_limit: seconds after which a video counts as unreadable.
        on_video: called when a video is done.

    Yields:
        The name and the names file of each finished shard.

    Raises:
        OSError: if they cannot be written, or a remote file system does not answer.
    """
    os.makedirs(folder.pieces_folder, exist_ok=True)
    with contextlib.ExitStack() as stack:
        pieces = stack.enter_context(tempfile.TemporaryDirectory(dir=folder.pieces_folder))
        # Shards are written by a thread, while the workers continue with the next ones.
        writer = stack.enter_context(ThreadPoolExecutor(1))
        results = isolated_map(
            partial(_write_piece, form=folder.form, class_names=folder.class_names),
            _items(shards, pieces, len(folder.form.copies)),
            workers=workers,
            time_limit=time_limit,
        )
        stack.enter_context(contextlib.closing(results))
        open_shards, writing = {}, deque()
        for item, result in results:
            if isinstance(result, files.StorageError):
                raise result
            if isinstance(result, OSError):
                raise files.StorageError(f"Cannot write into {pieces}: {result}") from result
            if isinstance(result, Lost):
                result = f"Cannot read '{item.video.path}': {result.reason}."
            done = open_shards.setdefault(item.shard, {})
            done[item.index] = item.video, result
            on_video()
            if len(done) == item.count:
                del open_shards[item.shard]
                # At most two wait on the disk: uploads may be slower than the workers.
                while writing and (len(writing) > 1 or writing[0].done()):
                    yield writing.popleft().result()
                in_order = [done[index] for index in range(item.count)]
                writing.append(writer.submit(_write_shard, folder, item, in_order))
        for shard in writing:
            yield shard.result()


class _Item(NamedTuple):
    """A video of a shard, and the local files for its piece, one for each copy."""

    shard: str
    count: int
    index: int
    video: VideoRecord
    paths: tuple[str, ...]


def _items(
    shards: Iterable[tuple[ShardRange, Sequence[VideoRecord]]], pieces: str, num_copies: int
) -> Iterator[_Item]:
    for place, videos in shards:
        folder = os.path.join(pieces, place.name)
        os.mkdir(folder)
        for index, video in enumerate(videos):
            paths = tuple(f"{folder}/{index}-{copy}" for copy in range(num_copies))
            yield _Item(place.name, len(videos), index, video, paths)


def _write_piece(
    item: _Item, *, form: RecordFormat, class_names: Sequence[str]
) -> Piece | str | OSError:
    """In a worker: the video's piece; or why there is none; or what is wrong with a disk."""
    # Work is parallel over videos: threads inside one would only compete with the others.
    cv2.setNumThreads(1)
    try:
        entry = patiently(
            item.video.path, lambda: write_video(item.video, form, item.paths, class_names)
        )
        return Piece(entry, item.paths)
    except files.StorageUnavailableError:
        raise
    except DecodeError as error:
        return str(error)
    except OSError as error:
        return error


def _write_shard(
    folder: RecordFolder, item: _Item, pieces: Sequence[tuple[VideoRecord, Piece | str]]
) -> tuple[str, Names]:
    names = folder.add(item.shard, *zip(*pieces, strict=True))
    shutil.rmtree(os.path.dirname(item.paths[0]), ignore_errors=True)
    return item.shard, names
