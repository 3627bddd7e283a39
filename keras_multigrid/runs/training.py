"""A whole training run: settings in, one fit, a report out."""

import dataclasses
import hashlib
import os
import textwrap
import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf
from absl import logging

from keras_multigrid import distribute, files, replicas
from keras_multigrid.callbacks import (
    MultigridCallback,
    MultigridCheckpoint,
    PreciseBatchStatistics,
)
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.input import Input
from keras_multigrid.data.records.serving import check_address
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.monitor import StreamMonitor
from keras_multigrid.runs import run_folder
from keras_multigrid.runs.building import compiled_network, load_initial_weights
from keras_multigrid.runs.curve import Curve
from keras_multigrid.runs.report import Report
from keras_multigrid.runs.settings import Data, Settings
from keras_multigrid.schedule import Grid, MultigridSchedule

__all__ = ["Report", "train"]

# As every run was sampled before these could be set.
_FORMER_SAMPLING = {"keep_view": False, "keep_span": False}


def train(settings: Settings) -> Report | None:
    """Train a model by a multigrid schedule.

    A run folder that holds a checkpoint goes on from it at its very step; a finished one is left as
    it is. One that was begun before `ClipSampling` had `keep_view` and `keep_span` goes on without.

    Args:
        settings: all that decides about the run.

    Returns:
        The `Report`, also saved as `report.json`; None on a worker that has none of a finished run.

    Raises:
        ValueError: if settings do not fit each other, before any video is read; or if they are not
            those that the run began with.
        DivergedError: if the loss is not finite.
        StorageError: if a remote file system does not answer, or files cannot be written.
        WorkerLostError: if another worker is lost.
    """
    _check_addresses(settings)
    strategy = settings.hardware.strategy()
    keras.utils.set_random_seed(settings.seed)
    schedule = dataclasses.replace(
        settings.optimization.schedule, replicas=strategy.num_replicas_in_sync
    )
    with strategy.scope():
        network = distribute.prepare(
            compiled_network(
                settings.model, settings.optimization, settings.data.videos.task, schedule
            )
        )
    checkpoint = _make_checkpoint(settings, network)
    run_folder.refuse_earlier_version(settings.run_dir)
    start_step = checkpoint.restore(network)
    is_complete = start_step >= schedule.total_steps
    report = run_folder.read_report(settings.run_dir) if is_complete else None
    if distribute.agree(strategy, start_step, is_finished=report is not None):
        logging.info("%s is finished: nothing is left to train.", settings.run_dir)
        return report
    if not start_step:
        load_initial_weights(network, settings.model)
    settings = dataclasses.replace(settings, data=_data_as_begun(settings, checkpoint))
    return _Run(settings, strategy, schedule, network, checkpoint, start_step).to_its_end()


