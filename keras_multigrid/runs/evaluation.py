"""The multi-view test: several clips and crops of each video, one prediction a video."""

import csv
import dataclasses
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import distribute, files, replicas
from keras_multigrid.callbacks.checkpoint_folder import load_checkpoint
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.pipeline import Views
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.models.weights.published import load_published_weights
from keras_multigrid.runs.measures import average_precision, confusion_matrix, top_k
from keras_multigrid.runs.predictor import Predictor
from keras_multigrid.schedule import Grid

CLASSES = "classes.json"
_PUBLISHED = (".pyth", ".pt", ".pth", ".pkl")
_WEIGHTS = (*_PUBLISHED, ".keras", ".h5")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of a test.

    Args:
        metrics: "top1" and "top5" (shares of the videos), or "mAP" of videos with several classes.
        per_class: for each class its name, number of videos, and "top1" or "average_precision".
        num_videos: videos that count, each once.
        views: clips that the network saw.
        clips_per_second: throughput, decoding included.
        bad_videos: path to error of every unreadable file, which does not count.
    """

    metrics: Mapping[str, float]
    per_class: Sequence[Mapping[str, Any]]
    num_videos: int
    views: int
    clips_per_second: float
    bad_videos: Mapping[str, str]

    def __str__(self) -> str:
        named = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        lines = [
            f"{self.num_videos:,} videos, {self.views:,} views at {self.clips_per_second:.1f} a "
            f"second: {named}"
        ]
        if self.bad_videos:
            lines.append(f"{len(self.bad_videos)} unreadable videos do not count")
        measure = "average precision" if "mAP" in self.metrics else "top-1"
        width = max(len(row["name"]) for row in self.per_class)
        lines.append(f"{'class':<{width}}  videos  {measure}")
        for row in self.per_class:
            value = row.get("top1", row.get("average_precision"))
            shown = "-" if value is None else f"{value:.4f}"
            lines.append(f"{row['name']:<{width}}  {row['num_videos']:>6}  {shown:>{len(measure)}}")
        return "\n".join(lines)


def evaluate(
    *,
    run_dir: str,
    videos: VideoSet,
    model: Callable[..., keras.Model],
    sampling: ClipSampling,
    grid: Grid,
    weights: str | None = None,
    views: Views = Views(),
    combine: str = "mean",
    crop_size: int | None = None,
    batch_size: int = 8,
    workers: int | None = None,
    strategy: Callable[[], tf.distribute.Strategy] = distribute.find_strategy,
) -> Evaluation:
    """Test a trained network on the validation videos.

    Writes into `run_dir`: `evaluation.json`, the scores of every video in `predictions.csv`, and
    for videos of one class each `confusion.png`.

    Args:
        run_dir: folder of the training run, local or remote.
        videos: whose validation videos are tested.
        model: makes the model; called with `classes` and `classifier_activation`.
        sampling: the settings of the training: stride and colours.
        grid: base grid of the training: frames, and the size that the network was trained on.
        weights: `.weights.h5`, `.keras`, or a published `.pyth` or `.pkl` file; a folder of
            checkpoints, whose last is taken; None for the run's last checkpoint, "best" for that of
            its best validation.
        views: clips and crops of each video: 10 x 3 by default, 1 x 1 for the centre alone.
        combine: "mean" or "max" of the views' scores (Charades: max).
        crop_size: height and width of the views; None for 256 / 224 of the training's. Where they
            are larger than the training's, the network works fully convolutionally.
        batch_size: views at a time on each device.
        workers: clips read at a time; by default the number of cores.
        strategy: finds the distribution strategy; devices share the views, and one worker writes.

    Returns:
        The `Evaluation`.

    Raises:
        ValueError: if settings do not fit, before any video is read.
        FileNotFoundError: if there are no weights.
    """
    files.check_scheme(run_dir)
    found = strategy()
    with found.scope():
        network = trained_model(
            model,
            videos.num_classes,
            multi_label=videos.multi_label,
            run_dir=run_dir,
            weights=weights,
        )
    bad_videos = BadVideos(max_share=1.0)
    predictor = Predictor(
        network,
        strategy=found,
        sampling=sampling,
        grid=grid,
        views=views,
        combine=combine,
        crop_size=crop_size,
        batch_size=batch_size,
        workers=workers,
    )
    scores, seen = predictor.scores(videos.validation, bad_videos=bad_videos)
    records = [record for record, is_seen in zip(videos.validation, seen, strict=True) if is_seen]
    if not records:
        raise ValueError(
            f"None of the {len(videos.validation)} validation videos can be read. The first: "
            f"{next(iter(bad_videos.errors.values()))}"
        )
    result = _evaluation(scores[seen], records, videos, predictor, bad_videos)
    if replicas.is_chief(network):
        _write(result, scores[seen], records, videos, run_dir)
    return result


def predict(
    paths: Sequence[str],
    *,
    run_dir: str,
    model: Callable[..., keras.Model],
    sampling: ClipSampling,
    grid: Grid,
    weights: str | None = None,
    classes: str | None = None,
    top: int = 5,
    views: Views = Views(),
    combine: str = "mean",
    crop_size: int | None = None,
    batch_size: int = 8,
    workers: int | None = None,
) -> dict[str, list[tuple[str, float]]]:
    """The highest scores of any videos.

    Args:
        paths: video files, or folders of frame images, local or remote.
        classes: file of the class names: a run's `classes.json`, or text with one name a line. None
            takes the run's.
        top: how many classes to give.
        others: as of `evaluate`.

    Returns:
        Path to (class, score), the highest first.

    Raises:
        FileNotFoundError: if a video, the weights or the class names are not there.
        ValueError: if a video cannot be read.
    """
    for path in paths:
        files.check_scheme(path)
        if not files.is_remote(path) and not os.path.exists(path):
            raise FileNotFoundError(f"There is no video at '{path}'.")
    if not paths:
        raise ValueError("No videos were given. Name some: tools/predict.py ... my_video.mp4")
    names, multi_label = _read_classes(classes or os.path.join(run_dir, CLASSES))
    network = trained_model(
        model, len(names), multi_label=multi_label, run_dir=run_dir, weights=weights
    )
    predictor = Predictor(
        network,
        sampling=sampling,
        grid=grid,
        views=views,
        combine=combine,
        crop_size=crop_size,
        batch_size=batch_size,
        workers=workers,
    )
    bad_videos = BadVideos(max_share=1.0)
    records = [VideoRecord(path=path, label=0) for path in paths]
    scores, seen = predictor.scores(records, bad_videos=bad_videos)
    if not seen.all():
        raise ValueError("\n".join(bad_videos.errors.values()))
    return {
        path: [(names[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]]
        for path, row in zip(paths, scores, strict=True)
    }


def save_classes(videos: VideoSet, run_dir: str) -> None:
    """Write the class names of a run, which `predict` reads."""
    content = {"names": videos.class_names, "multi_label": videos.multi_label}
    files.write(os.path.join(run_dir, CLASSES), json.dumps(content, indent=1))


def _read_classes(path: str) -> tuple[Sequence[str], bool]:
    content = files.read(path)
    if content is None:
        raise FileNotFoundError(
            f"There are no class names at '{path}'. Train first, or name a file with one name a "
            "line: runs.predict.classes = 'PATH'."
        )
    text = content.decode()
    if path.endswith(".json"):
        classes = json.loads(text)
        return classes["names"], classes["multi_label"]
    return [line.strip() for line in text.split("\n") if line.strip()], False


def trained_model(
    model: Callable[..., keras.Model],
    num_classes: int,
    *,
    multi_label: bool,
    run_dir: str,
    weights: str | None = None,
) -> keras.Model:
    """The network of a run, or with published weights; arguments as of `evaluate`."""
    network = model(
        classes=num_classes, classifier_activation="sigmoid" if multi_label else "softmax"
    )
    path = weights
    if path in (None, "best"):
        monitor = "val_mAP" if multi_label else "val_accuracy"
        folder = os.path.join(run_dir, "checkpoints")
        load_checkpoint(network, folder, best=monitor if path == "best" else None)
        return network
    if not path.endswith(_WEIGHTS) and files.is_folder(path):
        load_checkpoint(network, path)
        return network
    try:
        with files.local_copy(path) as file:
            return _with_weights(network, file)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There are no weights at '{path}'. Train first, or name a file: "
            "runs.evaluate.weights = 'PATH'."
        ) from None


def _with_weights(network: keras.Model, path: str) -> keras.Model:
    if path.endswith(_PUBLISHED):
        load_published_weights(network, path)
    elif path.endswith(".keras"):
        network = keras.models.load_model(path, compile=False)
    else:
        network.load_weights(path)
    return network


def _evaluation(scores, records, videos: VideoSet, predictor, bad_videos) -> Evaluation:
    rows = []
    if videos.multi_label:
        is_positive = _is_positive(records, videos.num_classes)
        for number, name in enumerate(videos.class_names):
            value = average_precision(scores[:, number], is_positive[:, number])
            count = int(is_positive[:, number].sum())
            value = None if count == 0 else value
            rows.append({"name": name, "num_videos": count, "average_precision": value})
        values = [row["average_precision"] for row in rows if row["num_videos"]]
        metrics = {"mAP": float(np.mean(values))}
    else:
        labels = np.array([record.label for record in records])
        metrics = {f"top{k}": top_k(scores, labels, k) for k in (1, 5)}
        for number, name in enumerate(videos.class_names):
            own = labels == number
            value = top_k(scores[own], labels[own], 1) if own.any() else None
            rows.append({"name": name, "num_videos": int(own.sum()), "top1": value})
    return Evaluation(
        metrics=metrics,
        per_class=rows,
        num_videos=len(records),
        views=predictor.num_views,
        clips_per_second=predictor.num_views / max(predictor.seconds, 1e-9),
        bad_videos=dict(bad_videos.errors),
    )


def _is_positive(records: Sequence[VideoRecord], num_classes: int) -> np.ndarray:
    is_positive = np.zeros((len(records), num_classes), bool)
    for row, record in zip(is_positive, records, strict=True):
        row[list(record.label)] = True
    return is_positive


def _write(result: Evaluation, scores, records, videos: VideoSet, run_dir: str) -> None:
    text = json.dumps(dataclasses.asdict(result), indent=1)
    files.write(os.path.join(run_dir, "evaluation.json"), text)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["path", "label", *videos.class_names])
    for record, row in zip(records, scores, strict=True):
        label = record.label
        classes = label if isinstance(label, tuple) else (label,)
        names = ";".join(videos.class_names[number] for number in classes)
        table.writerow([record.path, names, *(f"{score:.6g}" for score in row)])
    files.write(os.path.join(run_dir, "predictions.csv"), text.getvalue())
    if not videos.multi_label:
        from keras_multigrid import figures

        labels = np.array([record.label for record in records])
        figure = figures.draw_confusion(confusion_matrix(scores, labels), videos.class_names)
        files.write(os.path.join(run_dir, "confusion.png"), figures.to_png(figure))
