"""Training among files that are no videos, or would take all memory or time: each is replaced."""

import os
import time

import av
import numpy as np
import pytest
from small_videos import pictures, write_video

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import training_batches
from keras_multigrid.data.reading import ClipReader
from keras_multigrid.data.videos.open_video import OpenVideo
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid, MultigridSchedule
from keras_multigrid.task import SingleLabel

GRID = Grid(batch_size=4, num_frames=4, crop_size=16)


class Hanging(OpenVideo):
    """A video on a disk that is gone: reading it waits for a writer that never comes."""

    num_frames = 8

    def __init__(self, path):
        super().__init__(0)
        self._path = path

    def read(self, indices, short_side=None):
        with open(f"{self._path}.pipe", "rb") as file:
            return [np.frombuffer(file.read(), np.uint8) for _ in indices]


class Failing(Hanging):
    """A decoder that raises an error of its own."""

    def read(self, indices, short_side=None):
        return [][int(indices[0])]


class HangingRecord(VideoRecord):
    def open(self, detail=None):
        if not os.path.exists(f"{self.path}.pipe"):
            os.mkfifo(f"{self.path}.pipe")
        return Hanging(self.path)


class FailingRecord(VideoRecord):
    def open(self, detail=None):
        return Failing(self.path)


def write_bomb(path):
    """Few bytes, 60 million pixels in each frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=8)
        stream.height, stream.width, stream.pix_fmt = 6000, 10000, "gray"
        frame = av.VideoFrame(10000, 6000, "gray")
        np.frombuffer(frame.planes[0], np.uint8)[:] = 0
        container.mux([*stream.encode(frame), *stream.encode()])


@pytest.fixture
def records(tmp_path):
    healthy = []
    for number in range(4):
        write_video(tmp_path / f"{number}.mp4", "libx264", pictures(number))
        healthy.append(VideoRecord(path=str(tmp_path / f"{number}.mp4"), label=number))
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\n0.mp4\n")
    write_bomb(tmp_path / "bomb.mov")
    names = ("fifo.mp4", "device.mp4", "list.m3u8", "bomb.mov")
    bad = [VideoRecord(path=str(tmp_path / name), label=0) for name in names]
    bad.append(HangingRecord(path=str(tmp_path / "dead_disk"), label=0))
    bad.append(FailingRecord(path=str(tmp_path / "own_decoder"), label=0))
    return healthy + bad


def test_each_is_listed_and_training_goes_on(records, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTIGRID_READ_SECONDS", "1")
    schedule = MultigridSchedule(
        GRID, num_clips=len(records), epochs=4, boundaries=(), long_cycle=(), short_cycle=()
    )
    bad_videos = BadVideos(str(tmp_path / "bad_videos.txt"), max_share=1.0)
    batches = training_batches(records, schedule, seed=0, bad_videos=bad_videos)
    begun = time.monotonic()
    for clips, labels in batches.take(schedule.total_steps).as_numpy_iterator():
        assert clips.shape == (4, 4, 16, 16, 3)
        assert set(labels.tolist()) <= {0, 1, 2, 3}
    # The hanging one has its second once, not in every epoch.
    assert time.monotonic() - begun < 60
    lines = (tmp_path / "bad_videos.txt").read_text().splitlines()
    faults = {os.path.basename(path): text for path, text in (line.split("\t") for line in lines)}
    assert set(faults) == {os.path.basename(record.path) for record in records[4:]}
    assert "not a regular file" in faults["fifo.mp4"]
    assert "not a regular file" in faults["device.mp4"]
    assert "36,000,000 pixels. Received: 6000 x 10000" in faults["bomb.mov"]
    assert "reading it took too long" in faults["dead_disk"]
    assert "list index out of range" in faults["own_decoder"]
    assert all(str(tmp_path) in text for text in faults.values())


def test_a_fault_of_the_machine_is_no_fault_of_a_video(records, monkeypatch):
    class Full(VideoRecord):
        def open(self, detail=None):
            raise OSError(24, "Too many open files", self.path)

    bad_videos = BadVideos(max_share=1.0)
    full = Full(path=records[0].path, label=0)
    monkeypatch.setenv("KERAS_MULTIGRID_RETRY_SECONDS", "0")
    reader = ClipReader([full], ClipSampling(), SingleLabel(("a",)), bad_videos=bad_videos)
    with pytest.raises(OSError, match="Too many open files"):
        reader.centre_cut(0, GRID)
    assert bad_videos.errors == {}