class _Run:
    """What is left of a run."""

    def __init__(
        self,
        settings: Settings,
        strategy: tf.distribute.Strategy,
        schedule: MultigridSchedule,
        network: keras.Model,
        checkpoint: MultigridCheckpoint,
        start_step: int,
    ):
        self._settings, self._strategy, self._schedule = settings, strategy, schedule
        self._network, self._checkpoint, self._start_step = network, checkpoint, start_step
        self._is_chief = replicas.is_chief(network)
        bad_list = os.path.join(settings.run_dir, "bad_videos.txt") if self._is_chief else None
        self._bad_videos = BadVideos(bad_list, max_share=settings.data.max_bad_share)
        self._source = settings.data.source(self._bad_videos)
        self._monitor = StreamMonitor()
        self._curve = Curve(settings.run_dir, start_step)

    def to_its_end(self) -> Report:
        """Train, evaluate, save."""
        texts = self._settings.logging.texts()
        if self._is_chief:
            run_folder.save_texts(texts, self._settings.run_dir)
            run_folder.save_classes(self._settings.data.videos, self._settings.run_dir)
        multigrid = self._multigrid(texts)
        with distribute.watched_workers(self._strategy):
            seconds = self._fit(multigrid)
            metrics, still = self._evaluate(self._source), None
            if self._settings.logging.still_control:
                still = self._evaluate(self._source.still())
        report = Report(
            steps=replicas.steps_trained(self._network),
            baseline_steps=self._schedule.baseline_steps,
            seconds=seconds,
            curve=self._curve.points,
            metrics=metrics,
            still_metrics=still,
            clips_per_second=_by_grid_name(multigrid.clips_per_second),
            input_wait_share=self._monitor.seconds_waited / seconds,
            input_wait_shares=_by_grid_name(multigrid.input_wait_shares),
            bad_videos=self._bad_videos.errors,
            replaced_clips=self._bad_videos.replaced_clips,
        )
        if self._is_chief:
            run_folder.save_model(self._network, self._settings.run_dir)
            run_folder.save_report(report, self._settings.run_dir)
        return report

    def _fit(self, multigrid: MultigridCallback) -> float:
        """Train what is left, validations included; the seconds that it took."""
        keras_epochs = _keras_epochs(self._schedule.total_steps, self._settings.logging.validations)
        callbacks = self._callbacks(multigrid, keras_epochs)
        validation = self._validation(self._source)
        # Keras takes a data set of unknown length, as one with unreadable videos is, for too short.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        begun = time.perf_counter()
        total_steps = self._schedule.total_steps
        if self._checkpoint.is_validation_due(keras_epochs["steps_per_epoch"], total_steps):
            _validate(self._network, validation, callbacks, self._checkpoint)
        if self._start_step < total_steps:
            self._network.fit(
                self._training(),
                validation_data=validation,
                callbacks=callbacks,
                shuffle=False,
                **keras_epochs,
            )
        return time.perf_counter() - begun

    def _training(self):
        settings = {"seed": self._settings.seed, "start_step": self._start_step}
        with self._monitor.attached():
            return self._batches(
                lambda context: _weighted(
                    self._source.training(self._schedule, input_context=context, **settings),
                    self._settings.optimization.class_weight,
                )
            )

    def _validation(self, source: Input):
        grid = self._schedule.baseline_grid
        return self._batches(lambda context: source.validation(grid, input_context=context))

    def _batches(self, make: Callable):
        return distribute.batches(self._strategy, make)

    def _evaluate(self, source: Input) -> dict[str, float]:
        batches = self._validation(source)
        results = self._network.evaluate(batches, return_dict=True, verbose=0)
        return {name: float(value) for name, value in results.items()}

    def _multigrid(self, texts: Mapping[str, str]) -> MultigridCallback:
        return MultigridCallback(
            self._schedule,
            log_dir=self._settings.run_dir,
            log_every=self._settings.logging.log_every,
            # Four spaces make a block of code of what TensorBoard takes for Markdown.
            texts={name: textwrap.indent(text, "    ") for name, text in texts.items()},
            monitor=self._monitor,
        )

    def _callbacks(
        self, multigrid: MultigridCallback, keras_epochs: Mapping[str, int]
    ) -> keras.callbacks.CallbackList:
        """As `fit` makes it; a validation that was cut off needs it before."""
        callbacks = [multigrid, *self._settings.logging.callbacks]
        num_precise = self._settings.optimization.precise_batches
        if num_precise:
            plain, seed = self._schedule.baseline(), self._settings.seed + 1
            batches = self._batches(
                lambda context: self._source.training(plain, seed=seed, input_context=context)
            )
            callbacks.append(PreciseBatchStatistics(batches, num_precise))
        return keras.callbacks.CallbackList(
            [*callbacks, self._curve, self._checkpoint],
            add_history=True,
            add_progbar=self._is_chief,
            model=self._network,
            verbose=1,
            epochs=keras_epochs["epochs"],
            steps=keras_epochs["steps_per_epoch"],
        )


