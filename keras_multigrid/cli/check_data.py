"""Find bad videos and bad lines before training.

    keras-multigrid check --gin_file=i3d_charades
    keras-multigrid check --gin_file=quickstart data_dir=/data/motion --quick --out=check

It decodes every video of the experiment and writes into the folder `--out`:

    findings.tsv     path, part and reason of everything that was found
    train.txt, ...   lists of what can be used (frame lists: train.csv, ...)
    cleaned.gin      the settings to use them: give it to `train` as a second --gin_file
    journal.jsonl    what is checked already: the same command goes on from there

It ends with exit code 0 if nothing was found, 1 if something was, and 2 if the settings are wrong.
"""

import os
import sys

from absl import flags

from keras_multigrid.cli import command, experiments
from keras_multigrid.progress import Progress

flags.DEFINE_string("out", "check", "Local folder to write to.")
flags.DEFINE_bool("quick", False, "Decode the first frames of each video only.")
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    command.check_local("out")
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.data.check import videos
    from keras_multigrid.data.lists import writing
    from keras_multigrid.data.lists.lines import BadLinesError, collect_bad_lines

    check = experiments.configured(videos.check_videos)
    journal = os.path.join(FLAGS.out, "journal.jsonl")
    progress = Progress("video")
    with collect_bad_lines() as bad_lines:
        try:
            checked = check(journal=journal, quick=FLAGS.quick, progress=progress)
        except ValueError:
            # A list without a good line, for example.
            if bad_lines:
                raise BadLinesError(bad_lines) from None
            raise
    rows = [
        (f"{bad.file}, {bad.place}", "list", f"{bad.reason}: {bad.text!r}") for bad in bad_lines
    ]
    rows += [("the whole set", "set", fault) for fault in checked.report.faults]
    rows += [(finding.path, finding.part, finding.reason) for finding in checked.findings]
    table = os.path.join(FLAGS.out, "findings.tsv")
    with open(table, "w", encoding="utf-8", errors="surrogateescape") as file:
        for row in [("path", "part", "reason"), *rows]:
            file.write("\t".join(" ".join(text.split()) for text in row) + "\n")
    files = writing.write_lists(checked.usable, FLAGS.out)
    settings = os.path.join(FLAGS.out, "cleaned.gin")
    with open(settings, "w", encoding="utf-8") as file:
        file.write(_gin(files, checked.usable))
    train, validation = len(checked.usable.train), len(checked.usable.validation)
    print(checked.report)
    for line in checked.report.histogram:
        print(line)
    print(f"{len(rows)} findings in {table}")
    print(f"{train} training and {validation} validation videos can be used: {settings}")
    sys.exit(1 if rows else 0)


def _gin(files, videos) -> str:
    """Settings that put the lists in the place of an experiment's own data."""
    if files.are_frame_lists and not videos.multi_label:
        reader = "something_something"
        settings = {"frame_lists": (files.train, files.validation)}
    else:
        reader = "path_label_lists"
        settings = {"train": files.train, "validation": files.validation}
        if files.are_frame_lists:
            reader = "charades_frame_lists"
            settings["num_classes"] = videos.num_classes
        else:
            settings["class_names"] = files.class_names
            if videos.multi_label:
                settings["multi_label"] = True
    lines = [
        "from __gin__ import dynamic_registration",
        "from keras_multigrid.data import lists",
        # A scope of their own: the experiment's settings, and the names that they use, stay.
        f"VIDEOS = @cleaned/lists.{reader}()",
        f"NUM_CLIPS = {len(videos.train)}",
        *(f"cleaned/lists.{reader}.{name} = {value!r}" for name, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"
