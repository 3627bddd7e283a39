import math

import pytest

from keras_multigrid import checks


@pytest.mark.parametrize(
    "value, limits, expected",
    [
        (0, {}, "a positive integer"),
        (True, {}, "a positive integer"),
        (1.0, {}, "a positive integer"),
        ("1", {}, "a positive integer"),
        (7, {"least": 8}, "an integer of at least 8"),
        (101, {"most": 100}, "an integer from 1 to 100"),
        (-1, {"least": 0, "most": 3}, "an integer from 0 to 3"),
    ],
)
def test_wrong_integer(value, limits, expected):
    with pytest.raises(ValueError) as error:
        checks.check_integer("clips", value, **limits)
    assert str(error.value) == f"`clips` must be {expected}. Received: clips={value!r}."


def test_integers():
    checks.check_integer("clips", 1)
    checks.check_integer("clips", 10**400)
    checks.check_integer("clips", 0, least=0)
    checks.check_integer("clips", 100, most=100)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", None, 1j])
def test_what_is_not_a_number(value):
    assert not checks.is_number(value)
    for check in (checks.check_positive, checks.check_not_negative):
        with pytest.raises(ValueError, match=r"`rate` must be a .*number.* Received: rate="):
            check("rate", value)


def test_numbers():
    checks.check_positive("rate", 1e-9)
    checks.check_positive("rate", 10**400)
    checks.check_not_negative("rate", 0)
    with pytest.raises(ValueError, match="`rate` must be a positive number"):
        checks.check_positive("rate", 0)
    with pytest.raises(ValueError, match="`rate` must be a number, not negative"):
        checks.check_not_negative("rate", -0.1)


def test_booleans():
    checks.check_boolean("flip", False)
    for value in (0, 1, None, "no"):
        with pytest.raises(ValueError, match="`flip` must be True or False"):
            checks.check_boolean("flip", value)


def test_choices_and_what_to_do():
    checks.check_choice("mode", "max", ("max", "min"))
    with pytest.raises(ValueError) as error:
        checks.check_choice("mode", "least", ("max", "min"), remedy="Use 'min' for a loss.")
    assert str(error.value) == (
        "`mode` must be one of 'max', 'min'. Received: mode='least'. Use 'min' for a loss."
    )
