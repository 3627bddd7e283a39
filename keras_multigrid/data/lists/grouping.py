"""The groups of validation videos, such as cameras or persons, to see results by group."""

import csv
import os
import re
from collections.abc import Sequence

from keras_multigrid.data.lists.groups import Grouping, find_groups
from keras_multigrid.data.lists.line_forms import PATH_COLUMNS
from keras_multigrid.data.lists.lines import Path, open_text
from keras_multigrid.data.lists.split_rules import group_in
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.task import SingleLabel

FOUND = "group"
_LAYOUT = """Expected: a CSV file whose first line names the columns:
    path,label,camera
    walk/denis_walk.avi,walk,front"""
# Names of columns, and videos without a row, that an error lists.
_SHOWN = 10


def validation_groups(videos: VideoSet, by: str, table: Path | None = None) -> Grouping:
    """The group of each validation video.

    Args:
        videos: the set. Its training videos help to find groups.
        by: "group" for the groups that names show (`find_groups`); or a regular expression whose
            first part in parentheses names the group, searched for in the path; or the name of a
            column of `table`.
        table: CSV file, with a line for each video, which its columns `path`, `video`, `file` or
            `name`, or else the first one, name by the end of the path, with or without its suffix.

    Raises:
        ValueError: names show no groups, the expression does not match, or the table lacks the
            column or a video.
        FileNotFoundError: there is no such table.

    Example:

    >>> validation_groups(videos, r"camera(\\d+)").groups[:3]
    ('1', '1', '2')
    """
    paths = [record.path for record in videos.validation]
    if "(" in by:
        return Grouping(groups=_matched(by, paths), place=f"the pattern {by!r}")
    if table is not None:
        return Grouping(groups=_in_table(table, by, paths), place=f"the column {by!r} of {table}")
    if by == FOUND:
        return _found(videos, len(paths))
    raise ValueError(
        f"`by` must be {FOUND!r}, a regular expression with a part in parentheses, or a column of "
        f"`table`. Received: by={by!r}, and no table. Name the list that has the column."
    )


def _found(videos: VideoSet, count: int) -> Grouping:
    # Of validation alone there may be one group.
    records = [*videos.train, *videos.validation]
    names = ["" for _ in records]
    if isinstance(videos.task, SingleLabel):
        names = [videos.class_names[record.label] for record in records]
    found = find_groups([record.path for record in records], names)
    if found is None:
        raise ValueError(
            "`by='group'` needs names that show groups by one clear pattern. The videos have none: "
            f"'{records[-1].path}'. Give a regular expression whose first part in parentheses is "
            r"the group, such as by='/(\w+)_walk', or a column of a table."
        )
    return Grouping(groups=found.groups[len(records) - count :], place=found.place)


def _matched(pattern: str, paths: Sequence[str]) -> tuple[str, ...]:
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"`by` must be a regular expression: {error}. Received: by={pattern!r}."
        ) from None
    if regex.groups < 1:
        raise ValueError(
            "`by` must have a part in parentheses that names the group. Received: "
            rf"by={pattern!r}. Write for example 'camera(\d+)'."
        )
    return tuple(group_in(regex, path) for path in paths)


def _in_table(table: Path, column: str, paths: Sequence[str]) -> tuple[str, ...]:
    """What the table says of each video in this column."""
    group_of: dict[str, str] = {}
    with open_text(table, setting="table", kind="CSV file", layout=_LAYOUT) as text:
        rows = csv.DictReader(text, delimiter="\t" if str(table).endswith(".tsv") else ",")
        columns = [name.strip() for name in rows.fieldnames or ()]
        rows.fieldnames = columns
        if column not in columns:
            raise ValueError(
                f"`by` must be a column of '{table}'. Received: by={column!r}. There are: "
                f"{', '.join(map(repr, columns[:_SHOWN]))}."
            )
        key = next((name for name in columns if name.lower() in PATH_COLUMNS), columns[0])
        for row in rows:
            name, group = ((row[n] or "").strip() for n in (key, column))
            if group_of.setdefault(name, group) != group:
                raise ValueError(
                    f"'{table}' must have one {column!r} for each video. Received: "
                    f"{group_of[name]!r} and {group!r} for '{name}'. Correct one of the lines."
                )
    groups = [_of_path(path, group_of) for path in paths]
    missing = [path for path, group in zip(paths, groups, strict=True) if group is None]
    if missing:
        raise ValueError(
            f"'{table}' must have a line for each validation video. Received: none for "
            f"{len(missing):,} of {len(paths):,}, such as '{missing[0]}'. The column {key!r} must "
            "hold the end of the path, from a folder or the name on."
        )
    return tuple(group or "none" for group in groups)


def _of_path(path: str, group_of: dict[str, str]) -> str | None:
    """The group of the longest end of a path that has one."""
    for end in (path, os.path.splitext(path)[0]):
        while True:
            if end in group_of:
                return group_of[end]
            _, slash, end = end.partition("/")
            if not slash:
                break
    return None
