"""A whole training run: settings in, one fit, a report out."""

import contextlib
import dataclasses
import hashlib
import os
import textwrap
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from keras_multigrid import compat, distribute, files, progress, replicas
from keras_multigrid.augmentation import Augmentation
from keras_multigrid.callbacks import (
    AveragedWeights,
    MultigridCallback,
    MultigridCheckpoint,
    PreciseBatchStatistics,
    ProgressLog,
)
from keras_multigrid.callbacks.averaged_weights import check_averages
from keras_multigrid.callbacks.lease import Lease
from keras_multigrid.callbacks.lookup import inner_optimizer, steps_trained
from keras_multigrid.data.augmenting import check_pairs
from keras_multigrid.data.bad_videos import BadVideos, TooManyBadVideosError
from keras_multigrid.data.check.set_report import checked_report
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import Input
from keras_multigrid.data.records.serving import check_address
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.monitor import StreamMonitor
from keras_multigrid.runs import class_weighting, run_folder
from keras_multigrid.runs.building import compiled_network, load_initial_weights
from keras_multigrid.runs.curve import Curve
from keras_multigrid.runs.frozen import parameters_in_words
from keras_multigrid.runs.report import Report
from keras_multigrid.runs.settings import Data, Settings
from keras_multigrid.runs.step_seed import StepSeed
from keras_multigrid.schedule import Grid, MultigridSchedule

__all__ = ["Report", "train"]

# As every run was sampled before these could be set.
_FORMER_SAMPLING = {"keep_view": False, "keep_span": False}


@compat.forgotten_traces()
def train(settings: Settings) -> Report | None:
    """Train a model by a multigrid schedule.

    A run whose folder holds a checkpoint resumes from it at the exact step; a finished one is left
    as it is. One begun before `ClipSampling` had `keep_view` and `keep_span` resumes without them.

    Args:
        settings: all that decides about the run.

    Returns:
        The `Report`, also saved as `report.json`; None on a worker that has none of a finished run.

    Raises:
        ValueError: if settings do not fit each other, before any video is read; if they are not
            those that the run began with; or if a part of the videos is empty or all of one class.
        FileNotFoundError: if the first videos of a part are all missing.
        TooManyBadVideosError: if more clips than a set share, or no validation video, can be read.
        DivergedError: if the loss is not finite.
        FolderInUseError: if another process trains in the folder.
        StorageError: if a remote file system does not answer, or files cannot be written.
        WorkerLostError: if another worker is lost.
    """
    _check_addresses(settings)
    optimization = class_weighting.in_numbers(settings.optimization, settings.data)
    strategy = settings.hardware.strategy()
    distribute.check_backend(strategy)
    keras.utils.set_random_seed(settings.seed)
    schedule = dataclasses.replace(
        settings.optimization.schedule, replicas=distribute.device_count(strategy)
    )
    source = settings.data.source(BadVideos())
    check_pairs(source.augment, schedule, strategy.num_replicas_in_sync, source.sampling.repeats)
    with strategy.scope():
        network = distribute.prepare(
            compiled_network(settings.model, optimization, source.task, schedule)
        )
    if inner_optimizer(network).use_ema:
        check_averages(network, has_statistics=settings.optimization.precise_batches > 0)
    checkpoint = _make_checkpoint(settings, network)
    settings = dataclasses.replace(settings, optimization=optimization)
    run_folder.refuse_earlier_version(settings.run_dir)
    with contextlib.ExitStack() as stack:
        # Of several workers one writes.
        if replicas.is_chief(network):
            stack.enter_context(Lease(settings.run_dir))
        return _train_the_rest(settings, strategy, schedule, network, checkpoint)


def _train_the_rest(
    settings: Settings,
    strategy: tf.distribute.Strategy,
    schedule: MultigridSchedule,
    network: keras.Model,
    checkpoint: MultigridCheckpoint,
) -> Report | None:
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


