"""Runs in mixed precision."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from small_run import tiny

from keras_multigrid import Grid, MultigridLearningRate, MultigridSchedule, ReferenceSGD, runs
from keras_multigrid.callbacks import ChangedSettingsError
from keras_multigrid.data.clips import ClipSampling
from keras_multigrid.data.lists.folders import class_folders
from keras_multigrid.data.synthetic.videos import write_videos
from keras_multigrid.models import I3D
from keras_multigrid.runs.building import make_network
from keras_multigrid.task import SingleLabel

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=4, crop_size=32),
    num_clips=24,
    epochs=3,
    boundaries=(2,),
    long_cycle=((0.5, 1.0), (1.0, 1.0)),
    short_cycle=(),
)


def network(classes, classifier_activation):
    scores = keras.layers.Activation(classifier_activation, dtype="float32", name="scores")
    # On some processors, gradients of kernels with several frames are wrong, and refused.
    layers = tiny(classes, None, dropout=0.0, kernel=(1, 3, 3)).layers
    return keras.Sequential([keras.Input((None, None, None, 3)), *layers, scores])


def test_a_run_in_mixed_bfloat16(tmp_path):
    write_videos(tmp_path, num_train=24, num_validation=12, processes=1)
    model = runs.Model(model=network, dtype_policy="mixed_bfloat16")
    settings = runs.Settings(
        run_dir=str(tmp_path / "run"),
        data=runs.Data(
            videos=class_folders(tmp_path / "train", validation=tmp_path / "validation"),
            sampling=ClipSampling(flip=False),
        ),
        model=model,
        optimization=runs.Optimization(
            schedule=SCHEDULE,
            learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.01),
            optimizer=functools.partial(ReferenceSGD, momentum=0.9),
            precise_batches=1,
        ),
        logging=runs.Logging(validations=1),
    )
    report = runs.train(settings)
    assert report.steps == SCHEDULE.total_steps
    assert np.isfinite(report.metrics["loss"])
    assert keras.config.dtype_policy().name == "float32"
    saved = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert saved.get_layer("convolution1").compute_dtype == "bfloat16"
    assert {variable.dtype for variable in saved.trainable_variables} == {"float32"}
    test = runs.MultiViewTest(run_dir=settings.run_dir, grid=SCHEDULE.base)
    test = dataclasses.replace(test, views=dataclasses.replace(test.views, clips=1, crops=1))
    assert runs.evaluate(data=settings.data, model=model, test=test).num_videos == 12
    # The weights would fit, but the run began in another precision.
    full = dataclasses.replace(settings, model=dataclasses.replace(model, dtype_policy=None))
    with pytest.raises(ChangedSettingsError, match="mixed_bfloat16"):
        runs.train(full)


def test_outputs_in_half_precision_are_refused():
    model = functools.partial(tiny, dropout=0.0)
    with pytest.raises(ValueError, match=r"must be float32.* Received: bfloat16.* dtype='float32'"):
        make_network(
            runs.Model(model=model, dtype_policy="mixed_bfloat16"), SingleLabel(("left", "right"))
        )


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"mixed_bfloat16.*Received: dtype_policy='half'"):
        runs.Model(model=I3D, dtype_policy="half")
