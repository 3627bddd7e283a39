"""A whole training run: settings in, one fit, a report out."""

import dataclasses
import json
import os
import textwrap
import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from absl import logging

from keras_multigrid import input_monitor
from keras_multigrid.callbacks import MultigridCallback, PreciseBatchNormalization
from keras_multigrid.data.annotations import VideoSet
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.pipeline import evaluation_batches, training_batches
from keras_multigrid.data.sampling import ClipSampling
from keras_multigrid.evaluation import save_classes
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.models.weights import inflate_weights, load_published_weights
from keras_multigrid.schedule import MultigridSchedule

_CHECKPOINT = "checkpoint.weights.h5"
_CURVE = "curve.json"
_REPORT = "report.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How a run went.

    Args:
        steps: steps trained, with those before the last checkpoint.
        baseline_steps: steps that the baseline would have taken.
        seconds: wall-clock of this call's fit, validation included.
        curve: of each validation, the step, the seconds of training before it (validation left
            out) and the results.
        metrics: results on the validation videos at the baseline's grid.
        still_metrics: the same with one frame repeated, if asked for.
        clips_per_second: throughput by grid, named like "8 x 16 x 48²".
        input_wait_share: share of the fit that was spent waiting for input.
        input_wait_shares: the same of the steps at each grid; empty in reports of earlier versions.
        bad_videos: path to error of every unreadable file.
        replaced_clips: training clips replaced because of them, or validation clips left out.
    """

    steps: int
    baseline_steps: int
    seconds: float
    curve: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]
    still_metrics: Mapping[str, float] | None
    clips_per_second: Mapping[str, float]
    input_wait_share: float
    bad_videos: Mapping[str, str]
    replaced_clips: int
    input_wait_shares: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.steps:,} steps in {self.seconds:.0f} s, {self.baseline_steps / self.steps:.2f} "
            f"times fewer steps than the baseline's {self.baseline_steps:,}; "
            f"{self.input_wait_share:.0%} of the time waiting for input",
            "validation at the base grid: " + _named(self.metrics),
        ]
        if self.still_metrics is not None:
            lines.append("control, one frame repeated:  " + _named(self.still_metrics))
        lines.append("clips per second by grid (clips x frames x crop²), time waiting for input:")
        for grid, rate in self.clips_per_second.items():
            share = self.input_wait_shares.get(grid)
            lines.append(
                f"  {grid:>20}  {rate:8.1f}" + ("" if share is None else f"  {share:4.0%}")
            )
        if self.bad_videos:
            lines.append(
                f"{len(self.bad_videos)} unreadable videos, {self.replaced_clips} clips replaced"
            )
        return "\n".join(lines)


def train(
    *,
    run_dir: str,
    videos: VideoSet,
    model: Callable[..., keras.Model],
    optimizer: Callable[[], keras.optimizers.Optimizer],
    sampling: ClipSampling,
    seed: int = 0,
    initial_weights: str | None = None,
    inflate: bool = False,
    validations: int = 10,
    keep_decoded: bool = False,
    still_control: bool = False,
    precise_batches: int = 0,
    max_bad_share: float = 0.05,
    log_every: int = 10,
    workers: int | None = None,
    texts: Callable[[], Mapping[str, str]] = dict,
) -> Report:
    """Train a model by the schedule of its learning rate.

    A run folder that holds a checkpoint goes on from it; a finished one is left as it is.

    Args:
        run_dir: folder for checkpoints, TensorBoard's files and the report.
        videos: training and validation videos.
        model: makes the model; called with `classes` and `classifier_activation`.
        optimizer: makes the optimizer, whose learning rate is a `MultigridLearningRate`.
        sampling: how clips are taken from videos.
        seed: of weights, clips and dropout.
        initial_weights: what a new run begins with: a published checkpoint (`.pyth`, `.pkl`) or
            the `model.keras` of a run, whose classifier is left out if it has another number of
            classes; or `.weights.h5` of the same network. A run that goes on has its own.
        inflate: `initial_weights` are those of a network for pictures: a published checkpoint, or
            the `.keras` file of a `keras.applications.ResNet50`.
        validations: how often to validate and save; each is the end of a Keras epoch.
        keep_decoded: keep decoded videos in memory.
        still_control: at the end, validate with one frame repeated too: what do looks alone tell?
        precise_batches: batches of the base grid over which the statistics for evaluation are
            computed anew before each validation (`PreciseBatchNormalization`); published recipes
            take 200. 0 uses moving averages.
        max_bad_share: share of clips of unreadable videos at which the run stops.
        log_every: steps from one point of TensorBoard's curves to the next.
        workers: clips read at a time; by default the number of cores.
        texts: called when all is built; file name to text, saved with the run and shown in
            TensorBoard: the settings.

    Returns:
        The `Report`, also saved as `report.json`.

    Raises:
        ValueError: if settings do not fit each other, before any video is read.
    """
    # Keras takes a data set of unknown length, as one with unreadable videos is, for too short.
    warnings.filterwarnings("ignore", message="Your input ran out of data")
    keras.utils.set_random_seed(seed)
    network = _compiled(model, optimizer, videos)
    schedule = _schedule(network)
    bad_videos = BadVideos(os.path.join(run_dir, "bad_videos.txt"), max_share=max_bad_share)
    reading = {
        "sampling": sampling,
        "num_classes": videos.num_classes if videos.multi_label else None,
        "bad_videos": bad_videos,
        "keep_decoded": keep_decoded,
        "workers": workers,
    }
    start_step = _restore(network, run_dir)
    if start_step >= schedule.total_steps and os.path.exists(os.path.join(run_dir, _REPORT)):
        logging.info("%s is finished: nothing is left to train.", run_dir)
        return _read_report(run_dir)
    if initial_weights and not start_step:
        _load_initial_weights(network, initial_weights, inflate=inflate)
    validation = evaluation_batches(videos.validation, schedule.base, **reading)
    settings = texts()
    _save(settings, run_dir)
    save_classes(videos, run_dir)
    # Four spaces make a block of code of what TensorBoard takes for Markdown.
    blocks = {name: textwrap.indent(text, "    ") for name, text in settings.items()}
    multigrid = MultigridCallback(log_dir=run_dir, log_every=log_every, texts=blocks)
    curve = _Curve(run_dir, start_step)
    precise = []
    if precise_batches:
        plain = dataclasses.replace(schedule, long_cycle=(), short_cycle=())
        batches = training_batches(videos.train, plain, seed=seed + 1, **reading)
        precise = [PreciseBatchNormalization(batches, precise_batches)]
    begun, waited = time.perf_counter(), input_monitor.seconds()
    if start_step < schedule.total_steps:
        network.fit(
            training_batches(videos.train, schedule, seed=seed, start_step=start_step, **reading),
            validation_data=validation,
            callbacks=[multigrid, curve, *precise, _Checkpoint(run_dir)],
            shuffle=False,
            **_keras_epochs(schedule.total_steps, validations, start_step),
        )
    seconds = time.perf_counter() - begun
    waited = input_monitor.seconds() - waited
    still = None
    if still_control:
        reading["sampling"] = dataclasses.replace(sampling, still=True)
        still = _evaluate(network, evaluation_batches(videos.validation, schedule.base, **reading))
    report = Report(
        steps=int(network.optimizer.iterations),
        baseline_steps=schedule.baseline_steps,
        seconds=seconds,
        curve=curve.points,
        metrics=_evaluate(network, validation),
        still_metrics=still,
        clips_per_second={str(grid): rate for grid, rate in multigrid.clips_per_second.items()},
        input_wait_share=waited / seconds,
        input_wait_shares={str(grid): share for grid, share in multigrid.input_wait_shares.items()},
        bad_videos=bad_videos.errors,
        replaced_clips=bad_videos.replaced_clips,
    )
    network.save(os.path.join(run_dir, "model.keras"))
    _save({_REPORT: json.dumps(dataclasses.asdict(report), indent=1)}, run_dir)
    return report


class _Curve(keras.callbacks.Callback):
    """Results over training time, those before the step that a run goes on from included."""

    def __init__(self, run_dir: str, start_step: int):
        super().__init__()
        self._run_dir = run_dir
        self.points: list[dict[str, float]] = []
        path = os.path.join(run_dir, _CURVE)
        if start_step and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.points = [p for p in json.load(file) if p["step"] <= start_step]

    def on_train_begin(self, logs=None):
        self._begun = time.perf_counter()
        if self.points:
            self._begun -= self.points[-1]["seconds"]

    def on_test_begin(self, logs=None):
        self._test_begun = time.perf_counter()

    def on_test_end(self, logs=None):
        # As if validation had taken no time.
        self._begun += time.perf_counter() - self._test_begun

    def on_epoch_end(self, epoch, logs=None):
        point = {
            "step": int(self.model.optimizer.iterations),
            "seconds": time.perf_counter() - self._begun,
        }
        results = {name: float(value) for name, value in (logs or {}).items()}
        self.points.append({**point, **results})
        _save({_CURVE: json.dumps(self.points)}, self._run_dir)


class _Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimizer and its step, all that a run is, after each validation."""

    def __init__(self, run_dir: str):
        super().__init__()
        self._run_dir = run_dir

    def on_epoch_end(self, epoch, logs=None):
        unfinished = os.path.join(self._run_dir, f"unfinished.{_CHECKPOINT}")
        self.model.save_weights(unfinished)
        # As `_save`.
        os.replace(unfinished, os.path.join(self._run_dir, _CHECKPOINT))


