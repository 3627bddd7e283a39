"""Preparing records of videos or frames: in parallel, and continued where it was killed."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence

from keras_multigrid import files
from keras_multigrid.data.records.folder import RecordFolder, locked
from keras_multigrid.data.records.format import MANIFEST, PARTS, Manifest, Names, RecordFormat
from keras_multigrid.data.records.record_set import RecordedVideos
from keras_multigrid.data.records.shards import make_shards
from keras_multigrid.data.videos.video import VideoSet


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
        manifest: its manifest.
        bad: videos that are left out, in the set's order.
        num_new_shards: shards that the call has written; 0 if the folder was finished before.
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
    progress: Callable[[int, int], None] | None = None,
    beam_options: Sequence[str] | None = None,
) -> Prepared:
    """Write the videos of a set as records.

    A call that was killed is continued by the next one, with the shards that are not finished. The
    bytes of the files depend on the settings and the videos alone, not on the number of workers,
    kills or machines.

    Videos that cannot be read, or that crash or hang the process that reads them, are left out and
    reported, in later calls too: see `forget_bad`. A folder that cannot be written ends the call.

    Args:
        videos: the set.
        root: folder to write to, local or remote (s3://, gs://).
        form: how the videos are written.
        workers: number of processes; by default the number of cores. On Beam: processes for each
            shard that is being written, by default one.
        time_limit: seconds after which a video counts as unreadable.
        scratch: local folder for pieces of the shards that are being written, twice their size at
            most; by default in `root`, or among the temporary files if `root` is remote.
        progress: called with the number of videos that are done and the number of all.
        beam_options: options of an Apache Beam pipeline that does the work, such as
            ["--runner=DataflowRunner", ...]. None: this process does it.

    Returns:
        What the folder holds.

    Raises:
        ValueError: the folder was begun with other settings or videos, a part of the set has no
            readable video, or the videos are records themselves.
        OSError: a file cannot be written, or a remote file system does not answer.
        RuntimeError: another process is writing there, or the pipeline failed.
        ImportError: `beam_options` are given and apache-beam is not installed.

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
        from keras_multigrid.data.records.beam import make_with_beam
    with folder.alone():
        folder.begin(videos)
        finished = folder.finished()
        missing = [place for place in folder.shards if place.name not in finished]
        shards = (
            (place, getattr(videos, place.part)[place.start : place.stop]) for place in missing
        )
        if missing:
            files.remove(folder.path(MANIFEST))
        if missing and beam_options is not None:
            make_with_beam(
                folder, shards, beam_options, workers=workers or 1, time_limit=time_limit
            )
            finished = folder.finished()
        elif missing:
            total = sum(folder.num_videos.values())
            done = itertools.count(total - sum(p.stop - p.start for p in missing) + 1)
            made = make_shards(
                folder,
                shards,
                workers=workers or os.cpu_count(),
                time_limit=time_limit,
                on_video=lambda: progress and progress(next(done), total),
            )
            finished.update(made)
        manifest = (not missing and folder.manifest()) or folder.finish(finished)
    bad = tuple(
        BadVideo(part=place.part, path=path, reason=reason)
        for place in folder.shards
        for path, reason in finished[place.name].bad
    )
    return Prepared(manifest=manifest, bad=bad, num_new_shards=len(missing))


def forget_bad(root: str) -> None:
    """Let the next `prepare` write those shards again that lack videos, which may be readable now.

    Args:
        root: a folder of records, finished or not.

    Raises:
        OSError: a file cannot be read.
        RuntimeError: another process is writing there.

    Example, when the disk with the videos is back:

    >>> forget_bad("data/kinetics_records")
    >>> prepare(videos, root="data/kinetics_records", form=RecordFormat()).bad
    ()
    """
    files.check_scheme(root)
    with locked(root), contextlib.suppress(FileNotFoundError):
        for name in files.list_folder(root):
            if name.startswith(PARTS) and name.endswith(".json"):
                path = f"{root.rstrip('/')}/{name}"
                content = files.read(path)
                # Damaged ones are written again anyway.
                with contextlib.suppress(ValueError):
                    if content is not None and Names.from_json(content).bad:
                        files.remove(path)


def _check(videos: VideoSet, root: str) -> None:
    for part in PARTS:
        listed = getattr(videos, part)
        if not len(listed):
            raise ValueError(f"`videos` must have {part} videos. Received: none.")
        if isinstance(listed, RecordedVideos):
            raise ValueError(
                "`videos` must be files or folders of images. Received: the records "
                f"{listed.root}. Make others from what those were made from."
            )
    if root.startswith(("http://", "https://")):
        raise ValueError(f"`root` must be a folder that can be written. Received: {root}.")
    files.check_scheme(root)
