"""The ready recipe, over an experiment."""

import copy

import pytest

import gin
from keras_multigrid.augmentation import (
    Compose,
    CutMix,
    LabelSmoothing,
    MixUp,
    OneOf,
    RandAugment,
    RandomErasing,
)
from keras_multigrid.cli import browse, experiments


@pytest.fixture(autouse=True)
def clear_gin():
    yield
    gin.clear_config()


def test_the_recipe():
    files = ["gin/quickstart.gin", "gin/recipes/augmentation.gin"]
    experiments.parse(files, ["augmentation.MixUp.alpha = 0.2"])
    expected = Compose(
        [
            RandAugment(num_ops=2, magnitude=9),
            RandomErasing(probability=0.25),
            OneOf([MixUp(alpha=0.2), CutMix(alpha=1.0)]),
            LabelSmoothing(smoothing=0.1),
        ],
        growth=0.5,
    )
    assert copy.deepcopy(gin.query_parameter("runs.Data.augment")) == expected
    # What `keras-multigrid browse` shows is what training gets.
    assert browse._augment_of_training() == {"augment": expected}


def test_browsing_without_augmentation():
    experiments.parse(["gin/quickstart.gin"], [])
    assert browse._augment_of_training() == {}