def _compiled(model, optimizer, videos: VideoSet) -> keras.Model:
    """The network, compiled for one or several classes a video."""
    network = model(
        classes=videos.num_classes,
        classifier_activation="sigmoid" if videos.multi_label else "softmax",
    )
    if videos.multi_label:
        # The mean over classes of the area under precision and recall: mean average precision.
        metric = keras.metrics.AUC(
            curve="PR", multi_label=True, num_labels=videos.num_classes, name="mAP"
        )
        loss = "binary_crossentropy"
    else:
        metric, loss = "accuracy", "sparse_categorical_crossentropy"
    # XLA would compile each grid anew.
    network.compile(optimizer(), loss=loss, metrics=[metric], jit_compile=False)
    # A step that made the variables of the optimizer or of metrics would be traced twice.
    network.optimizer.build(network.trainable_variables)
    scores = np.zeros((1, videos.num_classes), np.float32)
    labels = scores if videos.multi_label else np.zeros(1, np.int32)
    network.compute_metrics(None, labels, scores)
    network.reset_metrics()
    return network


def _schedule(network: keras.Model) -> MultigridSchedule:
    policy = getattr(network.optimizer, "_learning_rate", None)
    if not isinstance(policy, MultigridLearningRate):
        raise ValueError(
            "`optimizer` must have a MultigridLearningRate. "
            f"Received: learning_rate={policy!r}. Set the optimizer's `learning_rate` to "
            "MultigridLearningRate(schedule, ...)."
        )
    return policy.schedule


