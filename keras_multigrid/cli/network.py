"""Flags that name a trained network: of a finished run, a preset or an experiment."""

import dataclasses

from absl import app, flags

import gin
from keras_multigrid.cli import experiments

flags.DEFINE_string("run", None, "Folder of a finished run, instead of an experiment.")
flags.DEFINE_string("preset", None, "Folder of a preset, instead of an experiment.")
FLAGS = flags.FLAGS


def check_flags() -> None:
    """Refuse what does not name one network, before any work."""
    if FLAGS.preset is not None and FLAGS.run is not None:
        raise app.UsageError("--preset and --run name a network each: give one of them.")
    if FLAGS.preset is None and FLAGS.run is None and not FLAGS.gin_file:
        raise app.UsageError(
            "Name the network: --run=FOLDER of a finished run, --preset=FOLDER, or "
            "--gin_file=EXPERIMENT."
        )
    given = FLAGS.gin_file or FLAGS.gin_param or FLAGS.setting
    if given and (FLAGS.preset is not None or FLAGS.run is not None):
        raise app.UsageError(
            "--preset and --run go without --gin_file, --gin_param and NAME=VALUE, which belong to "
            "experiments."
        )


def configure() -> None:
    """Read the experiment, where one names the network."""
    if FLAGS.preset is None and FLAGS.run is None:
        experiments.load()
        experiments.check_schemes()


def trained(**size):
    """The network with its clips, and clips to read at a time; None for as many as cores.

    Args:
        size: `views` and `batch_size` of a preset or run, same as for `runs.MultiViewTest`.
    """
    from keras_multigrid.runs import evaluation
    from keras_multigrid.runs.trained_model import TrainedModel

    if FLAGS.preset is not None:
        return TrainedModel.from_preset(FLAGS.preset, **size), None
    if FLAGS.run is not None:
        from keras_multigrid.runs.finished_run import finished_run

        found = finished_run(FLAGS.run)
        found["test"] = dataclasses.replace(found["test"], **size)
        return evaluation.trained_model(**found), None
    bound = gin.get_bindings(evaluation.predict)
    names = ("model", "test", "sampling", "classes")
    trained = evaluation.trained_model(**{name: bound[name] for name in names if name in bound})
    return trained, bound.get("workers")
