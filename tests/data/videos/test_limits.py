"""What one file may cost: files that ask for more are bad videos."""

import os
import time

import numpy as np
import pytest
from small_videos import pictures, write_video

from keras_multigrid.data.check.video import check_video
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.reading import ClipReader
from keras_multigrid.data.time_limit import within
from keras_multigrid.data.videos import limits
from keras_multigrid.data.videos.decode import all_frames, decode_frames, read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid
from keras_multigrid.task import SingleLabel


@pytest.fixture
def record(tmp_path):
    """8 frames of 24 x 32."""
    write_video(tmp_path / "a.mp4", "libx264", pictures(0))
    return VideoRecord(path=str(tmp_path / "a.mp4"), label=0)


def test_frames_of_too_many_pixels(record, monkeypatch):
    monkeypatch.setenv("KERAS_MULTIGRID_FRAME_PIXELS", "768")
    assert read_video(record).shape == (8, 24, 32, 3)
    monkeypatch.setenv("KERAS_MULTIGRID_FRAME_PIXELS", "767")
    message = "frames may have 767 pixels. Received: 24 x 32 .*KERAS_MULTIGRID_FRAME_PIXELS"
    for read in (read_video, lambda record: list(all_frames(record))):
        with pytest.raises(DecodeError, match=message):
            read(record)
    assert "767 pixels" in check_video(record).fault


def test_a_header_that_hides_how_large_the_frames_are(tmp_path, monkeypatch):
    """The header says 16 x 16 where the frames are of 480 x 640."""
    write_video(tmp_path / "a.avi", "mjpeg", pictures(0, height=480, width=640))
    content = bytearray((tmp_path / "a.avi").read_bytes())
    place = content.index(b"strf") + 8
    content[place + 4 : place + 12] = (16).to_bytes(4, "little") * 2
    (tmp_path / "a.avi").write_bytes(content)
    record = VideoRecord(path=str(tmp_path / "a.avi"), label=0)
    assert read_video(record).shape == (8, 480, 640, 3)
    monkeypatch.setenv("KERAS_MULTIGRID_FRAME_PIXELS", "100000")
    with pytest.raises(DecodeError):
        read_video(record)


def test_frames_of_one_read_that_do_not_fit(record, monkeypatch):
    # Two frames of 24 x 32 x 3 bytes.
    monkeypatch.setenv("KERAS_MULTIGRID_READ_BYTES", "4608")

    def read(*indices):
        return decode_frames(record, lambda num_frames: np.array(indices))[0]

    assert len(read(3, 3, 7)) == 3
    with pytest.raises(DecodeError, match=r"may take 4,608 bytes. Received: 3 frames of 24 x 32"):
        read(2, 3, 7)
    # Whoever wants a whole video has the memory for it.
    assert read_video(record).shape == (8, 24, 32, 3)


@pytest.mark.parametrize("value", ["soon", "0", "-1"])
def test_limits_that_are_no_numbers_are_refused_at_the_start(record, value, monkeypatch):
    monkeypatch.setenv("KERAS_MULTIGRID_READ_SECONDS", value)
    with pytest.raises(ValueError, match="KERAS_MULTIGRID_READ_SECONDS must be a positive number"):
        ClipReader([record], ClipSampling(), SingleLabel(("a",)))


def test_decoding_ends_by_itself_when_the_time_is_over(record):
    def read():
        with limits.time_limit(0.0, record.path):
            return read_video(record)

    with pytest.raises(limits.TooSlowError, match=f"'{record.path}': reading it took too long"):
        within(60.0, read, record.path)
    # The next call in this thread has its own time.
    assert len(within(60.0, lambda: read_video(record), record.path)) == 8


def test_what_a_thread_reads_later_has_its_own_time(record, monkeypatch):
    monkeypatch.setenv("KERAS_MULTIGRID_READ_SECONDS", "5")
    reader = ClipReader([record], ClipSampling(), SingleLabel(("a",)))
    grid = Grid(batch_size=1, num_frames=2, crop_size=16)
    assert reader.centre_cut(0, grid) is not None
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 60)
    assert len(read_video(record)) == 8


def test_a_call_that_does_not_end_is_left(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    begun = time.monotonic()
    with pytest.raises(limits.TooSlowError, match="KERAS_MULTIGRID_READ_SECONDS sets"):
        within(0.2, (tmp_path / "pipe").read_bytes, "pipe")
    assert time.monotonic() - begun < 60
    # Lets the thread end.
    with open(tmp_path / "pipe", "wb"):
        pass


def test_errors_and_results_come_back():
    with pytest.raises(ZeroDivisionError):
        within(60.0, lambda: 1 / 0, "a")
    assert [within(60.0, lambda number=number: number, "a") for number in range(50)] == [*range(50)]
