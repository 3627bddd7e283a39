"""Files of a run: whole or not at all, and what is told when that fails."""

import contextlib
import os

import pytest

from keras_multigrid import files


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
    with pytest.raises(ValueError, match=r"no file system for nope:// here.* tensorflow-io"):
        files.check_scheme("nope://bucket/run")
