import os
import subprocess
import sys

import pytest

from keras_multigrid.data.lists.folders import class_folders
from keras_multigrid.data.lists.frame_lists import charades_frame_lists
from keras_multigrid.data.lists.lines import BadLinesError, collect_bad_lines
from keras_multigrid.data.lists.path_lists import path_label_lists
from keras_multigrid.data.lists.split_rules import by_fraction, by_pattern
from keras_multigrid.data.videos.video import Span, VideoRecord, VideoSet


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def labels_by_path(records, root):
    return {record.path.removeprefix(f"{root}/"): record.label for record in records}


@pytest.fixture
def weizmann(tmp_path):
    root = tmp_path / "weizmann"
    for name in (
        "walk/ida_walk.avi",
        "walk/denis_walk.avi",
        "run/denis_run.MP4",
        "run/README",
        "run/.DS_Store",
        "run/._denis_run.avi",
        "run/eli_run/000001.jpg",
        "run/eli_run/000002.jpg",
        "run/no_frames/notes.txt",
        ".git/config",
        "labels.txt",
    ):
        write(root / name)
    return root


def test_class_folders_takes_videos_and_frame_folders_in_sorted_order(weizmann):
    videos = class_folders(weizmann, validation=by_pattern("/denis_"))
    assert videos.class_names == ("run", "walk")
    assert videos.num_classes == 2
    assert not videos.multi_label
    assert videos.train == (
        VideoRecord(path=f"{weizmann}/run/eli_run", label=0),
        VideoRecord(path=f"{weizmann}/walk/ida_walk.avi", label=1),
    )
    assert videos.validation == (
        VideoRecord(path=f"{weizmann}/run/denis_run.MP4", label=0),
        VideoRecord(path=f"{weizmann}/walk/denis_walk.avi", label=1),
    )


def test_class_folders_gives_the_split_rule_relative_paths(weizmann):
    seen = []

    def first_of(paths):
        seen.extend(paths)
        return [True, False, False, False]

    class_folders(str(weizmann), validation=first_of)
    assert seen == [
        "run/denis_run.MP4",
        "run/eli_run",
        "walk/denis_walk.avi",
        "walk/ida_walk.avi",
    ]


def test_class_folders_with_a_second_root(weizmann, tmp_path):
    second = tmp_path / "validation"
    write(second / "run" / "new.webm")
    write(second / "walk" / "new.webm")
    videos = class_folders(weizmann, validation=second)
    assert len(videos.train) == 4
    assert labels_by_path(videos.validation, second) == {"run/new.webm": 0, "walk/new.webm": 1}


def test_what_class_folders_leave_out_is_counted(weizmann):
    for name in (
        "run/a.mp4.part",
        "run/b.mp4.part",
        "run/c.webp",
        "run/sub/d.mp4",
        "walk/e/1.heic",
    ):
        write(weizmann / name)
    (weizmann / "walk" / "away.mp4").symlink_to("/mnt/away/b.mp4")
    (weizmann / "walk" / "away").symlink_to("/mnt/away/b")
    (weizmann / "walk" / "away.txt").symlink_to("/mnt/away/b.txt")
    (weizmann / "jump").symlink_to("/mnt/away/jump")
    os.mkfifo(weizmann / "walk" / "pipe.mp4")
    videos = class_folders(weizmann, validation=by_pattern("/denis_"))
    # Links that lead nowhere are videos that are missing.
    assert labels_by_path(videos.train, weizmann) == {
        "run/eli_run": 0,
        "walk/away": 1,
        "walk/away.mp4": 1,
        "walk/ida_walk.avi": 1,
    }
    assert sorted(videos.notes) == [
        f"broken links beside the class folders left out: 1, such as '{weizmann}/jump'",
        f"broken links left out: 1, such as '{weizmann}/walk/away.txt'",
        f"broken links taken for missing videos: 2, such as '{weizmann}/walk/away'",
        f"files beside the class folders left out: 1, such as '{weizmann}/labels.txt'",
        f"files with the suffix .part left out: 2, such as '{weizmann}/run/a.mp4.part'",
        f"files without suffix left out: 1, such as '{weizmann}/run/README'",
        f"folders of pictures of another kind, .heic, left out: 1, such as '{weizmann}/walk/e'",
        "folders that hold no pictures, but videos or folders, left out: 1, such as "
        f"'{weizmann}/run/sub'",
        f"folders without pictures left out: 1, such as '{weizmann}/run/no_frames'",
        f"pictures outside of a folder of frames left out: 1, such as '{weizmann}/run/c.webp'",
        f"what is neither file nor folder left out: 1, such as '{weizmann}/walk/pipe.mp4'",
    ]


