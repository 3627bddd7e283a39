"""Checkpoints of stock `fit`: exact resumes, damage, faults of the disk, changed settings."""

import dataclasses
import os
import pathlib
import shutil
import signal
import tempfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid import (
    Grid,
    MultigridCallback,
    MultigridCheckpoint,
    MultigridLearningRate,
    MultigridSchedule,
    ReferenceSGD,
    SubBatchNormalization,
    files,
    resample,
)
from keras_multigrid.callbacks.checkpoint import ChangedSettingsError, NotFiniteError
from keras_multigrid.callbacks.checkpoint_folder import digest, write_index
from keras_multigrid.callbacks.not_finite import DivergedError

ROOT = pathlib.Path(__file__).parents[2]
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=4, crop_size=16), num_clips=32, epochs=9, boundaries=(4, 7)
)
KERAS_EPOCH = 8


class Stop(Exception):
    """As a kill, which leaves nothing to say."""


class StopAfter(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            raise Stop


def make_model(schedule=SCHEDULE, rate=0.01, momentum=0.9):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(4, 3, padding="same"),
            SubBatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(MultigridLearningRate(schedule, rate), momentum=momentum)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def decoded_videos():
    pixels = np.random.default_rng(0).integers(0, 255, (32, 8, 20, 24, 3)).astype(np.uint8)
    return tf.data.Dataset.from_tensor_slices((pixels, np.arange(32) % 2))


def train(folder, *extra, model=None, schedule=SCHEDULE, **settings):
    """One start of a run: the model and the history of this start."""
    model = make_model(schedule) if model is None else model
    settings = {"every": 3, **settings}
    checkpoint = MultigridCheckpoint(str(folder), **settings)
    start_step = checkpoint.restore(model)
    history = model.fit(
        decoded_videos().apply(resample(schedule, start_step=start_step)),
        validation_data=decoded_videos().map(lambda v, y: (tf.cast(v, tf.float32), y)).batch(8),
        steps_per_epoch=KERAS_EPOCH,
        epochs=-(-schedule.total_steps // KERAS_EPOCH),
        verbose=0,
        callbacks=[MultigridCallback(log_dir=None), checkpoint, *extra],
    )
    return model, history.history


def assert_same(first, second):
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that never stopped: its folder, model and history."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *train(folder)


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(whole, tmp_path):
    _, model, history = whole
    assert SCHEDULE.phases[0].end_step == 2
    # In a phase, at its border, at a checkpoint, behind one, at the end of a Keras epoch, in one.
    for step in (1, 2, 3, 7, 8, 13):
        with pytest.raises(Stop):
            train(tmp_path, StopAfter(step))
    resumed, rest = train(tmp_path)
    assert resumed.optimizer.iterations == SCHEDULE.total_steps
    assert_same(resumed, model)
    for name, values in rest.items():
        if name.startswith("val_"):
            assert values == history[name][-len(values) :]
            # The Keras epochs end at the same steps.
            assert len(values) == len(history[name]) - 12 // KERAS_EPOCH


@pytest.mark.slow
def test_a_run_whose_batch_grows_less_resumes_with_the_same_weights(tmp_path):
    # Batches of 12, 8 and 4 clips.
    schedule = dataclasses.replace(SCHEDULE, batch_growth=0.5, min_frames=2, epochs=8)
    whole, _ = train(tmp_path / "whole", schedule=schedule)
    with pytest.raises(Stop):
        train(tmp_path / "killed", StopAfter(20), schedule=schedule)
    resumed, _ = train(tmp_path / "killed", schedule=schedule)
    assert resumed.optimizer.iterations == schedule.total_steps
    assert_same(resumed, whole)


def test_a_finished_run_makes_no_more_steps(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "copy")
    model, history = train(tmp_path / "copy")
    assert model.optimizer.iterations == SCHEDULE.total_steps
    assert history == {}
    assert_same(model, whole[1])


def test_metrics_of_the_keras_epoch_go_on_where_they_are_built(whole, tmp_path):
    def built():
        model = make_model()
        scores = np.zeros((1, 2), np.float32)
        model.compute_metrics(None, np.zeros(1, np.int32), scores)
        model.reset_metrics()
        return model

    with pytest.raises(Stop):
        train(tmp_path, StopAfter(5), model=built())
    _, history = train(tmp_path, model=built())
    assert history == whole[2]


def test_the_last_are_kept_and_the_best(tmp_path):
    train(tmp_path, monitor="val_loss", mode="min", keep=2)
    checkpoint = MultigridCheckpoint(str(tmp_path), monitor="val_loss", mode="min")
    saved = checkpoint.saved()
    assert saved[-1].step == SCHEDULE.total_steps
    assert len(saved) in (2, 3)
    best = checkpoint.best()
    assert best.results["val_loss"] == min(e.results["val_loss"] for e in saved if e.results)
    assert {e.file for e in saved} | {"index.json"} == set(os.listdir(tmp_path))


def test_a_checkpoint_is_a_weights_file_of_keras(whole):
    folder, model, _ = whole
    copy = make_model()
    copy.load_weights(folder / MultigridCheckpoint(str(folder)).saved()[-1].file)
    for one, other in zip(copy.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


# Damage and faults.


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of a run that was killed behind its second checkpoint."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Stop):
        train(folder, StopAfter(7))
    return folder


@pytest.fixture
def stopped(killed, tmp_path):
    """A copy of that folder, to change."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return MultigridCheckpoint(str(tmp_path)).saved()


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole, stopped, tmp_path):
    assert [entry.step for entry in stopped] == [3, 6]
    path = tmp_path / stopped[-1].file
    content = path.read_bytes()
    for share in (0.999, 0.5, 0.0):
        path.write_bytes(content[: int(share * len(content))])
        model = make_model()
        assert MultigridCheckpoint(str(tmp_path)).restore(model) == 3
        assert model.optimizer.iterations == 3
    assert_same(train(tmp_path)[0], whole[1])


def test_a_flipped_bit_and_a_missing_file_are_noticed(stopped, tmp_path):
    content = bytearray((tmp_path / stopped[1].file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / stopped[1].file).write_bytes(content)
    (tmp_path / stopped[0].file).unlink()
    with pytest.raises(files.StorageError, match=r"None of the 2 checkpoints .* can be read"):
        MultigridCheckpoint(str(tmp_path)).restore(make_model())


def test_a_damaged_index_is_an_error(stopped, tmp_path):
    (tmp_path / "index.json").write_text('[{"step": 3')
    with pytest.raises(files.StorageError, match="list of checkpoints in JSON"):
        MultigridCheckpoint(str(tmp_path)).restore(make_model())


@pytest.mark.parametrize("kind", ["folder", "loop", "link", "text", "weights", "deep"])
def test_a_checkpoint_that_is_none_gives_way_to_the_one_before(stopped, tmp_path, kind):
    path = tmp_path / stopped[-1].file
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind == "text":
        path.write_text("no HDF5")
    elif kind == "weights":
        make_model().save_weights(path)
    else:
        path.write_bytes(content)
        with h5py.File(path, "a") as file:
            del file["keras_multigrid/settings"]
            deep = np.frombuffer(b"[" * 100_000, np.uint8)
            file["keras_multigrid/settings"] = deep
    if kind in ("text", "weights", "deep"):
        # As if it had been saved so.
        whole = dataclasses.replace(stopped[-1], digest=digest(path.read_bytes()))
        write_index(str(tmp_path), [stopped[0], whole])
    assert MultigridCheckpoint(str(tmp_path)).restore(make_model()) == 3


@pytest.mark.parametrize("content", ["[" * 100_000, "{}", '[{"step": 3}]', "[3]", "\x00"])
def test_an_index_that_is_none_is_an_error(stopped, tmp_path, content):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(files.StorageError, match="list of checkpoints in JSON"):
        MultigridCheckpoint(str(tmp_path)).saved()


def test_what_a_kill_has_left_is_removed_at_the_next_start(stopped, tmp_path):
    for name in ("step-00000099.weights.h5", "step-00000099.weights.h5.unfinished"):
        (tmp_path / name).write_bytes(b"left")
    (tmp_path / "index.json.unfinished").write_text("[")
    (tmp_path / "mine.weights.h5").write_text("of the user's")
    with pytest.raises(Stop):
        train(tmp_path, StopAfter(7))
    names = {"index.json", "lease.json", "mine.weights.h5", *(entry.file for entry in stopped)}
    assert set(os.listdir(tmp_path)) == names


def test_a_folder_that_another_process_has_trained_in_since_is_refused(stopped, tmp_path):
    model = make_model()
    checkpoint = MultigridCheckpoint(str(tmp_path))
    checkpoint.restore(model)
    write_index(str(tmp_path), stopped[:1])
    with pytest.raises(ValueError, match="Another process has trained in"):
        model.fit(
            decoded_videos().apply(resample(SCHEDULE, start_step=6)),
            steps_per_epoch=8,
            epochs=2,
            verbose=0,
            callbacks=[MultigridCallback(log_dir=None), checkpoint],
        )


def test_secrets_in_settings_are_not_saved(tmp_path):
    settings = {"settings": {"data": "https://me:word@host/a?sig=b"}}
    with pytest.raises(Stop):
        train(tmp_path, StopAfter(2), every=1, **settings)
    checkpoint = MultigridCheckpoint(str(tmp_path), **settings)
    assert checkpoint.restore(make_model()) == 2
    assert b"word" not in (tmp_path / checkpoint.saved()[-1].file).read_bytes()


def test_an_unfinished_file_is_no_checkpoint(stopped, tmp_path):
    (tmp_path / "step-00000099.weights.h5.unfinished").write_bytes(b"half")
    (tmp_path / "step-00000098.weights.h5").write_bytes(b"not in the index")
    assert MultigridCheckpoint(str(tmp_path)).restore(make_model()) == 6


def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(whole, stopped, tmp_path):
    # The kernel's own error, and of one file alone.
    (tmp_path / "step-00000009.weights.h5.unfinished").symlink_to("/dev/full")
    with pytest.raises(files.StorageError) as error:
        train(tmp_path)
    message = str(error.value)
    assert "The checkpoint of step 9 is not saved; that of step 8 is whole." in message
    assert "No space left on device" in message
    assert [entry.step for entry in MultigridCheckpoint(str(tmp_path)).saved()] == [3, 6, 8]
    assert not [name for name in os.listdir(tmp_path) if name.endswith("unfinished")]
    assert_same(train(tmp_path)[0], whole[1])


def test_a_full_folder_for_temporary_files_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(files.StorageError, match=r"step 3 is not saved\..*TMPDIR"):
        train(tmp_path / "run")


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(files.StorageError, match=r"Cannot (read|write) .*file/run"):
        train(tmp_path / "file" / "run")


def test_what_is_not_finite_is_not_saved(tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 4:
                kernel = self.model.layers[0].kernel
                kernel.assign(kernel * np.nan)

    model = make_model()
    with pytest.raises((NotFiniteError, DivergedError), match="not finite"):
        train(tmp_path, Spoil(), model=model, every=1)
    assert MultigridCheckpoint(str(tmp_path)).saved()[-1].step == 4


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    schedule = MultigridSchedule(base=SCHEDULE.base, num_clips=32, epochs=9, boundaries=(4, 7))
    model = make_model(schedule, rate=1e30)
    with pytest.raises(DivergedError, match=r"loss of step \d+ is not finite: .* learning rate 8e"):
        train(tmp_path, model=model)


# Settings.


def test_changed_settings_are_named_and_refused(stopped, tmp_path):
    model = make_model(rate=0.02, momentum=0.8)
    settings = {"settings": {"seed": 1}}
    with pytest.raises(ChangedSettingsError) as error:
        MultigridCheckpoint(str(tmp_path), **settings).restore(model)
    message = str(error.value)
    assert "optimizer.momentum: 0.9 is now 0.8" in message
    assert "seed: nothing is now 1" in message
    assert "config.learning_rate: 0.01 is now 0.02" in message
    assert "boundaries" not in message
    checkpoint = MultigridCheckpoint(str(tmp_path), allow_changes=True, **settings)
    assert checkpoint.restore(model) == 6


def test_another_growth_of_batch_or_rate_is_refused(stopped, tmp_path):
    schedule = dataclasses.replace(SCHEDULE, batch_growth=0.5)
    with pytest.raises(ChangedSettingsError, match=r"batch_growth: nothing is now 0\.5"):
        MultigridCheckpoint(str(tmp_path)).restore(make_model(schedule))
    rate = MultigridLearningRate(SCHEDULE, 0.01, scaling="sqrt")
    model = make_model()
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy")
    with pytest.raises(ChangedSettingsError, match="scaling: nothing is now 'sqrt'"):
        MultigridCheckpoint(str(tmp_path)).restore(model)


def test_other_frozen_layers_are_refused(stopped, tmp_path):
    model = make_model()
    # With another one frozen instead, the states of the optimizer would fit, in the wrong places.
    model.layers[0].trainable = False
    model.compile(model.optimizer, "sparse_categorical_crossentropy")
    with pytest.raises(ChangedSettingsError, match=r"frozen_layers: \[\] is now \[\d\]"):
        MultigridCheckpoint(str(tmp_path)).restore(model)


@pytest.mark.slow
def test_settings_that_were_not_saved_stay_what_they_stood_for(stopped, tmp_path):
    settings = {"settings": {"data": {"crop": "new"}}, "former_settings": {"data.crop": "old"}}
    for _ in range(2):
        checkpoint = MultigridCheckpoint(str(tmp_path), every=1, **settings)
        model = make_model()
        step = checkpoint.restore(model)
        assert checkpoint.former_settings == {"data.crop": "old"}
        with pytest.raises(Stop):
            train(tmp_path, StopAfter(step + 1), every=1, **settings)
    assert step == 7
    allowed = MultigridCheckpoint(str(tmp_path), allow_changes=True, **settings)
    allowed.restore(make_model())
    assert allowed.former_settings == {}
    # Those of a run that saved them are compared.
    with pytest.raises(Stop):
        train(tmp_path / "new", StopAfter(2), every=1, **settings)
    checkpoint = MultigridCheckpoint(str(tmp_path / "new"), **settings)
    assert checkpoint.restore(make_model()) == 2
    assert checkpoint.former_settings == {}


def test_another_optimizer_network_or_number_of_replicas_is_refused(stopped, tmp_path):
    rate = MultigridLearningRate(SCHEDULE, 0.01)
    model = make_model()
    model.compile(ReferenceSGD(rate, momentum=0.9), "sparse_categorical_crossentropy")
    with pytest.raises(ChangedSettingsError, match=r"class: 'SGD' is now 'ReferenceSGD'"):
        MultigridCheckpoint(str(tmp_path)).restore(model)
    # 4 clips are shared by 2 replicas as they are, and become 3 of 3.
    model = make_model(dataclasses.replace(SCHEDULE, replicas=2))
    assert MultigridCheckpoint(str(tmp_path)).restore(model) == 6
    model = make_model(dataclasses.replace(SCHEDULE, replicas=3))
    with pytest.raises(ChangedSettingsError, match=r"baseline_grid: '4 x 4 x 16²' is now '3 x"):
        MultigridCheckpoint(str(tmp_path)).restore(model)
    model = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy")
    with pytest.raises(ChangedSettingsError, match="is of another network"):
        MultigridCheckpoint(str(tmp_path)).restore(model)


def test_sigterm_acts_as_before_when_fit_has_failed(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("before"))
    try:
        with pytest.raises(Stop):
            train(tmp_path, StopAfter(2))
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == ["before"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_stop_of_another_callback_counts_in_a_shortened_epoch(stopped, tmp_path):

    class StopTraining(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    # Ahead of the checkpoint in the list.
    model = make_model()
    checkpoint = MultigridCheckpoint(str(tmp_path), every=3)
    batches = decoded_videos().apply(resample(SCHEDULE, start_step=checkpoint.restore(model)))
    callbacks = [MultigridCallback(log_dir=None), StopTraining(), checkpoint]
    model.fit(batches, steps_per_epoch=8, epochs=9, verbose=0, callbacks=callbacks)
    assert model.optimizer.iterations == 8


def test_a_run_that_was_not_restored_is_refused(stopped, tmp_path):
    with pytest.raises(ValueError, match=r"start_step = checkpoint\.restore\(model\)"):
        make_model().fit(
            decoded_videos().apply(resample(SCHEDULE)),
            steps_per_epoch=8,
            verbose=0,
            callbacks=[MultigridCheckpoint(str(tmp_path))],
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"every": 0}, "`every` must be"), ({"keep": 0}, "`keep`"), ({"mode": "most"}, "`mode`")],
)
def test_wrong_arguments(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        MultigridCheckpoint(str(tmp_path), **settings)


def test_a_scheme_without_file_system_names_the_remedy():
    with pytest.raises(ValueError, match=r"no file system for nope://.*pip install"):
        MultigridCheckpoint("nope://bucket/run")
