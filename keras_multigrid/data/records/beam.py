"""Records made by an Apache Beam pipeline, on this machine or on a cluster."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from keras_multigrid import files
from keras_multigrid.data.records.folder import (
    LIST,
    RecordFolder,
    ShardRange,
    video_line,
    video_of_line,
)
from keras_multigrid.data.records.shards import make_shards
from keras_multigrid.data.videos.video import VideoRecord

try:
    import apache_beam as beam
    from apache_beam.metrics import Metrics
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineState
except ImportError as error:
    raise ImportError(
        "apache-beam is not installed, which has limits of its own: use an environment for it, "
        "pip install -c constraints-beam.txt '.[cpu,beam]'."
    ) from error


def make_with_beam(
    folder: RecordFolder,
    shards: Iterable[tuple[ShardRange, Sequence[VideoRecord]]],
    options: Sequence[str],
    *,
    workers: int,
    time_limit: float,
) -> None:
    """Write the shards that a folder lacks, and its manifest, by a pipeline.

    A runner may make a shard twice: its files are the same, and each of them appears whole.

    Args:
        folder: where to, begun; the pipeline's workers reach it by the same path.
        shards: the missing shards and all their listed videos.
        options: of the pipeline.
        workers: processes for each shard that is being written.
        time_limit: seconds after which a video counts as unreadable.

    Raises:
        ValueError: if Beam refuses the options.
        OSError: if the list for the workers cannot be written.
        RuntimeError: if the pipeline failed.
    """
    lines = _write_list(folder, shards)
    try:
        pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    except ValueError as error:
        raise ValueError(f"`beam_options` are refused: {error}") from None
    make = _MakeShard(folder, workers=workers, time_limit=time_limit)
    _ = (
        pipeline
        | "Shards" >> beam.Create(lines)
        # Otherwise a runner may give all of them to one worker.
        | "Spread" >> beam.Reshuffle()
        | "Make" >> beam.ParDo(make)
        | "Gather" >> beam.CombineGlobally(beam.combiners.CountCombineFn())
        | "Manifest" >> beam.ParDo(_WriteManifest(folder))
    )
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:
        # Runners raise what they like, with the worker's traceback in the text.
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise RuntimeError(f"The pipeline failed: {reason[0]}") from error
    if state != PipelineState.DONE:
        raise RuntimeError(f"The pipeline ended in the state {state}.")


class _Lines(NamedTuple):
    """A shard, and where in the list the lines of its videos begin and end."""

    shard: ShardRange
    start: int
    end: int


def _write_list(
    folder: RecordFolder, shards: Iterable[tuple[ShardRange, Sequence[VideoRecord]]]
) -> list[_Lines]:
    lines, end = [], 0
    with folder.appearing(LIST) as path, open(path, "wb") as file:
        for shard, videos in shards:
            file.writelines(map(video_line, videos))
            lines.append(_Lines(shard, end, file.tell()))
            end = file.tell()
    return lines


class _MakeShard(beam.DoFn):
    """Write a shard, unless it is there."""

    def __init__(self, folder: RecordFolder, *, workers: int, time_limit: float):
        self._folder = folder
        self._workers = workers
        self._time_limit = time_limit

    def process(self, element: _Lines) -> Iterator[str]:
        shard, start, end = element
        # Made before a worker was lost.
        if self._folder.names(shard.name) is None:
            path = self._folder.path(LIST)
            lines = files.read_range(path, offset=start, length=end - start).splitlines()
            videos = [video_of_line(line) for line in lines]
            ((_, names),) = make_shards(
                self._folder,
                [(shard, videos)],
                workers=self._workers,
                time_limit=self._time_limit,
            )
            Metrics.counter("prepare", "videos").inc(len(names.videos))
            Metrics.counter("prepare", "frames").inc(names.num_frames)
            Metrics.counter("prepare", "bad").inc(len(names.bad))
        yield shard.name


class _WriteManifest(beam.DoFn):
    """Write the manifest over all shards."""

    def __init__(self, folder: RecordFolder):
        self._folder = folder

    def process(self, count: int) -> None:
        self._folder.finish(self._folder.finished())
