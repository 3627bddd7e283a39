"""Try several schedules by short runs, and say which one learns best.

    keras-multigrid probe --gin_file=quickstart
    keras-multigrid probe --gin_file=i3d_weizmann data_dir=/data/weizmann --work=1600

The baseline is among them, and all get equal work. It may say that the baseline is best, or that it
cannot tell at this cost. What the experiment itself sets of its schedule stays. Afterwards train
with what it chose:

    keras-multigrid train --gin_file=quickstart --gin_file=runs/quickstart/probe/schedule.gin
"""

import os
from collections.abc import Sequence

from absl import flags

from keras_multigrid.cli import experiments

flags.DEFINE_float(
    "work",
    None,
    "Work of all runs together, in steps of the baseline. By default a tenth of the baseline's.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "optimizer",
    None,
    ["sgd", "adam", "adamw", "lamb", "lion", "muon"],
    "Kind of the experiment's optimizer, which says how the learning rate grows with the batch. By "
    "default that of optimizer=..., else it grows as in the experiment.",
)
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs.probing import probe
    from keras_multigrid.runs.settings import Settings

    settings = experiments.configured(Settings)()
    optimizer = FLAGS.optimizer or kind_of_optimizer(FLAGS.setting)
    kept = experiments.schedule_settings()
    result = probe(settings, work=FLAGS.work, optimizer=optimizer, kept=kept)
    print(f"\n{result}")
    if result.answer == "cannot tell":
        return
    print(f"Add --gin_file={os.path.join(settings.run_dir, 'probe', 'schedule.gin')}")
    over = [one for one in FLAGS.setting if one.startswith(("boundaries=", "warmup_epochs="))]
    if over:
        print(f"and leave out {' '.join(over)}, which would go over it.")


def kind_of_optimizer(given: Sequence[str]) -> str | None:
    """The kind that is set as optimizer=KIND, the last one."""
    kinds = [text for name, _, text in (one.partition("=") for one in given) if name == "optimizer"]
    return kinds[-1].strip().lower() if kinds else None
