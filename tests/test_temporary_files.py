import os
import signal
import stat
import time

import processes

from keras_multigrid import temporary_files

HOLD = """
import sys, tempfile, time
tempfile.tempdir = {parent!r}
sys.path.insert(0, {root!r})
from keras_multigrid import temporary_files
with temporary_files.temporary_folder() as folder:
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_folder_is_private_and_gone_at_the_end():
    with temporary_files.temporary_folder() as folder:
        for path in (folder, os.path.dirname(folder)):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert not os.path.exists(folder)
    assert temporary_files.private_folder() == os.path.dirname(folder)


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    root = os.path.dirname(os.path.dirname(temporary_files.__file__))
    process = processes.Process("-c", HOLD.format(root=root, parent=str(tmp_path)))
    text = ""
    while not text:
        assert process.poll() is None, process.stderr.read()
        text = process.stdout.readline()
        time.sleep(0.05)
    (folder,) = tmp_path.iterdir()
    # As if it were an hour old.
    os.utime(folder, (0, 0))
    temporary_files.remove_left(str(tmp_path))
    assert folder.exists()
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    os.utime(folder, (0, 0))
    temporary_files.remove_left(str(tmp_path))
    assert not folder.exists()
