"""Published data sets, from the files that their authors distribute."""

import csv
import functools
import json
import os
import string
import sys
from collections.abc import Callable, Container

from keras_multigrid import files
from keras_multigrid.checks import check_choice
from keras_multigrid.data.lists.frame_lists import read_frame_list
from keras_multigrid.data.lists.lines import (
    BadLinesError,
    Path,
    bad_line,
    numbered_lines,
    open_text,
    parsed,
    refuse_bad_lines,
)
from keras_multigrid.data.lists.parts import check_root, paths_below, video_set
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

_KINETICS_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_KINETICS_LAYOUT = """Expected: the official list, for example train.csv:
    label,youtube_id,time_start,time_end,split
    abseiling,-3B32lodo2M,59,69,train"""


def kinetics(
    train: Path,
    *,
    validation: Path,
    root: Path,
    file_name: str = "{label}/{youtube_id}_{time_start:06d}_{time_end:06d}.mp4",
) -> VideoSet:
    """Kinetics-400, -600 or -700, from the official lists.

        label,youtube_id,time_start,time_end,split
        abseiling,-3B32lodo2M,59,69,train

    Classes are the sorted labels of the training list, which is the order of published weights.

    Args:
        train: the official `train.csv`.
        validation: the official `validate.csv`.
        root: folder of the videos.
        file_name: path of a video in `root`, a format string over the list's columns.

    Errors: same as for `path_label_lists`; also where `file_name` names other columns.

    Example:

    >>> videos = kinetics("train.csv", validation="validate.csv", root="kinetics",
    ...                   file_name="{split}/{youtube_id}.mp4")
    """
    check_root(root)
    _check_file_name(file_name)
    read = functools.partial(_kinetics_videos, root=root, file_name=file_name)
    with refuse_bad_lines():
        listed = read(train, setting="train")
        class_names = tuple(sorted({label for label, _ in listed}))
        others = read(validation, setting="validation", known=class_names or None)
    if not listed:
        raise ValueError(f"{train} names no video. {_KINETICS_LAYOUT}")
    index_of = {name: index for index, name in enumerate(class_names)}
    parts = (
        [VideoRecord(path=path, label=index_of[label]) for label, path in part]
        for part in (listed, others)
    )
    return video_set(*parts, class_names)


def _check_file_name(file_name: str) -> None:
    try:
        file_name.format(label="", youtube_id="", time_start=0, time_end=0, split="")
        columns = {name for _, name, _, _ in string.Formatter().parse(file_name) if name}
        if not columns & {"label", "youtube_id"} or columns - {*_KINETICS_COLUMNS, "split"}:
            raise ValueError("it needs {youtube_id}, or {label} at least")
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(
            "`file_name` must be made of {label}, {youtube_id}, {time_start}, {time_end} and "
            f"{{split}}. Received: file_name={file_name!r} ({error})."
        ) from None


def _kinetics_videos(
    file: Path, *, setting: str, root: Path, file_name: str, known: Container[str] | None = None
) -> list[tuple[str, str]]:
    """Label and path of each line; `known` are the labels that there may be."""
    root, columns = os.path.join(root, ""), list(_KINETICS_COLUMNS)
    if "{split" in file_name:
        columns.append("split")
    lines = numbered_lines(file, setting=setting, layout=_KINETICS_LAYOUT)
    number, line = next(lines, (1, ""))
    header = [name.strip() for name in _csv_fields(line)]
    missing = [column for column in columns if column not in header]
    if missing:
        reason = f"the first line must name the columns, {missing} too"
        raise BadLinesError([bad_line(file, number, line, reason)])

    def parse(line: str) -> tuple[str, str]:
        fields = _csv_fields(line)
        if len(fields) != len(header):
            raise ValueError(f"expected {len(header)} fields, found {len(fields)}")
        row = dict(zip(header, fields, strict=True))
        label = row["label"]
        try:
            # Some lists have seconds as 59.0.
            times = {name: int(float(row[name])) for name in ("time_start", "time_end")}
        except (ValueError, OverflowError):
            raise ValueError("the times must be numbers of seconds") from None
        if not label or not row["youtube_id"] or times["time_start"] < 0:
            raise ValueError("a label, an id and times are needed")
        if known is not None and label not in known:
            raise ValueError("no training video has this label")
        return label, root + file_name.format(**{**row, **times})

    return list(parsed(file, lines, parse))


def _csv_fields(line: str) -> list[str]:
    try:
        # Line by line, so that a quote that nobody closed spoils its own line only.
        return next(csv.reader([line], strict=True), [""])
    except csv.Error as error:
        raise ValueError(f"its quotes are wrong: {error}") from None


