"""Records made by Apache Beam on this machine: `make test-beam`."""

import os
import pathlib
import subprocess
import sys

import pytest
from prepare_process import FORM, content, finish, kill_when, start, video_set, write_videos

from keras_multigrid.data.records.preparing import prepare

beam = pytest.importorskip("apache_beam")

ROOT = pathlib.Path(__file__).parents[1]
DIRECT = ["--runner=DirectRunner"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """What is written without Beam."""
    root = tmp_path_factory.mktemp("whole")
    prepared = prepare(video_set(videos), root=str(root), form=FORM)
    assert prepared.num_new_shards == 38
    return content(root)


@pytest.mark.parametrize(
    "options", [[], ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]]
)
def test_a_pipeline_writes_the_same(videos, whole, tmp_path, options):
    prepared = prepare(
        video_set(videos), root=str(tmp_path), form=FORM, beam_options=[*DIRECT, *options]
    )
    assert (prepared.num_new_shards, len(prepared.bad)) == (38, 30)
    assert content(tmp_path) == whole


def test_a_pipeline_is_killed_and_others_go_on(videos, whole, tmp_path):
    root, log = tmp_path / "records", tmp_path / "log"
    root.mkdir()
    # Without Beam, with it, and without it again.
    for options, shards in ((None, 5), (DIRECT, 15)):
        process = start(videos, root, log, beam_options=options)
        kill_when(process, lambda: os.listdir(root), shards=shards)
        assert not (root / "manifest.json").exists()
    code, text = finish(videos, root, log)
    assert code == 0, text
    assert 0 < int(text.split()[0]) <= 23
    assert content(root) == whole


def test_counters_and_repeated_shards(videos, whole, tmp_path):
    from keras_multigrid.data.records import beam

    prepare(video_set(videos), root=str(tmp_path), form=FORM)
    (tmp_path / "train-00004-of-00036.json").unlink()
    counted = {}
    run = beam.beam.Pipeline.run

    def count(pipeline, *arguments):
        result = run(pipeline, *arguments)
        for counter in result.metrics().query()["counters"]:
            if counter.key.metric.namespace == "prepare":
                counted[counter.key.metric.name] = counter.committed
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beam.beam.Pipeline, "run", count)
        prepare(video_set(videos), root=str(tmp_path), form=FORM, beam_options=DIRECT)
    # Videos 24 to 27, counted from the first: 24 stands for the fifth, which is bad.
    assert counted == {"videos": 3, "frames": 18, "bad": 1}
    assert content(tmp_path) == whole


def test_errors_of_a_pipeline(videos, tmp_path):
    (tmp_path / "12" / "train-00000-of-00036.tfrecord").mkdir(parents=True)
    with pytest.raises(RuntimeError, match=r"The pipeline failed: .*Cannot write .*Is a directory"):
        prepare(video_set(videos), root=str(tmp_path), form=FORM, beam_options=DIRECT)


def test_the_command_line(videos, tmp_path):
    (tmp_path / "train.txt").write_text(f"{videos}/0 0\n{videos}/1 1\n")
    (tmp_path / "val.txt").write_text(f"{videos}/2 1\n{videos}/bad.mp4 1\n")
    (tmp_path / "data.gin").write_text(
        """from __gin__ import dynamic_registration
from keras_multigrid.data import lists
VIDEOS = @lists.path_label_lists()
TRAIN_LIST = 'train.txt'
lists.path_label_lists:
  train = %TRAIN_LIST
  validation = 'val.txt'
"""
    )
    arguments = ("--gin_file=gin/i3d_weizmann.gin", "--gin_file=data.gin", "--out=records")
    options = ("--runner=DirectRunner", "--beam_option=--direct_num_workers=1")
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "prepare.py", *arguments, *options],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "3 videos, 18 frames, 0.0 MB in 2 shards, 2 of them new" in result.stdout
    assert "cannot be read: 1, records/bad_videos.tsv" in result.stdout
