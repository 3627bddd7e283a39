"""The learning rate of every step of a multigrid schedule."""

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_multigrid import compat
from keras_multigrid.checks import check_choice, check_integer, check_not_negative, is_number
from keras_multigrid.schedule import MultigridSchedule, Phase, PhaseTable

# The power of the relative batch that the rate is multiplied by.
SCALINGS = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}


@keras.saving.register_keras_serializable(package="keras_multigrid")
class MultigridLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The baseline's learning rate, carried over to a multigrid schedule.

    The rate scales with the clips of the long cycle's base grid, linearly as published (paper,
    section 3.3) or as `scaling` says; the short cycle never changes it. With
    `MultigridSchedule(batch_growth=0)` these clips are always the baseline's, and so is the rate.
    The rate of a step, whole or fractional, depends on no other.

    Args:
        schedule: the `MultigridSchedule` to follow.
        learning_rate: the baseline's. A float is multiplied by `schedule.decay` at every boundary
            of the schedule, as published. A keras `LearningRateSchedule` (or the config of one) is
            evaluated at the baseline's step that the multigrid step stands for, between 0 and
            `schedule.baseline_steps`: give it the baseline's own `decay_steps`.
        warmup_epochs: epochs of this schedule over which the rate rises linearly to the one that
            follows the warm-up. Kept as the baseline has it, not rescaled: it takes as many steps
            as the baseline's where the batch does not grow, fewer where it does. "auto" takes as
            many as the first phase's rate needs, `needed_warmup`.
        warmup_start: learning rate of step 0 when there is a warm-up.
        reference_batch_size: clips of the mini-batch that `learning_rate` and `warmup_start` are
            given for; None takes that of `schedule.base`. Both scale to the clips of
            `schedule.baseline_grid`, as `scaling` says.
        scaling: what a batch of b times the clips multiplies the rate by: "linear" b, as published,
            "sqrt" the square root of b, often used with Adam and its relatives, "none" 1.

    Raises:
        ValueError: if a setting is of the wrong kind or out of range.

    Example:

    >>> schedule = MultigridSchedule(
    ...     base=Grid(batch_size=8, num_frames=16, crop_size=112),
    ...     num_clips=1000, epochs=20, boundaries=(10, 15))
    >>> model.compile(keras.optimizers.SGD(MultigridLearningRate(schedule, 0.1)), ...)
    """

    def __init__(
        self,
        schedule: MultigridSchedule,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        warmup_epochs: float | str = 0,
        warmup_start: float = 0.0,
        reference_batch_size: int | None = None,
        scaling: str = "linear",
    ):
        super().__init__()
        if isinstance(schedule, dict):
            schedule = MultigridSchedule.from_config(schedule)
        if isinstance(learning_rate, dict):
            learning_rate = keras.optimizers.schedules.deserialize(learning_rate)
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.warmup_epochs = warmup_epochs
        self.warmup_start = warmup_start
        self.reference_batch_size = reference_batch_size
        self.scaling = scaling
        if isinstance(warmup_epochs, str) and warmup_epochs == "auto":
            # A number from here on: it does not change with the number of devices.
            self.warmup_epochs = 0
            self._check()
            self.warmup_epochs = needed_warmup(schedule, scaling)
        self._check()
        # 64 bits keep large steps exact; JAX has only 32.
        self._dtype = "float32" if keras.backend.backend() == "jax" else "float64"
        self._table = PhaseTable(schedule.phases, count=self._count, take=self._take)

    def __call__(self, step):
        """The learning rate of `step`: a tensor of its shape, of `keras.config.floatx()`.

        Args:
            step: the number of steps trained before this one: a scalar, or an array of them if
                `learning_rate` is a float or a policy that takes arrays.
        """
        rate = self._unscaled(ops.cast(step, self._dtype))
        batch_size = self.schedule.baseline_grid.batch_size
        reference = self.reference_batch_size
        reference = self.schedule.base.batch_size if reference is None else reference
        rate = rate if batch_size == reference else rate * self._scale(batch_size / reference)
        # What optimizers multiply it with: some refuse another type.
        return ops.cast(rate, keras.config.floatx())

    def _unscaled(self, step):
        phase = self._table.at(step)
        rate = self._without_warmup(phase, step)
        if not self.warmup_epochs:
            return rate
        epoch = phase.epoch(step)
        end = self._constant(step_at_epoch(self.schedule, self.warmup_epochs))
        target = self._without_warmup(self._table.at(end), end)
        ramp = self.warmup_start + (target - self.warmup_start) * epoch / self.warmup_epochs
        return ops.where(epoch < self.warmup_epochs, ramp, rate)

    def on_replicas(self, replicas: int) -> "MultigridLearningRate":
        """The same for another number of devices: see `MultigridSchedule.replicas`."""
        schedule = dataclasses.replace(self.schedule, replicas=replicas)
        return type(self).from_config({**self.get_config(), "schedule": schedule.get_config()})

    def get_config(self) -> dict[str, Any]:
        policy = self.learning_rate
        if isinstance(policy, keras.optimizers.schedules.LearningRateSchedule):
            policy = keras.optimizers.schedules.serialize(policy)
        config = {
            "schedule": self.schedule.get_config(),
            "learning_rate": policy,
            "warmup_epochs": self.warmup_epochs,
            "warmup_start": self.warmup_start,
            "reference_batch_size": self.reference_batch_size,
        }
        # Checkpoints store this config and compare it. Those of earlier versions lack the setting.
        if self.scaling != "linear":
            config["scaling"] = self.scaling
        return config

    def _without_warmup(self, phase: Phase, step):
        if isinstance(self.learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            progress = ops.minimum(phase.progress(step), 1.0)
            policy = self.learning_rate(progress * self.schedule.baseline_steps)
            return ops.cast(policy, self._dtype) * self._scale(phase.relative_batch_size)
        if self.scaling == "linear":
            return self.learning_rate * phase.relative_learning_rate
        cut = phase.relative_learning_rate / phase.relative_batch_size
        return self.learning_rate * cut * self._scale(phase.relative_batch_size)

    def _scale(self, relative_batch):
        """What a batch so many times larger multiplies the rate by."""
        power = SCALINGS[self.scaling]
        return relative_batch if power == 1 else relative_batch**power

    def _count(self, values, x):
        return ops.sum(ops.cast(x[..., None] >= self._constant(values), "int32"), axis=-1)

    def _take(self, values, index):
        return ops.take(self._constant(values), index)

    def _constant(self, values):
        return ops.convert_to_tensor(values, dtype=self._dtype)

    def _check(self) -> None:
        if not isinstance(self.schedule, MultigridSchedule):
            raise ValueError(
                f"`schedule` must be a MultigridSchedule. Received: schedule={self.schedule!r}."
            )
        policy = isinstance(self.learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        if not policy and not (is_number(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(
                "`learning_rate` must be a positive float or a keras LearningRateSchedule. "
                f"Received: learning_rate={self.learning_rate!r}."
            )
        for name in ("warmup_epochs", "warmup_start"):
            check_not_negative(name, getattr(self, name))
        if self.reference_batch_size is not None:
            check_integer("reference_batch_size", self.reference_batch_size)
        check_choice("scaling", self.scaling, tuple(SCALINGS))
        if self.warmup_epochs >= self.schedule.phases[-1].end_epoch:
            raise ValueError(
                "`warmup_epochs` must be shorter than the schedule, "
                f"{self.schedule.phases[-1].end_epoch:g} epochs. "
                f"Received: warmup_epochs={self.warmup_epochs!r}."
            )


def needed_warmup(schedule: MultigridSchedule, scaling: str = "linear") -> float:
    """Epochs of warm-up after which the first phase's rate can be borne, from scratch.

    Of all epochs a tenth where the rate is the baseline's, and a fifth where it is eight times as
    high, in proportion to its cube root. Both ends are those of the trainings in docs/guide.md,
    which compared no others. Where the last steps have the base grid alone (`base_share`), it is as
    many steps as where as long a schedule has its cycles to the end.

    Example:

    >>> schedule = MultigridSchedule.one_pass(
    ...     Grid(batch_size=8, num_frames=16, crop_size=64), num_clips=1800, epochs=10)
    >>> needed_warmup(schedule)
    3.0
    >>> needed_warmup(schedule.baseline())
    1.0
    """
    first, last = schedule.phases[0], schedule.phases[-1]
    rate = first.relative_batch_size ** SCALINGS[scaling]
    epochs = last.end_epoch
    if schedule.ends_at_base:
        epochs = max(epochs, last.first_epoch / (1 - schedule.base_share))
    return round(0.1 * rate ** (1 / 3) * epochs, 9)


def policy_of(model: keras.Model) -> MultigridLearningRate | None:
    """The `MultigridLearningRate` of a compiled model, None if it has another learning rate."""
    policy = compat.learning_rate_of(model.optimizer)
    return policy if isinstance(policy, MultigridLearningRate) else None


def step_at_epoch(schedule: MultigridSchedule, epoch: float) -> float:
    """The step, perhaps fractional, at which an epoch of the schedule begins."""
    phase = PhaseTable(schedule.phases).at_epoch(epoch)
    share = (epoch - phase.first_epoch) / (phase.end_epoch - phase.first_epoch)
    return phase.first_step + share * phase.num_steps


def half_cosine(
    schedule: MultigridSchedule,
    learning_rate: float,
    end: float = 0.0,
    after_epochs: float = 0,
) -> keras.optimizers.schedules.CosineDecay:
    """The baseline's policy from `learning_rate` down to `end`, along half a cosine over its steps.

    Args:
        schedule: the schedule to follow.
        learning_rate: the rate that the cosine begins at.
        end: the rate at the end.
        after_epochs: epochs of the schedule after which the cosine begins, as recipes of
            transformers have it after the warm-up; before, the rate is `learning_rate`. 0 begins it
            at the first step, below the warm-up.

    Example:

    >>> MultigridLearningRate(schedule, half_cosine(schedule, 0.1))
    """
    steps, first = schedule.baseline_steps, 0
    if after_epochs:
        step = step_at_epoch(schedule, after_epochs)
        first = steps * PhaseTable(schedule.phases).at(step).progress(step)
    return keras.optimizers.schedules.CosineDecay(
        learning_rate,
        steps - first,
        alpha=end / learning_rate,
        # A warm-up from the rate itself to it.
        warmup_target=learning_rate if first else None,
        warmup_steps=first,
    )
