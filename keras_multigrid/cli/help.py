"""What `--help` and `--version` show."""

import importlib.metadata
import platform
import re
import textwrap

from absl import flags

import keras_multigrid
from keras_multigrid.cli import commands, named_settings

PROGRAM = "keras-multigrid"
_WIDTH = 100
_ARGUMENTS = {
    "finetune": " FOLDER|LIST",
    "evaluate": " [FOLDER|LIST]",
    "predict": " VIDEO ...",
    "serve": " dispatcher|worker",
}


def version() -> str:
    """Versions of the package and of what decides how it behaves."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{PROGRAM} {keras_multigrid.__version__} ({', '.join(versions)})"


def of_program() -> str:
    """The list of commands."""
    rows = [
        (name, command.description.splitlines()[0]) for name, command in commands.COMMANDS.items()
    ]
    return "\n".join(
        [
            "Multigrid training of video models.",
            "",
            f"usage: {PROGRAM} COMMAND [--FLAG=VALUE ...] [NAME=VALUE ...]",
            "",
            "Commands:",
            *_table(rows),
            "",
            "Begin with:",
            f"  {PROGRAM} finetune my_videos/ --out=runs/mine",
            f"  {PROGRAM} plan --gin_file=quickstart",
            f"  {PROGRAM} train --gin_file=quickstart epochs=5 run_dir=runs/first",
            "",
            f"{PROGRAM} COMMAND --help shows examples, flags and settings.",
            f"{PROGRAM} --version shows versions.",
            "Exit codes: 0 done, 1 found something or failed, 2 wrong usage, 130 interrupted, "
            "143 terminated.",
        ]
    )


def of_command(name: str) -> str:
    """Examples, flags and settings of a command, whose module has been imported."""
    command = commands.COMMANDS[name]
    rest = {True: " [NAME=VALUE ...]", False: ""}[command.takes_settings]
    argument = _ARGUMENTS.get(name, "")
    lines = [
        command.description,
        "",
        f"usage: {PROGRAM} {name} [--FLAG=VALUE ...]{rest}{argument}",
        "",
        "Flags:",
        *_table([(_usage_of(flag), _help_of(flag)) for flag in own_flags()]),
    ]
    if command.takes_settings:
        rows = [
            (f"{name}={setting.example}", setting.help)
            for name, setting in named_settings.SETTINGS.items()
            if not command.settings or name in command.settings
        ]
        lines += ["", "Settings, with examples of values:", *_table(rows)]
    return "\n".join(lines)


def own_flags() -> list[flags.Flag]:
    """Flags that are defined in this package: those of the command first."""
    by_module = FLAGS.flags_by_module_dict()
    shared = [f"{__package__}.{name}" for name in ("experiments", "command")]
    own = [name for name in by_module if name.startswith(f"{__package__}.")]
    ordered = [*sorted(set(own) - set(shared)), *(name for name in shared if name in own)]
    # Nobody types --setting=NAME=VALUE.
    return [flag for module in ordered for flag in by_module[module] if flag.name != "setting"]


def _usage_of(flag: flags.Flag) -> str:
    if flag.boolean:
        return f"--{flag.name}"
    if isinstance(flag, flags.EnumFlag):
        return f"--{flag.name}={'|'.join(flag.parser.enum_values)}"
    return f"--{flag.name}={'N' if flag.flag_type() in ('int', 'float') else 'TEXT'}"


def _help_of(flag: flags.Flag) -> str:
    # absl adds values before, and bounds and the kind of a value in a second line.
    text = re.sub(r"^<[^>]*>: ", "", flag.help.split("\n")[0]).rstrip(";")
    shows_default = flag.default not in (None, False, []) and not flag.boolean
    return f"{text} Default: {flag.default}." if shows_default else text


def _table(rows: list[tuple[str, str]]) -> list[str]:
    """Two columns; the second is wrapped, and goes below a first one that is long."""
    width = max(len(first) for first, _ in rows if len(first) < 32)
    lines = []
    for first, second in rows:
        wrapped = textwrap.wrap(second, _WIDTH - width - 4)
        if len(first) > width:
            lines.append(f"  {first}")
            first = ""
        for number, part in enumerate(wrapped):
            lines.append(f"  {first if number == 0 else '':{width}}  {part}")
    return lines


FLAGS = flags.FLAGS
