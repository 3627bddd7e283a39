"""Random numbers of a step that its checkpoint does not hold."""

import keras
import numpy as np

from keras_multigrid.callbacks.lookup import steps_trained


class StepSeed(keras.callbacks.Callback):
    """On PyTorch, seeds each step by its number: a run that resumes drops out the same features.

    There, Keras' dropout without a seed of its own draws from PyTorch's global generator instead
    of a variable of the model (seen with Keras 3.15). Does nothing on other backends.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        super().__init__()
        self._seed = seed

    def on_train_batch_begin(self, batch, logs=None):
        if keras.backend.backend() == "torch":
            import torch

            state = np.random.SeedSequence((self._seed, steps_trained(self.model)))
            torch.manual_seed(int(state.generate_state(1)[0]))
