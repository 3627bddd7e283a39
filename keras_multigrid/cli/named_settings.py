"""Settings that people change most, as NAME=VALUE on the command line; gin has all others."""

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping

from absl import app, flags

flags.DEFINE_multi_string("setting", [], "Where arguments of the form NAME=VALUE go.")

# Modules that bindings name, by the names that experiments give them.
_IMPORTS = {
    "clips": "keras_multigrid.data",
    "experiments": "keras_multigrid.cli",
    "learning_rate": "keras_multigrid",
    "models": "keras_multigrid",
    "optimizers": "keras_multigrid",
    "runs": "keras_multigrid",
    "schedule": "keras_multigrid",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binding:
    """Where a value goes in gin.

    Args:
        macro: name that an experiment uses as %MACRO; the value goes there if it does.
        parameter: goes here where no macro is used; None: the experiment must use the macro.
        value: in gin's syntax; None for the one that the user gives.
    """

    macro: str | None = None
    parameter: str | None = None
    value: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedSetting:
    """A setting.

    Args:
        kind: from the user's text to a value in gin's syntax. Raises a ValueError that says what
            was expected.
        example: a value.
        bindings: where it goes.
        help: one line.
    """

    kind: Callable[[str], str]
    example: str
    bindings: tuple[Binding, ...]
    help: str


# ---- Kinds ---------------------------------------------------------------------------------------


def _whole(least: int) -> Callable[[str], str]:
    """A kind: whole numbers from `least` on."""

    def kind(text: str) -> str:
        if not re.fullmatch(r"[+-]?\d+", text) or int(text) < least:
            raise ValueError(f"a whole number of at least {least}")
        return str(int(text))

    return kind


def _number(expected: str, is_taken: Callable[[float], bool]) -> Callable[[str], str]:
    """A kind: finite numbers that are taken."""

    def kind(text: str) -> str:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and is_taken(value)):
            raise ValueError(expected)
        return str(int(text)) if re.fullmatch(r"[+-]?\d+", text) else repr(value)

    return kind


_positive = _number("a number above 0", lambda value: value > 0)
_not_negative = _number("a number of at least 0, or auto", lambda value: value >= 0)


def _not_negative_or_auto(text: str) -> str:
    return "'auto'" if text == "auto" else _not_negative(text)


def _wholes(text: str) -> str:
    parts = [part.strip() for part in text.strip("()[] ").split(",")]
    try:
        return repr(tuple(int(_whole(1)(part)) for part in parts if part))
    except ValueError:
        raise ValueError("whole numbers above 0 with commas in between, or ()") from None


def _text(text: str) -> str:
    # Whoever knows gin may quote.
    quoted = re.fullmatch(r"""(['"])(.*)\1""", text, flags=re.DOTALL)
    text = quoted[2] if quoted else text
    if not text:
        raise ValueError("a text")
    return repr(text)


def _choice(values: Mapping[str, str]) -> Callable[[str], str]:
    """A kind: one of these texts, in any case, and what they are in gin."""

    def kind(text: str) -> str:
        if text.lower() not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return values[text.lower()]

    return kind


_switch = _choice({"true": "True", "false": "False"})


def _published_model(text: str) -> str:
    from keras_multigrid import models

    if text not in models.names():
        close = difflib.get_close_matches(text, models.names(), n=3)
        if close:
            raise ValueError(f"a network's name, such as {' or '.join(close)}")
        raise ValueError(f"one of {', '.join(models.names())}")
    return repr(text)


# ---- The settings --------------------------------------------------------------------------------


def _at(macro: str | None = None, parameter: str | None = None) -> tuple[Binding, ...]:
    return (Binding(macro=macro, parameter=parameter),)


_SCHEDULE = "schedule.MultigridSchedule"