def _restore(network: keras.Model, run_dir: str) -> int:
    """Load the run's checkpoint, if there is one; the step to go on from."""
    path = os.path.join(run_dir, _CHECKPOINT)
    if not os.path.exists(path):
        return 0
    network.load_weights(path)
    step = int(network.optimizer.iterations)
    logging.info("Going on from step %d of %s.", step, path)
    return step


def _load_initial_weights(network: keras.Model, path: str, *, inflate: bool) -> None:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"`initial_weights` must be a file of weights. Received: {path!r}, which is not a "
            "file. Set training.train.initial_weights to where the checkpoint is."
        )
    if inflate:
        inflate_weights(network, path)
    elif path.endswith(".weights.h5"):
        network.load_weights(path)
    else:
        load_published_weights(network, path, skip_head=None)


def _keras_epochs(total_steps: int, validations: int, start_step: int) -> dict[str, int]:
    """Keras epochs that end with a validation each; the callback ends the last one in time."""
    steps = -(-total_steps // validations)
    epochs = -(-total_steps // steps)
    return {"steps_per_epoch": steps, "epochs": epochs, "initial_epoch": start_step // steps}


def _read_report(run_dir: str) -> Report:
    with open(os.path.join(run_dir, _REPORT), encoding="utf-8") as file:
        return Report(**json.load(file))


def _evaluate(network: keras.Model, batches) -> dict[str, float]:
    results = network.evaluate(batches, return_dict=True, verbose=0)
    return {name: float(value) for name, value in results.items()}


def _save(texts: Mapping[str, str], run_dir: str) -> None:
    os.makedirs(run_dir, exist_ok=True)
    for name, text in texts.items():
        path = os.path.join(run_dir, name)
        # Whole or not at all: a run may be killed while it writes.
        with open(f"{path}.unfinished", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{path}.unfinished", path)


def _named(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
