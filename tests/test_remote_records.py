"""Records that fsspec reads, beside the same records on the local disk."""

import importlib.util
import pathlib
import shutil
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from remote_servers import BUCKET, S3Server, call

from keras_multigrid import remote_files
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import evaluation_batches, training_batches
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.reading import RecordReader
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.stream import drawn_clips
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.schedule import Grid, MultigridSchedule

HAS_TENSORFLOW_IO = importlib.util.find_spec("tensorflow_io") is not None
BASE = Grid(batch_size=4, num_frames=4, crop_size=16)
SAMPLING = ClipSampling(stride=2, min_scale=18, max_scale=22)
SCHEDULE = MultigridSchedule(base=BASE, num_clips=16, epochs=6, boundaries=(4,))
NUM_STEPS = 8


@pytest.fixture(scope="module")
def server():
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def records(videos, tmp_path_factory):
    """Folder of the records of 24 videos in 6 shards."""
    root = tmp_path_factory.mktemp("records") / "whole"
    names = tuple(map(str, range(24)))
    videos = VideoSet(train=videos[:16], validation=videos[16:], class_names=names)
    form = RecordFormat(short_sides=(None,), frames_per_record=3, videos_per_shard=4)
    prepare(videos, root=str(root), form=form, workers=1)
    return root


def batches(videos, **settings):
    settings = {"sampling": SAMPLING, "num_classes": 24, **settings}
    data = training_batches(videos.train, SCHEDULE, seed=3, **settings).take(NUM_STEPS)
    return [*data.as_numpy_iterator(), *centres(videos)]


def centres(videos):
    data = evaluation_batches(videos.validation, BASE, sampling=SAMPLING, num_classes=24)
    return data.as_numpy_iterator()


def same_clips(local, remote):
    ours = recorded_videos(remote)
    for one, other in zip(batches(ours), batches(recorded_videos(local)), strict=True):
        for array, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, expected)
    # Not by the reader that mends what could not be read.
    clips = RecordReader(ours.train, SAMPLING, ours.task)._training_clips(
        drawn_clips(SCHEDULE, SAMPLING, seed=3, start_step=0).take(40)
    )
    assert [is_read for _, is_read, _, _ in clips.as_numpy_iterator()] == [True] * 40
    assert ours.train[5].path == recorded_videos(local).train[5].path
    assert ours.train[5].is_remote
    assert not recorded_videos(local).train[5].is_remote
    # Nothing stays in memory.
    assert tf.io.gfile.glob("ram://*") == []


def test_clips_are_those_of_local_records(server, records):
    server.upload(records, "whole")
    call(same_clips, records, f"s3://{BUCKET}/whole", **server.env)


def damaged_clips(local, remote):
    bad_videos = [BadVideos(max_share=1.0) for _ in range(2)]
    read = [
        batches(recorded_videos(root), bad_videos=bad)
        for root, bad in zip((local, remote), bad_videos, strict=True)
    ]
    for one, other in zip(*read, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert bad_videos[0].errors
    assert len(bad_videos[0].errors) == len(bad_videos[1].errors)
    assert all("the record is damaged" in text for text in bad_videos[1].errors.values())


@pytest.mark.slow
def test_videos_of_damaged_records_are_replaced_as_on_the_local_disk(server, records, tmp_path):
    local = tmp_path / "damaged"
    shutil.copytree(records, local)
    path = local / "full" / "train-00001-of-00004.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    server.upload(local, "damaged")
    call(damaged_clips, local, f"s3://{BUCKET}/damaged", **server.env)


def no_answer(root, cut):
    videos = recorded_videos(root)
    data = training_batches(videos.train, SCHEDULE, seed=3, sampling=SAMPLING, num_classes=24)
    iterator = data.as_numpy_iterator()
    next(iterator)
    pathlib.Path(cut).touch()
    with pytest.raises(Exception, match=rf"Cannot read {root}/.*Tried for") as error:
        for _ in iterator:
            pass
    assert "sekret" not in str(error.value).lower()


def test_a_server_that_goes_away_is_no_bad_video(server, records, tmp_path):
    server.upload(records, "away")
    cut = tmp_path / "cut"
    env = {**server.env, "KERAS_MULTIGRID_RETRY_SECONDS": "0.5", "AWS_SECRET_ACCESS_KEY": "Sekret"}

    def cut_then():
        while not cut.exists():
            time.sleep(0.01)
        server.wire.is_cut = True

    threading.Thread(target=cut_then, daemon=True).start()
    try:
        result = call(no_answer, f"s3://{BUCKET}/away", cut, **env)
    finally:
        server.wire.is_cut = False
    assert "Trying again" in result.stderr
    assert "sekret" not in result.stderr.lower()


def with_a_service(root):
    # As if it were not installed.
    sys.modules["tensorflow_io"] = None
    videos = recorded_videos(root)
    with pytest.raises(ValueError, match=r"service.*grpc://localhost:1.*set service=None"):
        RecordReader(videos.train, SAMPLING, videos.task, service="grpc://localhost:1")


def test_an_input_service_is_refused(server, records):
    server.upload(records, "served")
    call(with_a_service, f"s3://{BUCKET}/served", **server.env)


def in_graphs(local, remote):
    """What the workers of an input service do with records: all clips of all videos."""
    from keras_multigrid.data.records.record_files import RecordFiles

    assert remote_files.is_read_in_graphs(remote)
    shard = "full/train-00001-of-00004.tfrecord"
    size = pathlib.Path(local, shard).stat().st_size
    ours, expected = RecordFiles(remote, is_served=True), RecordFiles(local)

    @tf.function
    def read(files, root):
        numbers = files.index(tf.strings.join([root, "train-00001-of-00004.index"], "/"))
        return numbers, files.records(tf.strings.join([root, shard], "/"), 0, size, 4)

    for one, other in zip(read(ours, remote), read(expected, local), strict=True):
        np.testing.assert_array_equal(one, other)
    assert remote_files.file_system(remote) is not remote_files.file_system("gs://b")


@pytest.mark.skipif(not HAS_TENSORFLOW_IO, reason="tensorflow-io needs TensorFlow up to 2.17")
def test_an_input_service_reads_by_tensorflow_io(server, records):
    server.upload(records, "graphs")
    call(in_graphs, records, f"s3://{BUCKET}/graphs", **server.env)
