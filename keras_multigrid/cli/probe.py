"""Try several schedules by short runs, and say which one learns best.

    keras-multigrid probe --gin_file=quickstart
    keras-multigrid probe --gin_file=i3d_weizmann data_dir=/data/weizmann --work=1600

The baseline is among them, and all get equal work. It may say that the baseline is best, or that it
cannot tell at this cost. What the experiment itself sets of its schedule stays. Afterwards train
with what it chose:

    keras-multigrid train --gin_file=quickstart --gin_file=runs/quickstart/probe/schedule.gin
"""

import os
import re
import shlex
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
    from keras_multigrid.runs.probing import in_gin, probe
    from keras_multigrid.runs.settings import Settings

    settings = experiments.configured(Settings)()
    optimizer = FLAGS.optimizer or kind_of_optimizer(FLAGS.setting)
    kept = experiments.schedule_settings()
    result = probe(settings, work=FLAGS.work, optimizer=optimizer, kept=kept)
    print(f"\n{result}")
    print(f"Add --gin_file={os.path.join(settings.run_dir, 'probe', 'schedule.gin')}")
    over = set_over(in_gin(result), FLAGS.setting, FLAGS.gin_param or [])
    if over:
        print(f"and leave out what would go over it: {' '.join(map(shlex.quote, over))}")


def set_over(bindings: str, given: Sequence[str], params: Sequence[str]) -> list[str]:
    """Arguments that set what a gin file does, but otherwise."""
    chosen = dict(re.findall(r"(\w+\.\w+) = (.*)", bindings))
    over = [one for one in given if one.startswith(("boundaries=", "warmup_epochs="))]
    for one in params:
        name, _, value = (part.strip() for part in one.partition("="))
        own = chosen.get(".".join(name.split(".")[-2:]))
        if name == "BOUNDARIES" or own not in (None, value):
            over.append(one)
    return over


def kind_of_optimizer(given: Sequence[str]) -> str | None:
    """The kind that is set as optimizer=KIND, the last one."""
    kinds = [text for name, _, text in (one.partition("=") for one in given) if name == "optimizer"]
    return kinds[-1].strip().lower() if kinds else None
