import errno
import logging
import os
import threading
import time

import pytest

from keras_multigrid import files
from keras_multigrid.machine_faults import RETRY_VARIABLE, is_machine_fault, retried


@pytest.mark.parametrize(
    "name",
    ["EMFILE", "ENFILE", "EIO", "ESTALE", "ENOMEM", "ETIMEDOUT", "ECONNRESET", "EHOSTDOWN"],
)
def test_faults_of_the_machine(name):
    error = OSError(getattr(errno, name), "text", "file")
    assert is_machine_fault(error)
    with pytest.raises(files.StorageError) as raised, files.storage_errors("file", "read"):
        raise error
    assert is_machine_fault(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(getattr(errno, n), "text", "file") for n in ("ENOENT", "EACCES", "EISDIR")),
        *(OSError(getattr(errno, n), "text", "file") for n in ("ENOTDIR", "ELOOP", "EINVAL")),
        *(OSError("cannot identify image file"), ValueError("EIO"), files.StorageError("refused")),
    ],
)
def test_faults_of_a_file(error):
    assert not is_machine_fault(error)


def test_memory_and_servers():
    tf = pytest.importorskip("tensorflow")
    assert is_machine_fault(MemoryError())
    assert is_machine_fault(files.StorageUnavailableError("away"))
    assert is_machine_fault(tf.errors.UnavailableError(None, None, "away"))
    assert is_machine_fault(tf.errors.ResourceExhaustedError(None, None, "Too many open files"))
    assert not is_machine_fault(tf.errors.DataLossError(None, None, "corrupted record"))
    assert not is_machine_fault(tf.errors.NotFoundError(None, None, "none"))


def test_a_call_is_repeated_until_the_fault_is_over(monkeypatch, caplog):
    monkeypatch.setenv(RETRY_VARIABLE, "60")
    over = time.monotonic() + 0.5

    def call():
        if time.monotonic() < over:
            raise OSError(errno.EMFILE, "Too many open files", "a.mp4")
        return 7

    with caplog.at_level(logging.WARNING):
        assert retried("read a.mp4", call) == 7
    assert "Cannot read a.mp4: Too many open files. Trying again in" in caplog.text


def test_a_fault_that_lasts_ends_the_call_with_what_to_do(monkeypatch):
    monkeypatch.setenv(RETRY_VARIABLE, "0.2")
    calls = []

    def call():
        calls.append(threading.get_ident())
        raise OSError(errno.ESTALE, "Stale file handle", "a/1.jpg")

    match = r"Cannot read a: Stale file handle \(a/1\.jpg\)\. Tried for 0 s; KERAS_.*mend it"
    with pytest.raises(files.StorageUnavailableError, match=match):
        retried("read a", call)
    assert len(calls) > 1
    with pytest.raises(FileNotFoundError):
        retried("read a.mp4", lambda: os.stat("none.mp4"))