def _check_addresses(settings: Settings) -> None:
    """Refuse file systems that are not there, and what is no input service."""
    folders = (
        settings.run_dir,
        settings.checkpoints.folder,
        settings.model.initial_weights,
    )
    for folder in filter(None, folders):
        files.check_scheme(folder)
    if settings.data.service is not None:
        check_address(settings.data.service)


def _make_checkpoint(settings: Settings, network: keras.Model) -> MultigridCheckpoint:
    data, checkpoints = settings.data, settings.checkpoints
    return MultigridCheckpoint(
        checkpoints.folder or os.path.join(settings.run_dir, "checkpoints"),
        every=checkpoints.every,
        keep=checkpoints.keep,
        monitor=data.videos.task.monitor,
        mode=data.videos.task.mode,
        settings={
            "seed": settings.seed,
            "training_videos": _fingerprint(data.videos.train),
            "validation_videos": _fingerprint(data.videos.validation),
            "model": network.get_config(),
            "sampling": dataclasses.asdict(data.sampling),
            "validations": settings.logging.validations,
            "precise_batches": settings.optimization.precise_batches,
            **_named_settings(settings),
        },
        allow_changes=checkpoints.allow_changes,
        former_settings={f"sampling.{name}": value for name, value in _FORMER_SAMPLING.items()},
    )


def _named_settings(settings: Settings) -> dict[str, str]:
    """Names of the functions and objects that a run was given; nothing for defaults."""
    given = {
        "augment": settings.data.augment,
        "loss": settings.optimization.loss,
        "class_weight": settings.optimization.class_weight,
    }
    return {name: _name(value) for name, value in given.items() if value is not None}


def _name(value: object) -> str:
    if isinstance(value, (str, dict)):
        return str(value)
    return getattr(value, "__qualname__", type(value).__qualname__)


def _data_as_begun(settings: Settings, checkpoint: MultigridCheckpoint) -> Data:
    """The data, sampled as published if an earlier version began the run."""
    if not checkpoint.former_settings:
        return settings.data
    logging.warning(
        "%s was begun by an earlier version, which sampled clips as published: it goes on so, "
        "with keep_view=False and keep_span=False.",
        settings.run_dir,
    )
    sampling = dataclasses.replace(settings.data.sampling, **_FORMER_SAMPLING)
    return dataclasses.replace(settings.data, sampling=sampling)


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


def _weighted(batches: tf.data.Dataset, class_weight: Mapping[int, float] | None):
    """(clips, labels, weights), the weight of each clip by its class."""
    if class_weight is None:
        return batches
    if len(batches.element_spec[1].shape) != 1:
        raise ValueError(
            "`class_weight` is for videos with one class each. Received: labels of shape "
            f"{batches.element_spec[1].shape}. Use a weighted `loss` instead."
        )
    table = [class_weight.get(number, 1.0) for number in range(max(class_weight) + 1)]

    def weighted(clips, labels):
        known = tf.minimum(tf.cast(labels, tf.int32), len(table))
        return clips, labels, tf.gather(tf.constant([*table, 1.0]), known)

    return batches.map(weighted)


def _fingerprint(videos: Sequence[VideoRecord]) -> str:
    """A text that differs for other lists of videos, wherever they are: names, labels, order."""
    if hasattr(videos, "fingerprint"):
        return videos.fingerprint
    digest = hashlib.sha256()
    for video in videos:
        name = os.path.basename(video.path).encode("utf-8", "surrogateescape")
        digest.update(b"%b\0%b\0" % (name, repr(video.label).encode()))
    return f"{len(videos)} videos, {digest.hexdigest()[:16]}"


def _keras_epochs(total_steps: int, validations: int) -> dict[str, int]:
    """Keras epochs that end with a validation each; the callback ends the last one in time."""
    steps = -(-total_steps // validations)
    epochs = -(-total_steps // steps)
    return {"steps_per_epoch": steps, "epochs": epochs}


def _by_grid_name(values: Mapping[Grid, float]) -> dict[str, float]:
    return {str(grid): value for grid, value in values.items()}
