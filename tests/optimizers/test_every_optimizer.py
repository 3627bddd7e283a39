"""Every optimizer with every way of training: the schedule's steps, an exact resume, the report."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid import (
    AveragedWeights,
    Grid,
    MultigridCallback,
    MultigridCheckpoint,
    MultigridLearningRate,
    MultigridSchedule,
    PreciseBatchStatistics,
    SubBatchNormalization,
    compat,
    optimizers,
    resample,
)

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=16),
    num_clips=24,
    epochs=4,
    long_cycle=((0.25, 0.7071), (0.5, 1.0), (1.0, 1.0)),
)
STEPS = 12
OPTIMIZERS = {
    "SGD": (optimizers.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    "AdamW": (optimizers.AdamW, {}),
    "Lion": (optimizers.Lion, {"weight_decay": 0.01}),
    "Muon": (optimizers.Muon, {}),
    "LAMB": (optimizers.Lamb, {"weight_decay": 0.01}),
}
WAYS = ("plain", "accumulation", "float16", "EMA", "clipping")
PAIRS = ("float16+accumulation", "EMA+accumulation", "clipping+accumulation")
# Each optimizer and each way at least once.
FEW = [
    ("SGD", "float16+accumulation"),
    pytest.param("AdamW", "EMA+accumulation", marks=pytest.mark.slow),
    pytest.param("Lion", "clipping+accumulation", marks=pytest.mark.slow),
    pytest.param("Muon", "float16+EMA", marks=pytest.mark.slow),
    pytest.param("LAMB", "plain", marks=pytest.mark.slow),
]
ALL = [
    *itertools.product(OPTIMIZERS, (*WAYS, *PAIRS)),
    ("AdamW", "bfloat16"),
    ("SGD", "float16+EMA+accumulation"),
]


def make_optimizer(name, way, schedule):
    optimizer_class, settings = OPTIMIZERS[name]
    settings = {**settings, "decays": optimizers.not_bias_or_normalization}
    settings["rate_multiplier"] = optimizers.LayerDecay(0.5, stages=("s1", "head"))
    if "accumulation" in way:
        settings["gradient_accumulation_steps"] = 4
    if "EMA" in way:
        settings |= {"use_ema": True, "ema_momentum": 0.8}
    if "clipping" in way:
        settings["global_clipnorm"] = 0.1
    optimizer = optimizer_class(MultigridLearningRate(schedule, 0.01), **settings)
    # The first updates overflow.
    if way.startswith("float16"):
        return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**24)
    return optimizer


def make_model(name, way, schedule=SCHEDULE):
    keras.utils.set_random_seed(0)
    policy = next((f"mixed_{dtype}" for dtype in ("bfloat16", "float16") if dtype in way), None)
    model = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(4, (1, 3, 3), strides=2, name="s1", dtype=policy),
            SubBatchNormalization(name="s1-bn", dtype=policy),
            keras.layers.ReLU(dtype=policy),
            keras.layers.GlobalAveragePooling3D(dtype=policy),
            keras.layers.Dropout(0.2, dtype=policy),
            keras.layers.Dense(2, name="head", dtype=policy),
            keras.layers.Softmax(dtype="float32"),
        ]
    )
    optimizer = make_optimizer(name, way, schedule)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def make_batches(schedule, start_step=0, seed=0):
    videos = np.random.default_rng(seed).integers(0, 255, (24, 6, 18, 20, 3))
    videos = tf.data.Dataset.from_tensor_slices((videos.astype(np.uint8), np.arange(24) % 2))
    batches = videos.apply(resample(schedule, start_step=start_step))
    # An iterator that ends would wait for the thread that tunes it.
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.map(lambda clips, labels: (clips / 255 - 0.5, labels)).with_options(options)


class Seen(keras.callbacks.Callback):
    """The rate and the clips of each step, as Keras has them."""

    def __init__(self, kill_at=None):
        super().__init__()
        self.rates, self.shapes, self.scales, self._kill_at = [], [], [], kill_at

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch, logs=None):
        self.shapes.append(compat.watch_batches(self.model).shape)
        self.scales.append(compat.loss_scale(self.model))
        if compat.batches_counted(self.model) == self._kill_at:
            raise InterruptedError


def fit(model, folder, schedule=SCHEDULE, **settings):
    plain, seen, averaged = schedule.baseline(), Seen(**settings), []
    if getattr(model.optimizer, "inner_optimizer", model.optimizer).use_ema:
        averaged = [AveragedWeights(PreciseBatchStatistics(make_batches(plain, seed=1), 2))]
    checkpoint = MultigridCheckpoint(folder, every=3)
    batches = make_batches(schedule, checkpoint.restore(model))
    history = model.fit(
        batches,
        validation_data=make_batches(plain, seed=2).take(2),
        steps_per_epoch=6,
        epochs=2,
        verbose=0,
        callbacks=[MultigridCallback(log_dir=None), *averaged, checkpoint, seen],
    )
    return history, seen


def check(name, way, folder):
    whole = make_model(name, way)
    history, seen = fit(whole, folder / "whole")
    policy = MultigridLearningRate(SCHEDULE, 0.01)
    assert SCHEDULE.total_steps == STEPS and len(SCHEDULE.phases) == 3
    assert seen.rates == [float(policy(step)) for step in range(STEPS)]
    assert seen.shapes == [SCHEDULE.grid(step).shape for step in range(STEPS)]
    if way.startswith("float16"):
        # Some updates were skipped, not all.
        assert 2.0 ** (24 - STEPS) < seen.scales[-1] < 2.0**24
    with pytest.raises(InterruptedError):
        fit(make_model(name, way), folder / "killed", kill_at=5)
    resumed = make_model(name, way)
    _, seen = fit(resumed, folder / "killed")
    assert len(seen.rates) == STEPS - 3
    for value, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    whole.save(folder / "model.keras")
    saved = keras.models.load_model(folder / "model.keras")
    validation = make_batches(SCHEDULE.baseline(), seed=2).take(2)
    results = saved.evaluate(validation, verbose=0, return_dict=True)
    expected = {name: history.history[f"val_{name}"][-1] for name in results}
    assert results == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name, way", FEW)
def test_an_optimizer(name, way, tmp_path):
    check(name, way, tmp_path)


@pytest.mark.every
@pytest.mark.parametrize("name, way", ALL)
def test_every_optimizer_in_every_way(name, way, tmp_path):
    check(name, way, tmp_path)
