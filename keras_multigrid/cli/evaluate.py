r"""Test a trained network on several views of each video.

    keras-multigrid evaluate --gin_file=quickstart
    keras-multigrid evaluate --gin_file=quickstart run_dir=runs/longer weights=best
    keras-multigrid evaluate --gin_file=slowfast_kinetics weights=SLOWFAST_8x8_R50.pkl
    keras-multigrid evaluate --gin_file=quickstart --gin_param="clips.Views.clips = 1" \
        --gin_param="clips.Views.crops = 3"
    keras-multigrid evaluate --run=runs/mine new_videos/
    keras-multigrid evaluate --run=runs/mine --by=group
    keras-multigrid evaluate --gin_file=gin/mine.gin --by=group --out=results.json
    keras-multigrid evaluate --gin_file=gin/mine.gin --by=camera --table=videos.csv
    keras-multigrid evaluate --gin_file=gin/mine.gin --by="/person([0-9]+)_"

--run takes the folder of a finished run, and a folder of class folders or a list to test on;
without one, the validation videos of finetune.

With --by, results are also shown by group, the worst first, each with its standard error: a
network may fail on one camera or person. group stands for the groups that names show, as in
finetune; a regular expression names them by its first part in parentheses; any other word is a
column of the table, by default the list of the validation videos.
"""

import dataclasses
import os

from absl import app, flags

import gin
from keras_multigrid.cli import command, experiments

flags.DEFINE_string("run", None, "Folder of a finished run, instead of an experiment.")
flags.DEFINE_integer("clips", 10, "With --run: clips of each video.", lower_bound=1)
flags.DEFINE_integer("crops", 3, "With --run: crops of each clip.", lower_bound=1)
flags.DEFINE_bool("per_class", True, "Show the result of each class; false does not.")
flags.DEFINE_string("by", None, "Show results by: group, a regular expression, or a column.")
flags.DEFINE_string("table", None, "CSV file with the column of --by, a line for each video.")
flags.DEFINE_string("out", None, "File to write all results to, .json.")
FLAGS = flags.FLAGS


def main(arguments: list[str]) -> None:
    """Run the command."""
    _check_flags(arguments)
    if FLAGS.run is None:
        experiments.load()
        experiments.check_schemes()
    from keras_multigrid import files
    from keras_multigrid.runs import evaluation

    groups = {} if FLAGS.by is None else {"by": FLAGS.by, "table": _table(arguments)}
    if FLAGS.run is None:
        result = experiments.configured(evaluation.evaluate)(**groups)
    else:
        result = evaluation.evaluate(**_of_run(arguments), **groups)
    if FLAGS.out is not None:
        files.write(FLAGS.out, result.to_json())
    print(f"\n{result if FLAGS.per_class else dataclasses.replace(result, per_class=())}")


def _of_run(arguments: list[str]):
    from keras_multigrid.data.clips.views import Views
    from keras_multigrid.runs.finished_run import settings_of_test

    views = Views(clips=FLAGS.clips, crops=FLAGS.crops)
    return settings_of_test(FLAGS.run, *map(os.path.expanduser, arguments), views=views)


def _check_flags(arguments: list[str]) -> None:
    if FLAGS.run is None and arguments:
        raise app.UsageError(
            f"Videos to test on go with --run=FOLDER. Received: {' '.join(arguments)}."
        )
    if FLAGS.run is None and (FLAGS["clips"].present or FLAGS["crops"].present):
        raise app.UsageError(
            "--clips and --crops go with --run. An experiment has settings for them: "
            "--gin_param='clips.Views.clips=1'."
        )
    if FLAGS.run is not None and (FLAGS.gin_file or FLAGS.gin_param or FLAGS.setting):
        raise app.UsageError(
            "--run goes without --gin_file, --gin_param and NAME=VALUE, of experiments."
        )
    if len(arguments) > 1:
        raise app.UsageError(
            f"Expected one folder of videos, or a list of them. Received: {' '.join(arguments)}."
        )
    if FLAGS.table is not None and FLAGS.by is None:
        raise app.UsageError("--table needs --by. Give, for example, --by=camera.")
    if FLAGS.out is not None:
        if not FLAGS.out.endswith(".json"):
            raise app.UsageError(f"--out must end in .json. Received: {FLAGS.out}")
        command.check_local("out")


def _table(arguments: list[str]) -> str | None:
    """Where the column of --by is: in the list of the test, if no other is named."""
    from keras_multigrid.data.lists import grouping

    if FLAGS.table is not None or "(" in FLAGS.by or FLAGS.by == grouping.FOUND:
        return FLAGS.table
    if FLAGS.run is not None and arguments and arguments[0].lower().endswith(".csv"):
        return arguments[0]
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