@dataclasses.dataclass(frozen=True)
class _Run:
    """What is left of a run."""

    settings: Settings
    strategy: tf.distribute.Strategy
    schedule: MultigridSchedule
    network: keras.Model
    checkpoint: MultigridCheckpoint
    start_step: int

    def to_its_end(self) -> Report:
        """Train, evaluate, save."""
        settings, run_dir = self.settings, self.settings.run_dir
        is_chief = replicas.is_chief(self.network)
        set_report = checked_report(settings.data.videos)
        texts = {name: files.redacted(text) for name, text in settings.logging.texts().items()}
        if is_chief:
            print(set_report, flush=True)
            if frozen := parameters_in_words(self.network):
                print(frozen, flush=True)
            run_folder.remove_unfinished(run_dir)
            run_folder.save_texts(texts, run_dir)
            run_folder.save_classes(settings.data.videos, run_dir)
            run_folder.save_clips(self.schedule.base, settings.data.sampling, run_dir)
        bad_list = os.path.join(run_dir, "bad_videos.txt") if is_chief else None
        bad_videos = BadVideos(bad_list, max_share=settings.data.max_bad_share)
        source = settings.data.source(bad_videos)
        monitor, curve = StreamMonitor(), Curve(run_dir, self.start_step)
        multigrid = MultigridCallback(
            self.schedule,
            log_dir=run_dir,
            log_every=settings.logging.log_every,
            # Four spaces make a block of code of what TensorBoard takes for Markdown.
            texts={name: textwrap.indent(text, "    ") for name, text in texts.items()},
            monitor=monitor,
        )
        with distribute.watched_workers(self.strategy):
            seconds = self._fit(source, multigrid, curve, monitor)
            metrics, still = self._evaluate(source), None
            if settings.logging.still_control:
                still = self._evaluate(source.still())
        report = Report(
            steps=steps_trained(self.network),
            baseline_steps=self.schedule.baseline_steps,
            work=self.schedule.work_before(steps_trained(self.network)),
            seconds=seconds,
            curve=curve.points,
            metrics=metrics,
            still_metrics=still,
            clips_per_second=_by_grid_name(multigrid.clips_per_second),
            input_wait_share=monitor.seconds_waited / seconds,
            input_wait_shares=_by_grid_name(multigrid.input_wait_shares),
            bad_videos=bad_videos.errors,
            replaced_clips=bad_videos.replaced_clips,
        )
        if is_chief:
            run_folder.save_model(self.network, run_dir)
            run_folder.save_report(report, run_dir)
        return report

    def _fit(
        self, source: Input, multigrid: MultigridCallback, curve: Curve, monitor: StreamMonitor
    ) -> float:
        """Train what is left, validations included; the seconds that it took."""
        total_steps = self.schedule.total_steps
        # Keras epochs end with a validation each; the callback ends the last one in time.
        steps = -(-total_steps // self.settings.logging.validations)
        epochs = -(-total_steps // steps)
        progress_log = [] if progress.is_terminal() else [ProgressLog(self.schedule)]
        statistics = self._statistics(source)
        # As `fit` makes it; a validation that was cut off needs it before.
        callbacks = keras.callbacks.CallbackList(
            [
                multigrid,
                StepSeed(self.settings.seed),
                *self.settings.logging.callbacks,
                *statistics,
                _ValidationsRead(source),
                curve,
                *progress_log,
                self.checkpoint,
            ],
            add_history=True,
            add_progbar=replicas.is_chief(self.network) and not progress_log,
            model=self.network,
            verbose=1,
            epochs=epochs,
            steps=steps,
        )
        validation = self._validation(source)
        # Keras takes a data set of unknown length, as one with unreadable videos is, for too short.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        begun = time.perf_counter()
        if self.checkpoint.is_validation_due(steps, total_steps):
            _validate(self.network, validation, callbacks, self.checkpoint)
        if self.start_step < total_steps:
            with monitor.attached():
                batches = self._training(source)
            self.network.fit(
                batches,
                validation_data=validation,
                callbacks=callbacks,
                shuffle=False,
                steps_per_epoch=steps,
                epochs=epochs,
            )
        for callback in statistics:
            if isinstance(callback, AveragedWeights):
                # A run that was saved at its end has not trained here.
                callback.apply(self.network)
        return time.perf_counter() - begun

    def _training(self, source: Input):
        class_weight = self.settings.optimization.class_weight
        task = source.videos.task

        def make(context):
            batches = source.training(
                self.schedule,
                seed=self.settings.seed,
                start_step=self.start_step,
                input_context=context,
            )
            return class_weighting.weighted(batches, class_weight, task)

        return distribute.batches(self.strategy, make)

    def _statistics(self, source: Input) -> list[keras.callbacks.Callback]:
        """What computes the statistics that are evaluated, with averaged weights if there are."""
        averages = inner_optimizer(self.network).use_ema
        num_batches = self.settings.optimization.precise_batches
        if not num_batches:
            return [AveragedWeights()] if averages else []
        plain, seed = self.schedule.baseline(), self.settings.seed + 1
        batches = distribute.batches(
            self.strategy,
            lambda context: source.training(plain, seed=seed, input_context=context),
        )
        precise = PreciseBatchStatistics(batches, num_batches)
        return [AveragedWeights(precise) if averages else precise]

    def _validation(self, source: Input):
        grid = self.schedule.baseline_grid
        return distribute.batches(
            self.strategy, lambda context: source.validation(grid, input_context=context)
        )

    def _evaluate(self, source: Input) -> dict[str, float]:
        results = self.network.evaluate(self._validation(source), return_dict=True, verbose=0)
        _refuse_no_results(results, source)
        return {name: float(value) for name, value in results.items()}


class _ValidationsRead(keras.callbacks.Callback):
    """Ends a run at a validation of which no video could be read: it would report nothing."""

    def __init__(self, source: Input):
        super().__init__()
        self._source = source

    def on_test_end(self, logs=None):
        _refuse_no_results(logs, self._source)


def _refuse_no_results(results: Mapping[str, float] | None, source: Input) -> None:
    if not results:
        errors = source.bad_videos.errors
        paths = (video.path for video in source.videos.validation)
        first = next((errors[path] for path in paths if path in errors), "nobody was told why")
        raise TooManyBadVideosError(
            f"None of the {len(source.videos.validation)} validation videos can be read. "
            f"The first: {first}"
        )


def _check_addresses(settings: Settings) -> None:
    """Refuse file systems that are not there, and what is no input service."""
    for path in (settings.run_dir, settings.checkpoints.folder, settings.model.initial_weights):
        if path:
            files.check_scheme(path)
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
            "sampling": _sampling(data.sampling),
            "validations": settings.logging.validations,
            "precise_batches": settings.optimization.precise_batches,
            **_named_settings(settings),
        },
        allow_changes=checkpoints.allow_changes,
        former_settings={f"sampling.{name}": value for name, value in _FORMER_SAMPLING.items()},
    )


