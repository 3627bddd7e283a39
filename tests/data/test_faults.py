"""Hundreds of damaged files: training goes on, and clips of healthy videos stay as they are."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from small_videos import CODECS, pictures, write_video

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.input import training_batches
from keras_multigrid.data.videos.decode import read_video
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid, MultigridSchedule

NUM_VIDEOS = 550
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=25, num_frames=4, crop_size=16),
    num_clips=NUM_VIDEOS,
    epochs=1,
    long_cycle=(),
    short_cycle=(),
    epoch_factor=1.0,
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A healthy video of each kind."""
    folder = tmp_path_factory.mktemp("healthy")
    for seed, (name, codec) in enumerate(CODECS.items()):
        write_video(folder / name, codec, pictures(seed))
    (folder / "images").mkdir()
    for index, image in enumerate(pictures(9)):
        jpeg = tf.io.encode_jpeg(image).numpy()
        (folder / "images" / f"{index}.jpg").write_bytes(jpeg)
    return sorted(folder.iterdir())


def damage(path, kind, random, other):
    """Damage one file; `other` is a file of another kind."""
    content = path.read_bytes()
    if kind == "empty":
        content = b""
    elif kind == "cut":
        content = content[: random.integers(1, len(content))]
    elif kind == "swap":
        content = other.read_bytes()
    else:
        bits = np.unpackbits(np.frombuffer(content, np.uint8))
        bits[random.integers(0, len(bits), random.integers(1, 40))] ^= 1
        content = np.packbits(bits).tobytes()
    path.write_bytes(content)


def damaged_copy(source, number, folder):
    """A copy of a video, damaged; half of the copies have flipped bits."""
    random = np.random.default_rng(number)
    kind = ("flip", "cut", "flip", "empty", "flip", "swap")[number // 5 % 6]
    copy = folder / f"{number}{source.suffix}"
    if source.is_dir():
        shutil.copytree(source, copy)
        damage(random.choice(sorted(copy.iterdir())), kind, random, source.parent / "h264.mp4")
    else:
        shutil.copy(source, copy)
        damage(copy, kind, random, source.parent / "images" / "0.jpg")
    return copy


def take_epoch(records, **settings):
    batches = training_batches(records, SCHEDULE, seed=3, **settings)
    clips, labels = zip(*batches.take(SCHEDULE.total_steps).as_numpy_iterator(), strict=True)
    return np.concatenate(clips), np.concatenate(labels)


@pytest.mark.parametrize("keep_decoded", [False, True])
def test_damaged_files_change_no_clip_of_a_healthy_one(sources, tmp_path, keep_decoded):
    # Every eleventh is healthy; the label is the video's number.
    healthy = [VideoRecord(path=str(sources[n % 5]), label=n) for n in range(NUM_VIDEOS)]
    is_damaged = np.arange(NUM_VIDEOS) % 11 > 0
    assert is_damaged.sum() == 500
    (tmp_path / "copies").mkdir()
    records = [
        VideoRecord(path=str(damaged_copy(sources[n % 5], n, tmp_path / "copies")), label=n)
        if is_damaged[n]
        else healthy[n]
        for n in range(NUM_VIDEOS)
    ]
    list_path = tmp_path / "bad_videos.txt"
    bad_videos = BadVideos(str(list_path), max_share=1.0)
    clips, labels = take_epoch(records, bad_videos=bad_videos, keep_decoded=keep_decoded)
    healthy_clips, healthy_labels = take_epoch(healthy)
    # Every video is once in an epoch.
    assert sorted(healthy_labels) == list(range(NUM_VIDEOS))
    same = ~is_damaged[healthy_labels]
    np.testing.assert_array_equal(labels[same], healthy_labels[same])
    np.testing.assert_array_equal(clips[same], healthy_clips[same])
    # Each bad file is counted, and listed once.
    listed = [line.split("\t")[0] for line in list_path.read_text().splitlines()]
    assert len(set(listed)) == len(listed) == len(bad_videos.errors)
    assert bad_videos.replaced_clips >= len(listed)
    replaced = {records[n].path for n in healthy_labels[labels != healthy_labels]}
    copies = {record.path for record, bad in zip(records, is_damaged, strict=True) if bad}
    assert replaced <= set(listed) <= copies
    empty = {path for path in copies if os.path.getsize(path) == 0}
    assert len(empty) > 50
    assert empty <= replaced


def test_a_header_that_promises_millions_of_frames(sources, tmp_path):
    content = bytearray((sources[0].parent / "mpeg4.avi").read_bytes())
    # The length is the ninth field of the stream's header, behind its name and size.
    place = content.index(b"strh") + 8 + 32
    assert content[place : place + 4] == (8).to_bytes(4, "little")
    content[place : place + 4] = (2**29).to_bytes(4, "little")
    (tmp_path / "millions.avi").write_bytes(content)
    assert len(read_video(VideoRecord(path=str(tmp_path / "millions.avi"), label=0))) == 8
