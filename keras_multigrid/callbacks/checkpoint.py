"""Checkpoints from which a run resumes at the exact step, as if it had never stopped."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from absl import logging

from keras_multigrid import compat, files, replicas, signals
from keras_multigrid.callbacks.averaged_weights import averaged_at, keep_averaged, training_weights
from keras_multigrid.callbacks.checkpoint_folder import (
    Saved,
    digest,
    find_best,
    load_weights,
    read_index,
    read_last,
    read_state,
    remove_orphans,
    to_content,
    write_index,
)
from keras_multigrid.callbacks.lease import Lease
from keras_multigrid.callbacks.lookup import build_optimizer, steps_trained
from keras_multigrid.callbacks.not_finite import NotFiniteError as NotFiniteError
from keras_multigrid.callbacks.not_finite import check_finite
from keras_multigrid.callbacks.settings import (
    ChangedSettingsError,
    changed_settings,
    settings_of,
)
from keras_multigrid.callbacks.termination import TerminationRequest
from keras_multigrid.checks import check_choice, check_integer
from keras_multigrid.learning_rate import policy_of

# Ends a Keras epoch before its time, unlike the True of others, which ends training.
_CUT = "the end of a Keras epoch that a restart has cut short"


class MultigridCheckpoint(keras.callbacks.Callback):
    """Saves the whole state of a run, and resumes it at the exact step.

    A checkpoint is a `.weights.h5` file, which `model.load_weights` takes, too: weights, optimizer
    and its step, states of random generators, metrics of the Keras epoch under way, settings. It is
    written whole or not at all; `index.json` beside it, written last, names those that count, with
    their digests. A damaged one is passed over for the one before it.

    On SIGTERM, which clusters send before they take a machine away, the run is saved at the end of
    the step, or at once where it waits for input, and ends with exit code 143. Ctrl-C does the same
    and raises KeyboardInterrupt; pressed again a second later, it ends the run unsaved.

    One process at a time trains in a folder: a second one raises `FolderInUseError`, which names
    the first.

    After a restart the weights of every step are those of a run that never stopped, bit for bit on
    one device, if the batches begin at the restored step, as those of `resample` and
    `training_batches` do. Keras's epochs end at the same steps, too: the first one after a restart
    is cut short.

    Under a strategy of several workers the chief writes and all read: give a folder that they
    share.

    Args:
        folder: local, or remote like s3://bucket/run.
        every: steps from one checkpoint to the next; None saves at the ends of Keras epochs alone.
            Those are saved in any case, after the validation.
        keep: how many of the last to keep.
        monitor: name of a result, such as "val_accuracy"; the best is kept, too.
        mode: whether "max" or "min" of it is best.
        settings: what else of the run must not change, as JSON takes it: seed, data, model. The
            settings of the optimizer, the schedule among them, are found by themselves.
        allow_changes: resume even if settings have changed.
        former_settings: for settings that earlier versions did not save: dotted name, such as
            "sampling.keep_view", to the value that those versions stood for. A run that one of them
            began resumes with these; `restore` leaves them in `former_settings` (empty for others).

    Example, where one line makes the run resume by itself:

    >>> checkpoint = MultigridCheckpoint("runs/mine", every=500)
    >>> start_step = checkpoint.restore(model)
    >>> batches = videos.apply(resample(schedule, start_step=start_step))
    >>> callbacks = [MultigridCallback(), checkpoint]
    >>> model.fit(batches, steps_per_epoch=100, epochs=50, callbacks=callbacks)
    """

    def __init__(
        self,
        folder: str,
        *,
        every: int | None = None,
        keep: int = 3,
        monitor: str | None = None,
        mode: str = "max",
        settings: Mapping[str, Any] | None = None,
        allow_changes: bool = False,
        former_settings: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if every is not None:
            check_integer("every", every)
        check_integer("keep", keep)
        check_choice("mode", mode, ("max", "min"))
        self.folder = files.expanded(folder)
        files.check_scheme(self.folder)
        self._every, self._keep = every, keep
        self._monitor, self._mode = monitor, mode
        self._settings = dict(settings or {})
        self._allow_changes = allow_changes
        self._unsaved_settings = dict(former_settings or {})
        self.former_settings: dict[str, Any] = {}
        # The checkpoint that the run resumes from; None if it begins.
        self.restored: Saved | None = None
        self._is_restored = False
        self._metrics: list[np.ndarray] = []
        self._metrics_of_epoch: list[np.ndarray] = []
        self._request = TerminationRequest(self._end_if_input_waits)
        self._lease = Lease(self.folder)
        # What the index is known to hold, and the step that need not be saved again.
        self._known: list[Saved] = []
        self._saved_step = 0
        # What to save as metrics while `fit` asks for a batch; None while it does not.
        self._metrics_meanwhile: Callable[[], list[np.ndarray]] | None = None
        # Of the main thread, and of the one that saves while it waits for input.
        self._saving = threading.RLock()

    def saved(self) -> list[Saved]:
        """The checkpoints in the folder, by step.

        Raises:
            StorageError: if the folder cannot be read.
        """
        return read_index(self.folder)

    def best(self) -> Saved | None:
        """The checkpoint with the best result so far; None without `monitor` or validation."""
        return find_best(self.saved(), self._monitor, self._mode)

    def restore(self, model: keras.Model) -> int:
        """Load the last whole checkpoint into a compiled model.

        Returns:
            The step to resume at; 0 if there is no checkpoint.

        Raises:
            ChangedSettingsError: if settings or the network are others than the checkpoint's.
            StorageError: if there are checkpoints, but none can be read.
        """
        self._is_restored = True
        self._known = saved = self.saved()
        if not saved:
            return 0
        entry, state = read_last(self.folder, saved, read_state)
        self._check_settings(state.settings, model, entry)
        build_optimizer(model)
        try:
            load_weights(model, state.content)
        except ValueError as error:
            raise ChangedSettingsError(
                f"The checkpoint of step {entry.step} in {self.folder} is of another network than "
                f"{model.name}: {str(error).splitlines()[0]} Make the network that the run began "
                "with, or give another folder to begin anew."
            ) from error
        for variable, value in zip(_random_states(model), state.random, strict=True):
            variable.assign(value)
        if state.averaged is not None:
            keep_averaged(model, entry.step, state.averaged)
        self.restored, self._metrics = entry, state.metrics
        self._saved_step = entry.step
        logging.info("Resuming at step %d of %s.", entry.step, self.folder)
        return entry.step

    def is_validation_due(self, steps_per_epoch: int, total_steps: int) -> bool:
        """Whether the run was saved at the end of a Keras epoch, before its validation was done."""
        entry = self.restored
        if entry is None or entry.results is not None:
            return False
        return entry.step % steps_per_epoch == 0 or entry.step >= total_steps

    def _check_settings(self, saved, model: keras.Model, entry: Saved) -> None:
        if not self._allow_changes:
            self.former_settings = {
                name: value for name, value in self._unsaved_settings.items() if name not in saved
            }
        # Earlier versions did not say.
        frozen = {"frozen_layers": self._settings_now(model)["frozen_layers"]}
        changes = changed_settings({**frozen, **saved}, self._settings_now(model))
        if changes and not self._allow_changes:
            raise ChangedSettingsError(
                f"The run in {self.folder} began with other settings, and its checkpoint of step "
                f"{entry.step} would resume with: {changes}. Set them back, give another folder to "
                "begin anew, or allow changed settings (MultigridCheckpoint(allow_changes=True), "
                "runs.Checkpoints.allow_changes=True)."
            )
        if changes:
            logging.warning("Going on with changed settings: %s", changes)

    def _settings_now(self, model: keras.Model) -> dict[str, Any]:
        # Settings of an earlier version stay unsaved, for the next restart.
        settings = settings_of(model, self._settings)
        return {name: v for name, v in settings.items() if name not in self.former_settings}

    def set_model(self, model):
        super().set_model(model)
        self._last_batch = compat.watch_batches(model)

    def on_train_begin(self, logs=None):
        saved = self.saved()
        if saved and not self._is_restored:
            raise ValueError(
                f"{self.folder} holds a run to resume, but it was not restored. Before `fit`: "
                "start_step = checkpoint.restore(model), and give batches that begin there: "
                "resample(schedule, start_step=start_step)."
            )
        self._keras_epoch = self.params.get("steps")
        if not self._keras_epoch:
            raise ValueError("fit must be called with `steps_per_epoch`: the batches have no end.")
        self._is_chief = replicas.is_chief(self.model)
        if self._is_chief:
            self._begin_in_folder()
        step = steps_trained(self.model)
        policy = policy_of(self.model)
        is_finished = policy is not None and step >= policy.schedule.total_steps
        # With nothing left to do, fit would make a step before it asks whether to stop.
        epoch = self.params.get("epochs") if is_finished else step // self._keras_epoch
        compat.set_initial_epoch(self.model, epoch)
        # By how many fewer steps have begun than are counted.
        self._ended_steps = self._last_batch.steps_begun or 0
        self._is_training = True
        self._request.listen()

    def _begin_in_folder(self) -> None:
        thread = threading.get_ident()
        # `fit` may end by an exception, which callbacks do not learn of.
        self._lease = Lease(self.folder, is_needed=lambda: signals.is_fitting(thread))
        self._lease.take()
        saved = self.saved()
        if saved != self._known:
            raise ValueError(
                f"Another process has trained in {self.folder} since it was restored. Restore it "
                "again, or give another folder."
            )
        remove_orphans(self.folder, saved)
        # Fail before the first step, not after hours, if the folder cannot be written.
        write_index(self.folder, saved)

    def on_epoch_begin(self, epoch, logs=None):
        if steps_trained(self.model) % self._keras_epoch:
            self.restore_metrics(self.model)
        self._metrics = []

    def restore_metrics(self, model: keras.Model) -> None:
        """Give the metrics of the Keras epoch under way back what they had seen, once.

        `fit` resets them first. It is done for metrics that are built: where they are not, those of
        the first Keras epoch after a restart are of its remaining steps.
        """
        variables, values = model.metrics_variables, self._metrics
        if [tuple(v.shape) for v in variables] == [v.shape for v in values]:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._metrics = []

    def on_train_batch_begin(self, batch, logs=None):
        # On TensorFlow `fit` has not fetched it yet.
        self._metrics_meanwhile = self._metrics_now

    def on_train_batch_end(self, batch, logs=None):
        self._metrics_meanwhile = None
        self._ended_steps += 1
        step = steps_trained(self.model)
        ends_epoch = step % self._keras_epoch == 0 or self.model.stop_training
        if ends_epoch:
            # Validation uses them, too.
            self._metrics_of_epoch = self._metrics_now()
        self._end_if_asked_to(self._metrics_now)
        if not ends_epoch and self._every is not None and step % self._every == 0:
            self._save(step, self._metrics_now(), results=None)
        # The first Keras epoch after a restart has fewer steps.
        if ends_epoch and batch + 1 < self._keras_epoch and not self.model.stop_training:
            self.model.stop_training = _CUT

    def on_test_batch_begin(self, batch, logs=None):
        self._metrics_meanwhile = lambda: self._metrics_of_epoch

    def on_test_batch_end(self, batch, logs=None):
        self._metrics_meanwhile = None
        if self._is_training:
            self._end_if_asked_to(lambda: self._metrics_of_epoch)

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training is _CUT:
            self.model.stop_training = False
        results = {k: float(v) for k, v in (logs or {}).items() if k.startswith("val_")}
        self._save(steps_trained(self.model), [], results)

    def on_train_end(self, logs=None):
        compat.set_initial_epoch(self.model, None)
        self._is_training = False
        self._request.stop_listening()
        self._lease.give_back()

    def _save(self, step: int, metrics: list[np.ndarray], results, is_wanted=lambda: True) -> None:
        """Save the run as it is now; raise, and leave what was saved before, if that fails.

        Args:
            is_wanted: asked before anything is written; False gives it up.
        """
        if self._is_chief:
            with self._saving, training_weights(self.model):
                self._save_alone(step, metrics, results, is_wanted)

    def _save_alone(self, step: int, metrics: list[np.ndarray], results, is_wanted) -> None:
        compat.sync_state(self.model)
        check_finite(self.model, step)
        before = self.saved()
        try:
            state = self._settings_now(self.model), _random_states(self.model), metrics
            content = to_content(self.model, *state, averaged_at(self.model, step))
            if not is_wanted():
                return
            self._lease.check()
            file = f"step-{step:08d}.weights.h5"
            entry = Saved(step=step, file=file, digest=digest(content), results=results)
            files.write(os.path.join(self.folder, entry.file), content)
            entries = [e for e in before if e.step < step] + [entry]
            kept = entries[-self._keep :]
            best = find_best(entries, self._monitor, self._mode)
            if best is not None and best not in kept:
                kept.insert(0, best)
            write_index(self.folder, kept)
            self._known, self._saved_step = kept, step
        except files.StorageError as error:
            last = f"; that of step {before[-1].step} is whole" if before else ""
            raise files.StorageError(
                f"The checkpoint of step {step} is not saved{last}. {error} Repair that; the same "
                "command then resumes the run."
            ) from error
        for old in {e.file for e in before} - {e.file for e in kept}:
            files.remove(os.path.join(self.folder, old))

    def _metrics_now(self) -> list[np.ndarray]:
        if replicas.has_several_workers(self.model):
            # To read one is to add up all workers' parts, for which they would have to meet.
            return []
        return [keras.ops.convert_to_numpy(v) for v in self.model.metrics_variables]

    def _end_if_asked_to(self, metrics: Callable[[], list[np.ndarray]]) -> None:
        # Of several workers the chief ends the run: without it, the others cannot continue.
        if not self._request.is_made or not self._is_chief:
            return
        self._save_and_leave(metrics(), is_wanted=lambda: True)
        self._request.end()

    def _end_if_input_waits(self) -> None:
        """Save the run and end the process if the main thread waits for a batch; in another one."""
        if not self._waits():
            return
        with self._saving:
            try:
                metrics = (self._metrics_meanwhile or list)()
                self._save_and_leave(metrics, is_wanted=self._waits)
            except Exception as error:
                logging.error("%s", error)
                signals.end_process(1)
            if self._waits():
                signals.end_process(self._request.exit_code)

    def _save_and_leave(self, metrics: list[np.ndarray], is_wanted: Callable[[], bool]) -> None:
        step = steps_trained(self.model)
        if step != self._saved_step:
            self._save(step, metrics, results=None, is_wanted=is_wanted)
        if is_wanted():
            what = self._request.name, step, self.folder
            logging.warning("Asked to end (%s): step %d is saved in %s, to go on from.", *what)
            self._lease.give_back()

    def _waits(self) -> bool:
        """Whether the model is as the last step left it, while `fit` asks for a batch."""
        if not self._is_chief or self._metrics_meanwhile is None:
            return False
        return self._last_batch.steps_begun == self._ended_steps


def _random_states(model: keras.Model) -> list:
    weights = {id(variable) for variable in model.weights}
    metrics = {id(variable) for variable in model.metrics_variables}
    return [v for v in model.variables if id(v) not in weights | metrics]
