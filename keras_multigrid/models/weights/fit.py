"""Whether the arrays of a checkpoint are those of a network."""

from collections.abc import Mapping

import numpy as np


def check_fit(
    name: str,
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    head: str,
    source: str,
) -> None:
    """Refuse arrays that are not all of a network's, with every key that does not fit in one error.

    Args:
        name: of the network.
        arrays: of the checkpoint, by published key.
        shapes: of the network's arrays, by published key.
        head: what the keys of the classifier begin with.
        source: where the arrays are from.

    Raises:
        ValueError: if keys are missing or unexpected, or arrays of another shape, or of other
            numbers than finite floats.
    """
    common = sorted(shapes.keys() & arrays.keys())
    missing = sorted(shapes.keys() - arrays.keys())
    unexpected = sorted(arrays.keys() - shapes.keys())
    misshapen = {key: arrays[key].shape for key in common if not _fits(arrays[key], shapes[key])}
    numbers = {key: found for key in common if (found := _other_numbers(arrays[key])) is not None}
    if not missing and not unexpected and not misshapen and not numbers:
        return
    of_head = misshapen.keys() <= {f"{head}weight", f"{head}bias"} and all(misshapen.values())
    if misshapen and of_head and not missing and not unexpected and not numbers:
        classes, own = misshapen[max(misshapen)][0], shapes[f"{head}bias"][0]
        raise ValueError(
            f"{source} was trained on {classes} classes, {name} has {own}. Use skip_head=True to "
            f"keep the model's own classifier, or make it with classes={classes}."
        )
    sections = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": [f"{k}: {v}, expected {shapes[k]}" for k, v in misshapen.items()],
        "of other numbers than finite floats": [f"{k}: {v}" for k, v in numbers.items()],
    }
    lines = [f"{source} does not fit {name}. Nothing was loaded."]
    for title, keys in sections.items():
        lines += [f"{len(keys)} {title}:", *(f"  {key}" for key in keys)] if keys else []
    if missing or unexpected or misshapen:
        lines.append("Make the model with the depth, pathways and blocks of the checkpoint.")
    if numbers:
        lines.append("Take a checkpoint that is neither quantized nor of a training that diverged.")
    raise ValueError("\n".join(lines))


def is_float(array: np.ndarray) -> bool:
    """Whether its numbers are floats; NumPy does not know that JAX's bfloat16 is one."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _fits(array: np.ndarray, expected: tuple[int, ...]) -> bool:
    # Caffe2 leaves out the last axes of kernels where they are 1.
    return array.shape + (1,) * (len(expected) - array.ndim) == expected


def _other_numbers(array: np.ndarray) -> str | None:
    """The type of an array, or "NaN or infinity", where that is no weight's."""
    if not is_float(array):
        return str(array.dtype)
    with np.errstate(over="ignore"):
        return None if np.isfinite(array.astype("float32")).all() else "NaN or infinity"
