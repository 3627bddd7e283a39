"""Preview a training: grids, steps, learning rate, and what it takes here.

    keras-multigrid plan --gin_file=quickstart
    keras-multigrid plan --gin_file=i3d_charades batch_size=32 --png=schedule.png
    keras-multigrid plan --gin_file=slowfast_kinetics --json

With seconds and memory of each grid, by a short training on this machine and its videos:

    keras-multigrid plan --gin_file=quickstart --measure

On a cluster, with what one device trains in a second, measured on it:

    keras-multigrid plan --gin_file=slowfast_kinetics --replicas=128 --clips_per_second=30
"""

import contextlib
import copy
import json
import sys

from absl import app, flags

import gin
from keras_multigrid.cli import command, experiments

flags.DEFINE_bool("json", False, "Print the whole plan as JSON instead of a table.")
flags.DEFINE_string("png", None, "Also draw the schedule into this file.")
flags.DEFINE_integer("replicas", 1, "Devices that will share a mini-batch.", lower_bound=1)
flags.DEFINE_float(
    "clips_per_second",
    None,
    "Clips of the baseline's grid that one device trains in a second, as measured: shows time, "
    "input and network. The network's parameters are counted with 400 classes.",
)
flags.DEFINE_float(
    "frames_per_core",
    None,
    "Frames that one core decodes in a second. By default what was measured, in docs/data.md, for "
    "H.264 of 340 x 256, by the frames of the clip: 160 of 8, 215 of 16, 320 of 32.",
)
flags.DEFINE_bool(
    "model_work",
    False,
    "Count what the steps cost the network, by its multiply-adds: with attention or padding, grids "
    "of equal voxels differ.",
)
flags.DEFINE_bool(
    "measure",
    False,
    "Train briefly at every grid, on this machine and the experiment's videos: shows time and "
    "memory of the run.",
)
FLAGS = flags.FLAGS

# The number of classes is that of the data, which a plan does without: Kinetics has as many.
_CLASSES = 400


def main() -> None:
    """Run the command."""
    if FLAGS.png is not None:
        command.check_local("png")
    experiments.load()
    from keras_multigrid.learning_rate import MultigridLearningRate
    from keras_multigrid.runs.plan import make_plan
    from keras_multigrid.runs.plan_table import format_costs, format_plan

    learning_rate = experiments.configured(MultigridLearningRate)()
    plan = make_plan(
        learning_rate,
        replicas=FLAGS.replicas,
        device=_device(),
        frames_per_core=FLAGS.frames_per_core,
        multiply_adds=_multiply_adds() if FLAGS.model_work else None,
    )
    costs = _measured() if FLAGS.measure else None
    if FLAGS.json:
        print(json.dumps(plan if costs is None else {**plan, "measured": costs.values()}, indent=2))
    else:
        print(
            format_plan(plan) if costs is None else f"{format_plan(plan)}\n\n{format_costs(costs)}"
        )
    if FLAGS.png is not None:
        _draw(learning_rate.on_replicas(FLAGS.replicas), FLAGS.png)


def _measured():
    """What `measure` says of the experiment, whose devices are those of this machine."""
    from keras_multigrid.runs.measuring import measure
    from keras_multigrid.runs.settings import Settings

    if FLAGS.replicas != 1 or FLAGS.clips_per_second is not None:
        raise app.UsageError(
            "--measure is for this machine and all its devices; --replicas and --clips_per_second "
            "are for others. Use one or the other."
        )
    experiments.check_schemes()
    # Standard output may be JSON for another program.
    with contextlib.redirect_stdout(sys.stderr):
        return measure(experiments.configured(Settings)())


def _device():
    if FLAGS.clips_per_second is None:
        if FLAGS.frames_per_core is not None:
            raise app.UsageError("--frames_per_core is for rates: set --clips_per_second, too.")
        return None
    from keras_multigrid.runs.plan import Device

    return Device(clips_per_second=FLAGS.clips_per_second, parameters=_count_parameters())


def _count_parameters() -> int:
    network = _network("--clips_per_second needs the network, whose parameters it counts.")
    if hasattr(network, "parameter_count"):
        return network.parameter_count
    return network.count_params()


def _multiply_adds():
    network = _network("--model_work needs the network, whose multiply-adds it counts.")
    if not hasattr(network, "multiply_adds"):
        raise ValueError(
            "--model_work needs a network that has `multiply_adds(frames, crop)`, as those of "
            f"keras_multigrid.models have. Received: {network.name}."
        )
    return network.multiply_adds


def _network(why: str):
    """The experiment's model, with a classifier of `_CLASSES`."""
    from keras_multigrid.runs.settings import Model

    try:
        settings = gin.get_bindings(Model, resolve_references=False)
    except ValueError:
        # The gin files do not name `Model` at all: they are for a schedule alone.
        settings = {}
    if "model" not in settings:
        raise ValueError(f"{why} Received: no runs.Model.model. Bind it in the gin file.")
    # gin resolves references as it copies them; the others would look for data.
    make_model = copy.deepcopy(settings["model"])
    return make_model(classes=_CLASSES, classifier_activation="softmax")


def _draw(learning_rate, path: str) -> None:
    from keras_multigrid import figures, files

    files.write(path, figures.to_png(figures.draw_schedule(learning_rate)))
    # Standard output may be JSON for another program.
    print(f"wrote {path}", file=sys.stderr)
