"""Which layers learn, and that the others stay as they are."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_multigrid import Grid, MultigridLearningRate, MultigridSchedule, VideoSet, runs
from keras_multigrid.models import I3D
from keras_multigrid.optimizers import AdamW, LayerDecay
from keras_multigrid.runs.frozen import freeze, parameters_in_words

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=8, crop_size=16), num_clips=24, epochs=2, boundaries=(1,)
)


def make_network(**settings):
    return I3D(blocks=(1, 1, 1, 1), width=4, **{"classes": 3, **settings})


def test_all_but_the_head():
    network = make_network()
    assert parameters_in_words(network) == ""
    freeze(network, runs.AllBut(("head",)))
    assert [v.path for v in network.trainable_variables] == [
        "head-projection/kernel",
        "head-projection/bias",
    ]
    # 128 features, 3 classes.
    learn = 128 * 3 + 3
    assert parameters_in_words(network).startswith(
        f"Parameters: {learn} of {network.count_params():,} learn (head-projection); "
    )


def test_the_last_stages():
    network = make_network()
    freeze(network, runs.AllBut(("s5", "head")))
    stages = {v.path[:4].rstrip("-") for v in network.trainable_variables}
    assert stages == {"s5-p", "head"}


def test_something_must_learn():
    with pytest.raises(ValueError, match="must leave a layer that learns"):
        freeze(make_network(), runs.AllBut(("classifier",)))
    with pytest.raises(ValueError, match=r"Received: \['s9'\], which it does not have"):
        freeze(make_network(), ["s9"])


def test_a_run_leaves_frozen_layers_as_they_were(videos, tmp_path, capfd):
    """Weights and statistics, with precise statistics and averages."""
    keras.utils.set_random_seed(0)
    start = make_network()
    random = np.random.default_rng(0)
    start.set_weights(
        [
            w + random.uniform(0, 1, w.shape).astype(w.dtype) if w.dtype == "float32" else w
            for w in start.get_weights()
        ]
    )
    start.save_weights(tmp_path / "start.weights.h5")
    records = [dataclasses.replace(video, label=n % 3) for n, video in enumerate(videos)]
    report = runs.train(
        runs.Settings(
            run_dir=str(tmp_path / "run"),
            data=runs.Data(
                videos=VideoSet(train=records, validation=records[:6], class_names=("a", "b", "c"))
            ),
            model=runs.Model(
                model=make_network,
                initial_weights=str(tmp_path / "start.weights.h5"),
                frozen=runs.AllBut(("s5", "head")),
            ),
            optimization=runs.Optimization(
                schedule=SCHEDULE,
                learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.01),
                optimizer=lambda learning_rate: AdamW(
                    learning_rate,
                    use_ema=True,
                    ema_momentum=0.5,
                    rate_multiplier=LayerDecay(0.5),
                ),
                precise_batches=2,
            ),
            logging=runs.Logging(validations=2),
        )
    )
    assert "layers are frozen, with their statistics." in capfd.readouterr().out
    trained = keras.models.load_model(tmp_path / "run" / "model.keras")
    changed = {
        variable.path
        for variable, before in zip(trained.weights, start.get_weights(), strict=True)
        if np.any(keras.ops.convert_to_numpy(variable) != before)
    }
    assert {path[:2] for path in changed} == {"s5", "he"}
    assert "s5-pathway0_res0-branch1_bn/moving_variance" in changed
    assert report.curve[-1]["val_loss"] == report.metrics["loss"]
