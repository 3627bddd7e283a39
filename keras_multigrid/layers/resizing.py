"""Linear resizing of learned tables, for grids that are known when a step runs alone."""

from typing import Any

import numpy as np
from keras import ops


def shares(places: Any, rows: int) -> Any:
    """How much of each row of a table there is at places between them.

        places 0.25, 2    rows 3        0.75 0.25 0
                                        0    0    1

    Args:
        places: (...) float32, 0 for the first row. Beyond the table, its first or last row counts.
        rows: of the table.

    Returns:
        (..., rows) float32. Times the table, it gives the interpolated rows. The gradient is dense,
        unlike that of looking rows up.
    """
    xp = np if isinstance(places, np.ndarray) else ops
    places = xp.minimum(xp.maximum(places, 0.0), float(rows - 1))
    distances = xp.abs(places[..., None] - xp.arange(rows, dtype="float32"))
    return xp.maximum(1.0 - distances, 0.0)


def resized_places(places: Any, size: Any, rows: int) -> Any:
    """Where rows of a table resized to `size` rows lie in the table itself of `rows`.

    Half-pixel centres, as in PyTorch: (place + 1/2) * rows / size - 1/2.

    Args:
        places: (...) float32, rows of the resized table.
        size: its number of rows, a float32 number.
        rows: of the table itself.
    """
    # Exact where the sizes are the same, so that the table itself comes out.
    return (places + 0.5) * (rows / size) - 0.5


def resizing_matrix(size: Any, rows: int) -> Any:
    """(size, rows) float32: times a table of `rows` rows, it gives the table resized to `size`."""
    numbers = library(size).arange(size, dtype="float32")
    return shares(resized_places(numbers, as_float(size), rows), rows)


def library(*sizes: Any) -> Any:
    """NumPy where all sizes are known, so that a step computes nothing; else `keras.ops`."""
    return np if all(isinstance(size, int) for size in sizes) else ops


def as_float(size: Any) -> Any:
    """A size as a float32 number: of NumPy if it is known, of the backend if it is a tensor."""
    return np.float32(size) if isinstance(size, int) else ops.cast(size, "float32")
