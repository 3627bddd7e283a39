"""Files of a run: whole or not at all, and what is told when that fails."""

import contextlib
import os

import pytest
from absl import logging

from keras_multigrid import files
from keras_multigrid.data.bad_videos import BadVideos


@contextlib.contextmanager
def as_nobody():
    """Root may write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_a_file_is_written_and_read(tmp_path):
    path = str(tmp_path / "run" / "file")
    assert files.read(path) is None
    files.write(path, "text")
    files.write(path, b"bytes")
    assert files.read(path) == b"bytes"
    assert os.listdir(tmp_path / "run") == ["file"]
    files.remove(path)
    files.remove(path)
    assert files.read(path) is None


def test_a_read_only_folder_is_told_and_keeps_its_files(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    tmp_path.chmod(0o555)
    with as_nobody(), pytest.raises(files.StorageError, match=r"Cannot write .*denied"):
        files.write(str(path), "after")
    assert path.read_text() == "before"


def test_a_full_disk_is_told_and_leaves_the_file_before(tmp_path):
    path = str(tmp_path / "file")
    files.write(path, "before")
    os.symlink("/dev/full", f"{path}.unfinished")
    with pytest.raises(files.StorageError, match=r"Cannot write .*/file: No space left on device"):
        files.write(path, "after")
    assert files.read(path) == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(files.StorageError, match=r"Cannot read .*: Is a directory"):
        files.read(str(tmp_path))


def test_remote_paths():
    assert files.is_remote("s3://bucket/run")
    assert not files.is_remote("/disk/run")
    with pytest.raises(ValueError, match=r"no file system for nope:// here.* pip install"):
        files.check_scheme("nope://bucket/run")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SE/CRET@bucket/a b.mp4", "s3://bucket/a b.mp4"),
        ("hdfs://me@host:9000/p@q/x", "hdfs://host:9000/p@q/x"),
        ("'https://h/a?sig=b%3D&x=1'", "'https://h/a?hidden-872a2993'"),
        ("(http://u:p@s@h:80/v.mp4?token=abc).", "(http://h:80/v.mp4?hidden-023abfc7)."),
        ("https://h/a.mp4?tokenSEKRET", "https://h/a.mp4?hidden-4727721a"),
        ("at 'https://u:p'S@h/it's.mp4?sig=S'.", "at 'https://h/it's.mp4?hidden-ae860937'."),
        ("https://h/a b.mp4?sig=S&x=1", "https://h/a b.mp4?sig=hidden&x=1"),
        ("https:\\/\\/h\\/a?x=1&X-Amz-Signature=S", "https:\\/\\/h\\/a?x=1&X-Amz-Signature=hidden"),
        ("https://h/a?hidden-1=SEKRET", "https://h/a?hidden-8089be50"),
        # No secrets: a name with a question mark, a port, a local path, what is hidden already.
        ("s3://bucket/what?.mp4 x", "s3://bucket/what?.mp4 x"),
        ("grpc://localhost:5050/a@b", "grpc://localhost:5050/a@b"),
        ("/home/a@b/c?d=e", "/home/a@b/c?d=e"),
        ("https://h/a?hidden-00112233 ok", "https://h/a?hidden-00112233 ok"),
    ],
)
def test_secrets_of_addresses_are_hidden(text, shown):
    assert files.redacted(text) == shown
    assert files.redacted(shown) == shown


def test_secrets_are_not_logged(caplog):
    logging.warning("Cannot read %s.", "https://me:word@host/a?sig=b")
    assert caplog.messages == ["Cannot read https://host/a?hidden-37a01f8f."]


def test_bad_videos_are_listed_without_secrets(tmp_path):
    path = "https://me:word@host/1.mp4?sig=b"
    for _ in range(2):
        bad_videos = BadVideos(str(tmp_path / "bad.txt"))
        bad_videos.add(path, ValueError(f"Cannot decode '{path}': it is empty."))
        bad_videos.add(path, ValueError("again"))
    shown = "https://host/1.mp4?hidden-37a01f8f"
    assert bad_videos.errors == {shown: f"Cannot decode '{shown}': it is empty."}
    text = (tmp_path / "bad.txt").read_text()
    assert text == f"{shown}\tCannot decode '{shown}': it is empty.\n"


def test_home():
    assert files.expanded("~/runs") == os.path.join(os.path.expanduser("~"), "runs")
    assert files.expanded("s3://bucket/~/runs") == "s3://bucket/~/runs"
    assert files.expanded(None) is None