_SOMETHING_LAYOUT = """Expected: the official files of Something-Something V2, for example
    train       [{"id": "78687", "template": "Holding [something] next to [something]", ...}, ...]
    labels      {"Approaching something with your camera": "0", ...}"""


def something_something(
    train: Path,
    *,
    validation: Path,
    labels: Path,
    root: Path,
    suffix: str = ".webm",
    frame_lists: tuple[Path, Path] | None = None,
) -> VideoSet:
    """Something-Something V2, from the official JSON files.

    Args:
        train: `something-something-v2-train.json`, or `train.json` of the later release.
        validation: the same of the validation videos.
        labels: the file that gives each template its number.
        root: folder of the videos, `<id>.webm` each.
        suffix: of the files in `root`; "" for folders of frame images, `<id>/000001.jpg` and so on.
        frame_lists: the reference implementation's `train.csv` and `val.csv`, which name the frames
            of each video by paths relative to `root`. Videos that they don't name are left out.

    Errors: same as for `path_label_lists`; also where a file is not of this form.

    Example:

    >>> videos = something_something("train.json", validation="validation.json",
    ...                              labels="labels.json", root="20bn-something-something-v2")
    """
    check_root(root)
    index_of = _label_numbers(labels)
    notes = []
    read = functools.partial(
        _something_videos, index_of=index_of, root=root, suffix=suffix, notes=notes
    )
    if frame_lists is None:
        frame_lists = None, None
    elif isinstance(frame_lists, (str, os.PathLike)) or len(frame_lists) != 2:
        raise ValueError(
            f"`frame_lists` must be two files. Received: frame_lists={frame_lists!r}. "
            "Use frame_lists=('train.csv', 'val.csv')."
        )
    with refuse_bad_lines():
        parts = (
            read(train, frame_list=frame_lists[0], setting="train"),
            read(validation, frame_list=frame_lists[1], setting="validation"),
        )
    return video_set(*parts, tuple(index_of), notes=notes)


def _something_videos(
    file: Path,
    *,
    setting: str,
    index_of: dict[str, int],
    root: Path,
    suffix: str,
    frame_list: Path | None,
    notes: list[str],
) -> list[VideoRecord]:
    def parse(entry: object) -> tuple[str, int]:
        video, template = entry if isinstance(entry, tuple) else ("", "")
        # The labels' file has the templates without their brackets.
        label = index_of.get(str(template).replace("[", "").replace("]", ""))
        if label is None or not isinstance(video, (str, int)) or video == "" or "\0" in str(video):
            raise ValueError("it needs an id, and a template that the file `labels` names")
        return str(video), label

    entries = enumerate(_json(file, list, setting=setting, object_hook=_id_and_template))
    labels = parsed(file, entries, parse, kind="entry")
    if frame_list is None:
        return [
            VideoRecord(path=os.path.join(root, f"{video}{suffix}"), label=label)
            for video, label in labels
        ]
    # The lists' own labels are empty: those of the JSON files count.
    frames = read_frame_list(frame_list, setting="frame_lists", root=root, parse_labels=str)
    full_path = paths_below(root)
    records, num_left_out = [], 0
    for video, label in labels:
        num_left_out += video not in frames
        if video in frames:
            paths = tuple(map(full_path, frames[video][0]))
            record = VideoRecord(path=os.path.dirname(paths[0]), label=label, frame_paths=paths)
            records.append(record)
    if not records:
        raise ValueError(
            f"`frame_lists` must name frames of the videos of {file} by their ids. Received: "
            f"{frame_list}, which names none of them. Its first column must hold the ids."
        )
    if num_left_out:
        notes.append(
            f"videos of {file} left out, as {frame_list} names none of their frames: "
            f"{num_left_out:,}"
        )
    return records


def _id_and_template(entry: dict) -> tuple[object, object]:
    # All that is kept of an entry while the file is read: a million whole ones take 900 MB.
    template = entry.get("template")
    return entry.get("id"), sys.intern(template) if isinstance(template, str) else template


def _label_numbers(file: Path) -> dict[str, int]:
    """Labels in the order of their numbers."""
    content = _json(file, dict, setting="labels")
    try:
        numbers = sorted((int(str(number)), label) for label, number in content.items())
    except ValueError as error:
        raise ValueError(f"{file}: {error}. {_SOMETHING_LAYOUT}") from None
    if [number for number, _ in numbers] != list(range(len(numbers))):
        raise ValueError(
            f"{file}: labels must have the numbers 0 to {len(numbers) - 1}. {_SOMETHING_LAYOUT}"
        )
    return {label: number for number, label in numbers}


