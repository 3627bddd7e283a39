"""Checks of arguments: each raises a ValueError that says what was expected and what was received.

`remedy` is a last sentence for the message: what to do about it.
"""

import difflib
import math
from collections.abc import Collection


def check_integer(
    name: str, value: object, *, least: int = 1, most: int | None = None, remedy: str = ""
) -> None:
    """Refuse what is not an integer from `least` to `most`, both included.

    >>> check_integer("batch_size", 0)
    Traceback (most recent call last):
        ...
    ValueError: `batch_size` must be a positive integer. Received: batch_size=0.
    """
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if is_integer and value >= least and (most is None or value <= most):
        return
    if most is not None:
        expected = f"an integer from {least} to {most}"
    else:
        expected = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise _error(name, value, expected, remedy)


def check_positive(name: str, value: object, remedy: str = "") -> None:
    """Refuse what is not a finite number above 0."""
    if not is_number(value) or value <= 0:
        raise _error(name, value, "a positive number", remedy)


def check_not_negative(name: str, value: object, remedy: str = "") -> None:
    """Refuse what is not a finite number of at least 0."""
    if not is_number(value) or value < 0:
        raise _error(name, value, "a number, not negative", remedy)


def check_probability(name: str, value: object, remedy: str = "") -> None:
    """Refuse what is not a number from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:
        raise _error(name, value, "a number from 0 to 1", remedy)


def check_boolean(name: str, value: object, remedy: str = "") -> None:
    """Refuse what is not True or False."""
    if not isinstance(value, bool):
        raise _error(name, value, "True or False", remedy)


def check_choice(name: str, value: object, choices: Collection, remedy: str = "") -> None:
    """Refuse what is not one of `choices`.

    >>> check_choice("mode", "least", ("max", "min"))
    Traceback (most recent call last):
        ...
    ValueError: `mode` must be one of 'max', 'min'. Received: mode='least'.
    """
    if value not in choices:
        raise _error(name, value, f"one of {', '.join(map(repr, choices))}", remedy)


def check_arguments(owner: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse names of arguments that are not known.

    >>> check_arguments("I3D", ["widht"], ["depth", "width"])
    Traceback (most recent call last):
        ...
    TypeError: I3D has no argument 'widht'; did you mean 'width'? Its arguments: depth, width.
    """
    for name in sorted(set(given) - set(known)):
        alike = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {alike[0]!r}?" if alike else "."
        raise TypeError(
            f"{owner} has no argument {name!r}{hint} Its arguments: {', '.join(known)}."
        )


def is_number(value: object) -> bool:
    """Whether a value is a finite integer or float; True and False are not numbers."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    # Unlike `math.isfinite`, a comparison takes integers of any size.
    return -math.inf < value < math.inf


def _error(name: str, value: object, expected: str, remedy: str) -> ValueError:
    text = f"`{name}` must be {expected}. Received: {name}={value!r}."
    return ValueError(f"{text} {remedy}" if remedy else text)
