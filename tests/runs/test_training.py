"""`train()` on real encoded videos: one whole tiny run, again, and from its checkpoint."""

import dataclasses
import functools
import hashlib
import json
import os
import re
import signal
import warnings

import checkpoint_files
import h5py
import keras
import numpy as np
import pytest
from small_run import tiny

from keras_multigrid import Grid, MultigridLearningRate, MultigridSchedule, ReferenceSGD
from keras_multigrid.callbacks.checkpoint import ChangedSettingsError
from keras_multigrid.callbacks.lookup import steps_trained
from keras_multigrid.data.bad_videos import TooManyBadVideosError
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.lists.folders import class_folders
from keras_multigrid.data.synthetic.videos import write_videos
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.models import I3D
from keras_multigrid.models.weights.published import published_shapes
from keras_multigrid.runs import training
from keras_multigrid.runs.former import train

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=8, crop_size=32), num_clips=24, epochs=6, boundaries=(3, 5)
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("motion")
    write_videos(root, num_train=24, num_validation=12, processes=1)
    (root / "validation" / "grow" / "cut.mp4").write_bytes(b"no video")
    return class_folders(root / "train", validation=root / "validation")


def run(videos, run_dir, schedule=SCHEDULE, seed=0, rate=0.01, **settings):
    return train(
        run_dir=str(run_dir),
        videos=videos,
        optimizer=lambda: ReferenceSGD(MultigridLearningRate(schedule, rate), momentum=0.9),
        seed=seed,
        validations=2,
        max_bad_share=0.5,
        **{
            # Fewer layers to trace than a published network has.
            "model": functools.partial(tiny, dropout=0.5),
            "sampling": ClipSampling(flip=False),
            "texts": lambda: {"config.gin": "a = 1\n"},
            **settings,
        },
    )


