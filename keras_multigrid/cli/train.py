"""Train: python tools/train.py --gin_file=gin/quickstart.gin [--gin_param=NAME=VALUE ...]"""

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
