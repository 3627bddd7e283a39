"""Published data sets, from the files that their authors give out."""

import csv
import json
import operator
import os
import re
import string
from collections.abc import Iterator, Sequence

from keras_multigrid.data.annotations import (
    Path,
    VideoRecord,
    VideoSet,
    bad_line,
    check_root,
    numbered_lines,
    video_set,
)

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
        file_name: where a video lies in `root`, made of the list's columns.

    Raises:
        FileNotFoundError: a list or `root` is missing.
        ValueError: a line is wrong (the message has its number and text), or `file_name` names a
            column that the lists don't have.

    Example:

    >>> videos = kinetics("train.csv", validation="validate.csv", root="kinetics",
    ...                   file_name="{split}/{youtube_id}.mp4")
    """
    check_root(root)
    _check_file_name(file_name)
    parts = [
        list(_kinetics_lines(file, setting=setting, root=root, file_name=file_name))
        for file, setting in ((train, "train"), (validation, "validation"))
    ]
    if not parts[0]:
        raise ValueError(f"{train} names no video. {_KINETICS_LAYOUT}")
    class_names = tuple(sorted({label for _, label, _ in parts[0]}))
    index_of = {name: index for index, name in enumerate(class_names)}
    records = []
    for file, lines in zip((train, validation), parts, strict=True):
        for number, label, _ in lines:
            if label not in index_of:
                raise bad_line(file, number, label, "no training video has this label")
        records.append([VideoRecord(path=path, label=index_of[label]) for _, label, path in lines])
    return video_set(*records, class_names)


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


def _kinetics_lines(
    file: Path, *, setting: str, root: Path, file_name: str
) -> Iterator[tuple[int, str, str]]:
    """Number, label and path of each line."""
    root = os.path.join(root, "")
    columns = _KINETICS_COLUMNS + (("split",) if "{split" in file_name else ())
    for number, line, row in _rows(file, columns, setting=setting, layout=_KINETICS_LAYOUT):
        label, youtube_id, start, end, *split = row
        try:
            # Some lists have seconds as 59.0.
            start, end = int(float(start)), int(float(end))
        except (ValueError, OverflowError):
            raise bad_line(file, number, line, "the times must be numbers of seconds") from None
        if not label or not youtube_id or start < 0:
            raise bad_line(file, number, line, "a label, an id and times are needed")
        name = file_name.format(
            label=label,
            youtube_id=youtube_id,
            time_start=start,
            time_end=end,
            split=split[0] if split else "",
        )
        yield number, label, root + name


def _lines(file: Path, *, setting: str, layout: str) -> Iterator[tuple[int, str]]:
    # Videos of HMDB51 have names like "#437_How_To_Ride_A_Bike": no comments here.
    return numbered_lines(file, setting=setting, layout=layout, comments=False)


def _rows(
    file: Path, columns: Sequence[str], *, setting: str, layout: str
) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Number and text of each line of a table with a header, and its values in `columns`."""
    latest = (1, "")

    def texts():
        nonlocal latest
        for latest in _lines(file, setting=setting, layout=layout):
            yield latest[1]

    rows = csv.reader(texts())
    header = [name.strip() for name in next(rows, [])]
    missing = [column for column in columns if column not in header]
    if missing:
        raise bad_line(file, *latest, f"the first line must name the columns, {missing} too")
    values = operator.itemgetter(*map(header.index, columns))
    while True:
        before = rows.line_num
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise bad_line(file, latest[0], latest[1][:200], error) from None
        if row is None:
            return
        if len(row) != len(header):
            reason = f"expected {len(header)} fields, found {len(row)}"
            if rows.line_num > before + 1:
                reason += "; a quote was opened on an earlier line"
            raise bad_line(file, *latest, reason)
        yield (*latest, values(row))


_SOMETHING_LAYOUT = """Expected: the official files of Something-Something V2, for example
    train       [{"id": "78687", "template": "Holding [something] next to [something]", ...}, ...]
    labels      {"Approaching something with your camera": "0", ...}"""


def something_something(
    train: Path, *, validation: Path, labels: Path, root: Path, suffix: str = ".webm"
) -> VideoSet:
    """Something-Something V2, from the official JSON files.

    Args:
        train: `something-something-v2-train.json`, or `train.json` of the later release.
        validation: the same of the validation videos.
        labels: the file that gives each template its number.
        root: folder of the videos, `<id>.webm` each.
        suffix: of the files in `root`; "" for folders of frame images, `<id>/000001.jpg` and so on.

    Raises:
        FileNotFoundError: a file or `root` is missing.
        ValueError: a file is not of this form, or a part is empty.

    Example:

    >>> videos = something_something("train.json", validation="validation.json",
    ...                              labels="labels.json", root="20bn-something-something-v2")
    """
    check_root(root)
    index_of = _label_numbers(labels)
    parts = []
    for file, setting in ((train, "train"), (validation, "validation")):
        records = []
        for place, entry in enumerate(_json(file, list, setting=setting)):
            video, template = _id_and_template(entry)
            if not video or template not in index_of:
                raise ValueError(
                    f"{file}, entry {place}: it needs an id, and a template that {labels} names. "
                    f"Received: {str(entry)[:200]}. {_SOMETHING_LAYOUT}"
                )
            path = os.path.join(root, f"{video}{suffix}")
            records.append(VideoRecord(path=path, label=index_of[template]))
        parts.append(records)
    return video_set(*parts, tuple(index_of))


