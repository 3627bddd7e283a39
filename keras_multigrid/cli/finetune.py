r"""Train on a folder of your own videos, and write a report to show.

    keras-multigrid finetune my_videos/ --out=runs/mine
    keras-multigrid finetune my_videos.csv --out=runs/mine --minutes=10 epochs=20
    keras-multigrid finetune my_videos/ --out=runs/mine --weights=SLOWFAST_8x8_R50.pkl
    keras-multigrid finetune my_videos/ --out=runs/mine --group="/([a-z]+)_" --dry_run

The folder holds a folder of videos for each class (walk/denis.avi, run/...), or train/ and val/ of
these; a list has lines like walk/denis.avi,walk. What is not set is chosen from the videos and the
machine, and printed with its reason and what changes it, before training begins.

The run folder gets report.html, model.keras, and all that a run has. The same command goes on
where it was stopped.
"""

import ast
import os

from absl import app, flags

from keras_multigrid.cli import command, commands, named_settings

flags.DEFINE_string("out", None, "Local folder of the run.")
flags.DEFINE_string(
    "group",
    None,
    "What videos have in common that must not be in both parts: a regular expression whose first "
    "parentheses hold it, searched for in their paths; or none. By default found in the names.",
)
flags.DEFINE_float(
    "validation", 0.2, "Share of the videos to validate on.", lower_bound=0.01, upper_bound=0.9
)
flags.DEFINE_string(
    "weights",
    None,
    "Weights to begin with: kinetics400, which is fetched; a .pkl or .pyth file; model.keras of a "
    "run; or none.",
)
flags.DEFINE_float("minutes", 30.0, "Minutes that the training may take.", lower_bound=0.1)
flags.DEFINE_float(
    "probe_work",
    None,
    "Find the schedule by short runs of so much work, in steps of the baseline, instead of by the "
    "rule.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "still_camera",
    None,
    ["true", "false"],
    "Subtract the mean picture of each clip, for cameras that stand still. By default seen.",
)
flags.DEFINE_enum(
    "copies",
    None,
    ["true", "false"],
    "Write small copies of the videos into the run folder first. By default if decoded videos do "
    "not fit in memory.",
)
flags.DEFINE_enum(
    "keep_decoded",
    None,
    ["true", "false"],
    "Keep decoded videos in memory. By default if they fit.",
)
flags.DEFINE_enum(
    "balance",
    None,
    ["none", "inverse_square_root", "inverse"],
    "How much more often rare classes are drawn. By default by their sizes.",
)
flags.DEFINE_bool("dry_run", False, "Print choices and plan, and stop.")
FLAGS = flags.FLAGS

# Those of a `Choice`.
_CHOICES = (
    *("batch_size", "num_frames", "crop_size", "stride", "flip"),
    *("epochs", "learning_rate", "dtype_policy"),
)


def main(arguments: list[str]) -> None:
    """Run the command."""
    if len(arguments) != 1:
        raise app.UsageError(
            "Expected one folder of videos, or a list of them. Received: "
            f"{' '.join(arguments) or 'none'}. Use for example: keras-multigrid finetune "
            "my_videos/ --out=runs/mine"
        )
    if FLAGS.out is None:
        raise app.UsageError("--out is missing. Use for example --out=runs/mine.")
    source = os.path.expanduser(arguments[0]).rstrip("/")
    _check_places(source)
    if not FLAGS.dry_run:
        command.check_local("out")
    taken = commands.COMMANDS["finetune"].settings
    values = {
        name: ast.literal_eval(text)
        for name, text in named_settings.parse(FLAGS.setting, taken).items()
    }
    from keras_multigrid.runs.finetuning.request import Request
    from keras_multigrid.runs.finetuning.run import finetune

    given = {name: values.pop(name) for name in _CHOICES if name in values}
    for flag in ("still_camera", "copies", "keep_decoded"):
        if FLAGS[flag].value is not None:
            name = "subtract_clip_mean" if flag == "still_camera" else flag
            given[name] = FLAGS[flag].value == "true"
    if FLAGS.balance is not None:
        given["balance"] = None if FLAGS.balance == "none" else FLAGS.balance
    request = Request(
        source=source,
        run_dir=FLAGS.out,
        group=FLAGS.group,
        share=FLAGS.validation,
        weights=FLAGS.weights,
        minutes=FLAGS.minutes,
        probe_work=FLAGS.probe_work,
        given=given,
        **values,
    )
    finetune(request, dry_run=FLAGS.dry_run)


def _check_places(source: str) -> None:
    """Refuse what is no place for videos or for a run, before anything is read or written."""
    if "://" not in source:
        if not os.path.exists(source):
            raise app.UsageError(f"There is no folder and no list of videos '{source}'.")
        if os.path.isdir(source) and not os.listdir(source):
            raise app.UsageError(
                f"The folder '{source}' is empty. Put a folder for each class there."
            )
        if os.path.isfile(source) and not source.lower().endswith((".csv", ".txt", ".tsv")):
            raise app.UsageError(
                f"'{source}' is one file. Give the folder that holds a folder of videos for each "
                "class, or a list of them (.csv, .txt, .tsv)."
            )
    out = os.path.realpath(os.path.expanduser(FLAGS.out))
    if os.path.isfile(out):
        raise app.UsageError(f"--out must be a folder. Received a file: {FLAGS.out}")
    if os.path.isdir(source) and f"{out}/".startswith(f"{os.path.realpath(source)}/"):
        raise app.UsageError(
            f"--out must not be in the folder of the videos. Received: {FLAGS.out}. Use for "
            "example --out=runs/mine."
        )
    # The lists are written before the file that tells a run.
    found = set(os.listdir(out)) - {"videos"} if os.path.isdir(out) else set()
    if found and "finetune.json" not in found:
        raise app.UsageError(
            f"--out must be a new folder, or that of a run to go on with. Received: {FLAGS.out}, "
            "which holds something else."
        )
