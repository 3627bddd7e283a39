"""Class weights in the loss, draws by class and repeats, in real runs of a tiny model."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_run import tiny

from keras_multigrid import Grid, MultigridLearningRate, MultigridSchedule
from keras_multigrid.callbacks.checkpoint import ChangedSettingsError
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.runs import class_weighting, settings, train
from keras_multigrid.task import MultiLabel, SingleLabel, Task

# Of 24 videos.
COUNTS = (16, 6, 2)
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=4, crop_size=16),
    num_clips=24,
    epochs=1,
    long_cycle=(),
    short_cycle=(),
)


@pytest.fixture(scope="module")
def few(videos):
    """Three classes of 16, 6 and 2 videos."""
    labels = np.repeat(np.arange(3), COUNTS).tolist()
    videos = [VideoRecord(path=v.path, label=y) for v, y in zip(videos, labels, strict=True)]
    return VideoSet(train=videos, validation=videos[::8], class_names=("a", "b", "c"))


class Kill(Exception):
    """As a kill, which leaves nothing to say."""


class KillAt(keras.callbacks.Callback):
    """Ends the process' work after a number of batches."""

    def __init__(self, step):
        super().__init__()
        self._step, self._seen = step, 0

    def on_train_batch_end(self, batch, logs=None):
        self._seen += 1
        if self._seen == self._step:
            raise Kill


def run(videos, run_dir, *, balance=None, kill_at=None, repeats=1, **optimization):
    sampling = ClipSampling(flip=False, repeats=repeats)
    schedule = dataclasses.replace(SCHEDULE, num_clips=24 * repeats)
    train(
        settings.Settings(
            run_dir=str(run_dir),
            data=settings.Data(videos=videos, sampling=sampling, balance=balance),
            model=settings.Model(model=functools.partial(tiny, dropout=0.0)),
            optimization=settings.Optimization(
                schedule=schedule,
                learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.1),
                optimizer=keras.optimizers.SGD,
                **optimization,
            ),
            logging=settings.Logging(
                validations=1, callbacks=[] if kill_at is None else [KillAt(kill_at)]
            ),
            checkpoints=settings.Checkpoints(every=1),
        )
    )
    return keras.models.load_model(run_dir / "model.keras")


def same(model, other):
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_weights_by_rule_reach_the_training(few, tmp_path):
    weighted = run(few, tmp_path / "rule", class_weight="inverse")
    assert not same(weighted, run(few, tmp_path / "plain"))
    optimization = settings.Optimization(
        schedule=SCHEDULE, learning_rate=None, optimizer=None, class_weight="inverse"
    )
    data = settings.Data(videos=few)
    found = class_weighting.in_numbers(optimization, data).class_weight
    # 24 videos in 3 classes of 16, 6 and 2.
    assert found == pytest.approx({0: 1 / 2, 1: 4 / 3, 2: 4})
    balanced = dataclasses.replace(data, balance="inverse")
    with pytest.raises(ValueError, match=r"not both\. Received: class_weight='inverse', balance="):
        class_weighting.in_numbers(optimization, balanced)
    optimization = dataclasses.replace(optimization, class_weight={2: 4.0})
    assert class_weighting.in_numbers(optimization, balanced) is optimization


def test_several_classes_are_weighed_in_the_loss(few, tmp_path):
    train_videos = [VideoRecord(path=v.path, label=(v.label, 2)) for v in few.train]
    several = VideoSet(
        train=train_videos, validation=train_videos[::8], class_names=("a", "b", "c", "d"),
        multi_label=True,
    )  # fmt: skip
    model = run(several, tmp_path, class_weight="inverse")
    # 16, 6 and 24 videos; the class without one is left out of the 46 labels.
    np.testing.assert_allclose(model.loss.class_weights, [46 / 48, 46 / 18, 46 / 72, 1], rtol=1e-6)
    with pytest.raises(ValueError, match="`class_weight` and `loss` cannot both be set"):
        run(several, tmp_path / "other", class_weight={0: 2.0}, loss="mean_squared_error")


@pytest.mark.parametrize(
    ("sampled", "otherwise"),
    [
        pytest.param(
            {"balance": "inverse"}, {"balance": "inverse_square_root"}, marks=pytest.mark.slow
        ),
        ({"repeats": 2}, {"repeats": 4}),
    ],
    ids=["balance", "repeats"],
)
def test_a_run_resumes_exactly(few, tmp_path, sampled, otherwise):
    expected = run(few, tmp_path / "whole", **sampled)
    with pytest.raises(Kill):
        run(few, tmp_path / "run", kill_at=3, **sampled)
    with pytest.raises(ChangedSettingsError, match=next(iter(sampled))):
        run(few, tmp_path / "run", **otherwise)
    assert same(expected, run(few, tmp_path / "run", **sampled))


# Weights of clips.


def clip_weights(labels, class_weight, task):
    labels = np.asarray(labels)
    batches = tf.data.Dataset.from_tensors((np.zeros((len(labels), 1)), labels))
    (batch,) = class_weighting.weighted(batches, class_weight, task).as_numpy_iterator()
    return batch[2]


def test_clips_weigh_by_their_class():
    task = SingleLabel(("a", "b", "c"))
    assert clip_weights([0, 1, 2, 1], {1: 3.0}, task).tolist() == [1, 3, 1, 3]
    # Labels of mixed clips.
    mixed = [[1, 0, 0], [0.25, 0.75, 0]]
    assert clip_weights(mixed, {0: 2.0, 1: 4.0}, task).tolist() == [2, 3.5]


def test_labels_that_are_no_classes_are_refused(few):
    task = Task(("x", "y"))
    with pytest.raises(ValueError, match=r"for videos with classes\. Received: labels of shape"):
        clip_weights([[0.5, 0.5]], {0: 2.0}, task)
    optimization = settings.Optimization(
        schedule=SCHEDULE, learning_rate=None, optimizer=None, class_weight="inverse"
    )
    videos = VideoSet(train=few.train, validation=few.validation, task=task)
    with pytest.raises(ValueError, match=r"no classes to count\. Received: class_weight='inverse'"):
        class_weighting.in_numbers(optimization, settings.Data(videos=videos))
    with pytest.raises(ValueError, match="`class_weight` must be one of 'inverse'"):
        settings.Optimization(
            schedule=SCHEDULE, learning_rate=None, optimizer=None, class_weight="balanced"
        )


def test_several_classes_have_no_weights_of_clips():
    batches = tf.data.Dataset.from_tensors((np.zeros((1, 1)), np.ones((1, 2), np.float32)))
    assert class_weighting.weighted(batches, {0: 2.0}, MultiLabel(("a", "b"))) is batches