def test_folders_one_level_too_deep_are_told(weizmann, tmp_path):
    with pytest.raises(ValueError) as error:
        class_folders(tmp_path, validation=by_pattern("/denis_"))
    assert str(error.value).splitlines() == [
        "There must be videos to train and to validate on. Received: 0 training and 0 validation "
        "videos. Expected layout:",
        "    root/",
        "      run/                 one folder for each class",
        "        denis_run.avi      a video file,",
        "        eli_run/           or a folder of frames: 000001.jpg, 000002.jpg, ...",
        "      walk/",
        "        ...",
        "Folders that hold no pictures, but videos or folders, left out: 2, such as "
        f"'{weizmann}/run'.",
        f"Files with the suffix .txt left out: 1, such as '{weizmann}/labels.txt'.",
    ]


def test_many_reasons_are_added_up(weizmann):
    for number in range(20):
        write(weizmann / "run" / f"a.{number}")
    notes = class_folders(weizmann, validation=by_pattern("/denis_")).notes
    assert len(notes) == 13
    assert notes[-1] == "others left out: 11"


@pytest.mark.parametrize(
    "suffix",
    ["3g2", "asf", "divx", "f4v", "gif", "m2ts", "m2v", "mpe", "MTS", "mxf", "ogv", "vob", "y4m"],
)
def test_more_suffixes_of_videos_are_taken(weizmann, suffix):
    write(weizmann / "walk" / f"new.{suffix}")
    videos = class_folders(weizmann, validation=by_pattern("/denis_"))
    assert f"walk/new.{suffix}" in labels_by_path(videos.train, weizmann)


def test_class_folders_names_classes_that_differ(weizmann, tmp_path):
    second = tmp_path / "validation"
    write(second / "run" / "new.webm")
    write(second / "jump" / "new.webm")
    with pytest.raises(ValueError, match=r"Only in `root`: \['walk'\].*`validation`: \['jump'\]"):
        class_folders(weizmann, validation=second)


