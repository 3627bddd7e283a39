"""One process at a time trains in a folder."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from test_checkpoint import StopAfter, train
from test_termination import LIMIT, begin, start

from keras_multigrid import MultigridCheckpoint
from keras_multigrid.callbacks import lease
from keras_multigrid.callbacks.lease import FolderInUseError, Lease


def write(folder, **values):
    """The lease of a process on another machine."""
    content = {"host": "far", "process": 7, "since": "noon", "machine": "m", "started": "1"}
    folder.mkdir(exist_ok=True)
    (folder / "lease.json").write_text(json.dumps({**content, "renewals": 1, **values}))


def test_a_second_process_is_told_who_trains_and_a_dead_one_is_forgotten(tmp_path):
    process = start(tmp_path, steps=2)
    run = str(tmp_path / "run")
    holder = json.loads((tmp_path / "run" / "lease.json").read_text())
    name = f"process {process.pid} on {socket.gethostname()}, since {holder['since'][:10]}"
    with pytest.raises(FolderInUseError, match=name):
        Lease(run).take()
    # A training of the same folder stops before it writes anything.
    before = sorted(os.listdir(run))
    second = begin(tmp_path, steps=-1)
    assert second.wait(timeout=LIMIT) == 1
    assert f"FolderInUseError: Another process trains in {run}: {name}" in second.stderr.read()
    assert sorted(os.listdir(run)) == before
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=LIMIT)
    begun = time.monotonic()
    with Lease(run):
        assert time.monotonic() - begun < 30
        assert json.loads((tmp_path / "run" / "lease.json").read_text())["process"] == os.getpid()
    assert not (tmp_path / "run" / "lease.json").exists()


def test_leases_of_one_process_are_shared(tmp_path):
    with Lease(str(tmp_path)), Lease(str(tmp_path)):
        assert os.listdir(tmp_path) == ["lease.json"]
    assert os.listdir(tmp_path) == []


def test_a_process_elsewhere_that_renews_its_lease_holds_it(tmp_path):
    write(tmp_path)
    threading.Timer(1.0, write, [tmp_path], {"renewals": 2}).start()
    with pytest.raises(FolderInUseError, match="process 7 on far, since noon"):
        Lease(str(tmp_path)).take()


def test_a_process_elsewhere_that_does_not_loses_it(tmp_path, monkeypatch):
    # Less than two minutes, which are too long for a test.
    monkeypatch.setattr(lease, "_DURATION", 3.0)
    write(tmp_path)
    with Lease(str(tmp_path)) as held:
        held.check()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"host": 1}', "[" * 100_000])
def test_a_damaged_lease_ends_as_one_of_elsewhere(tmp_path, monkeypatch, content):
    monkeypatch.setattr(lease, "_DURATION", 1.0)
    (tmp_path / "lease.json").write_text(content)
    with Lease(str(tmp_path)) as held:
        held.check()


def test_it_is_renewed_and_seen_to_be_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "_RENEWAL", 0.1)
    with Lease(str(tmp_path)) as held:
        end = time.monotonic() + LIMIT
        while json.loads((tmp_path / "lease.json").read_text())["renewals"] < 3:
            assert time.monotonic() < end
            time.sleep(0.05)
        # As if this process had been stopped for minutes.
        write(tmp_path)
        with pytest.raises(FolderInUseError, match="process 7 on far"):
            held.check()
    assert json.loads((tmp_path / "lease.json").read_text())["host"] == "far"


def test_a_run_whose_lease_is_lost_writes_no_checkpoint(tmp_path):
    class Lose(StopAfter):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 2:
                write(tmp_path)

    with pytest.raises(FolderInUseError, match="process 7 on far"):
        train(tmp_path, Lose(2))
    assert MultigridCheckpoint(str(tmp_path)).saved() == []
