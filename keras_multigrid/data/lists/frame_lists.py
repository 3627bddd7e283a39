"""Lists of one frame a line, the form of the reference implementation's frame lists.

original_vido_id video_id frame_id path labels
46GP8 0 0 46GP8/46GP8-000001.jpg "23,154"
46GP8 0 1 46GP8/46GP8-000002.jpg ""
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from keras_multigrid.data.lists.lines import BadLinesError, Path, bad_line, numbered_lines, parsed

Labels = TypeVar("Labels")

_HEADER = "original_vido_id video_id frame_id path labels"
_LAYOUT = f"""Expected: a text file, one frame a line:
    {_HEADER}
    46GP8 0 0 46GP8/46GP8-000001.jpg "23,154"
    46GP8 0 1 46GP8/46GP8-000002.jpg \"\""""


def read_frame_list(
    file: Path, *, setting: str, parse_labels: Callable[[str], Labels]
) -> dict[str, tuple[list[str], list[Labels]]]:
    """Paths and labels of each video's frames, by the video's original id.

    Args:
        file: the list. Paths may contain spaces.
        setting: name of the setting that named it, for errors.
        parse_labels: makes a frame's labels of their text without quotes, `23,154`.

    Raises:
        FileNotFoundError: there is no such file.
        BadLinesError: its first line is not the header, or lines are wrong.
    """
    # Millions of frames share some thousand sets of labels: each is kept once.
    known: dict[str, Labels] = {}

    def parse(line: str) -> tuple[str, str, Labels]:
        try:
            video, _, _, rest = line.split(maxsplit=3)
            path, text = rest.rsplit(maxsplit=1)
        except ValueError:
            raise ValueError(f"expected the five fields `{_HEADER}`") from None
        if text not in known:
            known[text] = parse_labels(text.strip('"'))
        return video, path, known[text]

    lines = numbered_lines(file, setting=setting, layout=_LAYOUT)
    _skip_header(file, lines)
    frames: dict[str, tuple[list[str], list[Labels]]] = {}
    for video, path, labels in parsed(file, lines, parse):
        paths, all_labels = frames.setdefault(video, ([], []))
        paths.append(path)
        all_labels.append(labels)
    return frames


def _skip_header(file: Path, lines: Iterable[tuple[int, str]]) -> None:
    number, line = next(lines, (1, ""))
    # The official lists misspell "video"; lists made by others may not.
    if line.replace("vido", "video") != _HEADER.replace("vido", "video"):
        reason = f"the first line must be `{_HEADER}`"
        raise BadLinesError([bad_line(file, number, line, reason)])


def frame_list_lines(
    videos: Iterable[tuple[str, Iterable[tuple[str, str]]]],
) -> Iterable[str]:
    """The lines of a frame list, from each video's id and its frames' (path, labels `23,154`)."""
    yield _HEADER
    for number, (video, frames) in enumerate(videos):
        for index, (path, labels) in enumerate(frames):
            yield f'{video} {number} {index} {path} "{labels}"'
