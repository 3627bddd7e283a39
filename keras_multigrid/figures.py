"""Pictures: a schedule, the speed of its grids, accuracy over time.

Figures are made without pyplot: no global state, no window, safe beside the user's own plots.
"""

import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.schedule import Grid, MultigridSchedule

# Colours of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#A6568B"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#E69F00", "#555555")
INK, FAINT = "#333333", "#D9D9D9"
# Opacity under a line, and of the range of the short cycle.
SOLID, BAND = 0.32, 0.14

LR_SAMPLES = 800
DPI = 120
# Frames of film strips are at least this high, in pixels.
STRIP_HEIGHT = 64


def draw_schedule(learning_rate: MultigridLearningRate) -> Figure:
    """Clips per batch, frames, crop and learning rate over the steps of a training.

    Lines are the long cycle's base grids; lighter bands are the range of the short cycle. Thin
    vertical lines are the borders of phases.

    Args:
        learning_rate: the learning rate of the training, which holds its schedule.
    """
    schedule = learning_rate.schedule
    figure = _figure(9, 6.6)
    axes = figure.subplots(4, 1, sharex=True, height_ratios=(1.6, 1, 1, 1.6))
    for axis in axes:
        _style(axis)
        for phase in schedule.phases[:-1]:
            axis.axvline(phase.end_step, color=FAINT, linewidth=0.8, zorder=0)
    _draw_clips(axes[0], schedule)
    _draw_sizes(axes[1], schedule, "num_frames", colour=GREEN)
    _draw_sizes(axes[2], schedule, "crop_size", colour=PURPLE)
    _draw_learning_rate(axes[3], learning_rate)
    _mark_baseline(axes, schedule)
    names = ("clips per batch", "frames", "crop in pixels", "learning rate")
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylabel(name, color=INK)
    axes[-1].set_xlabel("step", color=INK)
    axes[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
    title = _schedule_title(schedule)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    figure.align_ylabels(axes)
    return figure


def draw_throughput(
    clips_per_second: Mapping[Grid, float], input_wait_shares: Mapping[Grid, float] | None = None
) -> Figure:
    """Bars of the clips that a model trains on per second, one for each grid.

    Beside them: megavoxels (clips * frames * height * width / 10^6) per second. The schedule
    assumes that they are much the same for every grid.

    Args:
        clips_per_second: grid to clips per second, from top to bottom; empty where nothing was
            measured.
        input_wait_shares: share of the time at each grid that was spent waiting for input.
    """
    grids, speeds = list(clips_per_second), list(clips_per_second.values())
    figure = _figure(8, 1 + 0.36 * len(grids))
    axis = figure.subplots()
    _style(axis, grid="x")
    axis.barh(range(len(grids)), speeds, height=0.62, color=BLUE, zorder=2)
    for row, (grid, speed) in enumerate(clips_per_second.items()):
        megavoxels = speed * grid.num_frames * grid.crop_size**2 / 1e6
        text = f"  {speed:,.4g} clips/s, {megavoxels:,.3g} megavoxels/s"
        if input_wait_shares is not None:
            text += f", {input_wait_shares[grid]:.0%} waiting for input"
        axis.text(speed, row, text, va="center", color=INK, fontsize=9)
    axis.set_yticks(range(len(grids)), [str(grid) for grid in grids])
    axis.invert_yaxis()
    # Room for the text beside the longest bar.
    axis.set_xlim(0, max(speeds, default=1) * (1.5 if input_wait_shares is None else 2.0))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_xlabel("clips per second", color=INK)
    axis.set_title("Training speed by grid", fontweight="bold", color=INK)
    return figure


def draw_curves(
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
) -> Figure:
    """Validation accuracy over wall-clock time: a thin line for each run, a thick one for the mean.

    Args:
        curves: label to the runs under it, such as one for each seed, each a pair of lists: seconds
            since the start, and accuracy in [0, 1] at that time. Their mean is drawn where all of
            them have values.
    """
    figure = _figure(8, 4.5)
    axis = figure.subplots()
    _style(axis)
    for colour, (label, runs) in zip(itertools.cycle(COLOURS), curves.items(), strict=False):
        for seconds, accuracies in runs:
            alpha = 1 if len(runs) == 1 else 0.35
            axis.plot(seconds, accuracies, color=colour, alpha=alpha, linewidth=1, marker="o", ms=2)
        begin, end = max(s[0] for s, _ in runs), min(s[-1] for s, _ in runs)
        times = sorted({t for seconds, _ in runs for t in seconds if begin <= t <= end})
        mean = np.mean([np.interp(times, *run) for run in runs], axis=0)
        axis.plot(times, mean, color=colour, label=label, linewidth=2.2)
    axis.set_xlim(left=0)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("seconds", color=INK)
    axis.set_ylabel("validation accuracy", color=INK)
    if curves:
        axis.legend(loc="lower right", frameon=False, labelcolor=INK)
    return figure


def draw_frontier(
    lines: Mapping[str, Sequence[tuple[float, float, float, float]]],
) -> Figure:
    """Accuracy over work, and over seconds: a line for each schedule, a point for each length.

    Args:
        lines: name of a schedule to its points: work in steps of the baseline, seconds, accuracy in
            [0, 1] and its standard error, NaN where it is not known.
    """
    figure = _figure(10, 4.5)
    axes = figure.subplots(1, 2, sharey=True)
    for index, (axis, unit) in enumerate(
        zip(axes, ("work, in steps of the baseline", "seconds of training"), strict=True)
    ):
        _style(axis)
        for colour, (name, points) in zip(itertools.cycle(COLOURS), lines.items(), strict=False):
            costs, (_, _, accuracies, errors) = (
                [p[index] for p in points],
                zip(*points, strict=True),
            )
            errors = np.nan_to_num(errors)
            style = {"color": colour, "linewidth": 2, "marker": "o", "ms": 4, "capsize": 2}
            axis.errorbar(costs, accuracies, yerr=errors, label=name, elinewidth=1, **style)
        axis.set_xlim(left=0)
        axis.set_xlabel(unit, color=INK)
    axes[0].set_ylabel("validation accuracy", color=INK)
    if lines:
        axes[0].legend(loc="lower right", frameon=False, labelcolor=INK)
    return figure


def draw_confusion(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """What videos of each class were taken for, as shares of each row.

    Args:
        matrix: (classes, classes) counts; rows are labels, columns predictions.
        class_names: names of the classes. Written out up to 60 of them.
    """
    count = len(class_names)
    side = min(4.5 + 0.22 * count, 18)
    figure = _figure(side, side)
    axis = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axis, shrink=0.7, label="share of the videos of a class")
    axis.set_xlabel("prediction", color=INK)
    axis.set_ylabel("label", color=INK)
    if count <= 60:
        axis.set_xticks(range(count), class_names, rotation=90)
        axis.set_yticks(range(count), class_names)
    if count <= 20:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.5 else INK
            place = {"ha": "center", "va": "center"}
            axis.text(column, row, matrix[row, column], color=colour, fontsize=8, **place)
    axis.tick_params(colors=INK, labelsize=8)
    return figure


def draw_strips(sections: Mapping[str, Sequence[tuple[str, np.ndarray]]]) -> Figure:
    """Film strips, one below the other.

    Args:
        sections: title to the strips under it, each a pair of lines of text and a picture, uint8
            (height, width, 3).
    """
    # A grid may show nothing: all videos of a validation can be unreadable.
    counts = [max(len(strips), 1) for strips in sections.values()]
    figure = _figure(11, 1.9 * sum(counts))
    parts = figure.subfigures(len(counts), 1, height_ratios=counts, squeeze=False)[:, 0]
    for part, count, (title, strips) in zip(parts, counts, sections.items(), strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
        axes = part.subplots(count, 1, squeeze=False)[:, 0]
        for axis in axes:
            axis.axis("off")
        for axis, (text, strip) in zip(axes, strips, strict=False):
            axis.imshow(strip, interpolation="nearest")
            axis.set_anchor("W")
            # A dollar in a path begins no formula.
            axis.set_title(text, loc="left", fontsize=8, color=INK, parse_math=False)
    return figure


def film_strips(clips: np.ndarray, *, max_frames: int = 8) -> np.ndarray:
    """Clips as rows of frames with white between them; small ones enlarged, pixel by pixel.

    Args:
        clips: uint8 (n, frames, height, width, 3).
        max_frames: frames per row; longer clips show as many, evenly spaced from first to last.

    Returns:
        uint8 (height, width, 3).
    """
    num_frames, height = clips.shape[1:3]
    shown = np.linspace(0, num_frames - 1, min(num_frames, max_frames)).round().astype(int)
    times = -(-STRIP_HEIGHT // height)
    clips = clips[:, shown].repeat(times, axis=2).repeat(times, axis=3)
    gap = 2
    clips = np.pad(clips, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    rows = np.concatenate([np.concatenate(clip, axis=1) for clip in clips])
    return rows[:-gap, :-gap]


def stretched(clips: np.ndarray) -> np.ndarray:
    """Clips of any range as colours: the smallest value becomes black, the largest white.

    Args:
        clips: (..., channels). Unless there are three, the first is shown in grey.

    Returns:
        uint8 (..., 3).
    """
    if clips.shape[-1] != 3:
        clips = clips[..., :1].repeat(3, axis=-1)
    low, high = clips.min(), clips.max()
    return np.round((clips - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)


def to_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def to_array(figure: Figure) -> np.ndarray:
    """A figure as pixels, uint8 (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")


def _draw_clips(axis: Axes, schedule: MultigridSchedule) -> None:
    base = [phase.base.batch_size for phase in schedule.phases]
    most = [max(grid.batch_size for grid in phase.short_cycle) for phase in schedule.phases]
    axis.set_yscale("log", base=2)
    bottom = min(base) / 2
    _fill(axis, schedule, bottom, base, colour=BLUE)
    line = _stairs(axis, schedule, base, colour=BLUE)
    band = _fill(axis, schedule, base, most, colour=BLUE, alpha=BAND)
    axis.set_ylim(bottom, max(most) * 1.25)
    _tick_at(axis, sorted({*base, *most}))
    if any(phase.has_short_crops for phase in schedule.phases):
        names = ["base grid", "range of the short cycle"]
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0, "ncols": 2}
        axis.legend([line, band], names, **above, fontsize=9, frameon=False, labelcolor=INK)


def _draw_sizes(axis: Axes, schedule: MultigridSchedule, name: str, *, colour: str) -> None:
    """Frames or crop of the base grids, and how small the short cycle makes them."""
    base = [getattr(phase.base, name) for phase in schedule.phases]
    least = [min(getattr(grid, name) for grid in phase.short_cycle) for phase in schedule.phases]
    _fill(axis, schedule, 0, least, colour=colour)
    _fill(axis, schedule, least, base, colour=colour, alpha=BAND)
    _stairs(axis, schedule, base, colour=colour)
    axis.set_ylim(0, max(base) * 1.15)
    _tick_at(axis, sorted({0, *least, *base}))


def _draw_learning_rate(axis: Axes, learning_rate: MultigridLearningRate) -> None:
    schedule = learning_rate.schedule
    edges = _edges(schedule)
    even = np.linspace(0, schedule.total_steps, LR_SAMPLES).round()
    steps = np.unique([*even, *edges, *(edge - 1 for edge in edges[1:])])
    # One vectorized call: a thousand single ones take seconds.
    rates = ops.convert_to_numpy(ops.vectorized_map(learning_rate, ops.convert_to_tensor(steps)))
    axis.plot(steps, rates, color=ORANGE, linewidth=1.6, drawstyle="steps-post")
    axis.set_yscale("log", nonpositive="clip")
    # A cosine ends at 0: four decades show as much, unless a phase begins lower.
    begins = rates[np.isin(steps, edges[1:-1]) & (rates > 0)]
    bottom = max(rates.min(), min([*begins, rates.max() * 1e-4]))
    axis.set_ylim(bottom / 1.8, rates.max() * 1.8)
    decades = np.log10(rates.max() / bottom)
    axis.yaxis.set_major_locator(LogLocator(subs=(1,) if decades > 1 else (1, 2, 5)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _mark_baseline(axes: Sequence[Axes], schedule: MultigridSchedule) -> None:
    """The end of the baseline: a dotted line where it fits, else its steps in words."""
    steps, total = schedule.baseline_steps, schedule.total_steps
    fits = steps <= total * 1.15
    axes[-1].set_xlim(0, max(total, steps) if fits else total)
    if steps == total:
        return
    remark = f"baseline: {steps:,} steps →"
    if fits:
        remark = f"dotted line: end of the baseline, {steps:,} steps"
        for axis in axes:
            axis.axvline(steps, color=INK, linestyle=":", linewidth=1.4)
    corner = axes[-1].transAxes
    axes[-1].text(0.99, 0.94, remark, transform=corner, ha="right", va="top", color=INK)


def _schedule_title(schedule: MultigridSchedule) -> str:
    steps, total = schedule.baseline_steps, schedule.total_steps
    if not (schedule.long_cycle or schedule.short_cycle):
        return f"Baseline without cycles: {total:,} steps"
    if not schedule.has_published_batches:
        work = round(schedule.total_work)
        compared = f"the work of {work:,} baseline steps (baseline: {steps:,})"
    elif total < steps:
        compared = f"{steps / total:.1f} times fewer than the baseline's {steps:,}"
    else:
        compared = f"{total / steps:.1f} times the baseline's {steps:,}"
    return f"Multigrid schedule: {total:,} steps, {compared}"


def _edges(schedule: MultigridSchedule) -> list[int]:
    return [0, *(phase.end_step for phase in schedule.phases)]


def _stairs(axis: Axes, schedule: MultigridSchedule, values: Sequence[int], *, colour: str):
    line = {"color": colour, "linewidth": 1.6, "zorder": 3}
    return axis.stairs(values, _edges(schedule), baseline=None, **line)


def _fill(axis: Axes, schedule: MultigridSchedule, low, high, *, colour: str, alpha=SOLID):
    edges = _edges(schedule)
    return axis.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=alpha, linewidth=0)


def _tick_at(axis: Axes, values: Sequence[int]) -> None:
    axis.set_yticks(values)
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _style(axis: Axes, grid: str = "y") -> None:
    """Thin and quiet, whatever the user's matplotlib settings."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(INK)
    axis.tick_params(colors=INK, labelsize=9)
    axis.grid(axis=grid, color=FAINT, linewidth=0.5)
    axis.set_axisbelow(True)
