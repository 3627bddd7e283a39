r"""Write a network with its preprocessing for other programs: a SavedModel or ONNX.

    keras-multigrid export --run=runs/mine --out=exported/mine
    keras-multigrid export --preset=presets/slowfast --out=slowfast.onnx
    keras-multigrid export --gin_file=quickstart run_dir=runs/longer weights=best --out=best.onnx
    keras-multigrid export --run=runs/mine --frame_size=720x1280 --out=camera.onnx

Its input are frames as a video decoder gives them: uint8 (batch, frames, height, width, 3), RGB.
The graph takes the square in their middle, scales it to the crop, normalizes it and gives the
scores that predict --clips=1 --crops=1 does. Class names and which frames to take are stored in it.

The export is run on random frames and compared with Keras. One that differs is deleted.
"""

import re

from absl import app, flags

from keras_multigrid.cli import command, network

flags.DEFINE_string("out", None, "What to write: a folder for a SavedModel, or a .onnx file.")
flags.DEFINE_integer(
    "num_frames", None, "Frames of a clip; by default those of the training.", lower_bound=1
)
flags.DEFINE_string(
    "frame_size", None, "HEIGHTxWIDTH of the frames, such as 720x1280; by default any will do."
)
flags.DEFINE_bool("open_sizes", False, "Take clips of more frames, too.")
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    if FLAGS.out is None:
        raise app.UsageError("--out is missing. Give a folder, or a file that ends in .onnx.")
    network.check_flags()
    size = _frame_size()
    command.check_local("out")
    network.configure()
    from keras_multigrid.runs import exporting

    exporting.check_target(FLAGS.out)
    trained, _ = network.trained()
    settings = {"num_frames": FLAGS.num_frames, "open_sizes": FLAGS.open_sizes}
    print(exporting.export(trained, FLAGS.out, frame_size=size, **settings))


def _frame_size() -> tuple[int, int] | None:
    if FLAGS.frame_size is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", FLAGS.frame_size)
    if found is None:
        raise app.UsageError(
            "--frame_size must be HEIGHTxWIDTH in pixels, such as 720x1280. Received: "
            f"{FLAGS.frame_size}"
        )
    return int(found[1]), int(found[2])
