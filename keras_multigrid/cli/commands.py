"""The commands by name."""

import ast
import dataclasses
import pathlib
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command: a module of this package, with a function `main`.

    Args:
        module: its name. The docstring is what `--help` shows; its first line stands in the list.
        takes_arguments: `main` takes those that are neither flags nor settings.
        takes_settings: NAME=VALUE is for it, mostly over an experiment.
        settings: names of those it takes; empty: all.
        flags: of arguments of functions, where they have other names.
    """

    module: str
    takes_arguments: bool = False
    takes_settings: bool = True
    settings: tuple[str, ...] = ()
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def description(self) -> str:
        """The docstring; read, since importing the modules of all would define their flags."""
        source = pathlib.Path(__file__).with_name(f"{self.module}.py").read_text(encoding="utf-8")
        return ast.get_docstring(ast.parse(source), clean=False).strip()


# In the order in which they are of use.
COMMANDS = {
    "finetune": Command(
        module="finetune",
        takes_arguments=True,
        settings=(
            *("model", "batch_size", "num_frames", "crop_size", "stride", "flip", "epochs"),
            *("epoch_factor", "learning_rate", "dtype_policy", "seed", "workers"),
        ),
        flags={"share": "validation", "run_dir": "out", "subtract_clip_mean": "still_camera"},
    ),
    "plan": Command(module="plan"),
    "probe": Command(module="probe"),
    "browse": Command(module="browse"),
    "check": Command(module="check_data"),
    "prepare": Command(module="prepare"),
    "train": Command(module="train"),
    "evaluate": Command(module="evaluate", takes_arguments=True, flags={"pattern": "by"}),
    "predict": Command(module="predict", takes_arguments=True),
    "export": Command(module="export", flags={"path": "out"}),
    "serve": Command(module="serve_data", takes_arguments=True, takes_settings=False),
    "convert": Command(module="convert_weights", takes_settings=False, flags={"weights": "source"}),
}


def short_name(name: str) -> str:
    """The name of a command in `COMMANDS`, given that or the name of its module."""
    return next((short for short, command in COMMANDS.items() if command.module == name), name)
