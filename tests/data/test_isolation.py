"""The functions that the workers call are the standard library's own."""

import os
import signal
import time

from keras_multigrid.data.isolation import Lost, isolated_map


def results(function, items, **settings):
    return dict(isolated_map(function, items, **({"workers": 2, "time_limit": 30.0} | settings)))


def test_every_item_has_its_result(tmp_path):
    (tmp_path / "a").write_text("12345")
    (tmp_path / "b").write_text("")
    paths = [str(tmp_path / name) for name in ("a", "b")] + [str(tmp_path)] * 20
    assert len(list(isolated_map(os.path.getsize, paths, workers=3, time_limit=30.0))) == 22
    assert results(os.path.getsize, paths[:2]) == {paths[0]: 5, paths[1]: 0}
    assert results(os.path.getsize, []) == {}


def test_an_error_is_a_lost_result(tmp_path):
    missing, there = str(tmp_path / "missing"), str(tmp_path)
    found = results(os.path.isdir, [there]) | results(os.path.getsize, [missing, there], workers=1)
    assert isinstance(found[missing], Lost)
    assert "FileNotFoundError" in found[missing].reason
    # The worker goes on.
    assert found[there] == os.path.getsize(there)


def test_a_crash_loses_one_item_only():
    found = results(signal.raise_signal, [signal.SIGSEGV, signal.SIGCHLD, signal.SIGABRT])
    assert found[signal.SIGSEGV] == Lost("it ended the process that read it (SIGSEGV)")
    assert found[signal.SIGABRT] == Lost("it ended the process that read it (SIGABRT)")
    assert found[signal.SIGCHLD] is None
    assert results(os._exit, [3])[3] == Lost("it ended the process that read it (exit code 3)")


def test_a_hang_loses_one_item_only():
    begun = time.monotonic()
    found = results(time.sleep, [600, 0.0, 0.01, 0.02], time_limit=1.0)
    assert found == {600: Lost("it took longer than 1 seconds"), 0.0: None, 0.01: None, 0.02: None}
    assert time.monotonic() - begun < 60
