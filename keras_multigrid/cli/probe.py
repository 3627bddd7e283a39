"""Try schedules before a training: python tools/probe.py --gin_file=gin/quickstart.gin [--work=N]

Short runs of several schedules, the baseline among them, on the experiment's model and data. Says
which one learns best at equal work, that the baseline does, or that it cannot tell at this cost.
Afterwards train with what it chose:
    python tools/train.py --gin_file=gin/quickstart.gin \
        --gin_file=runs/quickstart/probe/schedule.gin
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
    "sgd",
    ["sgd", "adam", "adamw", "lamb", "lion", "muon"],
    "Kind of the experiment's optimizer, for the rule of the schedule.",
)
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs.probing import probe
    from keras_multigrid.runs.settings import Settings

    settings = experiments.configured(Settings)()
    print(f"\n{probe(settings, work=FLAGS.work, optimizer=FLAGS.optimizer)}")
