"""Clips by grid, of small encoded videos whose pixels tell video and frame."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import Window
from keras_multigrid.data.reading import Cut
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.runs import browsing
from keras_multigrid.schedule import Grid, MultigridSchedule

NAMES = tuple(f"class {number}" for number in range(24))
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=8, crop_size=16), num_clips=24, epochs=24, boundaries=(8, 16)
)
BAD = 5


@pytest.fixture(scope="module")
def video_set(videos, tmp_path_factory):
    """One video of the training set and one of the validation set cannot be read."""
    path = str(tmp_path_factory.mktemp("bad") / "<cut>.mp4")
    train = [dataclasses.replace(v, path=path) if v.label == BAD else v for v in videos]
    return VideoSet(train=train, validation=[*videos[::2], train[BAD]], class_names=NAMES)


@pytest.fixture(scope="module")
def grids(video_set):
    """32 clips, so that the unreadable video is among those of some grid."""
    return list(
        browsing.browse(
            videos=video_set, schedule=SCHEDULE, sampling=ClipSampling(), seed=1, num_clips=32
        )
    )


def video_and_frames(clip):
    """What the colours tell: the video, and the number of each frame."""
    red, green, _ = np.moveaxis(clip.frames.mean(axis=(1, 2)), 1, 0)
    return round((red.mean() - 10) / 10), ((green - 10) / 8).round().astype(int)


def test_grids_come_in_the_order_of_the_schedule(grids):
    titles = [grid.title for grid in grids]
    # 8 times the clips at a quarter of the frames and 16 / sqrt(2) pixels; the short cycle halves
    # the base crop.
    assert titles[:2] == ["32 clips x 2 frames x 8²", "16 clips x 2 frames x 11²"]
    assert titles[-2:] == ["2 clips x 8 frames x 16²", "Validation: 8 frames x 16²"]
    assert [len(grid.clips) for grid in grids[:2]] == [32, 16]
    # Every third of 8 steps.
    assert grids[0].details.startswith("phase 1: 3 of steps 0 to 7; phase 5: 3 of steps 31 to 38")
    assert grids[0].details.endswith("Shown: step 0")
    assert [clip.frames.shape for clip in grids[0].clips] == [(2, 8, 8, 3)] * 32


def test_a_clip_is_what_its_words_say(grids):
    mirrored = set()
    for clip in (clip for grid in grids for clip in grid.clips):
        video, frames = video_and_frames(clip)
        assert clip.label == f"class {video}"
        assert clip.path.endswith(f"/{video}.mp4")
        stride, span = map(int, re.search(r"stride (\d+), span (\d+)", clip.details).groups())
        assert span == (len(frames) - 1) * stride + 1
        # A video of 4 + n frames repeats its last one.
        expected = np.minimum(frames[0] + stride * np.arange(len(frames)), 3 + video)
        np.testing.assert_array_equal(frames, expected)
        blue = clip.frames[..., 2].mean(axis=(0, 1))
        assert (blue[0] > blue[-1]) == (", mirrored" in clip.details)
        # The time of 8 frames at stride 2, at any number of frames.
        assert stride == 16 // len(frames)
        mirrored.add(", mirrored" in clip.details)
    assert mirrored == {True, False}


def test_the_region_of_a_clip_is_framed_in_its_first_frame(grids):
    for clip in (clip for grid in grids for clip in grid.clips):
        video, frames = video_and_frames(clip)
        assert clip.region.shape == (20 + 2 * (video % 5), 20 + 2 * (video % 7), 3)
        width = clip.region.shape[1]
        rows, columns = np.nonzero((clip.region == (0xD5, 0x5E, 0x00)).all(axis=2))
        top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
        assert bottom - top == right - left
        # Four lines of orange, and nothing else.
        assert len(rows) == 4 * (bottom - top)
        # Blue runs rightwards: at the clip's edges it is that of the frame's.
        blue = clip.frames[0, :, :, 2].mean(axis=0)
        ends = np.interp([left, right], [0, width - 1], [40, 200])
        np.testing.assert_allclose(sorted((blue[0], blue[-1])), ends, atol=10)
        inside = clip.region[top + 1 : bottom, left + 1 : right]
        np.testing.assert_allclose(inside[..., 1], 8 * frames[0] + 10, atol=4)
        outside = clip.region.astype(int)
        outside[top : bottom + 1, left : right + 1] = 0
        assert outside[..., 0].max() <= 0.4 * (10 * video + 10) + 4


def test_the_region_of_a_large_video_is_small_enough_for_a_page():
    frame = np.full((1080, 1920, 3), 100, np.uint8)
    cut = Cut([frame], Window(top=540, left=960, side=540), np.int32(0), 0)
    region = browsing.outlined(cut)
    assert region.shape == (160, 284, 3)
    rows, columns = np.nonzero((region == (0xD5, 0x5E, 0x00)).all(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (80, 159, 142, 221)


def test_a_replaced_clip_says_so(grids):
    clips = [clip for grid in grids for clip in grid.clips]
    replaced = [clip for clip in clips if clip.fault is not None]
    assert replaced
    for clip in replaced:
        assert re.match(r"replaces .*<cut>\.mp4, which cannot be read: ", clip.fault)
        assert "<cut>" not in clip.path
    assert all(clip.label != f"class {BAD}" for clip in clips)


def test_validation_is_spread_and_leaves_out_what_cannot_be_read(video_set, grids):
    validation = grids[-1]
    assert [clip.label for clip in validation.clips] == list(NAMES[::2])
    # Video 12 has 16 frames: 15 are spanned.
    assert list(video_and_frames(validation.clips[6])[1]) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert "scaled to a short side of 18, centre crop 16²" in validation.clips[0].details
    *_, few = browsing.browse(
        videos=video_set, schedule=SCHEDULE, sampling=ClipSampling(), num_clips=2
    )
    # The first and the seventh of thirteen.
    assert [clip.label for clip in few.clips] == ["class 0", "class 12"]


def test_several_classes_and_differences_from_the_mean(videos):
    several = [dataclasses.replace(v, label=(v.label, 23) if v.label else ()) for v in videos]
    video_set = VideoSet(train=several, validation=several, class_names=NAMES, multi_label=True)
    sampling = ClipSampling(subtract_clip_mean=True)
    *_, validation = browsing.browse(
        videos=video_set, schedule=SCHEDULE.baseline(), sampling=sampling, num_clips=2
    )
    none, clip = validation.clips
    assert none.label == "no class"
    assert clip.label == "class 12, class 23"
    red, green, _ = np.moveaxis(clip.frames.mean(axis=(1, 2)), 1, 0)
    # Nothing moves in red; green grows by 16 from one frame to the next, around grey.
    np.testing.assert_allclose(red, 128, atol=2)
    np.testing.assert_allclose(green, 128 + 16 * np.arange(-3.5, 4), atol=3)


@pytest.mark.parametrize(
    "settings, words",
    [({"segments": True}, "one frame of each of 8 segments"), ({"still": True}, "one frame rep")],
)
def test_other_ways_of_sampling_are_named(videos, settings, words):
    video_set = VideoSet(train=videos, validation=videos, class_names=NAMES)
    training, _ = browsing.browse(
        videos=video_set,
        schedule=SCHEDULE.baseline(),
        sampling=ClipSampling(**settings),
        num_clips=1,
    )
    assert training.clips[0].details.startswith(words)


def pictures(page):
    """The pictures inlined in a page."""
    for data in re.findall(r"src='data:image/webp;base64,([^']+)'", page):
        yield Image.open(io.BytesIO(base64.b64decode(data)))


def test_page(grids):
    # A clip of 8 different frames (a moving picture keeps one of equal ones), and a replacement.
    replaced = next(clip for grid in grids for clip in grid.clips if clip.fault)
    shown = [grids[-1].clips[6], replaced]
    page = browsing.to_html([dataclasses.replace(grids[-1], clips=shown)])
    assert "<h2>Validation: 8 frames x 16²</h2>" in page
    assert "<b>class 12</b>" in page
    assert "&lt;cut&gt;.mp4, which cannot be read" in page
    assert "<cut>" not in page
    moving, region, strip, *_ = pictures(page)
    # Lossless.
    np.testing.assert_array_equal(np.asarray(region.convert("RGB")), shown[0].region)
    assert moving.n_frames == 8
    for number, frame in enumerate(shown[0].frames):
        moving.seek(number)
        np.testing.assert_array_equal(np.asarray(moving.convert("RGB")), frame)
    # Eight frames, enlarged to 64 pixels, and seven gaps of two.
    assert strip.size == (8 * 64 + 7 * 2, 64)


def test_sheet(grids):
    sheet = Image.open(
        io.BytesIO(browsing.to_png([grids[0], dataclasses.replace(grids[1], clips=[])]))
    )
    assert sheet.format == "PNG"
    # 1.9 inches at 120 dots a clip; a grid without clips has room for its title.
    assert sheet.size == (1320, 33 * 228)
