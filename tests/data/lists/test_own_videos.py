import os

import pytest
from small_videos import pictures, write_video

from keras_multigrid.data.lists.lines import BadLinesError
from keras_multigrid.data.lists.own_videos import read_own, split_own


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names_of(videos, root):
    return [record.path.removeprefix(f"{root}/") for record in videos]


def test_class_folders_by_actor(tmp_path):
    actors = ("ida", "eli", "lena", "moshe", "ira")
    touch(tmp_path, *(f"{c}/{a}_{c}.avi" for c in ("run", "walk") for a in actors))
    split = split_own(read_own(str(tmp_path)))
    assert split.videos.class_names == ("run", "walk")
    (who,) = {
        name.split("/")[1].split("_")[0] for name in names_of(split.videos.validation, tmp_path)
    }
    assert len(split.videos.train) == 8
    assert not any(f"/{who}_" in name for name in names_of(split.videos.train, tmp_path))
    assert split.rule == "whole groups, 20% of each class, seed 0"
    assert split.reason == (
        "the part of the name before the class names a group: eli_run.avi is of 'eli'; 5 groups, "
        "none in both parts"
    )


def test_a_share_of_each_class_where_names_show_no_groups(tmp_path):
    touch(tmp_path, *(f"{c}/IMG_{n}.mp4" for c in ("run", "walk") for n in range(1000, 1010)))
    split = split_own(read_own(str(tmp_path)), share=0.3, seed=2)
    assert [video.label for video in split.videos.validation] == [0, 0, 0, 1, 1, 1]
    assert split.rule == "30% of each class, seed 2"
    assert "names show no groups clearly" in split.reason


def test_groups_that_are_given(tmp_path):
    touch(tmp_path, *(f"{c}/{n}_{k}.mp4" for c in ("run", "walk") for n in (1, 2) for k in "xy"))
    own = read_own(str(tmp_path))
    split = split_own(own, group=r"/(\d)_")
    assert len({name.split("/")[1][0] for name in names_of(split.videos.validation, tmp_path)}) == 1
    assert "groups by '/(\\\\d)_'" in split.reason
    assert len(split_own(own, group="none").videos.validation) == 2
    with pytest.raises(ValueError, match=r"must have a part in parentheses"):
        split_own(own, group="x")
    with pytest.raises(ValueError, match=r"must name the group of every video.*z/"):
        split_own(own, group="(z/)")
    with pytest.raises(ValueError, match=r"two groups at least. Received: '\(m\)p4', which names"):
        split_own(own, group="(m)p4")


def test_a_folder_with_a_split_of_its_own(tmp_path):
    touch(tmp_path, "train/run/1.mp4", "train/walk/1.mp4", "val/run/2.mp4", "val/walk/2.mp4")
    split = split_own(read_own(str(tmp_path)))
    assert names_of(split.videos.train, tmp_path) == ["train/run/1.mp4", "train/walk/1.mp4"]
    assert split.rule == "the folder's own"
    assert "trained on 'train' and validated on 'val'" in split.videos.notes
    # Trains and tests as classes.
    touch(tmp_path / "own", "train/1.mp4", "train/2.mp4", "test/1.mp4", "test/2.mp4")
    assert read_own(str(tmp_path / "own")).class_names == ("test", "train")


