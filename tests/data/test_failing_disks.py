"""A disk or a machine that fails replaces no clip: it is waited for, and then the run ends."""

import contextlib
import resource
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from small_videos import pictures, write_video

from keras_multigrid import files
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.check.videos import check_videos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import evaluation_batches
from keras_multigrid.data.reading import ClipReader
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.decode import read_video
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.schedule import Grid

GRID = Grid(batch_size=1, num_frames=4, crop_size=16)
# A regular file that can be opened, and whose first byte cannot be read.
BROKEN = "/proc/self/mem"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "h264.mp4", "libx264", pictures(1))
    (folder / "images").mkdir()
    for index, image in enumerate(pictures(2)):
        jpeg = tf.io.encode_jpeg(image).numpy()
        (folder / "images" / f"{index}.jpg").write_bytes(jpeg)
    return folder


def video_set(*paths):
    videos = [VideoRecord(path=str(path), label=0) for path in paths]
    return VideoSet(train=videos, validation=videos[:1], class_names=("run",))


@pytest.fixture(scope="module")
def records(sources, tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    form = RecordFormat(short_sides=(None,), frames_per_record=4)
    prepare(video_set(sources / "images"), root=str(root), form=form, workers=1)
    return root


@pytest.fixture
def spoilt(request, sources, records, tmp_path):
    """A video of each kind of which one file cannot be read, and the path of that file."""
    root = tmp_path / "spoilt"
    root.mkdir()
    if request.param.startswith("video"):
        path = root / request.param
        path.symlink_to(BROKEN)
        return VideoRecord(path=str(path), label=0), path
    shutil.copytree(sources / "images", root / "images")
    shutil.copytree(records, root / "records")
    path = root / request.param
    path.unlink()
    path.symlink_to(BROKEN)
    if request.param.startswith("images"):
        return VideoRecord(path=str(root / "images"), label=0), path
    return recorded_videos(str(root / "records")).train, path


RECORD_FILES = (
    "records/full/train-00000-of-00001.tfrecord",
    "records/train-00000-of-00001.index",
    "records/train-00000-of-00001.json",
)


@pytest.mark.parametrize(
    "spoilt",
    ["video.mp4", "video.avi", "video.mkv", "images/2.jpg", *RECORD_FILES],
    indirect=True,
)
def test_a_disk_that_fails_ends_the_run_and_names_the_file(spoilt, monkeypatch):
    monkeypatch.setenv(files.RETRY_VARIABLE, "0.2")
    videos, path = spoilt
    videos = [videos] if isinstance(videos, VideoRecord) else videos
    task = video_set("none").task
    bad_videos = BadVideos()
    reader = ClipReader(videos, ClipSampling(min_scale=16), task, bad_videos=bad_videos)
    with pytest.raises(files.StorageUnavailableError, match=rf"{path}.* fault of the machine"):
        reader.centre_cut(0, GRID)
    assert not bad_videos.errors


@pytest.mark.parametrize("spoilt", RECORD_FILES[:2], indirect=True)
def test_a_disk_that_fails_ends_a_run_of_records(spoilt, monkeypatch):
    monkeypatch.setenv(files.RETRY_VARIABLE, "0.2")
    videos, path = spoilt
    bad_videos = BadVideos(max_share=1.0)
    settings = {"sampling": ClipSampling(min_scale=16), "bad_videos": bad_videos}
    with pytest.raises(tf.errors.OpError, match=rf"StorageUnavailableError: Cannot read.*{path}"):
        list(evaluation_batches(videos, GRID, **settings))
    assert not bad_videos.errors


@contextlib.contextmanager
def few_files(seconds):
    """No more files can be opened for so long."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def restore():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    timer = threading.Timer(seconds, restore)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        restore()


@pytest.mark.parametrize("name", ["h264.mp4", "images", "records"])
def test_a_full_table_of_files_is_waited_for(name, sources, records):
    record = VideoRecord(path=str(sources / name), label=0)
    if name == "records":
        record = recorded_videos(str(records)).train[0]
    expected = read_video(record)
    with few_files(0.5):
        with pytest.raises(OSError, match="Too many open files"):
            (sources / "h264.mp4").open()
        frames = read_video(record)
    np.testing.assert_array_equal(frames, expected)


def test_check_and_prepare_end_at_a_disk_that_fails(sources, tmp_path, monkeypatch):
    monkeypatch.setenv(files.RETRY_VARIABLE, "0.2")
    path = tmp_path / "video.mp4"
    path.symlink_to(BROKEN)
    videos = video_set(sources / "h264.mp4", path)
    match = rf"Cannot read {path}: Input/output error"
    with pytest.raises(files.StorageUnavailableError, match=match):
        check_videos(videos, journal=str(tmp_path / "journal"), workers=1)
    with pytest.raises(files.StorageUnavailableError, match=match):
        prepare(videos, root=str(tmp_path / "records"), form=RecordFormat(), workers=1)


def test_bad_videos_refuse_a_fault_of_the_machine():
    bad_videos = BadVideos(max_share=1.0)
    with pytest.raises(files.StorageUnavailableError, match=r"Cannot read a\.mp4: out of memory"):
        bad_videos.add("a.mp4", MemoryError("out of memory"))
    assert bad_videos.replaced_clips == 0
