"""The multi-view test: several clips and crops of each video, one prediction a video."""

import csv
import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_multigrid import distribute, files, replicas
from keras_multigrid.callbacks.checkpoint_folder import load_checkpoint
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.check.set_report import check_there
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.lists.grouping import validation_groups
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.models.weights import load_published_weights
from keras_multigrid.models.weights.pretrained import find_weights
from keras_multigrid.models.weights.published_files import published_tags
from keras_multigrid.runs import prediction, run_folder
from keras_multigrid.runs.building import make_network
from keras_multigrid.runs.group_results import results_by_group
from keras_multigrid.runs.prediction import UnreadableVideosError  # noqa: F401  its former place
from keras_multigrid.runs.predictor import Predictor
from keras_multigrid.runs.report import named
from keras_multigrid.runs.settings import Data, Hardware, Model, MultiViewTest
from keras_multigrid.runs.trained_model import TrainedModel
from keras_multigrid.task import Task

_PUBLISHED = (".pyth", ".pt", ".pth", ".pkl")
_WEIGHTS = (*_PUBLISHED, ".keras", ".h5")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of a test.

    Args:
        metrics: "top1" and "top5" (shares of the videos) and "balanced_accuracy" (mean over classes
            of "top1"), or "mAP" of videos with several classes.
        per_class: for each class its name, number of videos, and "top1" or "average_precision".
        num_videos: videos that count, each once.
        views: clips that the network saw.
        clips_per_second: throughput, decoding included.
        bad_videos: path to error of every unreadable file, which does not count.
        per_group: same as `results_by_group` returns, if groups were asked for.
        grouped_by: what names the groups, in words.
    """

    metrics: Mapping[str, float]
    per_class: Sequence[Mapping[str, Any]]
    num_videos: int
    views: int
    clips_per_second: float
    bad_videos: Mapping[str, str]
    per_group: Sequence[Mapping[str, Any]] = ()
    grouped_by: str = ""

    def to_json(self) -> str:
        """All results as a JSON object, by the names of the arguments."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def __str__(self) -> str:
        lines = [
            f"{self.num_videos:,} videos, {self.views:,} views at {self.clips_per_second:.1f} a "
            f"second: {named(self.metrics)}"
        ]
        if self.bad_videos:
            lines.append(f"{len(self.bad_videos)} unreadable videos do not count")
        lines += _table("class", self.per_class)
        if self.per_group:
            lines.append(f"groups by {self.grouped_by}, the worst first:")
        return "\n".join([*lines, *_table("group", self.per_group)])


def evaluate(
    *,
    data: Data,
    model: Model,
    test: MultiViewTest,
    hardware: Hardware = Hardware(),
    by: str | None = None,
    table: str | None = None,
) -> Evaluation:
    """Test a trained network on the validation videos.

    Writes into the run's folder: `evaluation.json`, the scores of every video in `predictions.csv`,
    and for videos of one class each `confusion.png`.

    Args:
        data: whose validation videos are tested, with the settings of the training.
        model: the network of the training.
        test: how it is tested.
        hardware: devices share the views, and one worker writes.
        by, table: what groups the videos for `Evaluation.per_group`, same as for
            `data.lists.validation_groups`; None: no groups.

    Returns:
        The `Evaluation`.

    Raises:
        ValueError: if settings do not fit or groups cannot be told, before any video is read; or if
            there are no validation videos, or none can be read.
        FileNotFoundError: if there are no weights, or the first videos are all missing.
    """
    settings = {"data": data, "model": model, "test": test, "hardware": hardware}
    return score_validation(**settings, by=by, table=table).evaluation


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredVideos:
    """A test with the scores of each video.

    Args:
        evaluation: the results.
        network: what was tested.
        records: the videos that could be read.
        scores: of each of them, float64 (videos, classes).
    """

    evaluation: Evaluation
    network: keras.Model
    records: Sequence[VideoRecord]
    scores: np.ndarray


def score_validation(
    *,
    data: Data,
    model: Model,
    test: MultiViewTest,
    hardware: Hardware = Hardware(),
    by: str | None = None,
    table: str | None = None,
) -> ScoredVideos:
    """`evaluate`, for those who want the scores of each video, too."""
    files.check_scheme(test.run_dir)
    strategy = hardware.strategy()
    distribute.check_backend(strategy)
    videos = data.videos
    check_there("validation", videos.validation)
    grouping = None if by is None else validation_groups(videos, by, table)
    with strategy.scope():
        network = trained_network(model, videos.task, test)
    bad_videos = BadVideos(max_share=1.0)
    settings = {"sampling": data.sampling, "workers": data.workers, **test.of_predictor()}
    predictor = Predictor(network, strategy=strategy, **settings)
    scores, seen = predictor.scores(videos.validation, bad_videos=bad_videos)
    records = [record for record, is_seen in zip(videos.validation, seen, strict=True) if is_seen]
    if not records:
        raise ValueError(
            f"None of the {len(videos.validation)} validation videos can be read. The first: "
            f"{next(iter(bad_videos.errors.values()))}"
        )
    labels = [record.label for record in records]
    metrics, rows = videos.task.measure(scores[seen], labels)
    groups = {}
    if grouping is not None:
        own = np.asarray(grouping.groups)[seen]
        groups["per_group"] = results_by_group(videos.task, scores[seen], labels, own)
        groups["grouped_by"] = grouping.place
    result = Evaluation(
        metrics=metrics,
        per_class=rows,
        num_videos=len(records),
        views=predictor.num_views,
        clips_per_second=predictor.num_views / max(predictor.seconds, 1e-9),
        bad_videos=dict(bad_videos.errors),
        **groups,
    )
    if replicas.is_chief(network):
        _write(result, scores[seen], records, videos, test.run_dir)
    return ScoredVideos(evaluation=result, network=network, records=records, scores=scores[seen])


