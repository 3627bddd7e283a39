"""Weights of transformers made by formulas, for which the reference printed its outputs."""

import zlib

import numpy as np


def arrays(shapes):
    """Published key to array, for published keys and their shapes (channels first)."""
    return {key: array(key, shape) for key, shape in shapes.items()}


def array(key, shape):
    start = zlib.crc32(key.encode()) % 10007
    index = np.arange(np.prod(shape), dtype=np.int64)
    wave = np.sin(index * 0.7310585 + 6.2831853 * start * 0.001)
    # A matrix of one wave has rank 2: a transformer of such would hardly see its input.
    chirp = np.sin(index * 0.7310585 + 6.2831853 * ((index + start) ** 2 % 10007) / 10007)
    fan_in = np.prod(shape[1:])
    if "rel_pos" in key:
        values = 0.1 * chirp
    elif key == "cls_token" or key.startswith("pos_embed"):
        values = 0.5 * chirp
    elif key.endswith(".bias"):
        values = 0.1 * wave
    elif len(shape) == 1:
        values = 1 + 0.1 * wave
    elif len(shape) == 2:
        values = chirp * 1.4 / np.sqrt(fan_in)
    else:
        values = (chirp if "patch_embed" in key else wave) * 2 / np.sqrt(fan_in)
    return values.reshape(shape).astype("float32")
