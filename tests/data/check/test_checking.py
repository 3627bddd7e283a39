import json
import os
import pathlib
import re
import shutil

import pytest
import tensorflow as tf
from small_videos import CODECS, pictures, write_video

from keras_multigrid.data.check.video import check_video, signature
from keras_multigrid.data.check.videos import check_videos
from keras_multigrid.data.videos.video import VideoRecord, VideoSet


@pytest.fixture
def folder(tmp_path):
    """A video of each kind."""
    for seed, (name, codec) in enumerate(CODECS.items()):
        write_video(tmp_path / name, codec, pictures(seed))
    (tmp_path / "images").mkdir()
    for index, image in enumerate(pictures(9)):
        jpeg = tf.io.encode_jpeg(image).numpy()
        (tmp_path / "images" / f"{index}.jpg").write_bytes(jpeg)
    return tmp_path


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def records_of(folder, *names):
    return tuple(VideoRecord(path=str(folder / name), label=0) for name in names)


def found(checked, folder):
    return [
        (f.part, f.index, os.path.relpath(f.path, folder), f.reason.replace(f"{folder}/", ""))
        for f in checked.findings
    ]


# One video.


def check(path, **settings):
    return check_video(VideoRecord(path=str(path), label=0), **settings)


@pytest.mark.parametrize("name", [*CODECS, "images"])
def test_a_healthy_video(folder, name):
    # Training sees images only.
    (folder / "images" / "thumbnails").mkdir()
    outcome = check(folder / name)
    assert (outcome.fault, outcome.warning) == ("", "")
    assert len(outcome.content) == 32
    assert check(folder / name, quick=True).fault == ""


@pytest.mark.parametrize("name", ["h264.mp4", "images"])
def test_a_remote_video(folder, name):
    # TensorFlow's file system reads this one as it reads s3://.
    record = VideoRecord(path=f"file://{folder}/{name}", label=0)
    assert check_video(record) == check(folder / name)
    assert len(signature(record)) == 32
    with pytest.raises(FileNotFoundError):
        signature(VideoRecord(path=f"file://{folder}/none.mp4", label=0))


def write_truncated(path):
    """The first three of the eight frames that the header names."""
    write_video(path, "mjpeg", pictures(2))
    content = path.read_bytes()
    # Every frame of MJPEG is a JPEG file of its own.
    *_, fourth = (match.start() for match in list(re.finditer(b"\xff\xd8\xff", content))[:4])
    path.write_bytes(content[: fourth - 8])


def test_a_truncated_video_can_be_used(tmp_path):
    write_truncated(tmp_path / "cut.avi")
    outcome = check(tmp_path / "cut.avi")
    assert outcome.fault == ""
    assert outcome.warning.startswith("truncated: 3 of 8 frames can be decoded")


def test_a_quick_check_reads_the_beginning_only(folder):
    (folder / "images" / "6.jpg").write_bytes(b"no picture")
    assert check(folder / "images", quick=True).fault == ""
    assert "6.jpg" in check(folder / "images").fault


def test_images_of_two_sizes(folder):
    (folder / "images" / "7.jpg").write_bytes(tf.io.encode_jpeg(pictures(9, height=32)[0]).numpy())
    assert "all frames must have one size" in check(folder / "images").fault


# A set.


def test_findings(folder):
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.webm").write_text("This is a text. " * 100)
    (folder / "no_frames").mkdir()
    shutil.copy(folder / "vp9.webm", folder / "copy.webm")
    shutil.copy(folder / "h264.mp4", folder / "copy.mp4")
    write_truncated(folder / "cut.avi")
    # Opening it waits for a writer that never comes.
    os.mkfifo(folder / "hangs.mp4")
    train = records_of(
        folder, "h264.mp4", "missing.mp4", "empty.mp4", "copy.mp4", "text.webm", "images",
        "no_frames", "images", "hangs.mp4", "vp9.webm", "mpeg4.avi", "cut.avi",
    )  # fmt: skip
    validation = records_of(folder, "mpeg4.avi", "copy.webm")
    videos = VideoSet(train=train, validation=validation, class_names=("a",))
    journal = folder / "check" / "journal.jsonl"
    calls = []
    checked = check_videos(
        videos,
        journal=str(journal),
        workers=2,
        time_limit=3.0,
        progress=lambda done, total: calls.append((done, total)),
    )
    reasons = {(part, index): (path, text) for part, index, path, text in found(checked, folder)}
    assert reasons["train", 1] == ("missing.mp4", "missing: there is no file 'missing.mp4'")
    assert reasons["train", 2][1].startswith("unreadable: Cannot decode 'empty.mp4'")
    assert reasons["train", 3][1] == "same content as the training video 'h264.mp4'"
    assert reasons["train", 4][1].startswith("unreadable: Cannot decode 'text.webm'")
    assert reasons["train", 6][1] == "unreadable: Cannot decode 'no_frames': it has no frames."
    assert reasons["train", 7][1] == "listed before, as the training video 'images'"
    assert reasons["train", 8][1].startswith("unreadable: Cannot decode 'hangs.mp4': it is a pipe")
    assert reasons["train", 9][1] == "same content as the validation video 'copy.webm'"
    assert reasons["train", 10][1] == "listed before, as the validation video 'mpeg4.avi'"
    assert reasons["train", 11][1].startswith("truncated")
    assert len(checked.findings) == 10
    assert checked.usable.train == (train[0], train[5], train[11])
    assert checked.usable.validation == validation
    # Two are listed twice.
    assert calls == [(done, 12) for done in range(1, 13)]


def entries(journal):
    return [pathlib.Path(json.loads(line)[0]).name for line in journal.read_text().splitlines()]


def test_a_check_goes_on_after_it_was_killed(folder):
    names = ("h264.mp4", "images", "mpeg4.avi", "vp9.webm")
    videos = VideoSet(train=records_of(folder, *names), validation=(), class_names=("a",))
    journal = folder / "journal.jsonl"

    def run(**settings):
        return check_videos(videos, journal=str(journal), workers=1, **settings)

    assert run().findings == ()
    assert entries(journal) == [*names]
    # Killed while it wrote the last line.
    journal.write_text(journal.read_text()[:-40])
    assert run().findings == ()
    *_, half, last = journal.read_text().splitlines()
    assert half.startswith(f'["{folder}/vp9.webm"')
    assert last.startswith(f'["{folder}/vp9.webm"')
    assert len(journal.read_text().splitlines()) == 5
    # What was checked wholly needs no quick check.
    run(quick=True)
    assert len(journal.read_text().splitlines()) == 5
    # A file that changed is checked anew.
    cut(folder / "images" / "7.jpg", 0.2)
    (finding,) = run().findings
    assert "7.jpg" in finding.reason
    assert len(journal.read_text().splitlines()) == 6
