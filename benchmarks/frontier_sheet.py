"""One sheet of several studies of benchmarks/frontier.py: accuracy over work.

    python benchmarks/frontier_sheet.py --out=docs/frontier.png \
        --study "Weizmann, 8 x 16 x 64²: results/weizmann_64, results/weizmann_64_long" \
        --study "GRID, 8 x 8 x 64²: results/grid_64"

A study is a title and the --out of one or more calls of frontier.py, whose points are drawn
together. Bars are standard errors over seeds; a point of one seed has none. --seconds adds a row
over seconds: compare these only where all runs had the same cores to themselves.
"""

import argparse
import json
import math
import os
import sys

from experiment_runs import ROOT
from matplotlib.figure import Figure

sys.path.insert(0, ROOT)

_COSTS = {"own_work": "work, in steps of the baseline", "seconds": "seconds of training"}
# What the experiment itself has is the rule's schedule, where it binds nothing else.
_NAMES = {"rule": "multigrid"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", action="append", required=True, metavar="TITLE: FOLDER, ...")
    parser.add_argument("--out", required=True, help="a PNG file")
    parser.add_argument("--seconds", action="store_true")
    settings = parser.parse_args()
    costs = list(_COSTS) if settings.seconds else ["own_work"]
    studies = dict(map(_study, settings.study))
    from keras_multigrid import figures

    with open(settings.out, "wb") as file:
        file.write(figures.to_png(_draw(studies, costs)))


def _study(text: str) -> tuple[str, dict[str, list[dict]]]:
    """The title of a study, and the points of its schedules, the cheapest first."""
    title, _, folders = text.partition(":")
    schedules = {}
    for folder in folders.split(","):
        with open(os.path.join(folder.strip(), "frontier.json"), encoding="utf-8") as file:
            for point in json.load(file)["points"]:
                name = _NAMES.get(point["schedule"], point["schedule"])
                schedules.setdefault(name, []).append(point)
    return title, {
        name: sorted(points, key=lambda point: point["own_work"])
        for name, points in sorted(schedules.items())
    }


def _draw(studies: dict[str, dict[str, list[dict]]], costs: list[str]) -> Figure:
    from keras_multigrid import figures

    figure = Figure(
        figsize=(3.2 * len(studies), 3 * len(costs)), dpi=figures.DPI, layout="constrained"
    )
    axes = figure.subplots(len(costs), len(studies), squeeze=False)
    for column, (title, schedules) in enumerate(studies.items()):
        for axis, cost in zip(axes[:, column], costs, strict=True):
            for colour, (name, points) in zip(figures.COLOURS, schedules.items(), strict=False):
                errors = [point["standard_error"] for point in points]
                axis.errorbar(
                    [point[cost] for point in points],
                    [point["accuracy"] for point in points],
                    yerr=[0 if math.isnan(error) else error for error in errors],
                    **{"color": colour, "marker": "o", "ms": 4, "capsize": 2, "label": name},
                )
            most = max(point[cost] for points in schedules.values() for point in points)
            axis.set(xlim=(0, 1.1 * most), ylim=(0, 1), xlabel=_COSTS[cost])
            axis.spines[["top", "right"]].set_visible(False)
        axes[0, column].set_title(title, fontsize=10)
    axes[0, 0].legend(loc="lower right", frameon=False)
    for axis in axes[:, 0]:
        axis.set_ylabel("validation accuracy")
    return figure


if __name__ == "__main__":
    main()
