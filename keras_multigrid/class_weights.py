"""How much the clips of each class count where some classes have many more videos than others."""

from collections.abc import Callable, Mapping

import numpy as np

from keras_multigrid.checks import check_choice

# From the number of videos of each class, all positive, to weights; their scale does not matter.
Rule = Callable[[np.ndarray], np.ndarray]


def inverse(counts: np.ndarray) -> np.ndarray:
    """1 / n: every class counts as much as every other."""
    return 1 / counts


def inverse_square_root(counts: np.ndarray) -> np.ndarray:
    """1 / sqrt(n): halfway, on a scale of logarithms, from no weights to `inverse`."""
    return 1 / np.sqrt(counts)


def effective_number(counts: np.ndarray, beta: float = 0.999) -> np.ndarray:
    """(1 - beta) / (1 - beta^n), one over the effective number of videos.

    Cui et al. 2019 (arXiv 1901.05555), section 3: the more videos a class has, the less another one
    adds. Classes of many more than 1 / (1 - beta) videos weigh the same; those of many fewer weigh
    as by `inverse`.

    Args:
        counts: videos of each class.
        beta: in [0, 1). 0 gives all classes one weight.
    """
    return (1 - beta) / (1 - beta**counts)


RULES: Mapping[str, Rule] = {
    "inverse": inverse,
    "inverse_square_root": inverse_square_root,
    "effective_number": effective_number,
}


def check_rule(name: str, rule: str | Rule | None) -> None:
    """Refuse what is neither None, a name of `RULES`, nor a function.

    Args:
        name: of the setting.
        rule: its value.
    """
    if rule is not None and not callable(rule):
        check_choice(name, rule, RULES, "Or use None, or a function from counts to weights.")


def class_weights(rule: str | Rule, counts: np.ndarray) -> np.ndarray:
    """The weight of each class.

    Args:
        rule: a name of `RULES`, or a function from float64 (n,) positive numbers of videos to as
            many weights. For another beta use
            `functools.partial(effective_number, beta=0.9999)`.
        counts: (classes,) videos of each class, 0 for some.

    Returns:
        float64 (classes,), scaled so that the mean over the videos is 1: the loss keeps its scale,
        and the learning rate its meaning. A class without videos has the weight 1.

    Raises:
        ValueError: if the rule is unknown, or its weights are not finite and positive.

    Example:

    >>> class_weights("inverse", np.array([30, 10]))
    array([0.66666667, 2.        ])
    """
    check_rule("rule", rule)
    counts = np.asarray(counts, float)
    weights, seen = np.ones(len(counts)), counts > 0
    if not seen.any():
        return weights
    found = np.asarray((RULES[rule] if isinstance(rule, str) else rule)(counts[seen]), float)
    if found.shape != (seen.sum(),) or not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(
            "A rule for class weights must return a finite positive number for each class. "
            f"Received: {found} for {counts[seen]} videos."
        )
    weights[seen] = found * counts.sum() / (found * counts[seen]).sum()
    return weights
