"""A training as a page to show: one HTML file that loads nothing from elsewhere."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_multigrid import figures, files
from keras_multigrid.runs.browsing import data_uri
from keras_multigrid.runs.hardest_clips import HardClip

# Classes up to which the table of confusions is drawn.
_MOST_CLASSES = 40
_MOST_CONFUSIONS = 10
# The curve, in pixels.
_WIDTH, _HEIGHT, _MARGIN = 860, 260, 48


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """What a page shows.

    Args:
        title: of the page.
        result: name of the result, such as "top1".
        value: its value, a share of `count` videos.
        count: validation videos.
        chance: what naming the most frequent class gets.
        facts: sentences on the run.
        curve: of each validation its step and results, such as "accuracy" and "val_accuracy".
        metric: the one that is drawn.
        phases: first step and base grid of each phase, in words.
        total_steps: of the run.
        class_names: names of the classes.
        per_class: for each class its name, number of videos and result.
        confusion: (classes, classes) counts, rows are labels; None where there is none.
        hardest: clips, the hardest first.
        settings: name, value, reason, and what to type for another value.
        commands: title to a command line.
        details: title to a text in full, such as the plan.
    """

    title: str
    result: str
    value: float
    count: int
    chance: float
    facts: Sequence[str]
    curve: Sequence[Mapping[str, float]]
    metric: str
    phases: Sequence[tuple[int, str]]
    total_steps: int
    class_names: Sequence[str]
    per_class: Sequence[Mapping[str, object]]
    confusion: np.ndarray | None = None
    hardest: Sequence[HardClip] = ()
    settings: Sequence[tuple[str, str, str, str]] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)


def to_html(page: ReportPage) -> str:
    """The page as the text of an HTML file.

    Example:

    >>> pathlib.Path("report.html").write_text(to_html(page), encoding="utf-8")
    """
    sections = (
        ("", _summary(page)),
        ("Learning curve", _curve(page)),
        ("Confusions", _confusion(page)),
        ("Classes", _classes(page)),
        ("Hardest clips", _hardest(page)),
        ("Settings, and what changes them", _settings(page)),
        ("", _details(page)),
    )
    body = "\n".join(
        f"<section>{f'<h2>{title}</h2>' if title else ''}\n{content}</section>"
        for title, content in sections
        if content
    )
    return _PAGE.format(title=_text(page.title), body=body)


def interval(share: float, count: int) -> tuple[float, float]:
    """Where 95% of such shares of `count` lie: Wilson's interval.

    >>> [round(end, 2) for end in interval(0.85, 20)]
    [0.64, 0.95]
    """
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    width = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    width /= 1 + z * z / count
    return max(0.0, centre - width), min(1.0, centre + width)


def _text(value: object) -> str:
    """Text that stays text, whatever it holds; addresses without their secrets."""
    plain = files.redacted(str(value)).encode("utf-8", "replace").decode()
    return html.escape(plain)


def _summary(page: ReportPage) -> str:
    low, high = interval(page.value, page.count)
    facts = "".join(f"<li>{_text(fact)}</li>" for fact in page.facts)
    commands = "".join(
        f"<p>{_text(title)}</p><pre>{_text(command)}</pre>"
        for title, command in page.commands.items()
    )
    return (
        f"<div class='headline'><b>{page.value:.0%}</b><span>of {page.count:,} validation videos "
        f"right ({_text(page.result)}; 95% confidence interval: {low:.0%} to {high:.0%}); "
        f"always naming the most frequent class gets {page.chance:.0%}.</span></div>"
        f"<ul>{facts}</ul>{commands}"
    )


# ---- The curve -----------------------------------------------------------------------------------


def _curve(page: ReportPage) -> str:
    lines = {
        "validation": (f"val_{page.metric}", figures.BLUE),
        "training clips": (page.metric, figures.ORANGE),
    }
    drawn, legend = [_axes(page)], []
    for name, (key, colour) in lines.items():
        points = [(point["step"], point[key]) for point in page.curve if key in point]
        if not points:
            continue
        places = [_place(page, step, value) for step, value in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(
            f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2.5'/>"
        )
        for (x, y), (step, value) in zip(places, points, strict=True):
            drawn.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{colour}'>"
                f"<title>step {step:,.0f}: {value:.3f}</title></circle>"
            )
        legend.append(f"<span style='color:{colour}'>&#9632; {name}</span>")
    if not legend:
        return ""
    title = f"{_text(page.metric)} by step"
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{title}'>"
        f"{''.join(drawn)}</svg><p class='legend'>{title}: {' '.join(legend)}<br>Dotted lines "
        "begin the phases: clips x frames x crop².</p>"
    )


def _axes(page: ReportPage) -> str:
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = _place(page, 0, share)
        parts.append(
            f"<line x1='{x}' y1='{y}' x2='{_WIDTH - 12}' y2='{y}' stroke='{figures.FAINT}'/>"
            f"<text x='{x - 8}' y='{y + 4}' text-anchor='end'>{share:g}</text>"
        )
    for number, (step, grid) in enumerate(page.phases):
        x, top = _place(page, step, 1)
        _, bottom = _place(page, step, 0)
        parts.append(
            f"<line x1='{x:.1f}' y1='{top - 8}' x2='{x:.1f}' y2='{bottom}' stroke='#999' "
            f"stroke-dasharray='2 4'/><text x='{x + 3:.1f}' y='{top - 6 - 13 * (number % 2):.1f}'>"
            f"{_text(grid)}</text>"
        )
    x, y = _place(page, page.total_steps, 0)
    parts.append(
        f"<text x='{x:.1f}' y='{y + 18}' text-anchor='end'>step {page.total_steps:,}</text>"
    )
    return "".join(parts)


def _place(page: ReportPage, step: float, value: float) -> tuple[float, float]:
    right, bottom = _WIDTH - 12 - _MARGIN, _HEIGHT - 2 * _MARGIN + 16
    return (
        _MARGIN + right * step / max(page.total_steps, 1),
        _MARGIN - 8 + bottom * (1 - min(max(value, 0), 1)),
    )


# ---- Tables --------------------------------------------------------------------------------------


def _confusion(page: ReportPage) -> str:
    if page.confusion is None:
        return ""
    matrix, names = page.confusion, page.class_names
    off = matrix * (1 - np.eye(len(names), dtype=matrix.dtype))
    order = [place for place in np.argsort(-off, axis=None, kind="stable") if off.flat[place] > 0]
    confusions = "".join(
        f"<li>{_text(names[row])} taken for {_text(names[column])}: "
        f"{int(off[row, column])} of {int(matrix[row].sum())}</li>"
        for row, column in (divmod(int(place), len(names)) for place in order[:_MOST_CONFUSIONS])
    )
    text = f"<ul>{confusions}</ul>" if confusions else "<p>None: every video was right.</p>"
    if len(names) > _MOST_CLASSES:
        return text
    header = "".join(f"<th class='turned'><span>{_text(name)}</span></th>" for name in names)
    rows = "".join(
        f"<tr><th>{_text(name)}</th>"
        + "".join(
            _cell(count, max(int(row.sum()), 1), is_right=k == label)
            for k, count in enumerate(row.tolist())
        )
        + "</tr>"
        for label, (name, row) in enumerate(zip(names, matrix, strict=True))
    )
    return (
        "<p>Rows are labels, columns what the network said.</p>"
        f"<table class='confusion'><tr><td></td>{header}</tr>{rows}</table>{text}"
    )


def _cell(count: float, total: int, *, is_right: bool) -> str:
    share = count / total
    colour = "0,114,178" if is_right else "213,94,0"
    ink = ";color:#fff" if share > 0.5 else ""
    shown = f"{count:g}" if count else ""
    return f"<td style='background:rgba({colour},{share:.2f}){ink}'>{shown}</td>"


def _classes(page: ReportPage) -> str:
    rows = []
    for row in page.per_class:
        name, count, value = row["name"], row["num_videos"], row[[*row][-1]]
        width = 0 if value is None else round(160 * value)
        shown = "-" if value is None else f"{value:.2f}"
        rows.append(
            f"<tr><td>{_text(name)}</td><td class='number'>{count}</td>"
            f"<td class='number'>{shown}</td>"
            f"<td><div class='bar' style='width:{width}px'></div></td></tr>"
        )
    title = _text([*page.per_class[0]][-1]) if page.per_class else ""
    header = f"<tr><th>class</th><th>validation videos</th><th>{title}</th><td></td></tr>"
    return f"<table>{header}{''.join(rows)}</table>" if rows else ""


def _hardest(page: ReportPage) -> str:
    if not page.hardest:
        return ""
    names = page.class_names
    has_heat = any(clip.heat is not None for clip in page.hardest)
    intro = "Validation videos whose own class has the lowest score." + (
        " In the second picture, warm is what spoke for the class that the network named."
        if has_heat
        else " This network has no class-activation maps."
    )
    clips = []
    for clip in page.hardest:
        pictures = [f"<img src='{data_uri(clip.frames)}' alt='clip'>"]
        if clip.heat is not None:
            pictures.append(f"<img src='{data_uri(clip.heat)}' alt='where the network looked'>")
        verdict = (
            "right"
            if clip.label == clip.predicted
            else f"taken for <b>{_text(names[clip.predicted])}</b> ({clip.predicted_score:.0%})"
        )
        clips.append(
            f"<figure>{''.join(pictures)}<figcaption><b>{_text(names[clip.label])}</b> "
            f"({clip.label_score:.0%}), {verdict}<div class='path'>{_text(clip.path)}</div>"
            "</figcaption></figure>"
        )
    return f"<p>{intro}</p><div class='clips'>{''.join(clips)}</div>"


def _settings(page: ReportPage) -> str:
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td><b>{_text(value)}</b></td><td>{_text(why)}</td>"
        f"<td><code>{_unbroken(change)}</code></td></tr>"
        for name, value, why, change in page.settings
    )
    return f"<table>{rows}</table>" if rows else ""


def _unbroken(text: str) -> str:
    """A text whose lines break between words alone, not at the dashes of flags."""
    return " ".join(f"<span>{_text(word)}</span>" for word in text.split())


def _details(page: ReportPage) -> str:
    return "".join(
        f"<details><summary>{_text(title)}</summary><pre>{_text(text)}</pre></details>"
        for title, text in page.details.items()
    )


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #333; max-width: 920px; margin: 2em auto;
  padding: 0 1em }}
h1 {{ font-size: 1.6em; margin-bottom: .3em }}
h2 {{ font-size: 1.2em; margin: 2em 0 .4em; border-bottom: 1px solid #d9d9d9 }}
.headline {{ display: flex; gap: 1em; align-items: center }}
.headline b {{ font-size: 3.4em; color: #0072b2; line-height: 1 }}
svg {{ width: 100%; height: auto }}
svg text {{ font: 11px system-ui, sans-serif; fill: #555 }}
.legend span {{ margin: 0 .4em }}
table {{ border-collapse: collapse; margin: .5em 0 }}
td, th {{ padding: .2em .6em; text-align: left; vertical-align: top; font-weight: normal }}
th {{ color: #555 }}
section {{ overflow-x: auto }}
code span {{ white-space: nowrap }}
tr + tr td {{ border-top: 1px solid #eee }}
.number {{ text-align: right }}
.confusion td {{ min-width: 1.6em; text-align: center; border: 1px solid #eee }}
.confusion th {{ text-align: right; white-space: nowrap }}
.turned {{ vertical-align: bottom }}
.turned span {{ writing-mode: vertical-rl; transform: rotate(180deg) }}
.bar {{ height: .9em; margin-top: .3em; background: #0072b2; border-radius: 2px }}
.clips {{ display: grid; gap: 1.2em;
  grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)) }}
figure {{ margin: 0 }}
figure img {{ width: 48%; margin-right: 2%; image-rendering: pixelated; border-radius: 3px }}
.path {{ color: #777; font-size: .85em; overflow-wrap: anywhere }}
pre {{ background: #f5f5f5; padding: .7em 1em; overflow-x: auto; border-radius: 4px }}
summary {{ cursor: pointer; margin-top: 1em }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""