def _id_and_template(entry) -> tuple[str, str]:
    """Empty where there are none. The labels' file has the templates without their brackets."""
    if not isinstance(entry, dict):
        return "", ""
    video, template = entry.get("id"), entry.get("template")
    video = str(video) if isinstance(video, (str, int)) else ""
    return video, re.sub(r"[\[\]]", "", template) if isinstance(template, str) else ""


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


def _json(file: Path, kind: type, *, setting: str):
    if not os.path.isfile(file):
        raise FileNotFoundError(
            f"`{setting}` must be a file. Received: '{file}', which is not one. "
            f"Set `{setting}` to where it is. {_SOMETHING_LAYOUT}"
        )
    with open(file, encoding="utf-8-sig") as text:
        try:
            content = json.load(text)
        except ValueError as error:
            raise ValueError(f"{file} is not JSON: {error}. {_SOMETHING_LAYOUT}") from None
    if not isinstance(content, kind):
        raise ValueError(f"{file}: it holds a {type(content).__name__}. {_SOMETHING_LAYOUT}")
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

    Raises:
        FileNotFoundError: a list or `root` is missing.
        ValueError: a line is wrong (the message has its number and text), or a part is empty.

    Example:

    >>> videos = ucf101("ucfTrainTestlist", root="UCF-101", split=1)
    """
    _check_split(split)
    check_root(root)
    if not os.path.isdir(splits):
        raise FileNotFoundError(
            f"`splits` must be a folder of lists. Received: '{splits}', which is not one. "
            f"Set `splits` to where they are. {_UCF101_LAYOUT}"
        )
    class_names = []
    classes = os.path.join(splits, "classInd.txt")
    for number, line in _lines(classes, setting="splits", layout=_UCF101_LAYOUT):
        index, *name = line.split(maxsplit=1)
        if index != str(len(class_names) + 1) or not name:
            raise bad_line(classes, number, line, f"expected `{len(class_names) + 1} <class>`")
        class_names += name
    index_of = {name: index for index, name in enumerate(class_names)}
    parts = []
    for name in ("train", "test"):
        file = os.path.join(splits, f"{name}list{split:02d}.txt")
        records = []
        for number, line in _lines(file, setting="splits", layout=_UCF101_LAYOUT):
            path, *label = line.split()
            # The folder says the class, in both lists alike.
            class_name, _, video = path.partition("/")
            if class_name not in index_of:
                raise bad_line(file, number, line, f"classInd.txt has no class '{class_name}'")
            if not video or label not in ([], [str(index_of[class_name] + 1)]):
                reason = f"expected `{class_name}/<video> {index_of[class_name] + 1}`"
                raise bad_line(file, number, line, reason)
            records.append(VideoRecord(path=os.path.join(root, path), label=index_of[class_name]))
        parts.append(records)
    return video_set(*parts, tuple(class_names))


_HMDB51_LAYOUT = """Expected: the folder of the official splits, one file a class and split, with
    brush_hair_test_split1.txt    April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1
where 1 is a training video, 2 a test video, and 0 neither."""
_HMDB51_USES = {"0": None, "1": 0, "2": 1}


def hmdb51(splits: Path, *, root: Path, split: int = 1) -> VideoSet:
    """HMDB51, from the official splits; their test videos are the validation's.

    Args:
        splits: the folder of the lists, `testTrainMulti_7030_splits`.
        root: folder of the videos, one folder a class.
        split: 1, 2 or 3.

    Raises:
        FileNotFoundError: lists or `root` are missing.
        ValueError: a line is wrong (the message has its number and text), or a part is empty.

    Example:

    >>> videos = hmdb51("testTrainMulti_7030_splits", root="hmdb51", split=1)
    """
    _check_split(split)
    check_root(root)
    ending = f"_test_split{split}.txt"
    names = sorted(os.listdir(splits)) if os.path.isdir(splits) else []
    class_names = [
        name.removesuffix(ending) for name in names if name.endswith(ending) and name[0] not in "._"
    ]
    if not class_names:
        raise FileNotFoundError(
            f"`splits` must be a folder of lists. Received: '{splits}', which is missing or holds "
            f"no *{ending}. Set `splits` to where they are. {_HMDB51_LAYOUT}"
        )
    parts = [], []
    for label, class_name in enumerate(class_names):
        file = os.path.join(splits, class_name + ending)
        for number, line in _lines(file, setting="splits", layout=_HMDB51_LAYOUT):
            name, _, use = line.rpartition(" ")
            if not name or use not in _HMDB51_USES:
                raise bad_line(file, number, line, "expected a file name and 0, 1 or 2")
            part = _HMDB51_USES[use]
            if part is not None:
                path = os.path.join(root, class_name, name.strip())
                parts[part].append(VideoRecord(path=path, label=label))
    return video_set(*parts, tuple(class_names))


def _check_split(split: int) -> None:
    if not isinstance(split, int) or split not in (1, 2, 3):
        raise ValueError(f"`split` must be 1, 2 or 3. Received: split={split!r}.")
