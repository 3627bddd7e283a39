import dataclasses
import struct

import keras
import numpy as np
import pytest

from keras_multigrid import figures
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.schedule import Grid, MultigridSchedule

KINETICS = MultigridSchedule(
    base=Grid(batch_size=64, num_frames=32, crop_size=224),
    num_clips=239_975,
    epochs=239,
    boundaries=(94, 154, 196),
    round_to_epochs=True,
)
SMALL = MultigridSchedule(
    base=Grid(batch_size=8, num_frames=16, crop_size=48),
    num_clips=1800,
    epochs=8,
    boundaries=(4, 6),
)


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def upright_lines(axis, style: str) -> list[float]:
    lines = [line for line in axis.lines if line.get_linestyle() == style]
    return [line.get_xdata()[0] for line in lines if len(set(line.get_xdata())) == 1]


def test_published_schedule():
    figure = figures.draw_schedule(
        MultigridLearningRate(KINETICS, 0.1, warmup_epochs=34, warmup_start=0.01)
    )
    assert figure.get_suptitle() == (
        "Multigrid schedule: 261,659 steps, 3.4 times fewer than the baseline's 896,011"
    )
    clips, frames, crop, rate = figure.axes
    assert rate.get_xlim() == (0, 261_659)
    assert list(clips.get_yticks()) == [64, 128, 256, 512, 1024]
    assert list(frames.get_yticks()) == [0, 8, 16, 32]
    assert list(crop.get_yticks()) == [0, 112, 158, 224]
    for axis in figure.axes:
        assert len(upright_lines(axis, "-")) == 13
        assert upright_lines(axis, ":") == []
    assert texts(rate) == ["baseline: 896,011 steps →"]


def test_a_batch_that_does_not_grow():
    same = dataclasses.replace(KINETICS, round_to_epochs=False, batch_growth=0.0)
    figure = figures.draw_schedule(MultigridLearningRate(same, 0.1))
    # Worked out by hand in tests/schedule/test_batch_growth.py.
    assert figure.get_suptitle() == (
        "Multigrid schedule: 1,344,235 steps, "
        "the work of 467,468 baseline steps (baseline: 896,157)"
    )
    clips, _, crop, rate = figure.axes
    assert list(clips.get_yticks()) == [64]
    # The short cycle changes the crop alone.
    assert clips.get_legend() is not None
    assert list(crop.get_yticks()) == [0, 112, 158, 224]
    assert rate.get_ylim()[1] == pytest.approx(0.18)


def test_learning_rate_line():
    figure = figures.draw_schedule(
        MultigridLearningRate(KINETICS, 0.1, warmup_epochs=34, warmup_start=0.01)
    )
    (line,) = (line for line in figure.axes[-1].lines if len(line.get_xdata()) > 2)
    assert len(line.get_xdata()) >= 600
    rates = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert rates[0] == pytest.approx(0.01)
    assert rates[25_622] == pytest.approx(0.8)
    assert rates[25_623] == pytest.approx(0.4)
    assert rates[261_659] == pytest.approx(1e-4)
    low, high = figure.axes[-1].get_ylim()
    assert 1e-5 < low < 1e-4
    assert 0.8 < high < 8


def test_baseline_without_cycles():
    figure = figures.draw_schedule(MultigridLearningRate(SMALL.baseline(), 0.05))
    assert figure.get_suptitle() == "Baseline without cycles: 1,800 steps"
    assert figure.axes[0].get_legend() is None
    assert list(figure.axes[0].get_yticks()) == [8]
    assert figure.axes[0].get_xlim() == (0, 1800)
    assert texts(figure.axes[-1]) == []
    assert upright_lines(figure.axes[0], "-") == [900, 1350]


def test_end_of_the_baseline_is_marked_where_it_fits():
    long = dataclasses.replace(KINETICS, epoch_factor=6.0)
    figure = figures.draw_schedule(MultigridLearningRate(long, 0.1))
    assert "1.2 times the baseline's 896,011" in figure.get_suptitle()
    for axis in figure.axes:
        assert upright_lines(axis, ":") == [896_011]
    assert texts(figure.axes[-1]) == ["dotted line: end of the baseline, 896,011 steps"]


def test_cosine_ends_four_decades_below_its_peak():
    cosine = dataclasses.replace(SMALL, boundaries=())
    policy = keras.optimizers.schedules.CosineDecay(0.05, cosine.baseline_steps)
    figure = figures.draw_schedule(MultigridLearningRate(cosine, policy))
    low, high = figure.axes[-1].get_ylim()
    assert low == pytest.approx(0.4 * 1e-4 / 1.8)
    assert high == pytest.approx(0.4 * 1.8)


