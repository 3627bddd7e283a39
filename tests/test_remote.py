"""Files, data and whole runs on a real S3 endpoint and a web server of this machine."""

import io
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3
import h5py
import numpy as np
import pytest
import tensorflow as tf
from processes import Process
from remote_servers import BUCKET, S3Server, call, web_server

from keras_multigrid import files
from keras_multigrid.data.synthetic.videos import write_videos

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def server():
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def absent():
    """The environment of a server that is no longer there."""
    server = S3Server()
    server.close()
    return server.env


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Videos, the frames of one, and lists of both."""
    root = tmp_path_factory.mktemp("motion")
    write_videos(root, num_train=24, num_validation=12, processes=1)
    videos = sorted((root / "train").rglob("*.mp4"))
    lines = [f"{video.relative_to(root)} {number % 3}\n" for number, video in enumerate(videos)]
    (root / "train.txt").write_text("".join(lines[:-3]))
    (root / "validation.txt").write_text("".join(lines[-3:]))
    (root / "names.txt").write_text("one\ntwo\nthree\n")
    (root / "bad.txt").write_text("a.mp4 0\nb.mp4\n")
    frames = root / "frames" / "class"
    for video in ("a", "b"):
        (frames / video).mkdir(parents=True)
        for number in range(4):
            picture = np.full((24, 32, 3), 40 * number, np.uint8)
            tf.io.write_file(str(frames / video / f"{number}.jpg"), tf.io.encode_jpeg(picture))
    return root


# ---- Files ---------------------------------------------------------------------------------------


def use_files(folder):
    path = f"{folder}/sub/file"
    assert files.read(path) is None
    assert not files.exists(path)
    assert not files.is_folder(folder)
    assert not files.holds(folder, "sub")
    files.write(path, "0123456789")
    assert files.read(path) == b"0123456789"
    assert files.read_range(path, offset=3, length=4) == b"3456"
    assert files.read_range(path, offset=8, length=4) == b"89"
    assert files.read_range(path, offset=20, length=4) == b""
    assert files.is_file(path)
    assert not files.is_folder(path)
    assert files.is_folder(folder)
    assert not files.is_file(folder)
    assert files.list_folder(folder) == ["sub"]
    assert [(e.name, e.is_dir()) for e in files.scan_folder(folder)] == [("sub", True)]
    assert files.list_folder(folder.split("/sub")[0].rsplit("/", 1)[0])
    assert files.holds(f"{folder}/sub", "fi")
    status = files.status(path)
    assert status.size == 10
    assert abs(status.modified / 1e9 - time.time()) < 3600
    files.write(path, b"")
    assert files.read(path) == b""
    files.remove(path)
    assert files.read(path) is None
    for look in (files.status, files.list_folder, files.open_file):
        with pytest.raises(FileNotFoundError):
            look(path)
    with pytest.raises(FileNotFoundError):
        files.read_range(path, offset=0, length=1)


def large_files(local, path):
    files.upload(local, path)
    with files.local_copy(path) as copy:
        assert os.path.basename(copy) == path.rsplit("/", 1)[1]
        assert pathlib.Path(copy).read_bytes() == pathlib.Path(local).read_bytes()
    assert not os.path.exists(copy)


def files_of_others(path):
    """What other processes write and delete is seen at once."""
    bucket, _, key = path.split("://")[1].partition("/")
    client = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"])
    for name in ("a", "b"):
        client.put_object(Bucket=bucket, Key=f"{key}/{name}", Body=b"text")
        assert name in files.list_folder(path)
    client.delete_object(Bucket=bucket, Key=f"{key}/a")
    assert files.list_folder(path) == ["b"]
    assert not files.exists(f"{path}/a")
    client.put_object(Bucket=bucket, Key=f"{key}/b", Body=b"longer text")
    assert files.status(f"{path}/b").size == 11


def threads_and_forks(path):
    files.write(path, bytes(range(256)))

    def read(offset):
        return files.read_range(path, offset=offset, length=1)

    with ThreadPoolExecutor(8) as threads:
        assert b"".join(threads.map(read, range(256))) == bytes(range(256))
    process = os.fork()
    if process == 0:
        os._exit(0 if read(7) == b"\7" else 1)
    assert os.waitpid(process, 0)[1] == 0
    assert read(8) == b"\b"


def test_local_files(tmp_path):
    use_files(str(tmp_path / "folder"))


def away(path):
    bucket = "/".join(path.split("/")[:3])
    calls = [
        lambda: files.read(path),
        lambda: files.read_range(path, offset=0, length=1),
        lambda: files.is_folder(path),
        lambda: files.list_folder(bucket),
        lambda: files.write(path, "text"),
    ]
    for its_call in calls:
        with pytest.raises(files.StorageUnavailableError, match=r"Cannot .*s3://.*Tried for"):
            its_call()


def refused(address):
    for name in ("none", "none.mp4"):
        assert files.read(f"{address}/{name}") is None
    with pytest.raises(files.StorageError, match=r"Cannot write http"):
        files.write(f"{address}/file", "text")
    with pytest.raises(files.StorageError, match=r"Cannot list http.*no folders.*list"):
        files.list_folder(address)


def no_ranges(address):
    assert files.read(f"{address}/names.txt") == b"one\ntwo\nthree\n"
    path = f"{address}/large"
    assert files.read(path) == bytes(3 << 20)
    assert files.read_range(path, offset=0, length=5) == bytes(5)
    with pytest.raises(files.StorageError, match="sends no ranges"):
        files.read_range(path, offset=1, length=4 << 20)


# ---- Data ----------------------------------------------------------------------------------------


def lists(local, remote):
    from keras_multigrid.data.lists.lines import BadLinesError
    from keras_multigrid.data.lists.path_lists import path_label_lists

    sets = [
        path_label_lists(
            f"{place}/train.txt",
            validation=f"{place}/validation.txt",
            root=place,
            class_names=f"{place}/names.txt",
        )
        for place in (local, remote)
    ]
    assert sets[1].train[0].path.startswith(remote)
    same(*sets)
    with pytest.raises(BadLinesError, match=r"bad.txt, line 2: it must be.*Received: 'b.mp4'"):
        path_label_lists(f"{remote}/bad.txt", validation=f"{remote}/bad.txt", root=remote)
    with pytest.raises(FileNotFoundError, match=r"`train` must be a text file"):
        path_label_lists(f"{remote}/none.txt", validation=f"{remote}/bad.txt", root=remote)


def folders(local, remote):
    from keras_multigrid.data.lists.folders import class_folders

    for part, validation in (("train", "validation"), ("frames", "frames")):
        sets = [
            class_folders(f"{place}/{part}", validation=f"{place}/{validation}")
            for place in (local, remote)
        ]
        same(*sets)
    with pytest.raises(FileNotFoundError, match="`root` must be a folder of class folders"):
        class_folders(f"{remote}/none", validation=f"{remote}/none")


def same(ours, others):
    """The same classes, labels, names and frames."""
    from keras_multigrid.data.videos.decode import read_video

    assert ours.class_names == others.class_names
    for part in ("train", "validation"):
        for one, other in zip(getattr(ours, part), getattr(others, part), strict=True):
            assert one.label == other.label
            assert os.path.basename(one.path) == os.path.basename(other.path)
            np.testing.assert_array_equal(read_video(one), read_video(other))


def lease(folder):
    """A folder that a process elsewhere trains in, and one whose process has ended."""
    from keras_multigrid.callbacks import lease

    with lease.Lease(folder):
        content = json.loads(files.read(f"{folder}/lease.json"))
        assert content["process"] == os.getpid()
    assert files.read(f"{folder}/lease.json") is None
    # Of this machine, with a number that no process has.
    files.write(f"{folder}/lease.json", json.dumps({**content, "process": 2**22 + 1}))
    with lease.Lease(folder):
        pass
    far = {**content, "machine": "another", "host": "far"}
    files.write(f"{folder}/lease.json", json.dumps(far))
    renewed = json.dumps({**far, "renewals": 2})
    threading.Timer(1.0, files.write, [f"{folder}/lease.json", renewed]).start()
    with pytest.raises(lease.FolderInUseError, match="on far, since"):
        lease.Lease(folder).take()


def on_s3(data, large, remote):
    lease(f"{remote}/run")
    use_files(f"{remote}/files")
    files_of_others(f"{remote}/others")
    threads_and_forks(f"{remote}/threads")
    large_files(large, f"{remote}/large/file")
    lists(data, f"{remote}/data")
    folders(data, f"{remote}/data")


def test_files_and_data_on_s3(server, data, tmp_path):
    server.upload(data, "some/data")
    # More than a block; no part of it like another.
    (tmp_path / "large").write_bytes(np.random.default_rng(0).bytes(1 << 25))
    server.wire.cuts = 3
    env = {**server.env, "AWS_MAX_ATTEMPTS": "2"}
    result = call(on_s3, data, tmp_path / "large", f"s3://{BUCKET}/some", **env)
    assert server.wire.cuts == 0
    # That nothing is there is an answer; an answer that was cut off the client asks for once more
    # by itself.
    assert result.stderr.count("Trying again") == 1
    assert "Unclosed" not in result.stderr


def on_the_web(data, address, address_without_ranges):
    refused(address)
    no_ranges(address_without_ranges)
    lists(data, address)


def test_files_and_data_on_the_web(data, tmp_path):
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    with web_server(data) as address, web_server(tmp_path, has_ranges=False) as other:
        result = call(on_the_web, data, address, other)
    assert "Trying again" not in result.stderr


def clips_away(path, folder):
    from keras_multigrid.data.bad_videos import BadVideos
    from keras_multigrid.data.check.videos import check_videos
    from keras_multigrid.data.clips.sampling import ClipSampling
    from keras_multigrid.data.reading import ClipReader
    from keras_multigrid.data.videos.video import VideoRecord, VideoSet
    from keras_multigrid.schedule import Grid
    from keras_multigrid.task import SingleLabel

    grid = Grid(batch_size=1, num_frames=2, crop_size=16)
    bad_videos = BadVideos()
    for record in (
        VideoRecord(path=path, label=0),
        VideoRecord(path=os.path.dirname(path), label=0, frame_paths=(path,)),
    ):
        reader = ClipReader([record], ClipSampling(), SingleLabel(()), bad_videos=bad_videos)
        with pytest.raises(files.StorageUnavailableError, match=r"Cannot read s3://"):
            reader.centre_cut(0, grid)
    assert not bad_videos.errors
    videos = VideoSet(train=[record], validation=[], class_names=("one",))
    with pytest.raises(files.StorageUnavailableError, match="Cannot look at"):
        check_videos(videos, journal=f"{folder}/journal", workers=1)


def nothing_answers(folder, remote):
    away(f"{remote}/file")
    clips_away(f"{remote}/video.mp4", folder)


def test_a_server_that_is_away_has_neither_missing_files_nor_bad_videos(absent, tmp_path):
    env = {**absent, "KERAS_MULTIGRID_RETRY_SECONDS": "0.5"}
    result = call(nothing_answers, tmp_path, f"s3://{BUCKET}", **env)
    assert "Trying again in" in result.stderr
    assert "never retrieved" not in result.stderr


def secret_address(place):
    path = f"http://me:sEkret@{place}/1.mp4?X-Amz-Signature=sEkret"
    with pytest.raises(files.StorageUnavailableError, match="Tried for") as error:
        files.read(path)
    assert f"Cannot read http://{place}/1.mp4?hidden-" in str(error.value)
    assert "sEkret" not in str(error.value)


def test_a_web_server_that_is_away_is_named_without_secrets(absent):
    place = absent["S3_ENDPOINT"].removeprefix("http://")
    result = call(secret_address, place, KERAS_MULTIGRID_RETRY_SECONDS="0.5")
    assert "Trying again in" in result.stderr
    assert "sEkret" not in result.stderr


# ---- Runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """gin file of a run of seconds on class folders below DATA_DIR."""
    path = tmp_path_factory.mktemp("experiment") / "tiny.gin"
    path.write_text(
        """from __gin__ import dynamic_registration
