"""How long a training will take, by a few steps on noise."""

import dataclasses
import time

import keras
import numpy as np

from keras_multigrid import compat
from keras_multigrid.runs.building import compiled_network
from keras_multigrid.runs.settings import Settings
from keras_multigrid.schedule import MultigridSchedule

_STEPS = 3
# Of a step, what a batch costs that is only predicted.
_FORWARD = 1 / 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast this machine trains a network.

    Args:
        voxels_per_second: clips x frames x crop² of training, without reading clips.

    Example:

    >>> measured_speed(settings).seconds(schedule, validations=10, batches=28)
    """

    voxels_per_second: float

    def seconds(self, schedule: MultigridSchedule, *, validations: int, batches: int) -> float:
        """Of a whole training.

        Args:
            schedule: its schedule.
            validations: how many.
            batches: of the base grid that each predicts, those for statistics included.
        """
        steps = schedule.total_work + _FORWARD * validations * batches
        return steps * schedule.base.voxels / self.voxels_per_second


@compat.forgotten_traces()
def measured_speed(settings: Settings, *, devices: int = 1) -> Speed:
    """Train the network of a run on noise for a few steps; nothing of it stays.

    Args:
        settings: of the run.
        devices: that share a batch; one of them is timed.
    """
    schedule = settings.optimization.schedule
    base = schedule.base
    grid = dataclasses.replace(base, batch_size=max(1, base.batch_size // devices))
    task = settings.data.videos.task
    network = compiled_network(settings.model, settings.optimization, task, schedule)
    clips = np.random.default_rng(0).random(grid.shape, np.float32)
    labels = np.arange(grid.batch_size) % task.num_outputs
    seconds = []
    for _ in range(_STEPS + 1):
        begun = time.perf_counter()
        network.train_on_batch(clips, labels)
        seconds.append(time.perf_counter() - begun)
    del network
    keras.backend.clear_session()
    # The first one is traced.
    return Speed(voxels_per_second=devices * grid.voxels / min(seconds[1:]))
