"""A network for pictures, frame by frame, joined over time: for small sets.

    python examples/picture_backbone.py --weights=imagenet      # downloads them
    python examples/picture_backbone.py                         # from scratch

Any Keras network for pictures of any size will do.
"""

import argparse

import keras

import keras_multigrid as mg
from keras_multigrid.data import synthetic
from keras_multigrid.models import FrameModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", help="imagenet, or a file of the backbone's weights")
    parser.add_argument(
        "--temporal", default="gru", choices=["mean", "attention", "gru", "convlstm"]
    )
    parser.add_argument("--epochs", type=int, default=4)
    settings = parser.parse_args()

    videos = synthetic.motion_videos("data/motion_small", num_train=48, num_validation=24)
    base = mg.Grid(batch_size=4, num_frames=8, crop_size=64)
    schedule = mg.MultigridSchedule.suggest(base, num_clips=48, epochs=settings.epochs)

    backbone = keras.applications.MobileNetV3Small(
        include_top=False, weights=settings.weights, minimalistic=True
    )
    # With weights of its own, what joins the frames learns first.
    backbone.trainable = settings.weights is None
    model = FrameModel(backbone, temporal=settings.temporal, units=64, classes=videos.num_classes)

    rate = mg.MultigridLearningRate(schedule, 1e-3, scaling="sqrt", warmup_epochs="auto")
    model.compile(
        keras.optimizers.AdamW(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    source = mg.Input(videos=videos, sampling=mg.ClipSampling(flip=False), keep_decoded=True)
    model.fit(
        source.training(schedule, seed=0),
        steps_per_epoch=schedule.total_steps,
        validation_data=source.validation(base),
        callbacks=[mg.MultigridCallback(log_dir="runs/picture_backbone")],
    )


# Videos are written by processes that import this file.
if __name__ == "__main__":
    main()
