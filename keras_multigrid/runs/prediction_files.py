"""Predictions as text, JSON, CSV, and features as NumPy's archives."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_multigrid import files
from keras_multigrid.data.long_videos import Passage
from keras_multigrid.runs.passage_scores import Segment
from keras_multigrid.runs.prediction import Features, LongVideo, Scores

Predictions = Mapping[str, Scores | LongVideo]

_COLUMNS = ("path", "part", "first", "end", "start_seconds", "end_seconds", "class", "score")


def as_text(predictions: Predictions) -> str:
    """For people: the classes of whole videos; of long ones their segments."""
    lines = []
    for path, found in predictions.items():
        lines.append(files.redacted(path))
        if isinstance(found, LongVideo):
            lines += [_segment_line(segment) for segment in found.segments]
        else:
            lines += [f"  {score:.4f}  {name}" for name, score in found]
    return "\n".join(lines)


def write(predictions: Predictions, path: str) -> None:
    """Write predictions, as JSON or, where the path ends in .csv, as CSV.

    JSON is a list with an object for each video, CSV has a row for each class of each part of a
    video: "video", "window" or "segment".
    """
    files.write(path, _as_csv(predictions) if path.endswith(".csv") else _as_json(predictions))


def write_features(features: Features, path: str) -> None:
    """Write features as an archive of NumPy's.

    Arrays: "features" float32 (rows, channels) and "paths" (rows,); of passages also "first" and
    "end" int64 (rows,), frames, and "start_seconds" and "end_seconds" float64 (rows,), not a number
    where a video does not say.
    """
    arrays = {
        "features": features.features,
        "paths": np.array([files.redacted(path) for path in features.paths], np.str_),
    }
    if features.passages:
        for name, dtype in zip(Passage._fields, ("i8", "i8", "f8", "f8"), strict=True):
            values = [getattr(passage, name) for passage in features.passages]
            arrays[name] = np.array(values, dtype)
    with files.appearing(path) as unfinished, open(unfinished, "wb") as file:
        # It would add an ending to a name.
        np.savez(file, **arrays)


def _as_json(predictions: Predictions) -> str:
    videos = []
    for path, found in predictions.items():
        video: dict[str, Any] = {"path": files.redacted(path)}
        if isinstance(found, LongVideo):
            video["segments"] = [dataclasses.asdict(segment) for segment in found.segments]
            video["windows"] = [
                {**passage._asdict(), "classes": _classes(scores)}
                for passage, scores in found.passages
            ]
        else:
            video["classes"] = _classes(found)
        videos.append(video)
    return json.dumps(videos, indent=1)


def _classes(scores: Scores) -> list[dict[str, Any]]:
    return [{"name": name, "score": score} for name, score in scores]


def _as_csv(predictions: Predictions) -> str:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    for path, found in predictions.items():
        for row in _rows(found):
            table.writerow((files.redacted(path), *row))
    return text.getvalue()


def _rows(found: Scores | LongVideo) -> Iterator[Sequence[Any]]:
    if not isinstance(found, LongVideo):
        yield from (("video", "", "", "", "", name, f"{score:.6g}") for name, score in found)
        return
    for passage, scores in found.passages:
        for name, score in scores:
            yield ("window", *_times(passage), name, f"{score:.6g}")
    for segment in found.segments:
        yield ("segment", *_times(segment), segment.name, f"{segment.score:.6g}")


def _times(part: Passage | Segment) -> tuple:
    seconds = (part.start_seconds, part.end_seconds)
    return part.first, part.end, *("" if time is None else f"{time:.3f}" for time in seconds)


def _segment_line(segment: Segment) -> str:
    if None in (segment.start_seconds, segment.end_seconds):
        times = f"frames {segment.first} to {segment.end}"
    else:
        times = f"{_clock(segment.start_seconds)} to {_clock(segment.end_seconds)}"
    return f"  {times}  {segment.score:.4f}  {segment.name}"


def _clock(seconds: float) -> str:
    """1:02:03.4"""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 10:02d}.{rest % 10}"
