"""Train an experiment, or go on where its run stopped.

    keras-multigrid train --gin_file=quickstart
    keras-multigrid train --gin_file=quickstart epochs=20 learning_rate=0.02 run_dir=runs/longer
    keras-multigrid train --gin_file=i3d_charades --gin_file=data/records/records.gin
    keras-multigrid train --gin_file=quickstart --gin_param="runs.Logging.validations = 10"

The run folder gets checkpoints, TensorBoard's files, the settings and the report. A finished run is
left as it is. SIGTERM and Ctrl-C save the run before it ends.
"""

import dataclasses

import gin
from keras_multigrid.cli import experiments


def main() -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs import training
    from keras_multigrid.runs.settings import Settings

    settings = experiments.configured(Settings)()
    logging = dataclasses.replace(settings.logging, texts=_settings)
    report = training.train(dataclasses.replace(settings, logging=logging))
    if report is not None:
        print(f"\n{report}")


def _settings() -> dict[str, str]:
    """Everything that was set, and everything that was used, defaults included."""
    return {
        "config.gin": gin.config_str(),
        "operative_config.gin": gin.operative_config_str(),
    }
