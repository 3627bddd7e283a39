"""The precision that layers are made with."""

import contextlib
from typing import Any

import keras


@contextlib.contextmanager
def dtype_policy(policy: Any):
    """Layers made inside follow a dtype policy, like "mixed_bfloat16"; None leaves the global one.

    Example:

    >>> with dtype_policy("mixed_bfloat16"):
    ...     layer = keras.layers.Conv3D(8, 3)
    >>> layer.compute_dtype
    'bfloat16'
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
