"""Try several schedules by short runs, and say which one learns best.

    keras-multigrid probe --gin_file=quickstart
    keras-multigrid probe --gin_file=i3d_weizmann data_dir=/data/weizmann --work=1600

The baseline is among them, and all get equal work. It may say that the baseline is best, or that it
cannot tell at this cost. Afterwards train with what it chose:

    keras-multigrid train --gin_file=quickstart --gin_file=runs/quickstart/probe/schedule.gin
"""

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
    "Kind of the experiment's optimizer, for the rule of the schedule. By default that of "
    "optimizer=..., else sgd.",
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
    print(f"\n{probe(settings, work=FLAGS.work, optimizer=optimizer)}")


def kind_of_optimizer(given: list[str]) -> str:
    """The kind that is set as optimizer=KIND, the last one; "sgd" where none is."""
    kinds = [text for name, _, text in (one.partition("=") for one in given) if name == "optimizer"]
    return kinds[-1].strip().lower() if kinds else "sgd"