def _json(file: Path, kind: type, *, setting: str, object_hook: Callable | None = None):
    with open_text(file, setting=setting, kind="file", layout=_SOMETHING_LAYOUT) as text:
        try:
            content = json.load(text, object_hook=object_hook)
        except ValueError as error:
            raise ValueError(f"{file} is not JSON: {error}. {_SOMETHING_LAYOUT}") from None
    if not isinstance(content, kind):
        raise ValueError(f"{file}: it does not hold a {kind.__name__}. {_SOMETHING_LAYOUT}")
    return content


_UCF101_LAYOUT = """Expected: the folder ucfTrainTestlist of the official archive, with
    classInd.txt       1 ApplyEyeMakeup
    trainlist01.txt    ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
    testlist01.txt     ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"""


def ucf101(splits: Path, *, root: Path, split: int = 1) -> VideoSet:
    """UCF101, from the official splits; their test videos are the validation's.

    Args:
        splits: the folder of the lists, `ucfTrainTestlist`.
        root: folder of the videos, `UCF-101`.
        split: 1, 2 or 3.

    Errors: same as for `path_label_lists`.

    Example:

    >>> videos = ucf101("ucfTrainTestlist", root="UCF-101", split=1)
    """
    check_choice("split", split, (1, 2, 3))
    check_root(root)
    lines = functools.partial(numbered_lines, setting="splits", layout=_UCF101_LAYOUT)
    index_of = _ucf101_classes(os.path.join(splits, "classInd.txt"), lines)

    def parse(line: str) -> VideoRecord:
        path, *label = line.split()
        # The folder is the class, in both lists.
        class_name, _, video = path.partition("/")
        if class_name not in index_of:
            raise ValueError(f"classInd.txt has no class '{class_name}'")
        index = index_of[class_name]
        if not video or label not in ([], [str(index + 1)]):
            raise ValueError(f"expected `{class_name}/<video> {index + 1}`")
        return VideoRecord(path=os.path.join(root, path), label=index)

    paths = [os.path.join(splits, f"{part}list{split:02d}.txt") for part in ("train", "test")]
    with refuse_bad_lines():
        parts = [list(parsed(file, lines(file), parse)) for file in paths]
    return video_set(*parts, tuple(index_of))


def _ucf101_classes(file: str, lines: Callable) -> dict[str, int]:
    index_of = {}
    for number, line in lines(file):
        index, *name = line.split(maxsplit=1)
        if index != str(len(index_of) + 1) or not name or name[0] in index_of:
            reason = f"expected `{len(index_of) + 1} <class>`, each class once"
            # Without it all classes behind are wrong, too.
            raise BadLinesError([bad_line(file, number, line, reason)])
        index_of[name[0]] = len(index_of)
    return index_of


_HMDB51_LAYOUT = """Expected: the folder of the official splits, one file per class and split, with
    brush_hair_test_split1.txt    April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1
where 1 is a training video, 2 a test video, and 0 neither."""
_HMDB51_USES = {"0": None, "1": 0, "2": 1}


def hmdb51(splits: Path, *, root: Path, split: int = 1) -> VideoSet:
    """HMDB51, from the official splits; their test videos are the validation's.

    Args:
        splits: the folder of the lists, `testTrainMulti_7030_splits`.
        root: folder of the videos, with one folder per class.
        split: 1, 2 or 3.

    Errors: same as for `path_label_lists`.

    Example:

    >>> videos = hmdb51("testTrainMulti_7030_splits", root="hmdb51", split=1)
    """
    check_choice("split", split, (1, 2, 3))
    check_root(root)
    ending = f"_test_split{split}.txt"
    try:
        names = sorted(files.list_folder(os.fspath(splits)))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    class_names = [
        name.removesuffix(ending) for name in names if name.endswith(ending) and name[0] not in "._"
    ]
    if not class_names:
        raise FileNotFoundError(
            f"`splits` must be a folder of lists. Received: '{splits}', which is missing or holds "
            f"no *{ending}. Set `splits` to where they are. {_HMDB51_LAYOUT}"
        )
    parts = [], []
    with refuse_bad_lines():
        for label, class_name in enumerate(class_names):
            file = os.path.join(splits, class_name + ending)
            lines = numbered_lines(file, setting="splits", layout=_HMDB51_LAYOUT)
            for name, part in parsed(file, lines, _hmdb51_use):
                if part is not None:
                    path = os.path.join(root, class_name, name)
                    parts[part].append(VideoRecord(path=path, label=label))
    return video_set(*parts, tuple(class_names))


def _hmdb51_use(line: str) -> tuple[str, int | None]:
    """Name of a video, and the part that it belongs to."""
    name, _, use = line.rpartition(" ")
    if not name or use not in _HMDB51_USES:
        raise ValueError("expected a file name and 0, 1 or 2")
    return name.strip(), _HMDB51_USES[use]
