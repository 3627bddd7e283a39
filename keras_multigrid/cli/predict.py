"""Say what a trained network sees in videos of your own.

    keras-multigrid predict --run=runs/mine my_video.mp4 another.mov
    keras-multigrid predict --gin_file=quickstart my_video.mp4 another.mov
    keras-multigrid predict --gin_file=quickstart run_dir=runs/longer --top=3 videos/*.mp4

The folder of a finished run holds all that is needed: `--run`. Of a run that still trains, or with
other weights or views, name the experiment; the classes are those that the run saved, so its data
need not be there. Videos that cannot be read are named after the scores of the others, and the
exit code is 1.
"""

import functools
import sys

from absl import app, flags

from keras_multigrid.cli import experiments

flags.DEFINE_string("run", None, "Folder of a finished run, instead of an experiment.")
flags.DEFINE_integer("top", 5, "Classes to show of each video.")
FLAGS = flags.FLAGS


def main(paths: list[str]) -> None:
    """Run the command."""
    predict = _by_run() if FLAGS.run is not None else _by_experiment()
    from keras_multigrid.runs import evaluation

    errors = {}
    try:
        predictions = predict(paths=paths, top=FLAGS.top)
    except evaluation.UnreadableVideosError as error:
        predictions, errors = error.predictions, error.errors
    _show(predictions)
    for reason in errors.values():
        print(f"error: {reason}", file=sys.stderr)
    sys.exit(1 if errors else 0)


def _by_run():
    if FLAGS.gin_file or FLAGS.gin_param or FLAGS.setting:
        raise app.UsageError(
            "--run takes all from the run's folder. Received settings, too: leave them out, or "
            "name the experiment with --gin_file instead."
        )
    from keras_multigrid.runs import evaluation, finished_run

    return functools.partial(evaluation.predict, **finished_run.finished_run(FLAGS.run))


def _by_experiment():
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs import evaluation

    return experiments.configured(evaluation.predict)


def _show(predictions: dict[str, list[tuple[str, float]]]) -> None:
    from keras_multigrid import files

    for path, classes in predictions.items():
        print(files.redacted(path))
        for name, score in classes:
            print(f"  {score:.4f}  {name}")