from keras_multigrid import learning_rate
from keras_multigrid import models
from keras_multigrid import runs
from keras_multigrid.data import clips
from keras_multigrid.data import lists

include 'gin/experiment.gin'
include 'gin/models/i3d_small.gin'

VIDEOS = @lists.class_folders()
lists.class_folders.root = %TRAIN
lists.class_folders.validation = %VALIDATION
BATCH_SIZE = 4
NUM_FRAMES = 8
CROP_SIZE = 32
NUM_CLIPS = 24
EPOCHS = 8
BOUNDARIES = (4, 6)
LEARNING_RATE = 0.01
models.I3D.width = 4
clips.ClipSampling:
  min_scale = 36
  max_scale = 40
clips.Views:
  clips = 1
  crops = 1
runs.Logging:
  validations = 2
  log_every = 2
runs.Checkpoints.every = 3
"""
    )
    return path


def start(tool, experiment, data, run_dir, log, *paths, env=None, **params):
    params = {
        "TRAIN": f"{data}/train",
        "VALIDATION": f"{data}/validation",
        "RUN_DIR": run_dir,
        **params,
    }
    command = [ROOT / "tools" / f"{tool}.py", f"--gin_file={experiment}"]
    command += [f"--gin_param={name}={str(value)!r}" for name, value in params.items()]
    with open(log, "a") as file:
        return Process(
            *(*command, *paths),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_for(condition, process, log):
    while not condition():
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)


def weights(model):
    """Arrays in the content of a model.keras."""
    with zipfile.ZipFile(io.BytesIO(model)) as file:
        content = io.BytesIO(file.read("model.weights.h5"))
    found = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(content) as arrays:
        arrays.visititems(keep)
    return found


@pytest.fixture(scope="module")
def undisturbed(experiment, data, tmp_path_factory):
    """Weights of a run on the local disk."""
    folder = tmp_path_factory.mktemp("local")
    process = start("train", experiment, data, folder / "run", folder / "log")
    assert process.wait(timeout=300) == 0, (folder / "log").read_text()[-3000:]
    return weights((folder / "run" / "model.keras").read_bytes())


def points(server, run, folder):
    """Step to loss of all of a run's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for name in server.names(f"{run}/events"):
        (folder / pathlib.Path(name).name).write_bytes(server.content(name))
        events = EventAccumulator(str(folder / pathlib.Path(name).name))
        events.Reload()
        if "train/loss" in events.Tags()["scalars"]:
            found.update({event.step: event.value for event in events.Scalars("train/loss")})
    return found


