"""Train an experiment, or go on where its run stopped.

    keras-multigrid train --gin_file=quickstart
    keras-multigrid train --gin_file=quickstart epochs=20 learning_rate=0.02 run_dir=runs/longer
    keras-multigrid train --gin_file=i3d_charades --gin_file=data/records/records.gin
    keras-multigrid train --gin_file=quickstart --gin_param="runs.Logging.validations = 10"

Before a long run, see what it takes on this machine, grid by grid:

    keras-multigrid train --gin_file=slowfast_kinetics --measure

The run folder gets checkpoints, TensorBoard's files, the settings and the report. A finished run is
left as it is. SIGTERM and Ctrl-C save the run before it ends.
"""

import dataclasses
import subprocess
import sys

from absl import flags

import gin
from keras_multigrid.cli import experiments
from keras_multigrid.progress import as_time

flags.DEFINE_bool(
    "measure",
    False,
    "Before the run, train briefly at every grid, and show time and memory of the whole, as `plan "
    "--measure` does.",
)
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    if FLAGS.measure:
        _measure()
    from keras_multigrid.runs import long_run, training
    from keras_multigrid.runs.settings import Settings

    settings = experiments.configured(Settings)()
    callbacks = [*settings.logging.callbacks]
    if not FLAGS.measure:
        callbacks.append(long_run.LongRun(_offer))
    logging = dataclasses.replace(settings.logging, texts=_settings, callbacks=callbacks)
    report = training.train(dataclasses.replace(settings, logging=logging))
    if report is not None:
        print(f"\n{report}")


def _measure() -> None:
    """Show the plan with its costs, by a process of its own, whose memory the run gets back."""
    arguments = [argument for argument in sys.argv[1:] if argument.lstrip("-") != "measure"]
    program = [sys.executable, "-m", "keras_multigrid", "plan", "--measure"]
    sys.stdout.flush()
    code = subprocess.run([*program, *arguments], check=False).returncode
    if code != 0:
        sys.exit(code)


def _offer(seconds: float) -> None:
    print(
        f"\nThis run takes some {as_time(seconds)} more. `keras-multigrid plan --measure` with the "
        "same settings says what each grid takes here, and what limits it.",
        flush=True,
    )


def _settings() -> dict[str, str]:
    """Everything that was set, and everything that was used, defaults included."""
    return {
        "config.gin": gin.config_str(),
        "operative_config.gin": gin.operative_config_str(),
    }
