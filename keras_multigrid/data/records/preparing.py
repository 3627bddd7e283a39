"""Videos or frames to records: in parallel, and again from where it was killed."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence

from keras_multigrid import files
from keras_multigrid.data.records.folder import RecordFolder, ShardRange
from keras_multigrid.data.records.format import (
    MANIFEST,
    PARTS,
    Manifest,
    RecordFormat,
)
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
        from keras_multigrid.data.records.beam import make_with_beam
    with folder.alone():
        folder.begin(videos)
        finished = folder.finished()
        if retry_bad:
            for name in [name for name, names in finished.items() if names.bad]:
                del finished[name]
                files.remove(folder.path(f"{name}.json"))
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
    files.check_scheme(root)
