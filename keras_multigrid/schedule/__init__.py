"""What the mini-batch of every step looks like. Plain arithmetic on the standard library."""

from keras_multigrid.schedule.grid import Grid
from keras_multigrid.schedule.multigrid_schedule import MultigridSchedule
from keras_multigrid.schedule.phase import Phase
from keras_multigrid.schedule.phase_table import PhaseTable
from keras_multigrid.schedule.settings import LONG_CYCLE, SHORT_CYCLE
from keras_multigrid.schedule.suggestion import Suggestion, suggest

__all__ = [
    "LONG_CYCLE",
    "SHORT_CYCLE",
    "Grid",
    "MultigridSchedule",
    "Phase",
    "PhaseTable",
    "Suggestion",
    "suggest",
]
