"""tools/prepare.py and what it does, as processes that are killed."""

import os
import pathlib

import numpy as np
import processes
import pytest
from lists_gin import lists_gin
from prepare_process import content, finish, kill_when, start, write_images, write_videos

ROOT = pathlib.Path(__file__).parents[1]
# Thirty times four good videos and a bad one, eight of which are for validation.
NUM_SHARDS = 38


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Five videos, one of which is none."""
    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """Files of an unbroken run."""
    root = tmp_path_factory.mktemp("whole")
    done = finish(videos, root, tmp_path_factory.mktemp("logs") / "log")
    assert done == (0, f"{NUM_SHARDS} new shards, 30 bad videos")
    files = content(root)
    # Of each part its labels, too.
    assert len(files) == 4 * NUM_SHARDS + 4
    return files


@pytest.mark.slow
def test_a_run_that_is_killed_three_times(videos, whole, tmp_path):
    root, log = tmp_path / "records", tmp_path / "log"
    root.mkdir()
    moments = sorted(np.random.default_rng(5).choice(np.arange(1, NUM_SHARDS - 4), 3, False))
    for shards in moments:
        kill_when(start(videos, root, log), lambda: os.listdir(root), shards=shards)
        assert not (root / "manifest.json").exists()
        for name, part in content(root).items():
            is_piece = name.startswith("pieces/") or name.endswith(".unfinished")
            assert is_piece or name == "lock" or part == whole[name]
    code, text = finish(videos, root, log)
    assert code == 0, text
    assert int(text.split()[0]) <= NUM_SHARDS - moments[-1]
    assert content(root) == whole


@pytest.mark.slow
def test_a_remote_run_that_is_killed(videos, whole, tmp_path):
    from remote_servers import BUCKET, S3Server

    server = S3Server()
    root, log, scratch = f"s3://{BUCKET}/some/records", tmp_path / "log", tmp_path / "scratch"
    settings = {"env": server.env, "scratch": str(scratch)}
    try:
        # Asked more often, the server would do little else.
        kill_when(start(videos, root, log, **settings), server.names, shards=5, pause=0.1)
        code, text = finish(videos, root, log, **settings)
        assert code == 0, text
        assert 0 < int(text.split()[0]) <= NUM_SHARDS - 5
        objects = {name.removeprefix("some/records/"): name for name in server.names()}
        assert {name: server.content(key) for name, key in objects.items()} == whole
        # Nothing stays behind, not even of the killed run.
        assert os.listdir(scratch) == []
        server.wire.is_cut = True
        # Without the mode, the client has a patience of its own.
        patience = {"KERAS_MULTIGRID_RETRY_SECONDS": "1", "AWS_RETRY_MODE": "standard"}
        settings["env"] = server.env | patience
        code, text = finish(videos, root, log, **settings)
        assert code == 1
        assert f"StorageUnavailableError: Cannot read {root}/settings.json" in text
    finally:
        server.close()


# A piece has 7 kB, a shard's file four of them: the workers' disk is full, or the parent's.
@pytest.mark.parametrize("most_bytes", [3_000, 15_000])
def test_a_full_disk_is_no_bad_video(videos, tmp_path, most_bytes):
    code, text = finish(videos, tmp_path / "records", tmp_path / "log", most_bytes=most_bytes)
    assert code == 1
    assert "StorageError: Cannot write" in text
    assert "File too large" in text
    assert [*content(tmp_path / "records")] == ["settings.json"]


# The command line.


def call(*arguments, cwd):
    return processes.run(ROOT / "tools" / "prepare.py", *arguments, cwd=cwd)


def test_the_command_line(tmp_path):
    for number in range(3):
        write_images(tmp_path / f"v{number}", number)
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "train.txt").write_text("v0 0\nbad.mp4 0\nv1 1\n")
    (tmp_path / "val.txt").write_text("v2 1\n")
    (tmp_path / "data.gin").write_text(lists_gin(tmp_path))
    files = ("--gin_file=gin/i3d_weizmann.gin", "--gin_file=data.gin")
    short = "--gin_param=records.RecordFormat.short_sides=(None, 12)"
    result = call(*files, short, "--out=records", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 videos, 18 frames, 0.0 MB in 2 shards, 2 of them new: records" in result.stdout
    assert "cannot be read: 1, records/bad_videos.tsv" in result.stdout
    header, bad = (tmp_path / "records" / "bad_videos.tsv").read_text().splitlines()
    assert header == "path\tpart\treason"
    assert bad.startswith(f"{tmp_path}/bad.mp4\ttrain\tCannot decode")
    assert (tmp_path / "records" / "records.gin").read_text().splitlines() == [
        "from __gin__ import dynamic_registration",
        "from keras_multigrid.data import records",
        "VIDEOS = @prepared/records.recorded_videos()",
        "NUM_CLIPS = 2",
        "prepared/records.recorded_videos.root = '%s'" % (tmp_path / "records"),
    ]
    # One flipped byte.
    shard = tmp_path / "records" / "12" / "train-00000-of-00001.tfrecord"
    written = shard.read_bytes()
    shard.write_bytes(written[:100] + bytes([written[100] ^ 1]) + written[101:])
    result = call("--verify", "--out=records", cwd=tmp_path)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[-1] == "12/train-00000-of-00001.tfrecord: corrupt: its checksum differs"
    assert "Delete train-00000-of-00001.json in records" in result.stderr
    (tmp_path / "records" / "train-00000-of-00001.json").unlink()
    result = call(*files, short, "--out=records", cwd=tmp_path)
    assert "2 shards, 1 of them new" in result.stdout
    assert shard.read_bytes() == written
