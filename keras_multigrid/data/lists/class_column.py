"""The classes that the labels of a user's own list name."""

import contextlib

from keras_multigrid import files
from keras_multigrid.data.lists.line_forms import NUMBER, fields_of, label_column
from keras_multigrid.data.lists.lines import numbered_lines, parsed, refuse_bad_lines
from keras_multigrid.data.lists.parts import paths_below

_LAYOUT = "Expected: a text file with lines like walk/denis_walk.avi,walk."


def named_classes(file: str, root: str) -> list[str] | None:
    """The classes by name, sorted; None where labels are numbers.

    Args:
        file: the list. What its first line has divides all lines: commas, tabs or else blanks.
        root: folder that its paths are relative to.

    Raises:
        BadLinesError: lines have no label, one that is no text, or fields that no line names.
        FileNotFoundError: there is no such list.
    """
    setting = {"setting": "train", "layout": _LAYOUT}
    lines = list(numbered_lines(file, is_comment=lambda line: True, **setting))
    first = lines[0][1] if lines else ""
    delimiter = next((sign for sign in ",\t" if sign in first), " ")
    header = []
    with contextlib.suppress(ValueError):
        # Where its quotes are wrong, it is a bad line as any other.
        header = fields_of(first, delimiter)
    has_names = label_column(header) is not None
    # Names hold for fields between commas; else the label is the last field.
    by_name = has_names and delimiter == ","
    column, full_path = label_column(header) if by_name else -1, paths_below(root)

    def label_of(line: str) -> str:
        fields = fields_of(line, delimiter)
        if by_name and 1 < len(fields) != len(header):
            raise ValueError(f"expected {len(header)} fields, found {len(fields)}")
        if len(fields) < 2 or not fields[column]:
            raise ValueError(_why_no_label(line))
        others = [] if by_name or delimiter == " " else fields[1:-1]
        # Or are the commas those of the path?
        if not all(map(NUMBER.fullmatch, others)) and not files.exists(
            full_path(line.rsplit(delimiter, 1)[0])
        ):
            raise ValueError(
                f"it has {len(fields)} fields, and no first line says which is the label: begin "
                "the list with the names of its columns and commas between, such as "
                "path,label,note"
            )
        return _as_text(fields[column])

    with refuse_bad_lines():
        labels = list(parsed(file, lines[1:] if has_names else lines, label_of))
    if all(label.isdecimal() for label in labels):
        return None
    return sorted(set(labels))


def _why_no_label(line: str) -> str:
    if ";" in line:
        return "a comma must divide its path and its label, and no semicolon"
    return "it must be path,label"


def _as_text(label: str) -> str:
    try:
        label.encode()
    except UnicodeEncodeError:
        raise ValueError("its label is not in UTF-8: save the list as UTF-8") from None
    return label