def _sampling(sampling: ClipSampling) -> dict[str, Any]:
    """Its settings, without those at their default that earlier versions did not have."""
    values = dataclasses.asdict(sampling)
    if sampling.repeats == 1:
        del values["repeats"]
    return values


def _named_settings(settings: Settings) -> dict[str, str]:
    """Names of the functions and objects that a run was given; nothing for defaults."""
    given = {
        "augment": settings.data.augment,
        "balance": settings.data.balance,
        "loss": settings.optimization.loss,
        "class_weight": settings.optimization.class_weight,
    }
    return {
        name: str(value)
        if isinstance(value, (str, dict, Augmentation))
        else getattr(value, "__qualname__", type(value).__qualname__)
        for name, value in given.items()
        if value is not None
    }


def _data_as_begun(settings: Settings, checkpoint: MultigridCheckpoint) -> Data:
    """The data, sampled as published if an earlier version began the run."""
    if not checkpoint.former_settings:
        return settings.data
    logging.warning(
        "%s was begun by an earlier version, which sampled clips as published: it resumes "
        "with keep_view=False and keep_span=False.",
        settings.run_dir,
    )
    sampling = dataclasses.replace(settings.data.sampling, **_FORMER_SAMPLING)
    return dataclasses.replace(settings.data, sampling=sampling)


def _validate(network, validation, callbacks, checkpoint: MultigridCheckpoint) -> None:
    """The validation that was cut off, as `fit` would have ended the Keras epoch."""
    checkpoint.restore_metrics(network)
    logs = {name: float(value) for name, value in network.get_metrics_result().items()}
    epoch = (steps_trained(network) - 1) // callbacks.params["steps"]
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    results = network.evaluate(validation, callbacks=callbacks, return_dict=True)
    callbacks.on_epoch_end(epoch, {**logs, **{f"val_{k}": v for k, v in results.items()}})
    callbacks.on_train_end()


def _fingerprint(videos: Sequence[VideoRecord]) -> str:
    """A text that differs for other lists of videos, wherever they are: names, labels, order."""
    if hasattr(videos, "fingerprint"):
        return videos.fingerprint
    digest = hashlib.sha256()
    for video in videos:
        name = os.path.basename(video.path).encode("utf-8", "surrogateescape")
        digest.update(b"%b\0%b\0" % (name, repr(video.label).encode()))
        if video.span is not None:
            digest.update(repr(video.span).encode())
    return f"{len(videos)} videos, {digest.hexdigest()[:16]}"


def _by_grid_name(values: Mapping[Grid, float]) -> dict[str, float]:
    return {str(grid): value for grid, value in values.items()}
