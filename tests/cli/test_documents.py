"""Commands in the documents, in help and in gin files can be typed as they stand."""

import pathlib
import re
import shlex

import pytest

from keras_multigrid.cli import commands, experiments, named_settings

ROOT = pathlib.Path(__file__).parents[2]
CLI = ROOT / "keras_multigrid" / "cli"
SOURCES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "gin").rglob("*.gin"),
        *CLI.glob("*.py"),
    ]
)


def flags_of(name):
    """Names of the flags that a command has."""
    command = commands.COMMANDS[name]
    modules = [command.module, "command", *(["experiments"] if command.takes_settings else [])]
    if name in ("predict", "export"):
        modules.append("network")
    source = "".join((CLI / f"{module}.py").read_text() for module in modules)
    return set(re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', source)) | {"help"}


def lines_with_commands(path):
    text = path.read_text(encoding="utf-8").replace("\\\n#", "\\\n")
    # Continued lines are one.
    text = re.sub(r"\\\n\s*", "", text)
    # In a block or a line of its own, not in a sentence.
    pattern = r"^(?:#? {3,}|\s*exec |KERAS_BACKEND=\w+ )?keras-multigrid ([a-z].*)$"
    return re.findall(pattern, text, flags=re.MULTILINE)


def test_commands_are_found():
    assert len(lines_with_commands(ROOT / "README.md")) >= 9
    assert len(lines_with_commands(ROOT / "gin" / "quickstart.gin")) == 1
    assert len(lines_with_commands(CLI / "train.py")) == 5


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_can_be_typed(path):
    for line in lines_with_commands(path):
        name, *words = shlex.split(line.rstrip("'").replace("...", ""), comments=True)
        assert name in commands.COMMANDS, line
        flags = [word.removeprefix("--").partition("=") for word in words if word.startswith("--")]
        assert {flag for flag, _, _ in flags} <= flags_of(name), line
        for flag, _, value in flags:
            if flag == "gin_file" and not re.search(r"\$|/.*\.gin$|NAME|^$", value):
                # Raises where there is none.
                experiments._located(value)
        given, _ = named_settings.split(word for word in words if not word.startswith("--"))
        named_settings.parse(given)


def test_settings_are_documented_as_they_are():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)=([^`]+)` \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
    assert [(name, example, meaning) for name, example, meaning, _ in rows] == [
        (name, setting.example, setting.help) for name, setting in named_settings.SETTINGS.items()
    ]
    for name, _, _, places in rows:
        binding = named_settings.SETTINGS[name].bindings[0]
        expected = [place for place in (binding.macro, binding.parameter) if place]
        assert re.findall(r"`([^`]+)`", places) == expected


def test_commands_are_documented_as_they_are():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", text, flags=re.MULTILINE)
    assert rows == [
        (name, command.description.splitlines()[0]) for name, command in commands.COMMANDS.items()
    ]
