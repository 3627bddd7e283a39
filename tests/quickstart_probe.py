"""Runs an experiment and writes what every step really did: see test_quickstart.py."""

import dataclasses
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from absl import flags

from keras_multigrid.cli import command, experiments

flags.DEFINE_string("out", None, "JSON file to write.")


def resident_bytes() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    experiments.load()
    import tensorflow as tf

    from keras_multigrid.callbacks import multigrid
    from keras_multigrid.data.input import Input
    from keras_multigrid.models import I3D
    from keras_multigrid.runs import training
    from keras_multigrid.runs.settings import Settings

    shapes, memory, traces = [], [], []

    class Probe(multigrid.MultigridCallback):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            memory.append(resident_bytes())

    class TracedI3D(I3D):
        def train_step(self, data):
            traces.append(1)
            return super().train_step(data)

    def record(clips, labels):
        tf.numpy_function(lambda shape: shapes.append(shape.tolist()), [tf.shape(clips)], [])
        return clips, labels

    def recorded(self, its_schedule, **settings):
        batches = training_stream(self, its_schedule, **settings)
        # Precise statistics have batches of their own.
        return batches.map(record) if its_schedule.short_cycle else batches

    training_stream = Input.training
    Input.training = recorded
    training.MultigridCallback = Probe
    configured = experiments.configured(I3D)
    settings = experiments.configured(Settings)()
    model = dataclasses.replace(
        settings.model, model=lambda **settings: _with_class(configured(**settings), TracedI3D)
    )
    report = training.train(dataclasses.replace(settings, model=model))
    schedule = settings.optimization.schedule
    result = {
        "shapes": shapes[: report.steps],
        "expected": [list(schedule.grid(step).shape) for step in range(report.steps)],
        "all_grids_seen": max(schedule.first_steps().values()),
        "memory": memory,
        "traces": len(traces),
        "metrics": report.metrics,
        "still_metrics": report.still_metrics,
    }
    pathlib.Path(flags.FLAGS.out).write_text(json.dumps(result))


def _with_class(model, model_class):
    model.__class__ = model_class
    return model


if __name__ == "__main__":
    command.run(main)
