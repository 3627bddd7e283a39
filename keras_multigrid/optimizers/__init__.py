"""Optimizers that published recipes need and Keras lacks."""

from keras_multigrid.optimizers.reference_sgd import ReferenceSGD

__all__ = ["ReferenceSGD"]
