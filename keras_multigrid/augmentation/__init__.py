"""Augmentations of batches of clips, whose strength grows with the grid."""

from keras_multigrid.augmentation.augmentation import Augmentation
from keras_multigrid.augmentation.color_jitter import ColorJitter
from keras_multigrid.augmentation.compose import Compose, OneOf
from keras_multigrid.augmentation.horizontal_flip import HorizontalFlip
from keras_multigrid.augmentation.label_smoothing import LabelSmoothing
from keras_multigrid.augmentation.mixing import CutMix, MixUp
from keras_multigrid.augmentation.rand_augment import RandAugment
from keras_multigrid.augmentation.random_erasing import RandomErasing
from keras_multigrid.augmentation.random_resized_crop import RandomResizedCrop

__all__ = [
    "Augmentation",
    "ColorJitter",
    "Compose",
    "CutMix",
    "HorizontalFlip",
    "LabelSmoothing",
    "MixUp",
    "OneOf",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
]
