import pytest

from keras_multigrid.data.lists.balanced_split import balanced_split


def test_a_share_of_each_class():
    labels = [0] * 10 + [1] * 5 + [2] * 2 + [3]
    chosen = balanced_split(labels, [str(n) for n in range(18)], share=0.2)
    counts = [
        sum(c for c, label in zip(chosen, labels, strict=True) if label == k) for k in range(4)
    ]
    # A class of two is in both parts; one video is trained on.
    assert counts == [2, 1, 1, 0]


def test_whole_groups():
    labels = [label for label in range(3) for _ in range(9)]
    groups = list("abcdefghi") * 3
    chosen = balanced_split(labels, groups, share=0.2)
    parts = [
        {g for g, c in zip(groups, chosen, strict=True) if c is part} for part in (False, True)
    ]
    assert not parts[0] & parts[1]
    assert (len(parts[0]), len(parts[1])) == (7, 2)


def test_the_choice_follows_the_seed_and_the_names_alone():
    labels, groups = [0] * 20, [f"video{n}" for n in range(20)]
    first = balanced_split(labels, groups, share=0.25)
    assert first == balanced_split(labels, groups, share=0.25)
    assert first != balanced_split(labels, groups, share=0.25, seed=1)
    backwards = balanced_split(labels, groups[::-1], share=0.25)
    assert backwards == first[::-1]


def test_groups_that_would_take_a_class_too_far_stay():
    # The large group holds nine of ten videos of the class.
    chosen = balanced_split([0] * 10, ["large"] * 9 + ["small"], share=0.2)
    assert chosen == [False] * 9 + [True]


def test_two_groups_are_one_in_each_part():
    chosen = balanced_split([0, 0, 1, 1] * 2, ["a"] * 4 + ["b"] * 4, share=0.2)
    assert sorted([chosen[:4], chosen[4:]]) == [[False] * 4, [True] * 4]
    # A group of all videos of a class is trained on.
    assert balanced_split([0, 0, 0], ["a"] * 3, share=0.2) == [False] * 3


def test_errors():
    with pytest.raises(ValueError, match=r"between 0 and 1. Received: share=1"):
        balanced_split([0, 1], ["a", "b"], share=1)
