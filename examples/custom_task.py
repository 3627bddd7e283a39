"""A task of your own: which way something moves, as two numbers instead of a class.

python examples/custom_task.py
"""

import dataclasses
import functools

import keras

import keras_multigrid as mg
from keras_multigrid import runs
from keras_multigrid.data import synthetic

DIRECTIONS = {
    "move_left": (-1.0, 0.0),
    "move_right": (1.0, 0.0),
    "move_up": (0.0, -1.0),
    "move_down": (0.0, 1.0),
}


@dataclasses.dataclass(frozen=True)
class Direction(mg.Task):
    """Two numbers: motion to the right, and down."""

    result, mode = "mean_absolute_error", "min"

    def loss(self):
        return "mean_squared_error"

    def metrics(self):
        return ["mean_absolute_error"]


def with_directions(records, class_names):
    """The videos that move, labelled by their direction."""
    names = [class_names[record.label] for record in records]
    return [
        dataclasses.replace(record, label=DIRECTIONS[name])
        for record, name in zip(records, names, strict=True)
        if name in DIRECTIONS
    ]


def network(classes, classifier_activation):
    """A run calls it with what the task needs: here two numbers, without an activation."""
    return keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(8, (3, 5, 5), strides=(1, 2, 2), padding="same", use_bias=False),
            mg.SubBatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(classes, activation=classifier_activation),
        ]
    )


def main() -> None:
    motion = synthetic.motion_videos("data/motion_small", num_train=48, num_validation=24)
    train, validation = (
        with_directions(part, motion.class_names) for part in (motion.train, motion.validation)
    )
    videos = mg.VideoSet(train=train, validation=validation, task=Direction(("right", "down")))
    base = mg.Grid(batch_size=4, num_frames=8, crop_size=32)
    schedule = mg.MultigridSchedule(base, num_clips=len(train), epochs=12)
    optimization = runs.Optimization(
        schedule=schedule,
        learning_rate=lambda schedule: mg.MultigridLearningRate(schedule, 0.01),
        optimizer=functools.partial(mg.ReferenceSGD, momentum=0.9),
    )
    settings = runs.Settings(
        run_dir="runs/custom_task",
        data=runs.Data(videos=videos, sampling=mg.ClipSampling(flip=False)),
        model=runs.Model(model=network),
        optimization=optimization,
    )
    print(runs.train(settings))


# Videos are written by processes that import this file.
if __name__ == "__main__":
    main()
