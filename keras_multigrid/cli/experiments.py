"""Experiments: gin files, and bindings from the command line over them. gin files are code."""

import copy
import csv
import difflib
import functools
import importlib.util  # noqa: F401  gin uses it for files of other folders without importing it
import io
import logging
import os
import pathlib
import re
import sys
from collections.abc import Mapping

from absl import app, flags

import gin
from keras_multigrid.cli import named_settings

flags.DEFINE_multi_string(
    "gin_file",
    None,
    "The experiment: its name, such as quickstart, or a gin file. May be repeated: later files go "
    "over earlier ones.",
)
flags.DEFINE_multi_string(
    "gin_param", None, "A gin binding over everything else: NAME=VALUE. May be repeated."
)
FLAGS = flags.FLAGS

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# Where the package is installed, and in a clone.
FOLDER = next(path for path in (_PACKAGE / "experiments", _PACKAGE.parent / "gin") if path.is_dir())
# Before paths that are for `_find` alone, since gin would take one like models/i3d_small.gin for a
# file of an importable package `models`; the second is of files below `FOLDER`.
_FOUND, _SHIPPED = "found:", "shipped:"


def load() -> None:
    """Read the gin files, settings and bindings of the command line."""
    given = named_settings.parse(FLAGS.setting)
    if not FLAGS.gin_file:
        raise app.UsageError("--gin_file is missing. Use for example --gin_file=quickstart.")
    for binding in FLAGS.gin_param or []:
        if "=" not in binding and not re.match(r"(from|import|include)\s", binding):
            raise app.UsageError(
                f"--gin_param must be NAME=VALUE. Received: {binding}. Use for example "
                "--gin_param='runs.Settings.seed=1'."
            )
    parse([os.path.expanduser(path) for path in FLAGS.gin_file], FLAGS.gin_param or [], given)


def parse(
    gin_files: list[str], bindings: list[str], given: Mapping[str, str] | None = None
) -> None:
    """Read gin files and what goes over them, and check that every macro is set and used.

    Args:
        gin_files: paths, or names of experiments.
        bindings: in gin's own syntax.
        given: what `named_settings.parse` gave, over the files and under `bindings`.
    """
    _count_videos.cache_clear()
    gin.config.register_file_reader(_open, _is_readable)
    # gin logs every file that it asks its readers for.
    logging.getLogger().addFilter(lambda record: record.filename != "resource_reader.py")
    gin.parse_config_files_and_bindings(
        [_located(path) for path in gin_files], [], finalize_config=False
    )
    gin.parse_config(named_settings.in_gin(given or {}, gin.config_str()))
    gin.parse_config(bindings)
    _bind_former_parameters()
    _expand_home()
    _check_macros(gin.config_str())
    gin.finalize()


def configured(function_or_class):
    """The function or class with the parameters that gin gives it."""
    return gin.get_configurable(function_or_class)


# ---- Files ---------------------------------------------------------------------------------------


def table() -> dict[str, dict[str, str]]:
    """The experiments of experiments.csv by their names: each is a model, data and a recipe."""
    with open(FOLDER / "experiments.csv", encoding="utf-8", newline="") as file:
        return {row["experiment"]: row for row in csv.DictReader(file)}


def names() -> list[str]:
    """All experiments: those of the table, and those with a file of their own."""
    own = {path.stem for path in FOLDER.glob("*.gin")} - {"experiment"}
    return sorted(own | set(table()))


def _located(path: str) -> str:
    """What gin reads for a --gin_file.

    Raises:
        FileNotFoundError: if there is neither a file nor an experiment of this name.
    """
    if _is_remote(path):
        if _is_readable(path):
            return path
        raise FileNotFoundError(f"--gin_file: there is no file {path!r}.")
    if _find(path) is not None:
        return f"{_FOUND}{path}"
    name = path.removeprefix("gin/").removesuffix(".gin")
    close = [f"--gin_file={name}" for name in difflib.get_close_matches(name, names(), n=3)]
    hint = f"Do you mean {' or '.join(close)}?" if close else f"Experiments: {', '.join(names())}."
    raise FileNotFoundError(f"--gin_file: there is no file and no experiment {path!r}. {hint}")


def _open(path: str) -> io.TextIOBase:
    """A gin file that gin does not find itself: remote, or what `_find` finds."""
    if _is_remote(path):
        from keras_multigrid import files

        return io.StringIO(_with_prefixes(files.read(path).decode(), _FOUND))
    file = _find(path)
    text = file.read_text(encoding="utf-8") if file.is_file() else _written_out(table()[file.stem])
    # What is shipped belongs together: no file of the current folder may come in between.
    is_shipped = file.resolve().is_relative_to(FOLDER)
    opened = io.StringIO(_with_prefixes(text, _SHIPPED if is_shipped else _FOUND))
    # gin names it in errors.
    opened.name = str(file)
    return opened


def _with_prefixes(text: str, prefix: str) -> str:
    """The text of a gin file whose includes are read by `_open`, where it finds them."""

    def replaced(include: re.Match) -> str:
        path = include[2]
        is_found = not _is_remote(path) and _find(f"{prefix}{path}") is not None
        return f"{include[1]}{prefix}{path}" if is_found else include[0]

    return re.sub(r"""^(include\s+['"])([^'"]+)""", replaced, text, flags=re.MULTILINE)


def _is_readable(path: str) -> bool:
    if _is_remote(path):
        from keras_multigrid import files

        files.check_scheme(path)
        return files.exists(path)
    return _find(path) is not None


