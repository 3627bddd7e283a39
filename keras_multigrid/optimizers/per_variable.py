"""Learning rate and weight decay by variable, for any Keras optimizer."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_multigrid import compat
from keras_multigrid.checks import is_number

_FUNCTIONS = ("rate_multiplier", "decays")


class PerVariable:
    """Mixed into a Keras optimizer: learning rate and weight decay by the paths of variables.

    Everything else stays the optimizer's: one schedule, one step, and gradients that are clipped
    together. (`keras.optimizers.MultiOptimizer` clips the variables of each optimizer apart, and
    has no learning rate.) Without either setting, the optimizer does what Keras's does.

    Args:
        rate_multiplier: a function from a variable's path, such as "s1-stem-conv/kernel", to a
            factor of its learning rate, such as `LayerDecay(0.75)`. Weight decay, which Keras
            multiplies by the learning rate, is scaled with it.
        decays: a function from a variable's path to whether `weight_decay` applies to it, such as
            `not_bias_or_normalization`. It takes the place of `exclude_from_weight_decay`, which
            looks at names, not paths.

    Other arguments: those of the Keras optimizer.

    Example, of an optimizer that has no class here:

    >>> @keras.saving.register_keras_serializable("mine")
    ... class Nadam(PerVariable, keras.optimizers.Nadam):
    ...     pass
    >>> Nadam(0.001, weight_decay=0.05, decays=not_bias_or_normalization)
    """

    def __init__(
        self,
        *args,
        rate_multiplier: Callable[[str], float] | None = None,
        decays: Callable[[str], bool] | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.rate_multiplier = rate_multiplier
        self.decays = decays

    def build(self, variables):
        if not self.built and self._is_by_variable:
            compat.leave_decay_to_update_step(self)
            self._rates = tuple(self._rate_of(variable.path) for variable in variables)
            self._decays = tuple(
                self.weight_decay_of(variable)
                if self.decays is None or self.decays(variable.path)
                else None
                for variable in variables
            )
        super().build(variables)

    def weight_decay_of(self, variable: keras.Variable) -> float | None:
        """The weight decay of a variable to which it applies."""
        return self.weight_decay

    def update_step(self, gradient, variable, learning_rate):
        if self._is_by_variable:
            index = compat.variable_index(self, variable)
            learning_rate = ops.cast(learning_rate, variable.dtype) * self._rates[index]
            decay = self._decays[index]
            if decay:
                # As Keras: before the update.
                self.assign_sub(variable, variable * decay * learning_rate)
        super().update_step(gradient, variable, learning_rate)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        if self._is_by_variable:
            raise ValueError(
                "With `decays` or `rate_multiplier`, `exclude_from_weight_decay` has no effect. "
                "Leave variables out by decays=FUNCTION, from their paths to True or False."
            )
        super().exclude_from_weight_decay(var_list=var_list, var_names=var_names)

    def get_config(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in _FUNCTIONS}
        return {
            **super().get_config(),
            **{
                name: keras.saving.serialize_keras_object(function)
                for name, function in given.items()
                if function is not None
            },
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        functions = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in _FUNCTIONS
            if config.get(name) is not None
        }
        return super().from_config({**config, **functions}, custom_objects=custom_objects)

    @property
    def _is_by_variable(self) -> bool:
        return self.rate_multiplier is not None or self.decays is not None

    def _rate_of(self, path: str) -> float:
        rate = 1.0 if self.rate_multiplier is None else self.rate_multiplier(path)
        if not is_number(rate) or rate <= 0:
            raise ValueError(
                f"`rate_multiplier` must return a positive number. Received: {rate!r} for {path}. "
                "To keep layers as they are, set layer.trainable = False."
            )
        return float(rate)


@keras.saving.register_keras_serializable(package="keras_multigrid")
def not_bias_or_normalization(path: str) -> bool:
    """Whether a variable is neither a bias nor a scale or offset of a normalization.

    Such parameters are few and have no reason to be small: recipes leave them out of weight decay.

    Args:
        path: of the variable.

    Example:

    >>> AdamW(rate, weight_decay=0.05, decays=not_bias_or_normalization)
    """
    # Some biases have the name of what they are added to in front: "q_bias".
    return re.search(r"(^|[/_])(bias|beta|gamma|scale)$", path) is None


@keras.saving.register_keras_serializable(package="keras_multigrid")
class LayerDecay:
    """Learning rates that fall from the classifier to the stem, for fine-tuning.

    Early layers have learnt what holds for any video: they keep it when they learn more slowly
    (Howard and Ruder, "Universal Language Model Fine-tuning", 2018, section 3.2). A stage has
    `factor` times the rate of the next:

        factor 0.5, stages   s1      s2      s3     s4    s5   head
        rate                 0.03125 0.0625  0.125  0.25  0.5  1

    Args:
        factor: in (0, 1]; recipes take 0.65 to 0.9.
        stages: from the input to the output, the beginnings of the names of their layers, as
            regular expressions. By default those of the networks here.

    Raises:
        ValueError: if the factor is none; and for a variable of no stage.

    Example:

    >>> AdamW(rate, weight_decay=0.05, rate_multiplier=LayerDecay(0.75))
    """

    def __init__(
        self, factor: float, stages: Sequence[str] = ("s1", "s2", "s3", "s4", "s5", "head")
    ):
        if not is_number(factor) or not 0 < factor <= 1:
            raise ValueError(
                f"`factor` must be in (0, 1]. Received: factor={factor!r}. Use 1 for one rate."
            )
        self.factor = factor
        self.stages = tuple(stages)

    def __call__(self, path: str) -> float:
        for distance, stage in enumerate(reversed(self.stages)):
            if re.search(rf"(^|/)({stage})(?![0-9])", path):
                return self.factor**distance
        raise ValueError(
            f"Every variable must be of a stage. Received: {path}, which is of none of "
            f"{self.stages}. Use LayerDecay({self.factor}, stages=...), from input to output."
        )

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "stages": list(self.stages)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LayerDecay":
        return cls(**config)
