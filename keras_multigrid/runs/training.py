"""A whole training run: settings in, one fit, a report out."""

import dataclasses
import hashlib
import json
import os
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from keras_multigrid import distribute, files, monitor, replicas
from keras_multigrid.callbacks.batch_statistics import PreciseBatchNormalization
from keras_multigrid.callbacks.checkpoint import MultigridCheckpoint
from keras_multigrid.callbacks.multigrid import MultigridCallback
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.pipeline import evaluation_batches, training_batches
from keras_multigrid.data.records import serving
from keras_multigrid.data.records.recorded_videos import RecordedVideos
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.learning_rate import MultigridLearningRate, policy_of
from keras_multigrid.models.weights.published import inflate_weights, load_published_weights
from keras_multigrid.runs.evaluation import save_classes
from keras_multigrid.schedule import Grid

_CURVE = "curve.json"
_REPORT = "report.json"
# As every run was sampled before these could be set.
_FORMER_SAMPLING = {"keep_view": False, "keep_span": False}
_NO_WEIGHTS = (
    "`initial_weights` must be a file of weights. Received: {!r}, which is not a file. Set "
    "runs.train.initial_weights to where the checkpoint is."
)


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
    service: str | None = None,
    strategy: Callable[[], tf.distribute.Strategy] = distribute.find_strategy,
    checkpoint_dir: str | None = None,
    checkpoint_every: int = 500,
    keep_checkpoints: int = 3,
    allow_changes: bool = False,
    texts: Callable[[], Mapping[str, str]] = dict,
) -> Report | None:
    """Train a model by the schedule of its learning rate.

    A run folder that holds a checkpoint goes on from it at its very step; a finished one is left as
    it is. One that was begun before `ClipSampling` had `keep_view` and `keep_span` goes on without.
    The clips of the schedule's batches are rounded to a multiple of the devices.

    Args:
        run_dir: folder for checkpoints, TensorBoard's files and the report, local or remote like
            s3://bucket/run.
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
        service: address of an input service that reads the clips, grpc://HOST:PORT
            (tools/serve_data.py); the videos must be records.
        strategy: finds the distribution strategy. Of several workers one writes.
        checkpoint_dir: folder for checkpoints, local or remote like s3://bucket/run, which several
            workers share; None takes one in `run_dir`.
        checkpoint_every: steps from one checkpoint to the next; there is one after each validation,
            too, and one at SIGTERM.
        keep_checkpoints: how many of the last to keep; that of the best validation is kept, too.
        allow_changes: go on with other settings than the run began with.
        texts: called when all is built; file name to text, saved with the run and shown in
            TensorBoard: the settings.

    Returns:
        The `Report`, also saved as `report.json`; None on a worker that has none of a finished run.

    Raises:
        ValueError: if settings do not fit each other, before any video is read; or if they are not
            those that the run began with.
        DivergedError: if the loss is not finite.
        StorageError: if a remote file system does not answer, or files cannot be written.
        WorkerLostError: if another worker is lost.
    """
    for folder in filter(None, (run_dir, checkpoint_dir, initial_weights)):
        files.check_scheme(folder)
    if service is not None:
        serving.check_address(service)
    found = strategy()
    # Keras takes a data set of unknown length, as one with unreadable videos is, for too short.
    warnings.filterwarnings("ignore", message="Your input ran out of data")
    keras.utils.set_random_seed(seed)
    with found.scope():
        network = distribute.prepare(_compiled(model, optimizer, videos))
    schedule = policy_of(network).schedule
    is_chief = replicas.is_chief(network)
    bad_videos = BadVideos(
        os.path.join(run_dir, "bad_videos.txt") if is_chief else None, max_share=max_bad_share
    )
    reading = {
        "sampling": sampling,
        "num_classes": videos.num_classes if videos.multi_label else None,
        "bad_videos": bad_videos,
        "keep_decoded": keep_decoded,
        "workers": workers,
        "service": service,
    }

    def batches(make, clips, schedule_or_grid, **settings):
        settings = {**reading, **settings}
        return distribute.batches(
            found,
            lambda context: make(clips, schedule_or_grid, input_context=context, **settings),
        )

    checkpoint = MultigridCheckpoint(
        checkpoint_dir or os.path.join(run_dir, "checkpoints"),
        every=checkpoint_every,
        keep=keep_checkpoints,
        monitor="val_mAP" if videos.multi_label else "val_accuracy",
        settings={
            "seed": seed,
            "training_videos": _fingerprint(videos.train),
            "validation_videos": _fingerprint(videos.validation),
            "model": network.get_config(),
            "sampling": dataclasses.asdict(sampling),
            "validations": validations,
            "precise_batches": precise_batches,
        },
        allow_changes=allow_changes,
        former_settings={f"sampling.{name}": value for name, value in _FORMER_SAMPLING.items()},
    )
    _refuse_earlier_version(run_dir)
    start_step = checkpoint.restore(network)
    if checkpoint.former_settings:
        logging.warning(
            "%s was begun by an earlier version, which sampled clips as published: it goes on so, "
            "with keep_view=False and keep_span=False.",
            run_dir,
        )
        sampling = reading["sampling"] = dataclasses.replace(sampling, **_FORMER_SAMPLING)
    report = _read_report(run_dir) if start_step >= schedule.total_steps else None
    if distribute.agree(found, start_step, is_finished=report is not None):
        logging.info("%s is finished: nothing is left to train.", run_dir)
        return report
    if initial_weights and not start_step:
        _load_initial_weights(network, initial_weights, inflate=inflate)
    validation = batches(evaluation_batches, videos.validation, schedule.baseline_grid)
    settings = texts()
    if is_chief:
        _save(settings, run_dir)
        save_classes(videos, run_dir)
    # Four spaces make a block of code of what TensorBoard takes for Markdown.
    blocks = {name: textwrap.indent(text, "    ") for name, text in settings.items()}
    multigrid = MultigridCallback(log_dir=run_dir, log_every=log_every, texts=blocks)
    curve = _Curve(run_dir, start_step)
    precise = []
    if precise_batches:
        plain = batches(training_batches, videos.train, schedule.baseline(), seed=seed + 1)
        precise = [PreciseBatchNormalization(plain, precise_batches)]
    keras_epochs = _keras_epochs(schedule.total_steps, validations)
    callbacks = _callbacks([multigrid, *precise, curve, checkpoint], network, keras_epochs)
    begun, waited = time.perf_counter(), monitor.seconds()
    with distribute.watched_workers(found):
        if checkpoint.is_validation_due(keras_epochs["steps_per_epoch"], schedule.total_steps):
            _validate(network, validation, callbacks, checkpoint)
        if start_step < schedule.total_steps:
            network.fit(
                batches(training_batches, videos.train, schedule, seed=seed, start_step=start_step),
                validation_data=validation,
                callbacks=callbacks,
                shuffle=False,
                **keras_epochs,
            )
        seconds = time.perf_counter() - begun
        waited = monitor.seconds() - waited
        metrics, still = _evaluate(network, validation), None
        if still_control:
            still_videos = batches(
                evaluation_batches,
                videos.validation,
                schedule.baseline_grid,
                sampling=dataclasses.replace(sampling, still=True),
            )
            still = _evaluate(network, still_videos)
    report = Report(
        steps=replicas.steps_trained(network),
        baseline_steps=schedule.baseline_steps,
        seconds=seconds,
        curve=curve.points,
        metrics=metrics,
        still_metrics=still,
        clips_per_second=_by_grid_name(multigrid.clips_per_second),
        input_wait_share=waited / seconds,
        input_wait_shares=_by_grid_name(multigrid.input_wait_shares),
        bad_videos=bad_videos.errors,
        replaced_clips=bad_videos.replaced_clips,
    )
    if is_chief:
        _save_model(network, os.path.join(run_dir, "model.keras"))
        _save({_REPORT: json.dumps(dataclasses.asdict(report), indent=1)}, run_dir)
    return report


