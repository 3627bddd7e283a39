"""How far a long task is."""

import pytest

from keras_multigrid import progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99.4, "99 s"), (100, "2 min"), (5_940, "99 min"), (11_100, "3 h 05 min")],
)
def test_times_as_people_say_them(seconds, text):
    assert progress.as_time(seconds) == text


def test_lines_in_a_log(capsys, monkeypatch):
    shown = progress.Progress("video")
    for done in range(1, 4):
        shown(done, 1000)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    shown(500, 1000)
    assert capsys.readouterr().out == "500 of 1,000 videos, 0 s left\n"
    # What could not be read is left out.
    shown(990, 1000, is_end=True)
    assert capsys.readouterr().out == "990 of 1,000 videos, 0 s\n"


def test_the_start_is_no_part_of_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    times = iter([0.0, 40.0, 44.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    shown = progress.Progress("video")
    shown(1, 41)
    shown(5, 41)
    # A second for each of the 36 others.
    assert capsys.readouterr().out == "1 of 41 videos\n5 of 41 videos, 36 s left\n"


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    shown = progress.Progress("video")
    shown(1, 2)
    shown(2, 2)
    output = capsys.readouterr().out
    assert "2/2" in output
    assert "\r" in output
