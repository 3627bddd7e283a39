"""What clips on coarse grids show, beside the baseline's clips at the same positions."""

import functools
import hashlib

import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.indices import training_indices
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import random_window
from keras_multigrid.data.input import training_batches
from keras_multigrid.data.resampling import resample
from keras_multigrid.data.stream import drawn_clips
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid, MultigridSchedule

SMALL = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=8, crop_size=16), num_clips=24, epochs=24, boundaries=(8, 16)
)


def kinetics(num_frames):
    """The published schedule of Kinetics, its clips of so many frames at the finest grid."""
    base = Grid(batch_size=64, num_frames=num_frames, crop_size=224)
    return MultigridSchedule(
        base, num_clips=239_975, epochs=239, boundaries=(94, 154, 196), round_to_epochs=True
    )


def drawn(schedule, sampling, *, step, count):
    """What is drawn for the first clips of a step and those behind them."""
    rows = drawn_clips(schedule, sampling, seed=5, start_step=step).take(count)
    return [Clip(*row.tolist()) for row in rows.as_numpy_iterator()]


def pairs(schedule, sampling, *, count=20, every=1):
    """Clips of each grid, or some, each with the baseline's at the same position."""
    for grid, step in list(schedule.first_steps().items())[::every]:
        baseline_step, rest = divmod(schedule.clips_before(step), schedule.base.batch_size)
        assert not rest
        coarse = drawn(schedule, sampling, step=step, count=min(count, grid.batch_size))
        fine = drawn(schedule.baseline(), sampling, step=baseline_step, count=len(coarse))
        for clip, whole in zip(coarse, fine, strict=True):
            assert (clip.num_frames, clip.crop_size) == (grid.num_frames, grid.crop_size)
            assert (clip.video, clip.flip) == (whole.video, whole.flip)
            yield clip, whole


def assert_same_window(clip, whole):
    for height, width in ((256, 340), (1080, 1920), (340, 256), (90, 120)):
        assert random_window(height, width, clip) == random_window(height, width, whole)