class _Curve(keras.callbacks.Callback):
    """Results over training time, those before the step that a run goes on from included."""

    def __init__(self, run_dir: str, start_step: int):
        super().__init__()
        self._run_dir = run_dir
        points = _read_json(run_dir, _CURVE) if start_step else None
        self.points = [p for p in points or () if p["step"] <= start_step]

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
            "step": replicas.steps_trained(self.model),
            "seconds": time.perf_counter() - self._begun,
        }
        results = {name: float(value) for name, value in (logs or {}).items()}
        self.points.append({**point, **results})
        if replicas.is_chief(self.model):
            _save({_CURVE: json.dumps(self.points)}, self._run_dir)


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
    strategy = tf.distribute.get_strategy()
    optimizer = _on_replicas(optimizer(), strategy.num_replicas_in_sync)
    network.compile(optimizer, loss=loss, metrics=[metric], jit_compile=False)
    # A step that made the variables of the optimizer or of metrics would be traced twice; and under
    # a strategy, Keras would read a batch to build them from.
    network.optimizer.build(network.trainable_variables)
    scores = np.zeros((1, videos.num_classes), np.float32)
    labels = scores if videos.multi_label else np.zeros(1, np.int32)
    strategy.run(lambda: network.compute_metrics(None, labels, scores))
    strategy.run(lambda: network.compute_loss(None, labels, scores))
    network.reset_metrics()
    return network


