"""Weights and clips made by formulas, for which the reference printed its outputs."""

import zlib

import numpy as np


def arrays(shapes):
    """Published key to array, for published keys and their shapes (channels first)."""
    return {key: array(key, shape) for key, shape in shapes.items()}


def array(key, shape):
    phase = zlib.crc32(key.encode()) % 10007 * 0.001
    wave = np.sin(np.arange(np.prod(shape)) * 0.7310585 + 6.2831853 * phase).reshape(shape)
    if key.endswith(".running_mean") or key.endswith(".bias"):
        wave = 0.1 * wave
    elif key.endswith(".running_var"):
        wave = 1 + 0.5 * np.abs(wave)
    elif len(shape) == 1:
        wave = 1 + 0.1 * wave
    elif len(shape) == 2:
        wave = 0.05 * wave
    else:
        # Summed up over their inputs, with less weight in non-local blocks.
        wave = wave * (0.05 if "nonlocal" in key else 1) * 2 / np.sqrt(np.prod(shape[1:]))
    return wave.astype("float32")


def x3d_arrays(shapes):
    """The same for an X3D, whose dense kernels are of higher rank."""
    return {key: x3d_array(key, shape) for key, shape in shapes.items()}


def x3d_array(key, shape):
    # Depth-wise kernels, normalizations and biases are those of the other networks.
    if len(shape) == 1 or (len(shape) == 5 and shape[1] == 1):
        return array(key, shape) * np.float32(5 if ".se." in key else 1)
    number = zlib.crc32(key.encode()) % 10007
    index = np.arange(np.prod(shape))
    chirp = np.sin(index * 0.7310585 + 6.2831853 * ((index + number) ** 2 % 10007) / 10007)
    scales = {".branch2.c.weight": 1, "fc1.weight": 4, "fc2.weight": 4, "projection.weight": 1.4}
    scale = next((scale for end, scale in scales.items() if key.endswith(end)), 2)
    return (chirp.reshape(shape) * scale / np.sqrt(np.prod(shape[1:]))).astype("float32")


def clip(size, *, frames, seed):
    """(1, frames, size, size, 3)."""
    index = np.arange(3 * frames * size * size)
    values = np.sin(index * 0.0123 + seed) + 0.5 * np.cos(index * 0.00071 * seed)
    values = values.reshape(1, 3, frames, size, size)
    return values.transpose(0, 2, 3, 4, 1).astype("float32")
