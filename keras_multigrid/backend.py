"""Which backend Keras computes with, for parts that do without Keras otherwise."""

from typing import Any

import keras
import numpy as np


def name() -> str:
    """Its name: "tensorflow", "jax" or "torch"."""
    return keras.backend.backend()


def to_numpy(array: Any) -> np.ndarray:
    """An array of the backend, wherever it is, as one of NumPy."""
    return keras.ops.convert_to_numpy(array)


def to_tensor(array: np.ndarray) -> Any:
    """An array of NumPy as one of the backend, where it computes."""
    return keras.ops.convert_to_tensor(array)
