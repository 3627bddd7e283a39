"""From a folder of videos to a trained network and a report to show."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, {"Request": "request", "finetune": "run"})