def predict(
    paths: Sequence[str],
    *,
    model: Model,
    test: MultiViewTest,
    sampling: ClipSampling,
    classes: str | None = None,
    top: int = 5,
    workers: int | None = None,
) -> dict[str, list[tuple[str, float]]]:
    """The highest scores of any videos.

    Args:
        paths: video files, or folders of frame images, local or remote.
        model, test: same as for `evaluate`.
        sampling: the settings of the training: stride and colours.
        classes: file of the class names: a run's `classes.json`, or text with one name per line.
            None takes the run's.
        top: how many classes to give.
        workers: clips read at a time; None takes the number of cores.

    Returns:
        Path to (class, score), the highest first.

    Raises:
        FileNotFoundError: if no video, or not the weights or the class names are there.
        UnreadableVideosError: if a video is missing or cannot be read. It holds the scores of the
            others.
    """
    prediction.check_there(paths)
    trained = trained_model(model=model, test=test, sampling=sampling, classes=classes)
    return prediction.classify(trained, paths, top=top, workers=workers)


def trained_model(
    *, model: Model, test: MultiViewTest, sampling: ClipSampling, classes: str | None = None
) -> TrainedModel:
    """The network of a run, with its class names.

    Args:
        model, test, sampling, classes: same as for `predict`.

    Raises:
        FileNotFoundError: the weights or the class names are not there.
    """
    classes = files.expanded(classes) or os.path.join(test.run_dir, run_folder.CLASSES)
    task = run_folder.read_task(classes)
    network = trained_network(model, task, test)
    return TrainedModel(network=network, task=task, sampling=sampling, test=test)


def trained_network(model: Model, task: Task, test: MultiViewTest) -> keras.Model:
    """The network of a run, or with other weights that `test` names."""
    network = make_network(model, task)
    path = test.weights
    if path in (None, "best"):
        folder = os.path.join(test.run_dir, "checkpoints")
        load_checkpoint(network, folder, best=task.monitor if path == "best" else None)
        return network
    if path in published_tags() and not os.path.exists(path):
        path = find_weights(network.name, path)
    if not path.endswith(_WEIGHTS) and files.is_folder(path):
        load_checkpoint(network, path)
        return network
    try:
        with files.local_copy(path) as file:
            if path.endswith(".keras"):
                return keras.models.load_model(file, compile=False)
            if path.endswith(_PUBLISHED):
                load_published_weights(network, file)
            else:
                network.load_weights(file)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There are no weights at '{path}'. Train first, or name a file: "
            "runs.MultiViewTest.weights = 'PATH'."
        ) from None
    return network


def _table(kind: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows of results as lines: name, videos, result, and its standard error where it is there."""
    if not rows:
        return []
    measure = next(n for n in rows[0] if n not in ("name", "num_videos", "standard_error"))
    title = {"top1": "top-1", "average_precision": "average precision"}.get(measure, measure)
    title = f"{title:>6}"
    width = max(len(kind), *(len(row["name"]) for row in rows))
    has_error = "standard_error" in rows[0]
    lines = [f"{kind:<{width}}  videos  {title}{'  ± standard error' * has_error}"]
    for row in rows:
        values = [row[measure], *([row["standard_error"]] if has_error else [])]
        value, *error = ("-" if value is None else f"{value:.4f}" for value in values)
        line = f"{row['name']:<{width}}  {row['num_videos']:>6}  {value:>{len(title)}}"
        lines.append(line + "".join(f"  ± {text}" for text in error))
    return lines


def _write(result: Evaluation, scores, records, videos: VideoSet, run_dir: str) -> None:
    files.write(os.path.join(run_dir, "evaluation.json"), result.to_json())
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["path", "label", *videos.class_names])
    for record, row in zip(records, scores, strict=True):
        names = ";".join(videos.task.names(record.label))
        table.writerow([files.redacted(record.path), names, *(f"{score:.6g}" for score in row)])
    files.write(os.path.join(run_dir, "predictions.csv"), text.getvalue())
    matrix = videos.task.confusion(scores, [record.label for record in records])
    if matrix is not None:
        from keras_multigrid import figures

        figure = figures.draw_confusion(matrix, videos.class_names)
        files.write(os.path.join(run_dir, "confusion.png"), figures.to_png(figure))
