import pytest

from keras_multigrid.data.lists.split_rules import by_fraction, by_group, by_pattern


def test_by_pattern_searches_anywhere():
    assert by_pattern("val|test")(["a/val_1.avi", "b/1.avi", "test/2.avi"]) == [True, False, True]


def test_by_group_keeps_groups_together():
    # Sorted groups: ann, bob, cyd, dan. Fold 1 of 2 takes the second and the fourth.
    paths = ["run/dan_1.avi", "run/ann_1.avi", "walk/dan_2.avi", "walk/cyd_1.avi", "walk/bob_1.avi"]
    assert by_group(r"/([a-z]+)_", fold=1, folds=2)(paths) == [True, False, True, False, True]
    assert by_group(r"/([a-z]+)_", fold=0, folds=2)(paths) == [False, True, False, True, False]
    assert by_group(r"/([a-z]+)_", fold=2, folds=3)(paths) == [False, False, False, True, False]


def test_by_group_names_a_path_without_a_group():
    with pytest.raises(ValueError, match=r"does not match 'run/7\.avi'"):
        by_group(r"/([a-z]+)_", fold=0, folds=2)(["run/ann_1.avi", "run/7.avi"])


@pytest.mark.parametrize(
    ("pattern", "fold", "folds", "message"),
    [
        ("ann", 0, 2, "must have a group in parentheses"),
        ("(ann)", 2, 2, "fold=2, folds=2"),
        ("(ann)", -1, 2, "fold=-1, folds=2"),
        ("(ann)", 0, 1, "fold=0, folds=1"),
    ],
)
def test_by_group_checks_its_settings(pattern, fold, folds, message):
    with pytest.raises(ValueError, match=message):
        by_group(pattern, fold=fold, folds=folds)


def test_by_fraction_depends_on_each_path_alone():
    # blake2b of "0/a.mp4" etc. as a share of 2**64: a 0.147, b 0.700, c 0.905, d 0.467.
    # With seed 7: a 0.188, b 0.239, c 0.001, d 0.167.
    paths = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert by_fraction(0.5)(paths) == [True, False, False, True]
    assert by_fraction(0.5)(paths[::-1]) == [True, False, False, True]
    assert by_fraction(0.5)(["d.mp4"]) == [True]
    assert by_fraction(0.175, seed=7)(paths) == [False, False, True, True]


def test_by_fraction_takes_about_its_share():
    chosen = by_fraction(0.2)([f"{i}.mp4" for i in range(10_000)])
    assert 1_880 < sum(chosen) < 2_120  # three standard deviations of 40


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 20])
def test_by_fraction_checks_its_range(fraction):
    with pytest.raises(ValueError, match=f"Received: fraction={fraction}"):
        by_fraction(fraction)
