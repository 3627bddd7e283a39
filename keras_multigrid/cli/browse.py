"""Look at clips as the model will see them at each grid.

    keras-multigrid browse --gin_file=quickstart
    keras-multigrid browse --gin_file=quickstart --gin_file=recipes/augmentation --out=clips.png

A page with moving clips, or, with --out=clips.png, a sheet of film strips.
"""

import copy
import pathlib

from absl import app, flags

import gin
from keras_multigrid.cli import command, experiments

flags.DEFINE_string("out", "clips.html", "The local file to write, which ends in .html or .png.")
flags.DEFINE_integer("clips", 4, "Clips of each grid.", lower_bound=1)
flags.DEFINE_integer("seed", None, "Seed of the training; by default the experiment's.", 0)
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    out = pathlib.Path(FLAGS.out)
    if out.suffix not in (".html", ".png"):
        raise app.UsageError(f"--out must end in .html or .png. Received: {FLAGS.out}")
    command.check_local("out")
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid import files
    from keras_multigrid.runs import browsing

    seed = _seed_of_training() if FLAGS.seed is None else FLAGS.seed
    settings = {"seed": seed, "num_clips": FLAGS.clips, **_augment_of_training()}
    grids = experiments.configured(browsing.browse)(**settings)
    if out.suffix == ".png":
        data = browsing.to_png(grids)
    else:
        data = browsing.to_html(grids).encode("utf-8", "backslashreplace")
    files.write(str(out), data)
    print(f"wrote {out}")


def _augment_of_training() -> dict:
    try:
        # gin resolves references as it copies them.
        return {"augment": copy.deepcopy(gin.query_parameter("runs.Data.augment"))}
    except ValueError:
        return {}


def _seed_of_training() -> int:
    try:
        return gin.query_parameter("runs.Settings.seed")
    except ValueError:
        return 0