def test_single_step():
    one = MultigridSchedule(
        base=Grid(batch_size=8, num_frames=4, crop_size=16),
        num_clips=8,
        epochs=1,
        long_cycle=(),
        short_cycle=(),
    )
    figure = figures.draw_schedule(MultigridLearningRate(one, 0.1))
    assert figures.to_array(figure).shape == (792, 1080, 3)


def test_throughput():
    figure = figures.draw_throughput(
        {
            Grid(batch_size=512, num_frames=8, crop_size=158): 90.0,
            Grid(batch_size=64, num_frames=32, crop_size=224): 10.0,
        }
    )
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "512 x 8 x 158²",
        "64 x 32 x 224²",
    ]
    assert [bar.get_width() for bar in axis.patches] == [90.0, 10.0]
    # 90 * 8 * 158² and 10 * 32 * 224².
    assert [text.strip() for text in texts(axis)] == [
        "90 clips/s, 18 megavoxels/s",
        "10 clips/s, 16.1 megavoxels/s",
    ]
    top, bottom = axis.get_ylim()[1], axis.get_ylim()[0]
    assert top < bottom  # the first grid is at the top


def test_throughput_tells_how_long_a_grid_waits():
    grid = Grid(batch_size=64, num_frames=32, crop_size=224)
    (axis,) = figures.draw_throughput({grid: 10.0}, {grid: 0.034}).axes
    assert texts(axis) == ["  10 clips/s, 16.1 megavoxels/s, 3% waiting for input"]


def test_film_strips_are_rows_of_frames():
    # Two clips of 3 frames of 32 x 40 pixels, of colours 0 to 5.
    colours = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1)
    clips = np.broadcast_to(colours, (2, 3, 32, 40, 3))
    strips = figures.film_strips(clips)
    # Twice as large, to be 64 pixels high; gaps of two.
    assert strips.shape == (64 + 2 + 64, 80 + 2 + 80 + 2 + 80, 3)
    assert [strips[0, column, 0] for column in (0, 79, 80, 81, 82, 164)] == [0, 0, 255, 255, 1, 2]
    assert [strips[row, 0, 0] for row in (63, 64, 65, 66, 129)] == [0, 255, 255, 3, 3]


def test_long_clips_are_thinned_out_evenly():
    clips = np.arange(15, dtype=np.uint8).reshape(1, 15, 1, 1, 1).repeat(3, axis=-1)
    strips = figures.film_strips(clips)
    assert list(strips[0, ::66, 0]) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_stretched_colours():
    clips = np.array([-2.0, 0.0, 2.0]).reshape(3, 1)
    assert figures.stretched(clips).tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    assert figures.stretched(np.full((1, 3), 7.0)).tolist() == [[0, 0, 0]]


def test_throughput_of_nothing_is_an_empty_picture():
    assert figures.to_png(figures.draw_throughput({})).startswith(b"\x89PNG")


def test_curves_share_a_colour_by_label():
    figure = figures.draw_curves(
        {
            "baseline": [([10, 20], [0.2, 0.5]), ([11, 21], [0.3, 0.6])],
            "multigrid": [([5, 10], [0.4, 0.8])],
        }
    )
    (axis,) = figure.axes
    first, second, mean, third, same = axis.lines
    assert first.get_color() == second.get_color() == mean.get_color() != third.get_color()
    # At 11 s, 0.2 + 0.3 / 10 and 0.3; at 20 s, 0.5 and 0.3 + 0.3 * 9 / 10.
    np.testing.assert_allclose(mean.get_xydata(), [(11, 0.265), (20, 0.535)])
    np.testing.assert_allclose(same.get_xydata(), third.get_xydata())
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["baseline", "multigrid"]
    assert axis.get_xlim()[0] == 0
    assert axis.get_ylim() == (0, 1.02)


def test_frontier_over_work_and_over_seconds():
    figure = figures.draw_frontier(
        {
            "baseline": [(200, 90, 0.4, 0.02), (400, 180, 0.6, float("nan"))],
            "multigrid": [(200, 100, 0.7, 0.01)],
        }
    )
    work, seconds = figure.axes
    for axis, costs in ((work, (200, 400)), (seconds, (90, 180))):
        np.testing.assert_allclose(
            axis.lines[0].get_xydata(), list(zip(costs, (0.4, 0.6), strict=True))
        )
    assert [text.get_text() for text in work.get_legend().get_texts()] == ["baseline", "multigrid"]
    assert figures.to_png(figure).startswith(b"\x89PNG")


def test_png_and_array_show_the_same_size():
    figure = figures.draw_schedule(MultigridLearningRate(SMALL, 0.05))
    png, pixels = figures.to_png(figure), figures.to_array(figure)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (1080, 792)
    assert pixels.shape == (792, 1080, 3)
    assert pixels.dtype == np.uint8
    assert tuple(pixels[0, -1]) == (255, 255, 255)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
