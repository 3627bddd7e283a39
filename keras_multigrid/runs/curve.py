"""Results over training time."""

import json
import time

import keras

from keras_multigrid import replicas
from keras_multigrid.callbacks.lookup import steps_trained
from keras_multigrid.runs.run_folder import CURVE, read_json, save_texts


class Curve(keras.callbacks.Callback):
    """Saves the results of each validation with the seconds of training before it.

    Those before the step at which a run resumes are read from its folder.

    Args:
        run_dir: folder of the run.
        start_step: the step at which it resumes.
    """

    def __init__(self, run_dir: str, start_step: int):
        super().__init__()
        self._run_dir = run_dir
        points = read_json(run_dir, CURVE) if start_step else None
        self.points = [point for point in points or () if point["step"] <= start_step]

    def on_train_begin(self, logs=None):
        self._begun = time.perf_counter()
        if self.points:
            self._begun -= self.points[-1]["seconds"]

    def on_test_begin(self, logs=None):
        self._test_begun = time.perf_counter()

    def on_test_end(self, logs=None):
        # As if validation had taken no time.
        self._begun += time.perf_counter() - self._test_begun

    def on_epoch_end(self, epoch, logs=None):
        point = {
            "step": steps_trained(self.model),
            "seconds": time.perf_counter() - self._begun,
        }
        results = {name: float(value) for name, value in (logs or {}).items()}
        self.points.append({**point, **results})
        if replicas.is_chief(self.model):
            save_texts({CURVE: json.dumps(self.points)}, self._run_dir)
