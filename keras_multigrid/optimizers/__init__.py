"""Optimizers that recipes need and Keras lacks, and Keras's with rates by variable."""

from keras_multigrid.optimizers.keras_optimizers import SGD, AdamW, Lamb, Lion
from keras_multigrid.optimizers.muon import Muon
from keras_multigrid.optimizers.per_variable import (
    LayerDecay,
    PerVariable,
    not_bias_or_normalization,
)
from keras_multigrid.optimizers.reference_sgd import ReferenceSGD

__all__ = [
    "SGD",
    "AdamW",
    "Lamb",
    "LayerDecay",
    "Lion",
    "Muon",
    "PerVariable",
    "ReferenceSGD",
    "not_bias_or_normalization",
]
