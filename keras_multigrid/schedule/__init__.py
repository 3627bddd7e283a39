"""What the mini-batch of every step looks like. Plain arithmetic on the standard library."""

from keras_multigrid.schedule.grid import Grid
from keras_multigrid.schedule.multigrid_schedule import LONG_CYCLE, SHORT_CYCLE, MultigridSchedule
from keras_multigrid.schedule.phase import Phase

__all__ = ["LONG_CYCLE", "SHORT_CYCLE", "Grid", "MultigridSchedule", "Phase"]
