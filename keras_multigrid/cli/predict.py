"""Say what a trained network sees in videos of your own.

    keras-multigrid predict --gin_file=quickstart my_video.mp4 another.mov
    keras-multigrid predict --gin_file=quickstart run_dir=runs/longer --top=3 videos/*.mp4

The experiment names the network and its training; its classes are those that the run saved, so its
data need not be there. Videos that cannot be read are named after the scores of the others, and the
exit code is 1.
"""

import sys

from absl import flags

from keras_multigrid.cli import experiments

flags.DEFINE_integer("top", 5, "Classes to show of each video.")
FLAGS = flags.FLAGS


def main(paths: list[str]) -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs import evaluation

    errors = {}
    try:
        predictions = experiments.configured(evaluation.predict)(paths=paths, top=FLAGS.top)
    except evaluation.UnreadableVideosError as error:
        predictions, errors = error.predictions, error.errors
    _show(predictions)
    for reason in errors.values():
        print(f"error: {reason}", file=sys.stderr)
    sys.exit(1 if errors else 0)


def _show(predictions: dict[str, list[tuple[str, float]]]) -> None:
    from keras_multigrid import files

    for path, classes in predictions.items():
        print(files.redacted(path))
        for name, score in classes:
            print(f"  {score:.4f}  {name}")