SETTINGS = {
    "run_dir": NamedSetting(
        kind=_text,
        example="runs/mine",
        bindings=(
            Binding(macro="RUN_DIR", parameter="runs.Settings.run_dir"),
            # Of the commands that read a run.
            Binding(macro="RUN_DIR", parameter="runs.MultiViewTest.run_dir"),
        ),
        help="Folder of checkpoints, logs and report, local or remote.",
    ),
    "data_dir": NamedSetting(
        kind=_text,
        example="data/mine",
        bindings=_at("DATA_DIR"),
        help="Folder of the videos, in experiments that have one.",
    ),
    "seed": NamedSetting(
        kind=_whole(0),
        example="1",
        bindings=_at(parameter="runs.Settings.seed"),
        help="Seed of weights, clips and dropout.",
    ),
    "workers": NamedSetting(
        kind=_whole(1),
        example="8",
        bindings=_at(parameter="runs.Data.workers"),
        help="Clips that are read at a time; by default as many as cores.",
    ),
    "model": NamedSetting(
        kind=_published_model,
        example="slowfast_8x8_r50",
        bindings=(
            Binding(macro="MODEL_NAME", parameter="models.create.name"),
            Binding(macro="MODEL", parameter="runs.Model.model", value="@models.create"),
        ),
        help="Published network, by name; set num_frames and stride to suit it.",
    ),
    "initial_weights": NamedSetting(
        kind=_text,
        example="I3D_8x8_R50.pkl",
        bindings=_at("INITIAL_WEIGHTS", "runs.Model.initial_weights"),
        help="Weights that a new run begins with: kinetics400, a published file, or model.keras.",
    ),
    "dtype_policy": NamedSetting(
        kind=_choice({name: repr(name) for name in ("float32", "mixed_bfloat16", "mixed_float16")}),
        example="mixed_bfloat16",
        bindings=_at(parameter="runs.Model.dtype_policy"),
        help="Precision: float32, mixed_bfloat16 or mixed_float16.",
    ),
    "batch_size": NamedSetting(
        kind=_whole(1),
        example="16",
        bindings=_at("BATCH_SIZE", "schedule.Grid.batch_size"),
        help="Clips of the baseline's mini-batch, over all devices.",
    ),
    "num_frames": NamedSetting(
        kind=_whole(1),
        example="16",
        bindings=_at("NUM_FRAMES", "schedule.Grid.num_frames"),
        help="Frames of the baseline's clip.",
    ),
    "crop_size": NamedSetting(
        kind=_whole(1),
        example="112",
        bindings=_at("CROP_SIZE", "schedule.Grid.crop_size"),
        help="Height and width of the baseline's clip, in pixels.",
    ),
    "stride": NamedSetting(
        kind=_whole(1),
        example="2",
        bindings=_at(parameter="clips.ClipSampling.stride"),
        help="Frames of the video from one frame of the clip to the next.",
    ),
    "flip": NamedSetting(
        kind=_switch,
        example="false",
        bindings=_at(parameter="clips.ClipSampling.flip"),
        help="Mirror half of the clips; false where left and right differ.",
    ),
    "epochs": NamedSetting(
        kind=_whole(1),
        example="20",
        bindings=_at("EPOCHS", f"{_SCHEDULE}.epochs"),
        help="The baseline's length in epochs.",
    ),
    "boundaries": NamedSetting(
        kind=_wholes,
        example="10,15",
        bindings=_at("BOUNDARIES", f"{_SCHEDULE}.boundaries"),
        help="Epochs at which the baseline cuts its learning rate.",
    ),
    "multigrid": NamedSetting(
        kind=_choice(
            {"true": "@experiments.multigrid_schedule()", "false": f"@baseline/{_SCHEDULE}()"}
        ),
        example="false",
        bindings=_at("SCHEDULE"),
        help="false trains the baseline: no cycles.",
    ),
    "epoch_factor": NamedSetting(
        kind=_positive,
        example="1.0",
        bindings=_at(parameter=f"{_SCHEDULE}.epoch_factor"),
        help="Length of the multigrid training, in lengths of the baseline's.",
    ),
    "learning_rate": NamedSetting(
        kind=_positive,
        example="0.02",
        bindings=_at("LEARNING_RATE", "learning_rate.MultigridLearningRate.learning_rate"),
        help="The baseline's learning rate.",
    ),
    "warmup_epochs": NamedSetting(
        kind=_not_negative_or_auto,
        example="3",
        bindings=_at(parameter="learning_rate.MultigridLearningRate.warmup_epochs"),
        help="Epochs of linear warm-up; auto for training from scratch.",
    ),
    "optimizer": NamedSetting(
        kind=_choice(
            {
                "sgd": "@optimizers.ReferenceSGD",
                "adamw": "@optimizers.AdamW",
                "lamb": "@optimizers.Lamb",
                "lion": "@optimizers.Lion",
                "muon": "@optimizers.Muon",
            }
        ),
        example="adamw",
        bindings=_at(parameter="runs.Optimization.optimizer"),
        help="sgd, adamw, lamb, lion or muon; each needs a learning rate of its own.",
    ),
    "weights": NamedSetting(
        kind=_text,
        example="best",
        bindings=_at(parameter="runs.MultiViewTest.weights"),
        help="Weights of a test: best, or a file; by default the run's last.",
    ),
}


