"""Files of a run: whole or not at all, and what is told when that fails."""

import contextlib
import os

import pytest

from keras_multigrid import storage


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
    assert storage.read(path) is None
    storage.write(path, "text")
    storage.write(path, b"bytes")
    assert storage.read(path) == b"bytes"
    assert os.listdir(tmp_path / "run") == ["file"]
    storage.remove(path)
    storage.remove(path)
    assert storage.read(path) is None


def test_a_read_only_folder_is_told_and_keeps_its_files(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    tmp_path.chmod(0o555)
    with as_nobody(), pytest.raises(storage.StorageError, match=r"Cannot write .*denied"):
        storage.write(str(path), "after")
    assert path.read_text() == "before"


def test_a_full_disk_is_told_and_leaves_the_file_before(tmp_path):
    path = str(tmp_path / "file")
    storage.write(path, "before")
    os.symlink("/dev/full", f"{path}.unfinished")
    with pytest.raises(
        storage.StorageError, match=r"Cannot write .*/file: No space left on device"
    ):
        storage.write(path, "after")
    assert storage.read(path) == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(storage.StorageError, match=r"Cannot read .*: Is a directory"):
        storage.read(str(tmp_path))


def test_remote_paths():
    assert storage.is_remote("s3://bucket/run")
    assert not storage.is_remote("/disk/run")
    with pytest.raises(ValueError, match=r"no file system for nope:// here.* tensorflow-io"):
        storage.check_scheme("nope://bucket/run")