@pytest.mark.parametrize(
    "text",
    [
        "path,label\nb/1.mp4,run\nb/2.mp4,walk fast\na/3.mp4,run\na/4.mp4,walk fast\n",
        "b/1.mp4,run\nb/2.mp4,walk fast\n\na/3.mp4,run\na/4.mp4,walk fast",
        'path,label\n"b/1.mp4","run"\nb/2.mp4,"walk fast"\na/3.mp4,run\na/4.mp4,walk fast\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lists_with_names_for_labels(tmp_path, text, encoding):
    (tmp_path / "mine.csv").write_text(text, encoding)
    own = read_own(str(tmp_path / "mine.csv"))
    assert own.class_names == ("run", "walk fast")
    assert [record.label for record in own.records] == [0, 1, 0, 1]
    assert own.names == ("b/1.mp4", "b/2.mp4", "a/3.mp4", "a/4.mp4")
    assert own.records[0].path == f"{tmp_path}/b/1.mp4"


def test_lists_with_numbers_for_labels(tmp_path):
    (tmp_path / "mine.txt").write_text("1.mp4 3\n2.mp4 0\n3.mp4 3\n")
    own = read_own(str(tmp_path / "mine.txt"))
    # Classes that never occur would be outputs for nothing.
    assert own.class_names == ("0", "3")
    assert [record.label for record in own.records] == [1, 0, 1]
    (tmp_path / "bad.csv").write_text("1.mp4,3\n2.mp4\n3.mp4,0\n")
    with pytest.raises(BadLinesError, match=r"bad.csv, line 2"):
        read_own(str(tmp_path / "bad.csv"))


def test_columns_are_known_by_their_names(tmp_path):
    text = "label,path,note\nrun,1.mp4,good\nwalk,2.mp4,\nrun,3.mp4,dark\n"
    (tmp_path / "mine.csv").write_text(text)
    own = read_own(str(tmp_path / "mine.csv"))
    assert (own.class_names, own.names) == (("run", "walk"), ("1.mp4", "2.mp4", "3.mp4"))


def test_a_path_with_a_comma_needs_no_quotes_if_it_is_there(tmp_path):
    (tmp_path / "1, slow.mp4").touch()
    (tmp_path / "mine.csv").write_text("1, slow.mp4,walk\n2.mp4,run\n")
    assert read_own(str(tmp_path / "mine.csv")).names == ("1, slow.mp4", "2.mp4")


@pytest.mark.parametrize(
    "line, reason",
    [
        ("2.mp4,", "line 2: it must be path,label"),
        ("2.mp4,walk,dark", "line 2: it has 3 fields, and no first line says which is the label"),
        ("2.mp4;walk", "line 2: a comma must divide its path and its label, and no semicolon"),
        ('"2.mp4,walk', "line 2: its quotes are wrong"),
        ("2.mp4,g\u00e4hnen", "line 2: its label is not in UTF-8: save the list as UTF-8"),
    ],
)
def test_lines_that_do_not_say_their_label_are_refused(tmp_path, line, reason):
    text = f"1.mp4,run\n{line}\n3.mp4,walk\n"
    (tmp_path / "mine.csv").write_text(text, "latin-1")
    with pytest.raises(BadLinesError, match=reason):
        read_own(str(tmp_path / "mine.csv"))
    # The first line may be such a line, too.
    (tmp_path / "mine.csv").write_text(f"{line}\n3.mp4,walk\n", "latin-1")
    with pytest.raises(BadLinesError, match=reason.replace("line 2", "line 1")):
        read_own(str(tmp_path / "mine.csv"))


def test_a_class_folder_that_is_not_named_in_utf_8_is_refused(tmp_path):
    for folder in (b"run", b"g\xe4hnen"):
        path = tmp_path / os.fsdecode(folder)
        path.mkdir()
        for number in range(2):
            (path / f"{number}.mp4").touch()
    with pytest.raises(ValueError, match=r"must be text in UTF-8\. Received: 'g.udce4hnen'"):
        read_own(str(tmp_path))


def test_parts_of_one_file_stay_together(tmp_path):
    lines = [f"{n}.mp4,{k},{k + 1},{label}" for n in range(5) for k, label in ((0, 0), (5, 1))]
    (tmp_path / "mine.csv").write_text("path,t_start,t_end,label\n" + "\n".join(lines))
    split = split_own(read_own(str(tmp_path / "mine.csv")))
    assert len(split.videos.validation) == 2
    (path,) = {record.path for record in split.videos.validation}
    assert path not in {record.path for record in split.videos.train}


def test_what_cannot_be_trained_on(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a folder of videos for each.*none"):
        read_own(str(tmp_path / "none"))
    touch(tmp_path, "1.mp4", "2.mp4")
    with pytest.raises(FileNotFoundError, match="holds no folders"):
        read_own(str(tmp_path))
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=r"0 validation videos\. Expected layout:\n    root/\n"):
        read_own(str(tmp_path))
    touch(tmp_path, "run/1.mp4", "run/2.mp4", "walk/note.doc")
    message = r"two classes at least. Received: 'run'[^ß]*\nFiles with the suffix .doc left out: 1"
    with pytest.raises(ValueError, match=message):
        read_own(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        read_own(str(tmp_path / "none.csv"))


def test_a_class_of_one_video_is_trained_on(tmp_path):
    touch(tmp_path, "run/1.mp4", "walk/1.mp4", "walk/2.mp4", "empty/note.txt")
    own = read_own(str(tmp_path))
    assert "classes without videos left out: empty" in own.notes
    split = split_own(own)
    assert [record.label for record in split.videos.train] == [0, 1]
    assert [record.label for record in split.videos.validation] == [1]
    with pytest.raises(ValueError, match=r"to train and to validate on. Received: 2 and 0"):
        split_own(own.without({f"{tmp_path}/walk/1.mp4"}))


def test_videos_that_are_left_out_take_their_class_along(tmp_path):
    for name in ("run", "walk"):
        (tmp_path / name).mkdir()
        for number in range(2):
            write_video(tmp_path / name / f"{number}.mp4", "libx264", pictures(number))
    own = read_own(str(tmp_path)).without({f"{tmp_path}/run/0.mp4", f"{tmp_path}/run/1.mp4"})
    assert own.class_names == ("walk",)
    assert [record.label for record in own.records] == [0, 0]
