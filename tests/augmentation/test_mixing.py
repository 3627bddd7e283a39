"""MixUp, CutMix and label smoothing, beside NumPy's arithmetic and SciPy's distribution."""

import numpy as np
import pytest
from scipy import stats

from keras_multigrid.augmentation import CutMix, LabelSmoothing, MixUp
from keras_multigrid.augmentation.mixing import smaller_share_table

LABELS = np.eye(6, dtype=np.float32)[[3, 1, 4, 4]]


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 2.0, 8.0, 32.0, 1000.0])
def test_shares_are_beta_distributed(alpha):
    uniform = np.linspace(0, 1, 1025)
    shares = smaller_share_table(alpha)[:-1] ** (1 / min(alpha, 1))
    # Of two shares, the smaller is below the half: the lower half of the distribution.
    expected = stats.beta.ppf(uniform / 2, alpha, alpha)
    np.testing.assert_allclose(shares[8:], expected[8:], atol=2e-3)


def shares_of(alpha, uniform, strength=1.0):
    return np.repeat(stats.beta.ppf(np.array(uniform) / 2, alpha, alpha), 2) * strength


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_mix_up(clips, strength):
    # The numbers of the second of a pair are not used.
    numbers = np.array([[0, 0.3], [0.9, 0.9], [0, 0.8], [0.9, 0.1]], np.float32)
    mixed, labels = MixUp(alpha=0.8)(clips, LABELS, numbers, strength)
    shares = shares_of(0.8, [0.3, 0.8], strength)
    partners = [1, 0, 3, 2]
    expected = [
        (1 - share) * clips[own] + share * clips[partner]
        for own, (partner, share) in enumerate(zip(partners, shares, strict=True))
    ]
    np.testing.assert_allclose(mixed, expected, atol=1e-4)
    expected = np.zeros((4, 6))
    expected[0, [3, 1]] = 1 - shares[0], shares[0]
    expected[1, [1, 3]] = 1 - shares[0], shares[0]
    expected[2:, 4] = 1
    np.testing.assert_allclose(labels, expected, atol=1e-4)


def test_only_some_pairs_are_mixed(clips):
    numbers = np.array([[0.6, 0.7]] * 2 + [[0.4, 0.7]] * 2, np.float32)
    mixed, labels = MixUp(probability=0.5)(clips, LABELS, numbers, 1.0)
    np.testing.assert_array_equal(mixed[:2], clips[:2])
    np.testing.assert_array_equal(labels[:2], LABELS[:2])
    assert np.abs(mixed[2:] - clips[2:]).max() > 0.01


def test_cut_mix(clips):
    # With alpha 1 the smaller share is uniform: 0.245 of 256 pixels is a box of 8.
    numbers = np.array([[0, 0.49, 0.999, 0.0]] * 2 + [[0, 0.0, 0.5, 0.5]] * 2, np.float32)
    mixed, labels = CutMix(alpha=1.0)(clips, LABELS, numbers, 1.0)
    expected = clips.copy()
    expected[0, :, 8:, :8], expected[1, :, 8:, :8] = clips[1, :, 8:, :8], clips[0, :, 8:, :8]
    np.testing.assert_array_equal(mixed, expected)
    expected = LABELS.copy()
    expected[0, [3, 1]] = expected[1, [1, 3]] = 0.75, 0.25
    np.testing.assert_allclose(labels, expected, atol=1e-6)
    # At a quarter of the strength, 0.06 of the pixels: a box of 4, a sixteenth.
    _, weak = CutMix(alpha=1.0)(clips, LABELS, numbers, 0.25)
    np.testing.assert_allclose(np.asarray(weak)[0, [3, 1]], (15 / 16, 1 / 16), atol=1e-6)


def test_label_smoothing(clips):
    augment = LabelSmoothing(smoothing=0.3)
    _, labels = augment(clips, LABELS, np.zeros((4, 0), np.float32), 1.0)
    np.testing.assert_allclose(labels[0], [0.05, 0.05, 0.05, 0.75, 0.05, 0.05], atol=1e-6)
    _, weak = augment(clips, LABELS, np.zeros((4, 0), np.float32), 0.5)
    np.testing.assert_allclose(weak[0], [0.025, 0.025, 0.025, 0.875, 0.025, 0.025], atol=1e-6)
    several = LabelSmoothing(smoothing=0.2, multi_label=True)
    _, labels = several(clips, LABELS, np.zeros((4, 0), np.float32), 1.0)
    np.testing.assert_allclose(labels[0], [0.1, 0.1, 0.1, 0.9, 0.1, 0.1], atol=1e-6)


@pytest.mark.parametrize("augment", [MixUp(), CutMix(), LabelSmoothing()])
def test_numbers_of_classes_cannot_be_mixed(clips, numbers, augment):
    with pytest.raises(ValueError, match=r"must be \(batch, classes\).*one_hot"):
        augment(clips, np.arange(4), numbers(4, augment.num_numbers), 1.0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MixUp(alpha=0), "`alpha` must be a positive number"),
        (lambda: CutMix(probability=-1), "`probability` must be a number from 0 to 1"),
        (lambda: LabelSmoothing(smoothing=2), "`smoothing` must be a number from 0 to 1"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
