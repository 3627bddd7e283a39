"""Griffe extension for the site: what follows `>>>` in docstrings becomes a block of code."""

import re

import griffe

_PROMPT = re.compile(r"( *)>>> ")


class FencedExamples(griffe.Extension):
    """Puts fences around them, so that Markdown does not read `[0]` as a link."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """A docstring with fences around each run of lines that begins with `>>>`.

    >>> fenced("Example:\\n\\n>>> 1 + 1\\n2")
    'Example:\\n\\n```pycon\\n>>> 1 + 1\\n2\\n```'
    """
    lines, indent = [], None
    for line in [*text.split("\n"), ""]:
        if indent is None and (match := _PROMPT.match(line)):
            indent = match[1]
            lines.append(f"{indent}```pycon")
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(line)
    return "\n".join(lines[:-1])