@pytest.mark.parametrize(
    "seconds", [pytest.param(3, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.every)]
)
def test_a_killed_run_and_a_server_that_pauses(
    seconds, server, experiment, data, undisturbed, tmp_path
):
    server.upload(data, "data")
    run, log = f"run{seconds}", tmp_path / "log"
    place = (f"s3://{BUCKET}/data", f"s3://{BUCKET}/{run}", log)
    process = start("train", experiment, *place, env=server.env)
    wait_for(lambda: len(server.names(f"{run}/checkpoints/step")) >= 2, process, log)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = set(server.names(f"{run}/checkpoints/"))
    process = start("train", experiment, *place, env=server.env)
    wait_for(lambda: set(server.names(f"{run}/checkpoints/")) - before, process, log)
    server.wire.is_cut = True
    threading.Timer(seconds, lambda: setattr(server.wire, "is_cut", False)).start()
    assert process.wait(timeout=300) == 0, log.read_text()[-3000:]
    assert "Trying again in" in log.read_text()
    assert f"{run}/bad_videos.txt" not in server.names(run)
    report = json.loads(server.content(f"{run}/report.json"))
    assert report["replaced_clips"] == 0
    steps = report["steps"]
    assert [point["step"] for point in report["curve"]] == [-(-steps // 2), steps]
    found = weights(server.content(f"{run}/model.keras"))
    assert found.keys() == undisturbed.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, undisturbed[name], err_msg=name)
    # Every second step, those before the kill included.
    assert sorted(points(server, run, tmp_path)) == list(range(1, steps, 2))
    if seconds == 3:
        use(server, experiment, place)


def use(server, experiment, place):
    """Test the network of a run, and ask it about a video."""
    _, run_dir, log = place
    run = run_dir.rsplit("/", 1)[1]
    process = start("evaluate", experiment, *place, env=server.env)
    assert process.wait(timeout=300) == 0, log.read_text()[-3000:]
    written = {"evaluation.json", "predictions.csv", "confusion.png"}
    assert written <= {pathlib.Path(name).name for name in server.names(run)}
    video = next(name for name in server.names("data/train/") if name.endswith(".mp4"))
    param = {"runs.MultiViewTest.weights": f"{run_dir}/model.keras"}
    process = start(
        "predict", experiment, *place, f"s3://{BUCKET}/{video}", env=server.env, **param
    )
    assert process.wait(timeout=300) == 0, log.read_text()[-3000:]
    assert f"s3://{BUCKET}/{video}\n  " in log.read_text()


@pytest.mark.slow
def test_records_on_s3_from_the_command_line(server, experiment, data, tmp_path):
    records, run_dir, log = f"s3://{BUCKET}/records", f"s3://{BUCKET}/of_records", tmp_path / "log"
    files = [f"--gin_file={records}/{name}.gin" for name in ("none", "records")]
    for tool, argument, code, told in (
        ("prepare", f"--out={records}", 0, f"{records}/records.gin"),
        ("train", files[0], 2, f"--gin_file: there is no file '{records}/none.gin'"),
        ("train", files[1], 0, "times fewer steps than the baseline"),
        ("prepare", "--verify", 2, "--out is missing"),
    ):
        process = start(tool, experiment, data, run_dir, log, argument, env=server.env)
        assert process.wait(timeout=300) == code, log.read_text()[-3000:]
        assert told in log.read_text()
    assert [name for name in server.names("of_records/") if name.endswith("index.json")]


@pytest.mark.slow
def test_a_server_that_stays_away_ends_the_run(experiment, data, tmp_path):
    server, log = S3Server(), tmp_path / "log"
    env = {**server.env, "KERAS_MULTIGRID_RETRY_SECONDS": "2"}
    try:
        server.upload(data, "data")
        place = (f"s3://{BUCKET}/data", tmp_path / "run", log)
        process = start("train", experiment, *place, env=env)
        wait_for((tmp_path / "run" / "checkpoints" / "index.json").exists, process, log)
        server.wire.is_cut = True
        assert process.wait(timeout=300) == 1
        text = log.read_text()
        assert "error: Cannot read s3://runs/data/" in text
        assert "Traceback" not in text
        assert not (tmp_path / "run" / "bad_videos.txt").exists()
    finally:
        server.close()
    # Nor is a silent server an empty folder, in which to begin anew.
    log = tmp_path / "begin"
    process = start("train", experiment, data, f"s3://{BUCKET}/run", log, env=env)
    assert process.wait(timeout=300) == 1
    assert "error: Cannot read s3://runs/run/" in log.read_text()
    assert "Traceback" not in log.read_text()


# ---- Where a file system is missing --------------------------------------------------------------

REMEDY = "install this package with its extra `remote`"


@pytest.mark.parametrize(
    "params",
    [
        {"RUN_DIR": "nope://bucket/run"},
        {"TRAIN": "nope://bucket/train"},
        {"runs.Checkpoints.folder": "nope://bucket/checkpoints"},
    ],
)
def test_a_missing_file_system_is_told_first(params, experiment, tmp_path):
    log = tmp_path / "log"
    process = start("train", experiment, "none", tmp_path / "run", log, **params)
    assert process.wait(timeout=300) == 2
    assert "There is no file system for nope:// here" in log.read_text()
    assert re.search(REMEDY, log.read_text())
    assert "Traceback" not in log.read_text()


def test_every_remote_path_is_told():
    from keras_multigrid.callbacks.event_file import EventFile
    from keras_multigrid.data.clips.sampling import ClipSampling
    from keras_multigrid.data.lists import folders, path_lists, published_sets
    from keras_multigrid.data.reading import ClipReader
    from keras_multigrid.data.videos.video import VideoRecord
    from keras_multigrid.task import SingleLabel

    path = "nope://bucket/file"
    record = VideoRecord(path=path, label=0)
    for its_call in (
        lambda: files.read(path),
        lambda: files.write(path, ""),
        lambda: files.list_folder(path),
        lambda: files.is_folder(path),
        lambda: folders.class_folders(path, validation=path),
        lambda: path_lists.path_label_lists(path, validation=path),
        lambda: path_lists.path_label_lists("list", validation="list", root=path),
        lambda: published_sets.ucf101(path, root=""),
        lambda: published_sets.hmdb51(path, root=""),
        lambda: published_sets.kinetics(path, validation=path, root=""),
        lambda: published_sets.something_something(path, validation=path, labels=path, root=""),
        lambda: ClipReader([record], ClipSampling(), SingleLabel(())),
        lambda: EventFile(path, start_step=0),
    ):
        with pytest.raises(ValueError, match=rf"no file system for nope:// here.*{REMEDY}"):
            its_call()


def without(name, path):
    import sys

    sys.modules[name] = None
    with pytest.raises(ValueError, match=rf"no file system for s3:// here.*{name}.*{REMEDY}"):
        files.read(path)


@pytest.mark.parametrize("name", ["fsspec", "s3fs"])
def test_what_is_not_installed_is_told(name):
    call(without, name, f"s3://{BUCKET}/file")
