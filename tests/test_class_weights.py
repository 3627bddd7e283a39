import functools

import numpy as np
import pytest

from keras_multigrid.class_weights import check_rule, class_weights, effective_number


def test_weights_by_hand():
    counts = np.array([30, 10])
    # 1/30 and 1/10, times 20: 30 x 2/3 + 10 x 2 make the 40 videos.
    np.testing.assert_allclose(class_weights("inverse", counts), [2 / 3, 2])
    # 1/2 and 1, times 5/3: 4 x 5/6 + 1 x 5/3 make the 5 videos.
    found = class_weights("inverse_square_root", np.array([4, 1]))
    np.testing.assert_allclose(found, [5 / 6, 5 / 3])
    # Effective numbers 1 and 1.5: 1 and 2/3, times 9/7: 1 x 9/7 + 2 x 6/7 make the 3 videos.
    rule = functools.partial(effective_number, beta=0.5)
    np.testing.assert_allclose(class_weights(rule, np.array([1, 2])), [9 / 7, 6 / 7])


def test_effective_numbers_of_the_paper():
    # Cui et al. 2019, equation 3: many videos count as 1 / (1 - beta), few as themselves.
    found = 1 / effective_number(np.array([1.0, 10.0, 1e6]))
    np.testing.assert_allclose(found, [1, 9.95512, 1000], rtol=1e-5)
    np.testing.assert_array_equal(effective_number(np.array([3.0, 7.0]), beta=0), [1, 1])


@pytest.mark.parametrize("rule", ["inverse", "inverse_square_root", "effective_number"])
def test_the_mean_over_the_videos_is_1_and_empty_classes_weigh_1(rule):
    counts = np.array([0, 1000, 10, 0, 200])
    weights = class_weights(rule, counts)
    assert weights[0] == weights[3] == 1
    assert (weights * counts).sum() == pytest.approx(1210)
    assert weights[1] < weights[4] < weights[2]


def test_no_videos():
    np.testing.assert_array_equal(class_weights("inverse", np.zeros(3, int)), [1, 1, 1])


def test_errors():
    with pytest.raises(ValueError, match=r"`balance` must be one of 'inverse'.*'effective_number'"):
        check_rule("balance", "balanced")
    with pytest.raises(ValueError, match=r"finite positive number for each class.*for .* videos"):
        class_weights(lambda counts: counts - 5, np.array([5, 6]))
