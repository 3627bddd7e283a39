"""All GPUs of a machine; without any, two devices of the processor.

    python examples/several_devices.py

On several machines, run it on each with TF_CONFIG: `find_strategy` takes it from there.
"""

import keras

import keras_multigrid as mg
from keras_multigrid import distribute
from keras_multigrid.data import synthetic


def main() -> None:
    strategy = distribute.find_strategy("mirrored", logical_cpus=2)
    videos = synthetic.motion_videos("data/motion_small", num_train=48, num_validation=24)
    base = mg.Grid(batch_size=4, num_frames=8, crop_size=32)
    # Every batch is a multiple of the devices.
    schedule = mg.MultigridSchedule(
        base, num_clips=48, epochs=4, boundaries=(2, 3), replicas=distribute.device_count(strategy)
    )
    source = mg.Input(videos=videos, sampling=mg.ClipSampling(flip=False))

    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((None, None, None, 3)),
                keras.layers.Conv3D(8, 3, strides=2, padding="same", use_bias=False),
                mg.SubBatchNormalization(),
                keras.layers.ReLU(),
                keras.layers.GlobalAveragePooling3D(),
                keras.layers.Dense(videos.num_classes, activation="softmax"),
            ]
        )
        rate = mg.MultigridLearningRate(schedule, 0.02, warmup_epochs=1)
        model.compile(
            keras.optimizers.SGD(rate, momentum=0.9),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    distribute.prepare(model)
    model.fit(
        distribute.batches(
            strategy, lambda context: source.training(schedule, seed=0, input_context=context)
        ),
        steps_per_epoch=schedule.total_steps,
        validation_data=distribute.batches(
            strategy, lambda context: source.validation(schedule.base, input_context=context)
        ),
        callbacks=[mg.MultigridCallback(log_dir="runs/several_devices")],
    )


# Videos are written by processes that import this file.
if __name__ == "__main__":
    main()