# Of SlowFast 8x8 and 16x8, and of I3D 8x8.
@pytest.mark.parametrize(
    "num_frames, stride, reciprocal, every",
    [(32, 2, True, 1), (64, 2, False, 3), (8, 8, True, 3)],
)
def test_a_coarse_clip_of_a_published_schedule_is_the_fine_one_sampled_coarser(
    num_frames, stride, reciprocal, every
):
    schedule = kinetics(num_frames)
    assert len(schedule.grids) == 8
    sampling = ClipSampling(
        stride=stride, min_scale=256, max_scale=340, reciprocal_scales=reciprocal
    )
    for clip, whole in pairs(schedule, sampling, every=every):
        assert_same_window(clip, whole)
        assert whole.span == (num_frames - 1) * stride + 1
        assert 0 <= whole.span - clip.span < clip.stride
        for video_frames in (300, 1000, 20):
            frames = training_indices(video_frames, clip, sampling)
            expected = training_indices(video_frames, whole, sampling)
            np.testing.assert_array_equal(frames, expected[:: num_frames // clip.num_frames])


def test_it_is_so_for_shares_that_do_not_divide_the_clip():
    schedule = MultigridSchedule(
        base=Grid(batch_size=2, num_frames=10, crop_size=50),
        num_clips=24,
        epochs=24,
        long_cycle=((0.3, 0.6), (0.75, 0.8), (1.0, 1.0)),
        short_cycle=(0.37,),
    )
    sampling = ClipSampling(stride=3)
    seen = set()
    for clip, whole in pairs(schedule, sampling):
        seen.add((clip.num_frames, clip.crop_size))
        assert_same_window(clip, whole)
        assert 0 <= whole.span - clip.span <= clip.stride
        frames = training_indices(100, clip, sampling)
        assert frames[0] == training_indices(100, whole, sampling)[0]
        # As even as whole frames can be.
        assert np.ptp(np.diff(frames)) <= 1
    assert seen == {(3, 18), (3, 30), (8, 18), (8, 40), (10, 18), (10, 50)}


# By the pixels. Colours tell column, row and frame.

SIZES = [(40 + index, 60 - index) for index in range(12)] * 2


@functools.cache
def coordinates(index):
    height, width = SIZES[index]
    frame, row, column = np.indices((30, height, width))
    return np.stack([4 * column, 4 * row, 8 * frame], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("coordinates")
    for index in range(24):
        for number, picture in enumerate(coordinates(index)):
            path = str(root / f"{index:02d}" / f"{number:02d}.png")
            tf.io.write_file(path, tf.io.encode_png(picture))
    return [VideoRecord(path=str(root / f"{index:02d}"), label=index) for index in range(24)]


def of_files(folders, schedule, step, sampling):
    return training_batches(folders, schedule, seed=0, start_step=step, sampling=sampling)


def of_tensors(folders, schedule, step, sampling):
    signature = (
        tf.TensorSpec((None, None, None, 3), tf.uint8),
        tf.TensorSpec((), tf.int32),
    )
    videos = tf.data.Dataset.from_generator(
        lambda: ((coordinates(index), index) for index in range(24)), output_signature=signature
    )
    return videos.apply(resample(schedule, start_step=step, sampling=sampling))


def extent(clip):
    """Where a clip lies in its video: left, right, top and bottom edge; its frames."""
    colours = (clip * 0.225 + 0.45) * 255
    edges = []
    for axis, channel in ((2, 0), (1, 1)):
        places = colours[..., channel].mean(axis=tuple({0, 1, 2} - {axis})) / 4
        low, high = sorted((places[0], places[-1]))
        half = (high - low) / (len(places) - 1) / 2
        edges += [low - half, high + half]
    return np.array(edges), colours[..., 2].mean(axis=(1, 2)) / 8


@pytest.mark.parametrize("source", [of_files, of_tensors])
def test_pixels_show_the_same_region_and_time(folders, source):
    sampling = ClipSampling(min_scale=18, max_scale=30)
    for grid, step in list(SMALL.first_steps().items())[::2]:
        clips, labels = next(source(folders, SMALL, step, sampling).as_numpy_iterator())
        fine_step = SMALL.clips_before(step) // 2
        fine = source(folders, SMALL.baseline(), fine_step, sampling).unbatch()
        fine = fine.take(len(clips)).as_numpy_iterator()
        for clip, label, (whole, its_label) in zip(clips, labels, fine, strict=True):
            assert label == its_label
            (edges, frames), (whole_edges, whole_frames) = extent(clip), extent(whole)
            pixel = (edges[1] - edges[0]) / grid.crop_size
            np.testing.assert_allclose(edges, whole_edges, atol=pixel)
            np.testing.assert_allclose(frames, whole_frames[:: 8 // grid.num_frames], atol=0.2)


# As published.


@pytest.mark.slow
def test_a_published_coarse_clip_shows_less():
    """Half the crop of the longest scale: a quarter of what the fine clip shows at least."""
    sampling = ClipSampling(min_scale=256, max_scale=320, keep_view=False, keep_span=False)
    shares, spans = [], []
    for clip, whole in pairs(kinetics(32), sampling, count=300):
        if (clip.num_frames, clip.crop_size) == (8, 112):
            fine = random_window(256, 340, whole).side
            shares.append((random_window(256, 340, clip).side / fine) ** 2)
            spans.append(clip.span)
    assert min(shares) < 0.25
    assert max(shares) > 0.95
    assert min(spans) == 7 * 2 + 1
    assert max(spans) == 7 * 8 + 1


def digest(sampling):
    """Of the videos, mirroring, windows and frames of all clips of a schedule."""
    sha = hashlib.sha256()
    count = SMALL.total_clips
    for clip in drawn(SMALL, sampling, step=0, count=count):
        window = random_window(240, 320, clip)
        frames = training_indices(300, clip, sampling)
        sha.update(np.array([clip.video, clip.flip, *window, *frames], "<i8").tobytes())
    return sha.hexdigest()[:16]


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, "ad0fc73aab57a810"),
        (
            {"stride": 3, "min_scale": 20, "max_scale": 40, "reciprocal_scales": True},
            "a348b035d92db160",
        ),
        ({"segments": True, "flip": False}, "3645c480eaee6247"),
    ],
)
def test_published_clips_are_those_of_the_first_version(settings, expected):
    """Recorded before there was another way to sample."""
    assert digest(ClipSampling(keep_view=False, keep_span=False, **settings)) == expected
