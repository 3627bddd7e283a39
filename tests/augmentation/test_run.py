"""A whole run with mixed clips: it resumes exactly, and refuses other settings."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from small_run import tiny

from keras_multigrid import (
    ClipSampling,
    Grid,
    MultigridLearningRate,
    MultigridSchedule,
    VideoSet,
    runs,
)
from keras_multigrid.augmentation import ColorJitter, Compose, CutMix, LabelSmoothing, MixUp, OneOf

AUGMENT = Compose([ColorJitter(), OneOf([MixUp(), CutMix()]), LabelSmoothing()])
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=4, crop_size=16), num_clips=6, epochs=20, boundaries=(10,)
)


class Stopped(Exception):
    pass


class StopAt(keras.callbacks.Callback):
    """Ends a run in the middle, as if it were killed."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 5:
            raise Stopped


def settings(clip_videos, run_dir, *, augment=AUGMENT, callbacks=(), schedule=SCHEDULE):
    names = tuple("abcdef")
    return runs.Settings(
        run_dir=str(run_dir),
        data=runs.Data(
            videos=VideoSet(train=clip_videos, validation=clip_videos, class_names=names),
            sampling=ClipSampling(stride=1, flip=False),
            augment=augment,
        ),
        model=runs.Model(model=lambda **arguments: tiny(**arguments, dropout=0.0)),
        optimization=runs.Optimization(
            schedule=schedule,
            learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.01),
            optimizer=keras.optimizers.SGD,
        ),
        logging=runs.Logging(validations=1, callbacks=callbacks),
        checkpoints=runs.Checkpoints(every=2),
    )


@pytest.mark.slow
def test_a_run_resumes_exactly_and_refuses_other_augmentation(clip_videos, tmp_path):
    report = runs.train(settings(clip_videos, tmp_path / "whole"))
    assert report.steps == SCHEDULE.total_steps > 8
    assert set(report.metrics) == {"loss", "accuracy"}
    with pytest.raises(Stopped):
        runs.train(settings(clip_videos, tmp_path / "cut", callbacks=[StopAt()]))
    other = Compose([MixUp()])
    with pytest.raises(ValueError, match="augment"):
        runs.train(settings(clip_videos, tmp_path / "cut", augment=other))
    resumed = runs.train(settings(clip_videos, tmp_path / "cut"))
    assert resumed.metrics == report.metrics
    weights = [
        keras.models.load_model(tmp_path / name / "model.keras", compile=False).get_weights()
        for name in ("whole", "cut")
    ]
    for own, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(own, expected)
    assert json.loads((tmp_path / "cut" / "classes.json").read_text())


def test_an_odd_share_is_refused_before_videos_are_read(clip_videos, tmp_path):
    odd = dataclasses.replace(
        SCHEDULE, base=Grid(batch_size=5, num_frames=4, crop_size=16), long_cycle=(), short_cycle=()
    )
    missing = [dataclasses.replace(video, path="/missing.mp4") for video in clip_videos]
    with pytest.raises(ValueError, match="every device must have an even number of clips"):
        runs.train(settings(missing, tmp_path, schedule=odd))
