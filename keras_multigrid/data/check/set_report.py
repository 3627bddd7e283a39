"""A set of videos in numbers, and whether a model can learn from it."""

import collections
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keras_multigrid import files
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.task import MultiLabel, SingleLabel, Task

# Videos of records whose labels are counted: to read those of millions takes minutes.
_MOST_RECORDED = 20_000
# Videos of each part that are looked for, until one is there.
_MOST_TRIED = 20
# Classes and paths that a line lists.
_SHOWN = 5
# Classes in a histogram, the largest and the smallest ones; and characters of its longest bar.
_MOST_ROWS = 40
_BAR = 40
# Times as many videos in the largest class as in the smallest, from which on they are unbalanced.
_UNBALANCED = 10


@dataclass(frozen=True, kw_only=True)
class SetReport:
    """What a set of videos holds.

    Args:
        lines: its numbers, what was left out or assumed when it was read, and what is odd.
        faults: why no model can learn from it; empty: one can.
        histogram: a table of the videos of each class, the largest class first; empty where they
            are not counted.

    Example:

    >>> print(SetReport.of(videos))
    Videos: 60 training, 30 validation, 10 classes.
    Training videos of a class: 6 each.
    """

    lines: tuple[str, ...]
    faults: tuple[str, ...]
    histogram: tuple[str, ...] = ()

    @classmethod
    def of(cls, videos: VideoSet) -> "SetReport":
        """Count the videos of a set. No file is opened."""
        train, validation = videos.train, videos.validation
        lines = [
            f"Videos: {len(train):,} training, {len(validation):,} validation, "
            f"{videos.num_classes:,} classes."
        ]
        faults = [f"there are no {name} videos" for name, part in _parts(videos) if not len(part)]
        is_single = isinstance(videos.task, SingleLabel)
        if is_single and videos.num_classes == 1:
            faults.append(
                f"there is one class, '{videos.class_names[0]}': each video would be right. Add "
                "videos of another class"
            )
        histogram = []
        if _is_counted(videos):
            counts = [_counts(part, videos.task) for part in (train, validation)]
            lines += _class_lines(*counts, videos.class_names)
            histogram = _histogram(*counts, videos.class_names)
            if is_single:
                lines += _balance_lines(counts[0])
            if is_single and len(counts[0]) == 1 and videos.num_classes > 1:
                (label,) = counts[0]
                faults.append(f"all training videos are of one class, {_name(label, videos)}")
        lines += [f"{note[0].upper()}{note[1:]}." for note in videos.notes]
        return cls(lines=tuple(lines), faults=tuple(faults), histogram=tuple(histogram))

    def __str__(self) -> str:
        return "\n".join([*self.lines, *(f"No model can be trained: {f}." for f in self.faults)])


def checked_report(videos: VideoSet) -> SetReport:
    """The report of a set that a model can learn from.

    Of each part some files are looked for, until one is there.

    Raises:
        ValueError: a part is empty, or there are not two classes to tell apart.
        FileNotFoundError: the first videos of a part are all missing.
    """
    report = SetReport.of(videos)
    if report.faults:
        raise ValueError(f"`videos` cannot be trained on: {'; '.join(report.faults)}.\n{report}")
    for name, part in _parts(videos):
        check_there(name, part)
    return report


def check_there(name: str, videos: Sequence[VideoRecord]) -> None:
    """Look for the first videos of a part until one is there.

    Raises:
        ValueError: the part is empty.
        FileNotFoundError: all that were looked for are missing.
    """
    if not len(videos):
        raise ValueError(
            f"`videos` must have {name} videos. Received: none. Check the data's layout and what "
            "`validation` chooses."
        )
    tried = []
    for video in itertools.islice(videos, _MOST_TRIED):
        path = (video.frame_paths or (video.path,))[0]
        # Records are there already, other sources open what they like, and the web has no status
        # but the whole file.
        if type(video) is not VideoRecord or path.startswith(("http://", "https://")):
            return
        if files.exists(path):
            return
        tried.append(path)
    raise FileNotFoundError(
        f"None of the first {len(tried):,} of {len(videos):,} {name} videos is there. Tried: "
        f"{', '.join(map(repr, tried[:_SHOWN]))}. Set `root` to the folder that the paths of the "
        "list are relative to, or mount the disk that the links lead to."
    )