def test_missing_folders_are_named_with_the_layout_and_the_setting(weizmann, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)`root`.*/nowhere'.*denis_run\.avi"):
        class_folders(tmp_path / "nowhere", validation=by_pattern("denis"))
    with pytest.raises(FileNotFoundError, match=r"(?s)`validation`.*/nowhere'.*denis_run\.avi"):
        class_folders(weizmann, validation=str(tmp_path / "nowhere"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match=r"/bare', which is missing or holds no folders"):
        class_folders(tmp_path / "bare", validation=by_pattern("denis"))


@pytest.mark.parametrize(
    ("pattern", "counts"), [("nobody", "4 training and 0 val"), ("", "0 training and 4 val")]
)
def test_an_empty_part_is_an_error(weizmann, pattern, counts):
    with pytest.raises(ValueError, match=f"Received: {counts}"):
        class_folders(weizmann, validation=by_pattern(pattern))


def test_a_rule_must_answer_for_every_path(weizmann):
    with pytest.raises(ValueError, match="shorter"):
        class_folders(weizmann, validation=lambda paths: [True])


def test_path_label_lists(tmp_path):
    train = write(
        tmp_path / "train.txt",
        "# made by hand\n\nwalk/denis.avi 7\nrun/eli run 2.avi\t3\r\n/data/x.mp4 0\ns3://b/y.mp4 1",
    )
    validation = write(tmp_path / "val.txt", "\ufeffwalk/ida.avi 9\n")
    videos = path_label_lists(train, validation=validation, root=tmp_path)
    assert [(record.path, record.label) for record in videos.train] == [
        (f"{tmp_path}/walk/denis.avi", 7),
        (f"{tmp_path}/run/eli run 2.avi", 3),
        ("/data/x.mp4", 0),
        ("s3://b/y.mp4", 1),
    ]
    assert videos.validation == (VideoRecord(path=f"{tmp_path}/walk/ida.avi", label=9),)
    assert videos.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_path_label_lists_split_by_a_rule_on_the_paths_as_written(tmp_path):
    train = write(tmp_path / "all.txt", "a/1.mp4 0\nb/1.mp4 1\na/2.mp4 0\n")
    videos = path_label_lists(train, validation=by_pattern("^b/"), root="gs://bucket/videos")
    assert [record.path for record in videos.train] == [
        "gs://bucket/videos/a/1.mp4",
        "gs://bucket/videos/a/2.mp4",
    ]
    assert [record.path for record in videos.validation] == ["gs://bucket/videos/b/1.mp4"]


def test_path_label_lists_with_class_names(tmp_path):
    train = write(tmp_path / "train.txt", "1.mp4 walk\n2.mp4 run\n3.mp4 2\n")
    videos = path_label_lists(train, validation=train, class_names=["run", "walk", "ride a bike"])
    assert [record.label for record in videos.train] == [1, 0, 2]
    assert [record.path for record in videos.train] == ["1.mp4", "2.mp4", "3.mp4"]
    assert videos.class_names == ("run", "walk", "ride a bike")


@pytest.mark.parametrize(
    ("line", "class_names", "reason"),
    [
        ("1.mp4", None, "it must be a path, a space or comma, and a label"),
        ("1.mp4 walk", None, "the label 'walk' must be a number"),
        ("1.mp4 -1", None, "the label '-1' must be a number"),
        ("1.mp4 1.5", None, "the label '1.5' must be a number"),
        ("1.mp4 jump", ("run", "walk"), "the label 'jump' must be a number or one of"),
        ("1.mp4 2", ("run", "walk"), "the label 2 must be below 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, class_names, reason):
    train = write(tmp_path / "train.txt", f"# header\n0.mp4 0\n{line}\n")
    with pytest.raises(ValueError) as error:
        path_label_lists(train, validation=by_fraction(0.5), class_names=class_names)
    assert f"{train}, line 3: {reason}" in str(error.value)
    assert f"Received: '{line}'" in str(error.value)


def test_lists_of_other_tools(tmp_path):
    for name in ("a.mp4", "a b.mp4", "#7.mp4", "eli/1.jpg", "ida 2/1.jpg"):
        write(tmp_path / "videos" / name)
    train = write(
        tmp_path / "train.txt",
        '"a b.mp4" 0\na.mp4, 1\n#7.mp4 2\n#8.mp4 2\na.mp4 120 3\neli 120 1\n"ida 2" 0\n# no 1\n',
    )
    videos = path_label_lists(train, validation=train, root=tmp_path / "videos")
    assert [(r.path.removeprefix(f"{tmp_path}/videos/"), r.label) for r in videos.train] == [
        ("a b.mp4", 0),
        ("a.mp4", 1),
        ("#7.mp4", 2),
        ("a.mp4", 3),
        ("eli", 1),
        ("ida 2", 0),
    ]
    assert videos.notes == ("lines were read as `path frames label`",)
    assert videos.num_classes == 4


def test_a_label_by_mistake_makes_no_classes(tmp_path):
    good = write(tmp_path / "good.txt", "a.mp4 0\nb.mp4 999\n")
    assert path_label_lists(good, validation=good).num_classes == 1000
    for label, text in ((1000, "1,001"), (1_000_000_000, "1,000,000,001")):
        bad = write(tmp_path / "bad.txt", f"a.mp4 0\nb.mp4 {label}\n")
        with pytest.raises(BadLinesError) as error:
            path_label_lists(bad, validation=good)
        assert str(error.value) == (
            f"{bad}, line 2: the label {label} would make {text} classes, of 4 lines; name the "
            f"classes with `class_names` if there are as many. Received: 'b.mp4 {label}'. "
            "Correct the line."
        )
    with collect_bad_lines() as bad_lines:
        videos = path_label_lists(bad, validation=good)
    assert [record.path for record in videos.train] == ["a.mp4"]
    assert len(bad_lines) == 1
    # Not even a number that Python takes for one.
    bad = write(tmp_path / "bad.txt", f"a.mp4 {'9' * 5000}\n")
    with pytest.raises(BadLinesError):
        path_label_lists(bad, validation=good)


def test_as_many_classes_as_lines_may_have(tmp_path):
    lines = "".join(f"{number}.mp4 {number}\n" for number in range(1500))
    train = write(tmp_path / "train.txt", lines)
    assert path_label_lists(train, validation=train).num_classes == 1500


def test_doubled_class_names(tmp_path):
    train = write(tmp_path / "train.txt", "1.mp4 walk\n")
    names = write(tmp_path / "names.txt", "walk\nrun\nwalk\n")
    for class_names in (names, ("walk", "run", "walk")):
        with pytest.raises(
            ValueError, match=r"must differ. Received: 'walk' for the classes \[0, 2"
        ):
            path_label_lists(train, validation=train, class_names=class_names)


def test_several_labels(tmp_path):
    train = write(tmp_path / "train.txt", "a.mp4 3\nb.mp4 0,2\nc.mp4 2 0 2\n")
    videos = path_label_lists(train, validation=train, multi_label=True)
    assert videos.multi_label
    assert [record.label for record in videos.train] == [(3,), (0, 2), (0, 2)]
    assert videos.class_names == ("0", "1", "2", "3")
    with pytest.raises(BadLinesError, match="line 2: it has several labels: set multi_label=True"):
        path_label_lists(train, validation=train)


def spans(videos):
    return [(r.path, r.span.start, r.span.end, r.span.unit, r.label) for r in videos.train]


def test_parts_of_untrimmed_videos(tmp_path):
    train = write(tmp_path / "train.txt", "a.mp4,0,10,1\na.mp4,12.5,20,0\n")
    videos = path_label_lists(train, validation=train)
    assert spans(videos) == [("a.mp4", 0, 10, "seconds", 1), ("a.mp4", 12.5, 20, "seconds", 0)]
    assert videos.notes == (
        "lines were read as `path start end label`",
        "starts and ends were read as seconds",
    )
    # The other list's numbers tell the unit, too.
    validation = write(tmp_path / "val.txt", "a.mp4 30 40 1\n")
    videos = path_label_lists(train, validation=validation)
    assert videos.validation[0].span == Span(start=30, end=40, unit="seconds")
    named = write(tmp_path / "named.csv", "path,start_frame,end_frame,label\na.mp4,0,10,1\n")
    assert spans(path_label_lists(named, validation=named)) == [("a.mp4", 0, 10, "frames", 1)]
    named = write(tmp_path / "named.csv", "video,t_start,t_end,label\na.mp4,0,10,1\n")
    assert spans(path_label_lists(named, validation=named)) == [("a.mp4", 0, 10, "seconds", 1)]


def test_whole_numbers_may_be_seconds_or_frames(tmp_path):
    train = write(tmp_path / "train.txt", "a.mp4,0,10,1\na.mp4,12,20,0\n")
    with pytest.raises(BadLinesError) as error:
        path_label_lists(train, validation=train)
    assert str(error.value) == (
        f"{train}, line 1: its numbers may be seconds or frames: set `spans` to one of them (for "
        "several labels set multi_label=True). Received: 'a.mp4,0,10,1'. Correct the line."
    )
    videos = path_label_lists(train, validation=train, spans="frames")
    assert spans(videos) == [("a.mp4", 0, 10, "frames", 1), ("a.mp4", 12, 20, "frames", 0)]
    with pytest.raises(ValueError, match="`spans`"):
        path_label_lists(train, validation=train, spans="minutes")
    half = write(tmp_path / "half.txt", "a.mp4,0.5,10,1\n")
    with pytest.raises(BadLinesError, match="must be whole numbers of frames"):
        path_label_lists(half, validation=half, spans="frames")
    with pytest.raises(BadLinesError, match="it must be `path,start,end,label`"):
        path_label_lists(half, validation=write(tmp_path / "a.txt", "a.mp4 1\n"), spans="seconds")


def test_class_names_from_a_file(tmp_path):
    names = write(tmp_path / "class_names.txt", "run\nride a bike\n#hash\n")
    train = write(tmp_path / "train.txt", "1.mp4 1\n2.mp4 run\n")
    videos = path_label_lists(train, validation=train, class_names=names)
    assert videos.class_names == ("run", "ride a bike", "#hash")
    assert [record.label for record in videos.train] == [1, 0]
    with pytest.raises(FileNotFoundError, match=r"`class_names` must be .*none\.txt"):
        path_label_lists(train, validation=train, class_names=tmp_path / "none.txt")


def test_missing_lists_and_roots_are_named_with_the_setting(tmp_path):
    good = write(tmp_path / "good.txt", "a.mp4 0\n")
    missing = tmp_path / "missing.txt"
    with pytest.raises(FileNotFoundError, match=r"(?s)`train`.*missing\.txt.*denis_walk\.avi 7"):
        path_label_lists(missing, validation=good)
    with pytest.raises(FileNotFoundError, match=r"(?s)`validation`.*missing\.txt"):
        path_label_lists(good, validation=missing)
    with pytest.raises(FileNotFoundError, match=r"(?s)`root`.*/nowhere'"):
        path_label_lists(good, validation=good, root=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r'(?s)`train`.*missing\.txt.*"23,154"'):
        charades_frame_lists(missing, validation=good)
    with pytest.raises(FileNotFoundError, match=r"(?s)`root`.*/nowhere'"):
        charades_frame_lists(good, validation=good, root=tmp_path / "nowhere")


def test_an_empty_list_is_an_error(tmp_path):
    good, empty = write(tmp_path / "good.txt", "a.mp4 0\n"), write(tmp_path / "empty.txt", "# no\n")
    with pytest.raises(ValueError, match="1 training and 0 validation"):
        path_label_lists(good, validation=empty)
    with pytest.raises(ValueError, match="0 training and 1 validation"):
        path_label_lists(empty, validation=good)
    with pytest.raises(
        ValueError, match=r"0 training and 0 validation videos\. Expected: a text file"
    ):
        path_label_lists(empty, validation=by_fraction(0.5))


CHARADES = """original_vido_id video_id frame_id path labels
46GP8 0 0 46GP8/46GP8-000001.jpg ""
46GP8 0 1 46GP8/46GP8-000002.jpg "23,154"
N11GT 1 0 N11GT/N11GT-000001.jpg "4"
46GP8 0 2 46GP8/46GP8-000003.jpg "23,6"
"""


def test_charades_frame_lists(tmp_path):
    train = write(tmp_path / "train.csv", CHARADES)
    validation = write(tmp_path / "val.csv", CHARADES.replace("vido", "video"))
    videos = charades_frame_lists(train, validation=validation, root=tmp_path)
    assert videos.multi_label
    assert videos.num_classes == 157
    assert videos.class_names[156] == "156"
    assert videos.train == (
        VideoRecord(
            path=f"{tmp_path}/46GP8",
            label=(6, 23, 154),
            frame_paths=(
                f"{tmp_path}/46GP8/46GP8-000001.jpg",
                f"{tmp_path}/46GP8/46GP8-000002.jpg",
                f"{tmp_path}/46GP8/46GP8-000003.jpg",
            ),
            frame_labels=((), (23, 154), (23, 6)),
        ),
        VideoRecord(
            path=f"{tmp_path}/N11GT",
            label=(4,),
            frame_paths=(f"{tmp_path}/N11GT/N11GT-000001.jpg",),
            frame_labels=((4,),),
        ),
    )
    assert videos.validation == videos.train


def test_frame_paths_may_contain_spaces(tmp_path):
    train = write(tmp_path / "train.csv", CHARADES + 'A 2 0 my frames/1.jpg "5"\n')
    videos = charades_frame_lists(train, validation=train)
    assert videos.train[2].frame_paths == ("my frames/1.jpg",)
    assert videos.train[2].label == (5,)


def test_charades_frames_share_their_labels(tmp_path):
    lines = [f'A 0 {i} A/{i}.jpg "3,5"\n' for i in range(4)] + ['B 1 0 B/0.jpg "3,5"\n']
    train = write(tmp_path / "train.csv", CHARADES.splitlines()[0] + "\n" + "".join(lines))
    videos = charades_frame_lists(train, validation=by_pattern("B"))
    labels = [*videos.train[0].frame_labels, *videos.validation[0].frame_labels]
    assert labels == [(3, 5)] * 5
    assert len({id(label) for label in labels}) == 1


def test_a_video_may_be_called_by_a_hash(tmp_path):
    write(tmp_path / "#7" / "1.jpg")
    lines = '#7 2 0 #7/1.jpg "5"\n#8 2 0 #8/1.jpg "5"\n# a comment\n'
    train = write(tmp_path / "train.csv", CHARADES + lines)
    videos = charades_frame_lists(train, validation=train, root=tmp_path)
    assert [os.path.basename(record.path) for record in videos.train] == ["46GP8", "N11GT", "#7"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("46GP8 0 3 46GP8/4.jpg", "expected the five fields"),
        ('46GP8 0 3 46GP8/4.jpg "1" x', "the label 'x' must be a number"),
        ('46GP8 0 3 46GP8/4.jpg "1,157"', "the label '157' must be a number below 157"),
        ('46GP8 0 3 46GP8/4.jpg "one"', "the label 'one' must be a number below 157"),
    ],
)
def test_a_bad_charades_line_is_named(tmp_path, line, reason):
    train = write(tmp_path / "train.csv", f"{CHARADES}{line}\n")
    with pytest.raises(ValueError) as error:
        charades_frame_lists(train, validation=by_fraction(0.5))
    assert f"{train}, line 6: " in str(error.value)
    assert reason in str(error.value)
    assert line in str(error.value)


def test_a_charades_list_needs_its_header(tmp_path):
    train = write(tmp_path / "train.csv", CHARADES.split("\n", 1)[1])
    with pytest.raises(ValueError, match=r"train\.csv, line 1: the first line must be `original"):
        charades_frame_lists(train, validation=train)


def test_a_hundred_thousand_lines_load(tmp_path):
    lines = "".join(f"class_{i % 400}/video {i}.mp4 {i % 400}\n" for i in range(100_000))
    train = write(tmp_path / "train.txt", lines)
    videos = path_label_lists(train, validation=by_fraction(0.1), root=tmp_path)
    assert len(videos.train) + len(videos.validation) == 100_000
    assert videos.num_classes == 400


def test_records_are_frozen():
    record = VideoRecord(path="a.mp4", label=0)
    with pytest.raises(AttributeError):
        record.label = 1
    videos = VideoSet(train=[record], validation=[record], class_names=("a",))
    with pytest.raises(AttributeError):
        videos.multi_label = True


def test_annotations_need_neither_tensorflow_nor_keras():
    code = (
        "import sys, keras_multigrid.data.annotations;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'gin')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
