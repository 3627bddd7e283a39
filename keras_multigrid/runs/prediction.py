"""What a trained network says of any videos: classes, segments of long ones, features."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_multigrid import distribute, files
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.passages import Passages
from keras_multigrid.data.long_videos import Passage
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.progress import Progress
from keras_multigrid.runs.passage_scores import PassageNetwork, Segment, Segments
from keras_multigrid.runs.predictor import Predictor, tested_network
from keras_multigrid.runs.trained_model import TrainedModel
from keras_multigrid.task import MultiLabel

Scores = list[tuple[str, float]]

# A class of several is there from this score on.
_THRESHOLD = 0.5


class UnreadableVideosError(ValueError):
    """Some of the videos cannot be read.

    Args:
        errors: path to reason of each of them.
        predictions: what would be returned of the others.
    """

    def __init__(self, errors: Mapping[str, str], predictions: Any):
        super().__init__("\n".join(errors.values()))
        self.errors, self.predictions = errors, predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongVideo:
    """What is seen in a long video.

    Args:
        passages: each passage, and its highest scores, the highest first.
        segments: parts in which one class is seen without a break.
    """

    passages: Sequence[tuple[Passage, Scores]]
    segments: Sequence[Segment]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """Pooled features of videos, or of their passages.

    Args:
        paths: of the videos, one for each row.
        features: float32 (rows, channels).
        passages: of each row; empty where rows are whole videos.
    """

    paths: Sequence[str]
    features: np.ndarray
    passages: Sequence[Passage] = ()


def classify(
    trained: TrainedModel, paths: Sequence[str], *, top: int = 5, workers: int | None = None
) -> dict[str, Scores]:
    """The highest scores of whole videos, from several views of each.

    Args:
        trained: the network.
        paths: video files, or folders of frame images, local or remote.
        top: how many classes to give.
        workers: clips read at a time; None takes the number of cores.

    Returns:
        Path to (class, score), the highest first.

    Raises:
        FileNotFoundError: no video is there.
        UnreadableVideosError: a video is missing or cannot be read. It holds the scores of the
            others.
    """
    network, test = trained.network, trained.test.of_predictor()
    predictor = Predictor(network, sampling=trained.sampling, workers=workers, **test)
    paths, scores, errors = _scores(predictor, paths)
    names = trained.task.class_names
    predictions = {path: _top(names, row, top) for path, row in zip(paths, scores, strict=True)}
    return _checked(predictions, errors)


def classify_passages(
    trained: TrainedModel, paths: Sequence[str], passages: Passages, *, top: int = 5
) -> dict[str, LongVideo]:
    """The highest scores of the passages of long videos, and their segments.

    A video is decoded once, frame by frame: memory does not grow with its length, but for the
    results.

    Args:
        trained, paths, top: same as for `classify`.
        passages: how videos are cut.

    Raises:
        FileNotFoundError, UnreadableVideosError: same as for `classify`.
    """
    names = trained.task.class_names
    threshold = _THRESHOLD if isinstance(trained.task, MultiLabel) else None

    def read(outputs: Iterator[tuple[Passage, np.ndarray]]) -> LongVideo:
        found, segments = [], Segments(names, threshold)
        for passage, scores in outputs:
            segments.add(passage, scores)
            found.append((passage, _top(names, scores, top)))
        return LongVideo(passages=found, segments=segments.finish())

    network, crop_size = tested_network(trained.network, trained.test)
    return _checked(*_of_passages(trained, network, crop_size, paths, passages, read))


def extract_features(
    trained: TrainedModel,
    paths: Sequence[str],
    *,
    passages: Passages | None = None,
    workers: int | None = None,
) -> Features:
    """Pooled features of videos, the mean over their views, or of each of their passages.

    Args:
        trained, paths, workers: same as for `classify`.
        passages: how videos are cut; None takes whole videos.

    Raises:
        ValueError: the network has no classifier of this package's.
        FileNotFoundError, UnreadableVideosError: same as for `classify`.
    """
    network = trained.features()
    if passages is None:
        test = {**trained.test.of_predictor(), "combine": "mean"}
        predictor = Predictor(network, sampling=trained.sampling, workers=workers, **test)
        paths, rows, errors = _scores(predictor, paths)
        features = Features(paths=paths, features=np.asarray(rows, np.float32))
        return _checked(features, errors)
    _, crop_size = tested_network(trained.network, trained.test)

    def read(outputs: Iterator[tuple[Passage, np.ndarray]]) -> list:
        return [(passage, row.astype(np.float32)) for passage, row in outputs]

    found, errors = _of_passages(trained, network, crop_size, paths, passages, read)
    rows = [(path, passage, row) for path, of in found.items() for passage, row in of]
    features = Features(
        paths=[path for path, _, _ in rows],
        features=np.stack([row for _, _, row in rows]) if rows else np.zeros((0, 0), np.float32),
        passages=[passage for _, passage, _ in rows],
    )
    return _checked(features, errors)


def _scores(predictor: Predictor, paths: Sequence[str]):
    """Paths of the videos that can be read, their scores, and path to reason of the others."""
    there, errors = _found(paths)
    bad_videos = BadVideos(max_share=1.0)
    records = [VideoRecord(path=path, label=0) for path in there]
    scores, seen = predictor.scores(records, bad_videos=bad_videos)
    readable = [path for path, is_seen in zip(there, seen, strict=True) if is_seen]
    return readable, scores[seen], errors | bad_videos.errors


def _of_passages(
    trained: TrainedModel, network, crop_size: int, paths, passages: Passages, read: Callable
) -> tuple[dict[str, Any], dict[str, str]]:
    """Path to what `read` makes of its passages, and path to reason of unreadable videos."""
    there, errors = _found(paths)
    of_passages = PassageNetwork(
        network=network,
        sampling=trained.sampling,
        num_frames=trained.test.grid.num_frames,
        crop_size=crop_size,
        passages=passages,
        batch_size=trained.test.batch_size,
    )
    found, is_alone = {}, len(there) == 1
    of_videos = None if is_alone else Progress("video")
    for number, path in enumerate(there, 1):
        of_one = Progress("passage") if is_alone else None
        try:
            found[path] = read(of_passages.outputs(VideoRecord(path=path, label=0), of_one))
        except DecodeError as error:
            errors[path] = str(error)
        if of_videos is not None:
            of_videos(number, len(there))
    return found, errors


def _found(paths: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    distribute.keep_input_off_gpus()
    return check_there(paths)


def check_there(paths: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Paths of the videos that may be there, each once, and path to reason of the others.

    Raises:
        ValueError: no videos are named, or there is no such file system.
        FileNotFoundError: none of them is there.
    """
    paths = list(dict.fromkeys(files.expanded(path) for path in paths))
    for path in paths:
        files.check_scheme(path)
    if not paths:
        raise ValueError(
            "No videos were given. Name some: keras-multigrid predict ... my_video.mp4"
        )
    errors = {path: f"There is no video at '{path}'." for path in paths if _is_missing(path)}
    if len(errors) == len(paths):
        raise FileNotFoundError(" ".join(errors.values()))
    return [path for path in paths if path not in errors], errors


def _is_missing(path: str) -> bool:
    return not files.is_remote(path) and not os.path.exists(path)


def _checked(predictions, errors: Mapping[str, str]):
    if errors:
        raise UnreadableVideosError(errors, predictions)
    return predictions


def _top(names: Sequence[str], scores: np.ndarray, count: int) -> Scores:
    return [(names[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:count]]
