"""Experiments: gin files, and bindings from the command line over them. gin files are code."""

import copy
import csv
import difflib
import importlib.util  # noqa: F401  gin uses it for files of other folders without importing it
import io
import logging
import os
import pathlib
import re
import sys

from absl import app, flags

import gin

flags.DEFINE_multi_string("gin_file", None, "gin files of the experiment, later ones over earlier.")
flags.DEFINE_multi_string("gin_param", None, "Bindings over those of the files: NAME=VALUE.")
FLAGS = flags.FLAGS

_PACKAGE = pathlib.Path(__file__).parents[1]
# Where the package is installed, and in a clone.
FOLDER = next(path for path in (_PACKAGE / "experiments", _PACKAGE.parent / "gin") if path.is_dir())


def load() -> None:
    """Read the gin files and bindings of the command line."""
    if not FLAGS.gin_file:
        raise app.UsageError("--gin_file is missing. Use --gin_file=gin/quickstart.gin.")
    FLAGS.gin_file = [os.path.expanduser(path) for path in FLAGS.gin_file]
    for path in FLAGS.gin_file:
        if not os.path.exists(path) and not _is_readable(path):
            close = difflib.get_close_matches(path, [f"gin/{name}.gin" for name in names()], n=3)
            hint = f" Do you mean {' or '.join(close)}?" if close else ""
            raise FileNotFoundError(f"--gin_file: there is no file {path!r}.{hint}")
    parse(FLAGS.gin_file, FLAGS.gin_param or [])


def parse(gin_files: list[str], bindings: list[str]) -> None:
    """Read gin files and bindings over them, and check that every macro is set and used."""
    gin.config.register_file_reader(_open, _is_readable)
    # gin logs every file that it asks its readers for.
    logging.getLogger().addFilter(lambda record: record.filename != "resource_reader.py")
    gin.parse_config_files_and_bindings(gin_files, bindings, finalize_config=False)
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


def _open(path: str) -> io.TextIOBase:
    """A gin file that is not below the current folder.

    Args:
        path: 'gin/NAME.gin', a file of `FOLDER` or an experiment of the table; or a URL.
    """
    if _is_remote(path):
        from keras_multigrid import files

        return io.StringIO(files.read(path).decode())
    if _in_folder(path).is_file():
        return open(_in_folder(path), encoding="utf-8")
    return io.StringIO(_written_out(table()[_in_folder(path).stem]))


def _is_readable(path: str) -> bool:
    if _is_remote(path):
        from keras_multigrid import files

        files.check_scheme(path)
        return files.exists(path)
    if not path.startswith("gin/"):
        return False
    file = _in_folder(path)
    return file.is_file() or (file.parent == FOLDER and file.stem in table())


def _is_remote(path: str) -> bool:
    # gin asks for "/folder/s3://..." too, in each folder that it searches.
    return re.match(r"\w+://", path) is not None


def _in_folder(path: str) -> pathlib.Path:
    return FOLDER / path.removeprefix("gin/")


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
    includes = [f"include 'gin/{part}.gin'" for part in ("experiment", *parts)]
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
        # gin resolves references as it copies them.
        num_videos = len(copy.deepcopy(gin.query_parameter("%VIDEOS")).train)
    except FileNotFoundError:
        if published is None:
            raise
        num_videos = published
    try:
        return num_videos * gin.query_parameter("ClipSampling.repeats")
    except ValueError:
        # Not set.
        return num_videos


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
