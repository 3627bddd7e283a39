"""Preview a training, without data: python tools/plan.py --gin_file=gin/quickstart.gin [--json]"""

import json
import pathlib
import sys

import experiment
from absl import flags

flags.DEFINE_bool("json", False, "Print the whole plan as JSON instead of a table.")
flags.DEFINE_string("png", None, "Also draw the schedule into this file.")
flags.DEFINE_integer("replicas", 1, "Devices that will share a mini-batch.")
FLAGS = flags.FLAGS


def main() -> None:
    experiment.load()
    from keras_multigrid.learning_rate import MultigridLearningRate
    from keras_multigrid.plan import format_plan, make_plan

    learning_rate = experiment.configured(MultigridLearningRate)()
    plan = make_plan(learning_rate, replicas=FLAGS.replicas)
    print(json.dumps(plan, indent=2) if FLAGS.json else format_plan(plan))
    if FLAGS.png is not None:
        _draw(learning_rate, pathlib.Path(FLAGS.png))


def _draw(learning_rate, path: pathlib.Path) -> None:
    from keras_multigrid import figures

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(figures.to_png(figures.draw_schedule(learning_rate)))
    # Standard output may be JSON for another program.
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    experiment.run(main)
