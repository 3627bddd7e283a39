"""`train`, `evaluate` and `predict` with the keywords of version 0.1.0, for one release."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_multigrid.compat import learning_rate_of
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.runs import evaluation, settings, training

# Keyword of `train` to the setting that it became.
TRAIN = {
    "run_dir": "Settings.run_dir",
    "seed": "Settings.seed",
    "videos": "Data.videos",
    "sampling": "Data.sampling",
    "keep_decoded": "Data.keep_decoded",
    "workers": "Data.workers",
    "service": "Data.service",
    "max_bad_share": "Data.max_bad_share",
    "model": "Model.model",
    "initial_weights": "Model.initial_weights",
    "inflate": "Model.inflate",
    "optimizer": "Optimization.optimizer",
    "precise_batches": "Optimization.precise_batches",
    "validations": "Logging.validations",
    "still_control": "Logging.still_control",
    "log_every": "Logging.log_every",
    "texts": "Logging.texts",
    "strategy": "Hardware.strategy",
    "checkpoint_dir": "Checkpoints.folder",
    "checkpoint_every": "Checkpoints.every",
    "keep_checkpoints": "Checkpoints.keep",
    "allow_changes": "Checkpoints.allow_changes",
}
# Keyword of `evaluate` and `predict`.
EVALUATE = {
    "run_dir": "MultiViewTest.run_dir",
    "videos": "Data.videos",
    "model": "Model.model",
    "sampling": "Data.sampling",
    "workers": "Data.workers",
    "strategy": "Hardware.strategy",
    **{
        name: f"MultiViewTest.{name}"
        for name in ("grid", "weights", "views", "combine", "crop_size", "batch_size")
    },
}


def train(**keywords) -> training.Report | None:
    """`runs.train` with the keywords of version 0.1.0.

    Args:
        keywords: those of `TRAIN`. `optimizer` makes an optimizer whose learning rate is a
            `MultigridLearningRate`, and is called without arguments.
    """
    groups = _grouped(keywords, TRAIN)
    make = groups["Optimization"]["optimizer"]
    groups["Optimization"] |= _optimization(make)
    own = groups.pop("Settings")
    made = {name.lower(): getattr(settings, name)(**values) for name, values in groups.items()}
    return training.train(settings.Settings(**own, **made))


def evaluate(**keywords) -> evaluation.Evaluation:
    """`runs.evaluate` with the keywords of version 0.1.0: those of `EVALUATE`."""
    groups = _grouped(keywords, EVALUATE)
    return evaluation.evaluate(
        data=settings.Data(**groups["Data"]),
        model=settings.Model(**groups["Model"]),
        test=settings.MultiViewTest(**groups["MultiViewTest"]),
        hardware=settings.Hardware(**groups.get("Hardware", {})),
    )


def predict(paths: Sequence[str], *, classes: str | None = None, top: int = 5, **keywords):
    """`runs.predict` with the keywords of version 0.1.0: those of `EVALUATE`."""
    groups = _grouped(keywords, EVALUATE)
    return evaluation.predict(
        paths,
        model=settings.Model(**groups["Model"]),
        test=settings.MultiViewTest(**groups["MultiViewTest"]),
        **groups["Data"],
        classes=classes,
        top=top,
    )


def _grouped(keywords: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, value in keywords.items():
        if name not in places:
            raise TypeError(f"Unexpected keyword {name!r}. There are: {', '.join(places)}.")
        group, _, field = places[name].partition(".")
        groups.setdefault(group, {})[field] = value
    return groups


def _optimization(make: Callable[[], keras.optimizers.Optimizer]) -> dict[str, Any]:
    """Schedule, learning rate and optimizer of `Optimization`, from an optimizer that has all."""
    optimizer = make()
    policy = learning_rate_of(optimizer)
    if not isinstance(policy, MultigridLearningRate):
        raise ValueError(
            "`optimizer` must have a MultigridLearningRate. Received: "
            f"learning_rate={optimizer.learning_rate!r}. Set the optimizer's `learning_rate` to "
            "MultigridLearningRate(schedule, ...)."
        )

    def on_schedule(schedule) -> MultigridLearningRate:
        return policy.on_replicas(schedule.replicas)

    def with_rate(learning_rate) -> keras.optimizers.Optimizer:
        if learning_rate.schedule == policy.schedule:
            return make()
        rate = keras.optimizers.schedules.serialize(learning_rate)
        return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": rate})

    return {"schedule": policy.schedule, "learning_rate": on_schedule, "optimizer": with_rate}
