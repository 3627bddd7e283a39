"""Which videos of a set cannot be used, found before training."""

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TextIO

from keras_multigrid import files
from keras_multigrid.data.check.set_report import SetReport
from keras_multigrid.data.check.video import Outcome, check_video, signature
from keras_multigrid.data.indexed_videos import IndexedVideos
from keras_multigrid.data.isolation import Lost, isolated_map
from keras_multigrid.data.records.record_set import RecordedVideos
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

_PART_NAMES = {"train": "training", "validation": "validation"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong with a video of a set.

    Args:
        part: "train" or "validation".
        index: the video's position in that part.
        path: of the video.
        reason: what is wrong.
        usable: the video can still be used.
    """

    part: str
    index: int
    path: str
    reason: str
    usable: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckedVideos:
    """What a check of a set found.

    Args:
        findings: what is wrong; training videos first, in the set's order.
        usable: the set without the videos that cannot be used; a part may be empty.
        report: the whole set in numbers.
    """

    findings: tuple[Finding, ...]
    usable: VideoSet
    report: SetReport


def check_videos(
    videos: VideoSet,
    *,
    journal: str,
    quick: bool = False,
    workers: int | None = None,
    time_limit: float = 120.0,
    progress: Callable[[int, int], None] | None = None,
) -> CheckedVideos:
    """Decode every video of a set, in processes of their own: a crash does not end the check.

    Found are videos that are missing, cannot be read, have no frames, or crash or hang the process
    that decodes them; videos that hold fewer frames than their header says, which stay usable; and
    videos that occur again, by path or by content, whose first occurrence stays usable: that of the
    validation part, if both parts have it. A short video is no fault: its last frame is repeated.

    Args:
        videos: the set.
        journal: file to which every finished check is appended. A later call with this file checks
            only videos that are new or have changed.
        quick: decode the first frames only, and do not compare contents.
        workers: processes; by default the number of cores.
        time_limit: seconds after which a video counts as unreadable; for remote ones, the time that
            a server is waited for is added.
        progress: called with the number of videos checked and the number of all.

    Raises:
        ValueError: the videos are records.
        StorageUnavailableError: a remote file system does not answer, or a fault of the machine has
            lasted. What is checked is kept.

    Example:

    >>> checked = check_videos(videos, journal="check/journal.jsonl")
    >>> videos = checked.usable
    """
    _refuse_records(videos)
    places, listed_again = _first_listed(videos)
    if any(files.is_remote(place.record.path) for place in places):
        # To wait for a server, with the last attempt, is no fault of the video.
        time_limit += 2 * files.retry_seconds()
    outcomes = {}
    limits = {"workers": workers or os.cpu_count(), "time_limit": time_limit}
    isolated = functools.partial(isolated_map, functools.partial(_check, quick=quick), **limits)
    os.makedirs(os.path.dirname(journal) or ".", exist_ok=True)
    with open(journal, "a+", encoding="utf-8") as file:
        for place, outcome in _outcomes(places, _Journal(file, quick=quick), isolated):
            outcomes[place.part, place.index] = outcome
            if progress is not None:
                progress(len(outcomes), len(places))
    findings = [*listed_again, *_findings(places, outcomes)]
    findings.sort(key=lambda finding: (finding.part, finding.index))
    usable = _without(videos, findings)
    return CheckedVideos(findings=tuple(findings), usable=usable, report=SetReport.of(videos))


def _refuse_records(videos: VideoSet) -> None:
    for part in (videos.train, videos.validation):
        if isinstance(part, IndexedVideos):
            raise ValueError(
                f"`videos` must be files or folders of images. Received: {part.name}, of another "
                "library. What of it cannot be read is replaced and listed in training."
            )
        if isinstance(part, RecordedVideos):
            raise ValueError(
                f"`videos` must be files or folders of images. Received: the records {part.root}, "
                "whose videos were checked when they were written. To compare the files with "
                f"their checksums: keras-multigrid prepare --verify --out={part.root}"
            )


def _findings(
    places: list["_Place"], outcomes: dict[tuple[str, int], Outcome]
) -> Iterator[Finding]:
    first_with = {}
    for place in places:
        outcome = outcomes[place.part, place.index]
        if outcome.fault:
            yield place.finding(outcome.fault)
            continue
        if outcome.warning:
            yield place.finding(outcome.warning, usable=True)
        # A quick check does not read contents.
        first = first_with.setdefault(outcome.content, place) if outcome.content else place
        if first is not place:
            yield place.finding(f"same content as {place.like(first)}")


def _without(videos: VideoSet, findings: Iterable[Finding]) -> VideoSet:
    unusable = {(finding.part, finding.index) for finding in findings if not finding.usable}

    def usable(part: str) -> tuple[VideoRecord, ...]:
        records = enumerate(getattr(videos, part))
        return tuple(record for index, record in records if (part, index) not in unusable)

    return dataclasses.replace(videos, train=usable("train"), validation=usable("validation"))


class _Place(NamedTuple):
    part: str
    index: int
    record: VideoRecord

    def like(self, other: "_Place") -> str:
        label = "" if other.record.label == self.record.label else ", with another label"
        return f"the {_PART_NAMES[other.part]} video '{other.record.path}'{label}"

    def finding(self, reason: str, *, usable: bool = False) -> Finding:
        place = {"part": self.part, "index": self.index, "path": self.record.path}
        return Finding(**place, reason=reason, usable=usable)


def _first_listed(videos: VideoSet) -> tuple[list[_Place], list[Finding]]:
    """The places of all different videos, and findings of those that are listed again."""
    places, findings = {}, []
    # The validation part first: a video of both parts leaves the training part, so that results
    # stay comparable with those of others.
    for part in ("validation", "train"):
        for index, record in enumerate(getattr(videos, part)):
            place = _Place(part, index, record)
            names = record.frame_paths or (record.path,)
            # Lines of a list end where names do, and lose blanks at their ends.
            if any(name != name.strip() or len(name.splitlines()) != 1 for name in names):
                findings.append(place.finding("a list cannot hold its name: rename it"))
                continue
            first = places.setdefault((record.frame_paths or record.path, record.span), place)
            if first is not place:
                findings.append(place.finding(f"listed before, as {place.like(first)}"))
    return list(places.values()), findings


def _outcomes(
    places: list[_Place], journal: "_Journal", isolated: Callable
) -> Iterator[tuple[_Place, Outcome]]:
    """Outcomes of all videos: those in the journal first, the others as their checks end."""
    unknown = []
    for place in places:
        try:
            record = place.record
            state = files.retried(f"look at {record.path}", lambda record=record: signature(record))
        except FileNotFoundError as error:
            yield place, Outcome(fault=f"missing: there is no file '{error.filename}'")
        except OSError as error:
            if files.is_machine_fault(error):
                raise
            yield place, Outcome(fault=f"unreadable: {error}")
        else:
            outcome = journal.outcomes.get((place.record.path, state))
            if outcome is None:
                unknown.append((place, state))
            else:
                yield place, outcome
    for (place, state), outcome in isolated(unknown):
        if isinstance(outcome, Lost):
            # Not for the journal: the machine may have been at fault.
            outcome = Outcome(fault=f"unreadable: {outcome.reason}")
        else:
            journal.add(place.record.path, state, outcome)
        yield place, outcome


def _check(item: tuple[_Place, str], *, quick: bool) -> Outcome:
    place, _ = item
    return check_video(place.record, quick=quick)


class _Journal:
    """The outcomes of finished checks, one line of JSON each, that outlive the process."""

    def __init__(self, file: TextIO, *, quick: bool):
        self._file = file
        self._quick = quick
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        line = "\n"
        file.seek(0)
        for line in file:
            # Half written, if a process was killed while it wrote.
            with contextlib.suppress(ValueError):
                path, state, is_quick, outcome = json.loads(line)
                # What a quick check found holds for the whole video only if it is a fault.
                if quick or not is_quick or outcome["fault"]:
                    self.outcomes[path, state] = Outcome(**outcome)
        if not line.endswith("\n"):
            file.write("\n")

    def add(self, path: str, state: str, outcome: Outcome) -> None:
        line = json.dumps([path, state, self._quick, dataclasses.asdict(outcome)])
        self._file.write(f"{line}\n")
        self._file.flush()
