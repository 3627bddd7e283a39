r"""Say what a trained network sees in videos of your own.

    keras-multigrid predict --run=runs/mine my_video.mp4 another.mov
    keras-multigrid predict --gin_file=quickstart my_video.mp4 another.mov
    keras-multigrid predict --gin_file=quickstart run_dir=runs/longer --top=3 videos/
    keras-multigrid predict --preset=presets/slowfast --list=addresses.txt --out=scores.csv
    find . -name '*.mp4' | keras-multigrid predict --preset=presets/slowfast --list=-
    keras-multigrid predict --preset=presets/slowfast --window=64 --hop=32 --out=long.json long.mp4
    keras-multigrid predict --preset=presets/slowfast --features=features.npz videos/

The folder of a finished run holds all that is needed, --run, and so does a preset (see convert). Of
a run that still trains, or with other weights, name the experiment; its data need not be there.

Arguments are videos, folders of pictures, and folders of any of these; --list names a file with one
on each line, - for standard input.

With --window, each video is decoded once, in passages of so many of its frames, and memory does not
grow with its length. Neighbouring passages of one class are joined to segments.

Videos that cannot be read are named after the scores of the others, and the exit code is 1.
"""

import os
import sys

from absl import app, flags

from keras_multigrid.cli import command, network

flags.DEFINE_integer("top", 5, "Classes to show of each video.", lower_bound=1)
flags.DEFINE_integer("clips", 10, "With --preset or --run: clips of each video.", lower_bound=1)
flags.DEFINE_integer("crops", 3, "With --preset or --run: crops of each clip.", lower_bound=1)
flags.DEFINE_integer(
    "batch_size", 8, "With --preset or --run: views, or passages, at a time.", lower_bound=1
)
flags.DEFINE_string("list", None, "File of videos, one a line; - for standard input.")
flags.DEFINE_integer(
    "window", None, "Frames of a passage; by default videos are taken as a whole.", lower_bound=1
)
flags.DEFINE_integer(
    "hop", None, "Frames from one passage to the next; by default half a window.", lower_bound=1
)
flags.DEFINE_string("out", None, "File to write, .json or .csv, instead of showing the scores.")
flags.DEFINE_string("features", None, "File to write pooled features to, .npz, instead of scores.")
FLAGS = flags.FLAGS


def main(arguments: list[str]) -> None:
    """Run the command."""
    _check_flags()
    network.configure()
    from keras_multigrid.runs import prediction, prediction_files

    paths, errors = _videos([*arguments, *_listed()])
    prediction.check_there(paths)
    passages, (trained, workers) = _passages(), _trained()
    try:
        if FLAGS.features is not None:
            found = prediction.extract_features(trained, paths, passages=passages, workers=workers)
        elif passages is not None:
            found = prediction.classify_passages(trained, paths, passages, top=FLAGS.top)
        else:
            found = prediction.classify(trained, paths, top=FLAGS.top, workers=workers)
    except prediction.UnreadableVideosError as error:
        found = error.predictions
        errors += error.errors.values()
    if FLAGS.features is not None:
        prediction_files.write_features(found, FLAGS.features)
    elif FLAGS.out is not None:
        prediction_files.write(found, FLAGS.out)
    else:
        print(prediction_files.as_text(found))
    for reason in errors:
        print(f"error: {reason}", file=sys.stderr)
    sys.exit(1 if errors else 0)


def _check_flags() -> None:
    """Refuse what does not go together, before any work."""
    network.check_flags()
    if FLAGS.hop is not None and FLAGS.window is None:
        raise app.UsageError("--hop needs --window. Give, for example, --window=64 --hop=32.")
    if FLAGS.out is not None and FLAGS.features is not None:
        raise app.UsageError("--features writes features instead of scores: leave out --out.")
    for flag, endings in (("out", (".json", ".csv")), ("features", (".npz",))):
        path = FLAGS[flag].value
        if path is None:
            continue
        if not path.endswith(endings):
            raise app.UsageError(f"--{flag} must end in {' or '.join(endings)}. Received: {path}")
        command.check_local(flag)


def _listed() -> list[str]:
    """The lines of --list that say something."""
    if FLAGS.list is None:
        return []
    if FLAGS.list == "-":
        text = sys.stdin.read()
    else:
        from keras_multigrid import files

        content = files.read(FLAGS.list)
        if content is None:
            raise FileNotFoundError(f"--list: there is no file '{FLAGS.list}'.")
        text = content.decode()
    return [line.strip() for line in text.splitlines() if line.strip()]


def _videos(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The videos that arguments stand for, and what is wrong with the others."""
    from keras_multigrid.data.videos.finding import find_videos

    paths, errors = [], []
    for argument in arguments:
        try:
            paths += find_videos(os.path.expanduser(argument))
        except ValueError as error:
            errors.append(str(error))
    if errors and not paths:
        raise ValueError(" ".join(errors))
    return paths, errors


def _trained():
    """The network with its clips, and clips to read at a time."""
    from keras_multigrid.data.clips.views import Views

    views = Views(clips=FLAGS.clips, crops=FLAGS.crops)
    return network.trained(views=views, batch_size=FLAGS.batch_size)


def _passages():
    from keras_multigrid.data.clips.passages import Passages

    return None if FLAGS.window is None else Passages(window=FLAGS.window, hop=FLAGS.hop)