@pytest.fixture(scope="module")
def finished(videos, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    return run_dir, run(videos, run_dir, still_control=True)


def weights(run_dir):
    model = keras.models.load_model(run_dir / "model.keras")
    return [variable.numpy() for variable in model.weights]


def test_report(finished):
    run_dir, report = finished
    assert report.steps == SCHEDULE.total_steps
    assert report.baseline_steps == 36
    assert report.work == SCHEDULE.total_work
    assert [point["step"] for point in report.curve][-1] == SCHEDULE.total_steps
    assert len(report.curve) == 2
    assert set(report.metrics) == set(report.still_metrics) == {"loss", "accuracy"}
    assert set(report.clips_per_second) <= {str(grid) for grid in SCHEDULE.grids}
    assert 0 <= report.input_wait_share <= 1
    assert set(report.input_wait_shares) == set(report.clips_per_second)
    assert json.loads((run_dir / "report.json").read_text())["steps"] == SCHEDULE.total_steps
    assert "times fewer steps than the baseline's 36" in str(report)
    assert f"steps, the work of {SCHEDULE.total_work:.0f} of the baseline, in " in str(report)
    grid, share = next(iter(report.input_wait_shares.items()))
    assert re.search(rf"{grid} +[\d.]+ +{share:.0%}", str(report))


def test_unreadable_videos_are_counted_and_listed(finished):
    run_dir, report = finished
    (path,) = report.bad_videos
    assert path.endswith("cut.mp4")
    assert "1 unreadable videos" in str(report)
    assert path in (run_dir / "bad_videos.txt").read_text()


def test_settings_are_saved(finished):
    run_dir, _ = finished
    assert (run_dir / "config.gin").read_text() == "a = 1\n"
    assert list(run_dir.glob("events.out.tfevents.*"))


def as_of_an_earlier_version(run_dir):
    """Take what earlier versions did not save out of the checkpoints of a run."""
    folder = run_dir / "checkpoints"
    index = json.loads((folder / "index.json").read_text())
    for entry in index:
        with h5py.File(folder / entry["file"], "r+") as file:
            state = file["keras_multigrid"]
            settings = json.loads(np.array(state["settings"]).tobytes())
            assert settings.pop("sampling.keep_view") is False
            assert settings.pop("sampling.keep_span") is False
            del state["settings"]
            state["settings"] = np.frombuffer(json.dumps(settings).encode(), np.uint8)
        entry["digest"] = hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest()
    (folder / "index.json").write_text(json.dumps(index))


class Kill(Exception):
    """As a kill, which leaves nothing to say."""


def killed(videos, run_dir, *, step, **settings):
    class Killed(training.MultigridCallback):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if steps_trained(self.model) == step:
                raise Kill

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Kill):
        patch.setattr(training, "MultigridCallback", Killed)
        run(videos, run_dir, checkpoint_every=2, **settings)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on_as_it_began(videos, tmp_path, caplog):
    published = ClipSampling(flip=False, keep_view=False, keep_span=False)
    run(videos, tmp_path / "whole", sampling=published)
    killed(videos, tmp_path / "run", step=3, sampling=published)
    with pytest.raises(ChangedSettingsError, match=r"sampling\.keep_view: False is now True"):
        run(videos, tmp_path / "run")
    as_of_an_earlier_version(tmp_path / "run")
    # The same command as before the update, twice: what it saves goes on the same way.
    killed(videos, tmp_path / "run", step=6)
    assert "begun by an earlier version" in caplog.text
    run(videos, tmp_path / "run")
    for first, second in zip(weights(tmp_path / "whole"), weights(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(first, second)


# In the middle of the training, and at its end.
@pytest.mark.parametrize("validation", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_end_in_a_validation(videos, finished, tmp_path, validation):
    seen = []

    class Interrupted(training.MultigridCheckpoint):
        def on_test_begin(self, logs=None):
            seen.append(steps_trained(self.model))
            if len(seen) == validation:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(training, "MultigridCheckpoint", Interrupted)
        run(videos, tmp_path)
    assert end.value.code == 128 + signal.SIGTERM
    step = seen[-1]
    assert (tmp_path / "curve.json").exists() == (validation > 1)
    report, (whole_dir, whole) = run(videos, tmp_path), finished
    assert [p["step"] for p in report.curve][validation - 1] == step
    assert report.curve[0]["seconds"] < report.curve[1]["seconds"]
    for point, expected in zip(report.curve, whole.curve, strict=True):
        assert {**point, "seconds": 0} == {**expected, "seconds": 0}
    for first, second in zip(weights(whole_dir), weights(tmp_path), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_finished_run_is_left_as_it_is(videos, finished):
    run_dir, report = finished
    before = weights(run_dir)
    saved = (run_dir / "report.json").read_text()
    again = run(videos, run_dir, initial_weights="nowhere.pyth", texts=lambda: {"config.gin": "b"})
    assert dataclasses.asdict(again) == json.loads(saved)
    assert str(again) == str(report)
    assert (run_dir / "report.json").read_text() == saved
    assert (run_dir / "config.gin").read_text() == "a = 1\n"
    for first, second in zip(before, weights(run_dir), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_a_run_begins_with_a_published_checkpoint(videos, tmp_path):
    published = I3D(classes=5, blocks=(1, 1, 1, 1), width=4)
    random = np.random.default_rng(0)
    arrays = {
        key: random.uniform(0.5, 1.5, shape).astype("float32")
        for key, shape in published_shapes(published).items()
    }
    path = str(tmp_path / "published.pyth")
    checkpoint_files.write_pytorch(path, arrays)
    schedule = dataclasses.replace(SCHEDULE, epochs=2, boundaries=(1,))
    # Too slow a training to change anything.
    settings = {"schedule": schedule, "rate": 1e-12, "initial_weights": path}
    settings["model"] = functools.partial(I3D, blocks=(1, 1, 1, 1), width=4)
    with pytest.warns(UserWarning, match="The classifier of .* keeps its own weights"):
        run(videos, tmp_path / "run", **settings)
    trained = keras.models.load_model(tmp_path / "run" / "model.keras")
    kernel = np.moveaxis(arrays["s1.pathway0_stem.conv.weight"], (0, 1), (-1, -2))
    np.testing.assert_allclose(trained.get_layer("s1-pathway0_stem-conv").kernel, kernel, 1e-5)
    # A run that goes on has weights of its own.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The classifier")
        run(videos, tmp_path / "run", **settings)


def test_initial_weights_must_exist(videos, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`initial_weights` must be a file .*nope\.pyth"):
        run(videos, tmp_path, initial_weights="nope.pyth")


def test_one_class_is_refused(videos, tmp_path):
    """One output is right for every clip, and its "accuracy" would be 0."""
    records = [dataclasses.replace(record, label=0) for record in videos.train]
    parts = {"train": records, "validation": records[:2]}
    with pytest.raises(ValueError, match=r"two classes at least .* Received: \('fall',\)"):
        run(VideoSet(**parts, class_names=("fall",)), tmp_path)
    with pytest.raises(ValueError, match="all training videos are of one class, 'fall'"):
        run(VideoSet(**parts, class_names=("fall", "walk")), tmp_path)


def test_a_set_without_videos_is_refused(videos, tmp_path):
    with pytest.raises(ValueError, match="cannot be trained on: there are no validation videos"):
        run(dataclasses.replace(videos, validation=()), tmp_path)
    away = [dataclasses.replace(record, path=f"/away{record.path}") for record in videos.train]
    with pytest.raises(FileNotFoundError, match="None of the first 20 of 24 training videos is th"):
        run(dataclasses.replace(videos, train=away), tmp_path)


def test_a_validation_that_reads_nothing_ends_the_run(videos, tmp_path, capfd):
    cut = next(record for record in videos.validation if record.path.endswith("cut.mp4"))
    with pytest.raises(TooManyBadVideosError) as error:
        run(dataclasses.replace(videos, validation=(cut, cut)), tmp_path)
    message = "None of the 2 validation videos can be read. The first: Cannot decode"
    assert str(error.value).startswith(message)
    assert not (tmp_path / "report.json").exists()
    # What it was asked to train on stands above.
    assert "Videos: 24 training, 2 validation, 12 classes.\n" in capfd.readouterr().out


def test_a_wrong_number_of_clips_is_refused_with_the_right_one(videos, tmp_path):
    schedule = MultigridSchedule(base=SCHEDULE.base, num_clips=25, epochs=2)
    with pytest.raises(ValueError, match="num_clips = 24"):
        run(videos, tmp_path, schedule=schedule)


def test_an_optimizer_without_schedule_is_refused(videos, tmp_path):
    with pytest.raises(ValueError, match="MultigridLearningRate"):
        train(
            run_dir=str(tmp_path),
            videos=videos,
            model=functools.partial(tiny, dropout=0.5),
            optimizer=lambda: keras.optimizers.SGD(0.1),
            sampling=ClipSampling(),
        )