def _find(path: str) -> pathlib.Path | None:
    """The file that a path or a name stands for.

    A leading `gin/` and the suffix may be left out. The first of these that there is: the path as
    it is; in the folder gin/ of the current one, which may be a changed copy; in `FOLDER`, where it
    may be a row of the table, for which there is no file.
    """
    is_shipped, path = path.startswith(_SHIPPED), re.sub(rf"^(?:{_FOUND}|{_SHIPPED})", "", path)
    name = f"{path.removeprefix('gin/').removesuffix('.gin')}.gin"
    if not is_shipped:
        for own in map(pathlib.Path, (path, f"gin/{name}")):
            if own.is_file():
                return own
    file = FOLDER / name
    is_there = file.is_file() or (file.parent == FOLDER and file.stem in table())
    return file if is_there else None


def _is_remote(path: str) -> bool:
    # gin asks for "/folder/s3://..." too, in each folder that it searches.
    return re.match(r"\w+://", path) is not None


def _written_out(experiment: dict[str, str]) -> str:
    """The gin file that a row of the table stands for."""
    parts = [
        f"models/{experiment['model']}",
        f"data/{experiment['data']}",
        f"recipes/{experiment['recipe']}",
    ]
    lines = [f"RUN_DIR = 'runs/{experiment['experiment']}'"]
    if experiment["initial_weights"]:
        parts.append("recipes/from_kinetics")
        lines.append(f"INITIAL_WEIGHTS = '{experiment['initial_weights']}'")
    includes = [f"include '{part}.gin'" for part in ("experiment", *parts)]
    return "\n".join(["from __gin__ import dynamic_registration", *includes, *lines, ""])


# ---- Bindings ------------------------------------------------------------------------------------


def _is_bound(name: str) -> bool:
    try:
        gin.query_parameter(name)
    except ValueError:
        return False
    return True


def count_clips(published: int | None = None) -> int:
    """Clips of an epoch, the training videos times `ClipSampling.repeats`: NUM_CLIPS, unless set.

    Args:
        published: the number to plan for where there are no lists yet.
    """
    try:
        num_videos = _count_videos(gin.config_str())
    except FileNotFoundError:
        if published is None:
            raise
        num_videos = published
    try:
        return num_videos * gin.query_parameter("ClipSampling.repeats")
    except ValueError:
        # Not set.
        return num_videos


@functools.lru_cache(maxsize=1)
def _count_videos(config: str) -> int:
    """Videos in the training list of a configuration, which is read once: it may be long."""
    # gin resolves references as it copies them.
    return len(copy.deepcopy(gin.query_parameter("%VIDEOS")).train)


def multigrid_schedule():
    """The experiment's `MultigridSchedule`; without boundaries what `suggest` says, unless set."""
    from keras_multigrid.schedule import MultigridSchedule, suggest

    make = configured(MultigridSchedule)
    given = gin.get_bindings(MultigridSchedule)
    return make() if given.get("boundaries") else make(**suggest(**given).settings)


def schedule_settings() -> list[str]:
    """Names of what the experiment itself sets of the form of its schedule."""
    from keras_multigrid.schedule import MultigridSchedule

    needed = {"base", "num_clips", "epochs", "boundaries", "round_to_epochs"}
    given = gin.get_bindings(MultigridSchedule, resolve_references=False)
    return [name for name in given if name not in needed]


def _expand_home() -> None:
    """Put the user's home in place of `~` at the beginning of every text that is bound."""

    def expanded(value):
        if isinstance(value, str):
            return os.path.expanduser(value)
        if isinstance(value, (list, tuple)):
            return type(value)(map(expanded, value))
        return value

    for name in re.findall(r"^([\w./]+) = ", gin.config_str(), flags=re.MULTILINE):
        # A name without a dot is a macro.
        name = name if "." in name else f"{name}/gin.macro.value"
        value = gin.query_parameter(name)
        if expanded(value) != value:
            gin.bind_parameter(name, expanded(value))


def _bind_former_parameters() -> None:
    """Bind the settings that parameters of version 0.1.0 have become."""
    if not re.search(
        r"\b(training\.train|evaluation\.(evaluate|predict))\.\w+ = ", gin.config_str()
    ):
        return
    from keras_multigrid.runs import former

    for function, places in (
        ("training.train", former.TRAIN),
        ("evaluation.evaluate", former.EVALUATE),
        ("evaluation.predict", former.EVALUATE),
    ):
        for name, place in places.items():
            if not _is_bound(f"{function}.{name}"):
                continue
            print(f"{function}.{name} is now runs.{place}", file=sys.stderr)
            gin.bind_parameter(f"runs.{place}", gin.query_parameter(f"{function}.{name}"))


def _check_macros(config: str) -> None:
    """Every macro must be set and used: gin itself would say neither of a misspelt one."""
    used = set(re.findall(r"%([A-Za-z_]\w*)", config))
    defined = set(re.findall(r"^([A-Za-z_]\w*) = ", config, flags=re.MULTILINE))
    for name in sorted(used - defined):
        raise ValueError(f"The gin name {name} is used but not set. Use --gin_param='{name}=...'.")
    for name in sorted(defined - used):
        raise ValueError(
            f"The gin name {name} is set but nothing uses it: is it misspelt? "
            f"Names in use: {', '.join(sorted(used))}."
        )
    used = set(re.findall(r"@([\w/]+)/[\w.]+", config))
    defined = set(re.findall(r"^([\w/]+)/[\w.]+ = ", config, flags=re.MULTILINE))
    for scope in sorted(used - defined):
        raise ValueError(
            f"Nothing is set in the gin scope {scope}: is it misspelt? "
            f"Scopes: {', '.join(sorted(defined))}."
        )


def check_schemes() -> None:
    """Refuse remote paths whose file system is not there, before the first one is read."""
    from keras_multigrid import files

    for path in re.findall(r"""['"](\w+://[^'"]*)""", gin.config_str()):
        # The address of an input service is no file.
        if not path.startswith("grpc://"):
            files.check_scheme(path)
