"""Passages of long videos."""

import tracemalloc

import numpy as np
import pytest
from grey_videos import write_video

from keras_multigrid.data.clips.passages import Passages, passage_frames
from keras_multigrid.data.long_videos import passage_clips
from keras_multigrid.data.videos.decode import opened
from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo
from keras_multigrid.data.videos.video import VideoRecord

# Which passages.


@pytest.mark.parametrize(
    ("window", "hop", "num_frames", "expected"),
    [
        (4, 3, 10, [(0, 4), (3, 7), (6, 10)]),
        (4, 3, 11, [(0, 4), (3, 7), (6, 10), (7, 11)]),
        (4, 4, 9, [(0, 4), (4, 8), (5, 9)]),
        (4, 1, 4, [(0, 4)]),
        (4, 2, 3, [(0, 3)]),
        (64, 32, 100, [(0, 64), (32, 96), (36, 100)]),
    ],
)
def test_passages_cover_the_video(window, hop, num_frames, expected):
    passages = Passages(window=window, hop=hop)
    assert list(passages.of(num_frames)) == expected
    assert passages.count(num_frames) == len(expected)


def test_half_a_window_by_default():
    assert Passages(window=64).hop == 32
    assert Passages(window=1).hop == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "`window` must be a positive integer"),
        ({"window": 4, "hop": 5}, r"`hop` must be an integer from 1 to 4.*Frames would be left"),
        ({"window": 4, "hop": 0}, "`hop` must be an integer from 1 to 4"),
    ],
)
def test_wrong_passages(settings, message):
    with pytest.raises(ValueError, match=message):
        Passages(**settings)


def test_frames_of_a_passage():
    assert passage_frames(10, 18, 4).tolist() == [10, 12, 14, 16]
    assert passage_frames(0, 3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert passage_frames(0, 7, 3).tolist() == [0, 2, 4]


# What is read.


def read(record, *, window=4, hop=3, num_frames=2, crop_size=8):
    with opened(record) as video:
        passages = Passages(window=window, hop=hop)
        yield from passage_clips(video, passages, num_frames=num_frames, crop_size=crop_size)


def test_clips_and_times_of_a_file(tmp_path):
    # Frame n is grey 10 n, at n / 10 seconds.
    path = write_video(tmp_path / "a.mp4", frames=11)
    found = list(read(VideoRecord(path=path, label=0)))
    assert [(passage.first, passage.end) for passage, _ in found] == [
        (0, 4), (3, 7), (6, 10), (7, 11)
    ]  # fmt: skip
    times = [(passage.start_seconds, passage.end_seconds) for passage, _ in found]
    # The last frame is shown as long as the others.
    np.testing.assert_allclose(times, [(0, 0.4), (0.3, 0.7), (0.6, 1.0), (0.7, 1.1)], atol=1e-6)
    clips = np.stack([clip for _, clip in found])
    assert (clips.shape, clips.dtype) == ((4, 2, 8, 8, 3), np.uint8)
    grey = clips.mean((2, 3, 4))
    np.testing.assert_allclose(grey, [[0, 20], [30, 50], [60, 80], [70, 90]], atol=2)


def test_pictures_have_no_times(tmp_path):
    import cv2

    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((9, 12, 3), 10 * number, np.uint8))
    found = list(read(VideoRecord(path=str(tmp_path), label=0)))
    assert [tuple(passage) for passage, _ in found] == [(0, 4, None, None), (1, 5, None, None)]
    assert [clip[:, 0, 0, 0].tolist() for _, clip in found] == [[0, 20], [10, 30]]


def test_the_centre_is_seen(tmp_path):
    ramp = np.linspace(0, 248, 32).astype(np.uint8)[None, :, None]
    path = write_video(tmp_path / "a.mp4", frames=4, height=16, width=32, picture=ramp)
    ((_, clip),) = read(VideoRecord(path=path, label=0))
    # Columns 8 to 23, two of them for each pixel.
    np.testing.assert_allclose(clip[0, 4, :, 0], 8 * np.arange(8.5, 24, 2), atol=3)


def test_a_short_video_is_one_passage(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=3)
    ((passage, clip),) = read(VideoRecord(path=path, label=0), window=8, hop=4, num_frames=6)
    assert (passage.first, passage.end) == (0, 3)
    np.testing.assert_allclose(clip.mean((1, 2, 3)), [0, 0, 10, 10, 20, 20], atol=2)


def test_a_damaged_video_names_itself(tmp_path):
    (tmp_path / "bad.mp4").write_text("This is no video.")
    with pytest.raises(DecodeError, match=r"bad\.mp4"):
        list(read(VideoRecord(path=str(tmp_path / "bad.mp4"), label=0)))


class Endless(OpenVideo):
    """A video of 4,000 frames, made when they are read."""

    num_frames = 4000

    def read(self, indices, short_side=None):
        return [np.full((64, 64, 3), index % 256, np.uint8) for index in indices]


def test_memory_does_not_grow_with_the_video():
    video, peaks = Endless(), []
    for video.num_frames in (100, 4000):
        tracemalloc.start()
        clips = passage_clips(video, Passages(window=16, hop=8), num_frames=8, crop_size=64)
        count = sum(1 for _ in clips)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert count == 499
    # All frames that clips show would be 24 MB; those of two passages are 0.2 MB.
    assert max(peaks) < 2e6
