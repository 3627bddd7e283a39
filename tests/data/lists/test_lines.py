import pytest

from keras_multigrid.data.lists.lines import BadLine, BadLinesError, collect_bad_lines
from keras_multigrid.data.lists.path_lists import path_label_lists

NO_LABEL = "it must be a path, a space or comma, and a label"


def write(path, text):
    path.write_text(text)
    return path


def test_all_bad_lines_of_both_lists_are_told_at_once(tmp_path):
    train = write(tmp_path / "train.txt", "a.mp4 0\nb.mp4\nc.mp4 x\n")
    validation = write(tmp_path / "val.txt", "d.mp4 -1\n")
    with pytest.raises(BadLinesError) as error:
        path_label_lists(train, validation=validation)
    assert str(error.value).splitlines() == [
        f"{train}, line 2: {NO_LABEL}. Received: 'b.mp4'",
        f"{train}, line 3: the label 'x' must be a number. Received: 'c.mp4 x'",
        f"{validation}, line 1: the label '-1' must be a number. Received: 'd.mp4 -1'. "
        "Correct these lines.",
    ]


def test_ten_bad_lines_are_shown_and_the_others_counted(tmp_path):
    train = write(tmp_path / "train.txt", "a.mp4 0\n" + "b.mp4\n" * 1510)
    with pytest.raises(BadLinesError) as error:
        path_label_lists(train, validation=train)
    *shown, rest = str(error.value).splitlines()
    assert [f"line {number}:" in line for number, line in enumerate(shown, 2)] == [True] * 10
    assert rest == "and 3,010 more. Correct these lines."


def test_readers_go_on_past_bad_lines_that_are_collected(tmp_path):
    train = write(tmp_path / "train.txt", "a.mp4 0\nb.mp4\nc.mp4 1\n")
    with collect_bad_lines() as bad_lines:
        videos = path_label_lists(train, validation=train)
    assert [record.path for record in videos.train] == ["a.mp4", "c.mp4"]
    bad = BadLine(file=str(train), place="line 2", text="b.mp4", reason=NO_LABEL)
    assert bad_lines == [bad, bad]
    # Only there.
    with pytest.raises(BadLinesError):
        path_label_lists(train, validation=train)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_texts_as_windows_programs_write_them(tmp_path, encoding, end):
    text = end.join(("видео ä.mp4 0", "日本.mp4 1", ""))
    text = f"\ufeff{text}" if encoding == "utf-16-be" else text
    (tmp_path / "train.txt").write_bytes(text.encode(encoding))
    videos = path_label_lists(tmp_path / "train.txt", validation=tmp_path / "train.txt")
    assert [(video.path, video.label) for video in videos.train] == [
        ("видео ä.mp4", 0),
        ("日本.mp4", 1),
    ]


def test_no_path_holds_a_nul_byte(tmp_path):
    train = write(tmp_path / "train.txt", "a.mp4 0\nb\0.mp4 1\n")
    with pytest.raises(BadLinesError, match="line 2: no path holds a NUL byte"):
        path_label_lists(train, validation=train)