def _parts(videos: VideoSet) -> tuple[tuple[str, Sequence[VideoRecord]], ...]:
    return ("training", videos.train), ("validation", videos.validation)


def _is_counted(videos: VideoSet) -> bool:
    if not isinstance(videos.task, (SingleLabel, MultiLabel)):
        return False
    if any(getattr(part, "reads_videos_for_labels", False) for _, part in _parts(videos)):
        return False
    recorded = sum(len(part) for _, part in _parts(videos) if hasattr(part, "root"))
    return recorded <= _MOST_RECORDED


def _counts(videos: Sequence[VideoRecord], task: Task) -> Mapping[int, int]:
    """Label to the number of videos that have it."""
    labels = (video.label for video in videos)
    if isinstance(task, MultiLabel):
        labels = itertools.chain.from_iterable(labels)
    try:
        return collections.Counter(map(int, labels))
    except (TypeError, ValueError):
        # Labels of another kind are refused by their video's name, later.
        return collections.Counter()


def _class_lines(
    train: Mapping[int, int], validation: Mapping[int, int], class_names: Sequence[str]
) -> list[str]:
    lines = []
    if train:
        fewest, most = (choose(train, key=train.get) for choose in (min, max))
        counts = f"{train[most]:,} each"
        if train[fewest] != train[most]:
            counts = (
                f"{train[fewest]:,} ({_quoted(fewest, class_names)}) to "
                f"{train[most]:,} ({_quoted(most, class_names)}), "
                f"median {statistics.median(train.values()):,g}"
            )
        lines.append(f"Training videos of a class: {counts}.")
    labels = range(len(class_names))
    empty = [label for label in labels if not train[label] and not validation[label]]
    if 0 in empty and class_names[0] == "0":
        lines.append(
            "No video has the label 0: do they count from 1? Labels count from 0. The model gets "
            "a class that never occurs."
        )
    if empty and empty != [0]:
        lines.append(f"Classes without a video: {_listed(empty, class_names)}.")
    for name, ours, others in (
        ("training", train, validation),
        ("validation", validation, train),
    ):
        lacking = [label for label in labels if others[label] and not ours[label]]
        if lacking:
            lines.append(f"Classes without a {name} video: {_listed(lacking, class_names)}.")
    return lines


def _balance_lines(train: Mapping[int, int]) -> list[str]:
    times = max(train.values(), default=0) / min(train.values(), default=1)
    if times < _UNBALANCED:
        return []
    return [
        f"The largest class has {times:,.0f} times the training videos of the smallest. To have "
        "rare classes learned as well: runs.Data.balance = 'inverse', or class weights."
    ]


def _histogram(
    train: Mapping[int, int], validation: Mapping[int, int], class_names: Sequence[str]
) -> list[str]:
    """A line for each class: name, training and validation videos, a bar for the former."""
    labels = sorted(train.keys() | validation.keys() | set(range(len(class_names))))
    labels.sort(key=lambda label: -train[label])
    if not any(train.values()):
        return []
    rows = [(_quoted(n, class_names), train[n], validation[n]) for n in labels]
    left_out = len(rows) - _MOST_ROWS
    width = max(len("class"), *(len(name) for name, _, _ in rows))
    lines = [f"{'class':<{width}}  training  validation"]
    for number, (name, count, validated) in enumerate(rows):
        if left_out > 0 and _MOST_ROWS // 2 <= number < _MOST_ROWS // 2 + left_out:
            if number == _MOST_ROWS // 2:
                lines.append(f"... {left_out:,} others")
            continue
        # A class with one video is seen, too.
        bar = "#" * -(-count * _BAR // rows[0][1])
        lines.append(f"{name:<{width}}  {count:>8,}  {validated:>10,}  {bar}".rstrip())
    return lines


def _quoted(label: int, class_names: Sequence[str]) -> str:
    return class_names[label] if label in range(len(class_names)) else f"label {label}"


def _listed(labels: Sequence[int], class_names: Sequence[str]) -> str:
    names = ", ".join(class_names[label] for label in labels[:_SHOWN])
    rest = len(labels) - _SHOWN
    return f"{len(labels):,} ({names}{f' and {rest:,} others' if rest > 0 else ''})"


def _name(label: int, videos: VideoSet) -> str:
    return f"'{_quoted(label, videos.class_names)}'"