def _on_replicas(optimizer: keras.optimizers.Optimizer, count: int) -> keras.optimizers.Optimizer:
    """The optimizer, its schedule made for so many devices."""
    policy = getattr(optimizer, "_learning_rate", None)
    if not isinstance(policy, MultigridLearningRate):
        raise ValueError(
            "`optimizer` must have a MultigridLearningRate. "
            f"Received: learning_rate={policy!r}. Set the optimizer's `learning_rate` to "
            "MultigridLearningRate(schedule, ...)."
        )
    if policy.schedule.replicas == count:
        return optimizer
    rate = keras.optimizers.schedules.serialize(policy.on_replicas(count))
    return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": rate})


def _callbacks(
    callbacks: Sequence[keras.callbacks.Callback],
    network: keras.Model,
    keras_epochs: Mapping[str, int],
) -> keras.callbacks.CallbackList:
    """As `fit` makes it; a validation that was cut off needs it before."""
    return keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=replicas.is_chief(network),
        model=network,
        verbose=1,
        epochs=keras_epochs["epochs"],
        steps=keras_epochs["steps_per_epoch"],
    )


def _refuse_earlier_version(run_dir: str) -> None:
    # No run of that version was remote.
    if os.path.exists(os.path.join(run_dir, "checkpoint.weights.h5")):
        raise ValueError(
            f"{run_dir} holds a run of an earlier version, which this one does not go on with. Use "
            "another RUN_DIR."
        )


def _by_grid_name(values: Mapping[Grid, float]) -> dict[str, float]:
    return {str(grid): value for grid, value in values.items()}


def _validate(network, validation, callbacks, checkpoint: MultigridCheckpoint) -> None:
    """The validation that was cut off, as `fit` would have ended the Keras epoch."""
    checkpoint.restore_metrics(network)
    logs = {name: float(value) for name, value in network.get_metrics_result().items()}
    epoch = (replicas.steps_trained(network) - 1) // callbacks.params["steps"]
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    results = network.evaluate(validation, callbacks=callbacks, return_dict=True)
    callbacks.on_epoch_end(epoch, {**logs, **{f"val_{k}": v for k, v in results.items()}})
    callbacks.on_train_end()


def _fingerprint(videos: Sequence[VideoRecord]) -> str:
    """Tells lists of videos apart, wherever they are: names, labels and their order."""
    if isinstance(videos, RecordedVideos):
        return f"{len(videos)} recorded videos, {videos.digest[:16]}"
    digest = hashlib.sha256()
    for video in videos:
        name = os.path.basename(video.path).encode("utf-8", "surrogateescape")
        digest.update(b"%b\0%b\0" % (name, repr(video.label).encode()))
    return f"{len(videos)} videos, {digest.hexdigest()[:16]}"


def _load_initial_weights(network: keras.Model, path: str, *, inflate: bool) -> None:
    if not files.is_remote(path) and not os.path.isfile(path):
        raise FileNotFoundError(_NO_WEIGHTS.format(path))
    try:
        with files.local_copy(path) as file:
            if inflate:
                inflate_weights(network, file)
            elif path.endswith(".weights.h5"):
                network.load_weights(file)
            else:
                load_published_weights(network, file, skip_head=None)
    except FileNotFoundError:
        raise FileNotFoundError(_NO_WEIGHTS.format(path)) from None


def _keras_epochs(total_steps: int, validations: int) -> dict[str, int]:
    """Keras epochs that end with a validation each; the callback ends the last one in time."""
    steps = -(-total_steps // validations)
    epochs = -(-total_steps // steps)
    return {"steps_per_epoch": steps, "epochs": epochs}


def _read_report(run_dir: str) -> Report | None:
    content = _read_json(run_dir, _REPORT)
    return None if content is None else Report(**content)


def _read_json(run_dir: str, name: str) -> Any:
    path = os.path.join(run_dir, name)
    content = files.read(path)
    try:
        return None if content is None else json.loads(content)
    except ValueError as error:
        raise files.StorageError(
            f"{path} must be JSON ({error}). Delete it: the run then goes on without it."
        ) from None


def _evaluate(network: keras.Model, batches) -> dict[str, float]:
    results = network.evaluate(batches, return_dict=True, verbose=0)
    return {name: float(value) for name, value in results.items()}


def _save_model(network: keras.Model, path: str) -> None:
    if not files.is_remote(path):
        network.save(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, os.path.basename(path))
        network.save(file)
        files.upload(file, path)


def _save(texts: Mapping[str, str], run_dir: str) -> None:
    for name, text in texts.items():
        files.write(os.path.join(run_dir, name), text)


def _named(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