# ---- From the command line to gin ----------------------------------------------------------------


def split(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of the form NAME=VALUE, and the others: among them files with such a name."""
    given, others = [], []
    for argument in arguments:
        is_setting = re.match(r"[A-Za-z_][\w.]*=", argument) and not os.path.exists(argument)
        (given if is_setting else others).append(argument)
    return given, others


def parse(arguments: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """Values in gin's syntax by the names of their settings; later ones replace earlier ones.

    Args:
        arguments: of the form NAME=VALUE.
        taken: names of the settings that a command takes; empty: all, and gin takes others.

    Raises:
        app.UsageError: if there is no such setting, or it takes no such value.

    Example:

    >>> parse(["epochs=20", "run_dir=runs/mine"])
    {'epochs': '20', 'run_dir': "'runs/mine'"}
    """
    values = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        if taken and name not in taken:
            raise app.UsageError(
                f"There is no setting {name!r} of this command. There are {', '.join(taken)}."
            )
        if name not in SETTINGS:
            close = difflib.get_close_matches(name.lower(), SETTINGS, n=3)
            hint = f"Do you mean {' or '.join(close)}?" if close else f"There are {_NAMES}."
            raise app.UsageError(
                f"There is no setting {name!r}. {hint} For all others use --gin_param="
                f'"{_full_name(name)}={text}".'
            )
        try:
            values[name] = SETTINGS[name].kind(text.strip())
        except ValueError as error:
            raise app.UsageError(
                f"{name} must be {error}. Received: {argument}. "
                f"Use for example {name}={SETTINGS[name].example}."
            ) from None
    return values


def _full_name(name: str) -> str:
    """What gin calls a setting of the schedule; others may be anything."""
    from keras_multigrid.schedule import MultigridSchedule

    known = {field.name for field in dataclasses.fields(MultigridSchedule)}
    return f"schedule.MultigridSchedule.{name}" if name in known else name


def in_gin(values: Mapping[str, str], config: str) -> str:
    """Bindings of what `parse` gave, over an experiment.

    Args:
        values: by names of settings.
        config: all that the experiment binds, as `gin.config_str` gives it.

    Raises:
        app.UsageError: if the experiment has no such setting.
    """
    modules, lines = set(), []
    for name, value in values.items():
        for binding in SETTINGS[name].bindings:
            bound = value if binding.value is None else binding.value
            if binding.macro and re.search(rf"%{binding.macro}\b", config):
                place = binding.macro
            elif binding.parameter:
                place = binding.parameter
            else:
                raise app.UsageError(_no_place(name, binding.macro, config))
            lines.append(f"{place} = {bound}")
            if "." in place:
                modules.add(place.partition(".")[0])
            if bound.startswith("@"):
                modules.add(re.search(r"([a-z_]+)\.", bound)[1])
    if not lines:
        return ""
    imports = [f"from {_IMPORTS[module]} import {module}" for module in sorted(modules)]
    return "\n".join(["from __gin__ import dynamic_registration", *imports, *lines, ""])


def _no_place(name: str, macro: str | None, config: str) -> str:
    texts = set(re.findall(r"^([A-Z_]+) = '", config, flags=re.MULTILINE))
    known = {binding.macro for setting in SETTINGS.values() for binding in setting.bindings}
    others = sorted(texts - known)
    hint = f" It has {', '.join(others)}: use --gin_param=\"{others[0]}='...'\"." if others else ""
    return f"{name} is no setting of this experiment: nothing in it uses %{macro}.{hint}"


_NAMES = ", ".join(SETTINGS)
