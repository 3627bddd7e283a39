"""Two clips and their labels in one: MixUp and CutMix.

Clips at the positions 2k and 2k + 1 of the stream are partners, and share their random numbers. So
each worker can mix its own clips. At strength 1, shares have the published distribution: both clips
of a pair are in the batch, so that the smaller of lambda and 1 - lambda says all.
"""

import dataclasses
import functools

import numpy as np
from keras import ops

from keras_multigrid.augmentation.augmentation import (
    Augmentation,
    check_soft,
    per_clip,
    select,
)
from keras_multigrid.augmentation.geometry import in_box
from keras_multigrid.checks import check_positive, check_probability

# Points of the table of shares.
_POINTS = 1025


class _Mixing(Augmentation):
    """What both have in common."""

    mixes_labels = True
    pairs_clips = True

    def __post_init__(self):
        check_positive("alpha", self.alpha)
        check_probability("probability", self.probability)

    @functools.cached_property
    def _shares(self):
        return smaller_share_table(self.alpha)

    def _partner_share(self, numbers, work):
        """The share of the partner in each clip, float32 (b,) in [0, 0.5]."""
        place = numbers[:, 1] * (_POINTS - 1)
        low = ops.floor(place)
        index = ops.cast(low, "int32")
        table = ops.convert_to_tensor(self._shares)
        first, second = ops.take(table, index), ops.take(table, index + 1)
        share = (first + (second - first) * (place - low)) ** (1 / min(self.alpha, 1))
        return share * work * ops.cast(numbers[:, 0] < self.probability, "float32")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixUp(_Mixing):
    """Blend partners: clips and labels x become (1 - m) x + m x', x' being the partner's.

    MixUp: Zhang et al., arXiv 1710.09412. m is the smaller of lambda and 1 - lambda, lambda being
    drawn from Beta(alpha, alpha), times the strength.

    Args:
        alpha: of the distribution. Larger ones mix more evenly.
        probability: share of the pairs that are mixed.

    Raises:
        ValueError: if `alpha` is not positive or `probability` not in [0, 1].

    Example:

    >>> augment = Compose([MixUp(alpha=0.8)])
    """

    alpha: float = 0.8
    probability: float = 1.0

    num_numbers = 2

    def __call__(self, clips, labels, numbers, work):
        check_soft(labels, "MixUp")
        share = self._partner_share(_of_pairs(numbers), work)
        changed = clips + (_partners(clips) - clips) * per_clip(share)
        return changed, _mixed_labels(labels, share)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CutMix(_Mixing):
    """Paste a box of the partner into each clip, in the same place of all frames.

    CutMix: Yun et al., arXiv 1905.04899. The area of the box is the smaller of lambda and
    1 - lambda, lambda being drawn from Beta(alpha, alpha), times the strength. The box lies inside
    of the frame, and labels are mixed by its pixels.

    Args:
        alpha: of the distribution. Larger ones mix more evenly.
        probability: share of the pairs that are mixed.

    Raises:
        ValueError: if `alpha` is not positive or `probability` not in [0, 1].

    Example:

    >>> augment = Compose([CutMix(alpha=1.0, probability=0.5)])
    """

    alpha: float = 1.0
    probability: float = 1.0

    num_numbers = 4

    def __call__(self, clips, labels, numbers, work):
        check_soft(labels, "CutMix")
        numbers = _of_pairs(numbers)
        size = ops.shape(clips)[2]
        whole = ops.cast(size, "float32")
        side = ops.round(ops.sqrt(self._partner_share(numbers, work)) * whole)
        is_partner = in_box(numbers[:, 2], numbers[:, 3], side, side, size)
        changed = select(is_partner, _partners(clips), clips)
        return changed, _mixed_labels(labels, (side / whole) ** 2)


def smaller_share_table(alpha: float) -> np.ndarray:
    """The smaller of two shares from Beta(alpha, alpha), as a function of a uniform number.

    Returns:
        float32 (points + 1,): its power of min(alpha, 1) at the numbers 0, 1/(points - 1), ..., 1,
        and the last once more. The power is nearly a straight line, which is interpolated well.
    """
    # With y = x^alpha, the distribution of x up to 1/2 has the density (1 - x)^(alpha - 1) in y,
    # which has no pole. That of x itself has none where alpha is 1 or more.
    power = min(alpha, 1)
    powers = np.linspace(0, 0.5**power, 2**16)
    shares = powers ** (1 / power)
    # The factor keeps numbers in the range of floats; the sum takes it out again.
    base = 1 - shares if alpha < 1 else 4 * shares * (1 - shares)
    density = base ** (alpha - 1)
    reached = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    table = np.interp(np.linspace(0, 1, _POINTS), reached / reached[-1], powers)
    return np.append(table, table[-1]).astype(np.float32)


def _of_pairs(numbers):
    return ops.repeat(numbers[::2], 2, axis=0)


def _partners(values):
    """Each clip's or label's partner in its place."""
    shape = ops.shape(values)
    pairs = ops.reshape(values, (-1, 2, *shape[1:]))
    return ops.reshape(ops.flip(pairs, axis=1), shape)


def _mixed_labels(labels, share):
    share = ops.cast(share[:, None], labels.dtype)
    return labels * (1 - share) + _partners(labels) * share
