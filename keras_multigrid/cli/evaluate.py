r"""Test a trained network on several views of each video.

    keras-multigrid evaluate --gin_file=quickstart
    keras-multigrid evaluate --gin_file=quickstart run_dir=runs/longer weights=best
    keras-multigrid evaluate --gin_file=slowfast_kinetics weights=SLOWFAST_8x8_R50.pkl
    keras-multigrid evaluate --gin_file=quickstart --gin_param="clips.Views.clips = 1" \
        --gin_param="clips.Views.crops = 3"
    keras-multigrid evaluate --gin_file=gin/mine.gin --by=group --out=results.json
    keras-multigrid evaluate --gin_file=gin/mine.gin --by=camera --table=videos.csv
    keras-multigrid evaluate --gin_file=gin/mine.gin --by="/person(\d+)_"

With --by, results are also shown by group, the worst first, each with its standard error: a
network may fail on one camera or person. group stands for the groups that names show, as in
finetune; a regular expression names them by its first part in parentheses; any other word is a
column of the table, by default the list of the validation videos.
"""

import dataclasses

from absl import app, flags

import gin
from keras_multigrid.cli import command, experiments

flags.DEFINE_bool("per_class", True, "Show the result of each class; false does not.")
flags.DEFINE_string("by", None, "Show results by: group, a regular expression, or a column.")
flags.DEFINE_string("table", None, "CSV file with the column of --by, a line for each video.")
flags.DEFINE_string("out", None, "File to write all results to, .json.")
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    _check_flags()
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid import files
    from keras_multigrid.runs import evaluation

    groups = {} if FLAGS.by is None else {"by": FLAGS.by, "table": _table()}
    result = experiments.configured(evaluation.evaluate)(**groups)
    if FLAGS.out is not None:
        files.write(FLAGS.out, result.to_json())
    print(f"\n{result if FLAGS.per_class else dataclasses.replace(result, per_class=())}")


def _check_flags() -> None:
    if FLAGS.table is not None and FLAGS.by is None:
        raise app.UsageError("--table needs --by. Give, for example, --by=camera.")
    if FLAGS.out is not None:
        if not FLAGS.out.endswith(".json"):
            raise app.UsageError(f"--out must end in .json. Received: {FLAGS.out}")
        command.check_local("out")


def _table() -> str | None:
    """Where the column of --by is: in the experiment's own list, if no other is named."""
    from keras_multigrid.data.lists import grouping

    if FLAGS.table is not None or "(" in FLAGS.by or FLAGS.by == grouping.FOUND:
        return FLAGS.table
    for name in ("%VALIDATION_LIST", "path_label_lists.validation", "path_label_lists.train"):
        try:
            value = gin.query_parameter(name)
        except ValueError:
            continue
        if isinstance(value, str):
            return value
    raise app.UsageError(
        f"--by={FLAGS.by} is a column: name the CSV file that has it, --table=FILE."
    )
