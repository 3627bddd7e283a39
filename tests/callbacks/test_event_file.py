"""TensorBoard's files by themselves; what a training writes is in test_training_log.py."""

import contextlib
import os
import resource

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_multigrid import files
from keras_multigrid.callbacks.event_file import EventFile


@contextlib.contextmanager
def largest_file(size):
    """The kernel's own error, as of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def scalars(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {event.step: event.value for event in events.Scalars("loss")}


def test_a_full_disk_costs_nothing_once_there_is_room_again(tmp_path, caplog):
    events = EventFile(str(tmp_path), start_step=0)
    for step in range(200):
        events.scalar("loss", step / 4, step=step)
        # Half a record fits.
        with largest_file(1000) if 10 < step < 190 else contextlib.nullcontext():
            events.flush()
        if step == 100:
            assert len(scalars(tmp_path)) < 50
    events.close()
    assert scalars(tmp_path) == {step: step / 4 for step in range(200)}
    assert caplog.text.count("TensorBoard lacks what cannot be written now") == 1
    assert len(os.listdir(tmp_path)) == 1


def test_what_never_fits_is_forgotten_in_the_end(tmp_path):
    events = EventFile(str(tmp_path), start_step=0)
    noise = np.random.default_rng(0).integers(0, 255, (1000, 2000, 3)).astype(np.uint8)
    with largest_file(1000):
        for step in range(4):
            events.picture("noise", noise, step=step)
            events.flush()
    events.scalar("loss", 0.5, step=9)
    events.close()
    assert scalars(tmp_path) == {9: 0.5}


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(files.StorageError, match=r"Cannot write to .*file/logs"):
        EventFile(str(tmp_path / "file" / "logs"), start_step=0)


def test_a_restart_shows_nothing_twice_and_no_secrets(tmp_path):
    picture = np.zeros((2, 2, 3), np.uint8)
    for start in (0, 0, 5):
        events = EventFile(str(tmp_path), start_step=start)
        for step in range(start, 8):
            events.picture("clips", picture, step=step)
        events.text("settings", "root = 'https://me:word@host/a?sig=b'", step=start)
        events.close()
    shown = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    assert [image.step for image in shown.Images("clips")] == list(range(8))
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"root = 'https://host/a?hidden-" in content
    assert b"word" not in content
