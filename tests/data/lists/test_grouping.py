import re

import pytest

from keras_multigrid.data.lists import validation_groups
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

PEOPLE = ("ida", "eli", "lena", "shahar")


def video_set(validation, *, train=(), multi_label=False):
    records = [
        [VideoRecord(path=path, label=(label,) if multi_label else label) for path, label in part]
        for part in (train, validation)
    ]
    return VideoSet(
        train=records[0],
        validation=records[1],
        class_names=("run", "walk"),
        multi_label=multi_label,
    )


def of_people(*people):
    return [
        (f"/data/{name}/{person}_{name}.avi", label)
        for label, name in enumerate(("run", "walk"))
        for person in people
    ]


VIDEOS = video_set(of_people("ida", "eli"), train=of_people("lena", "shahar"))


def test_groups_that_names_show_are_found_in_both_parts():
    found = validation_groups(VIDEOS, "group")
    # Two groups alone would not be taken for groups.
    assert found.groups == ("ida", "eli", "ida", "eli")
    assert found.place == "the part of the name before the class"
    paths = [(f"/data/s{n:02}_{k}.avi", n % 2) for n in range(6) for k in range(2)]
    several = video_set(paths, multi_label=True)
    assert validation_groups(several, "group").groups[:3] == ("s00", "s00", "s01")


def test_groups_of_a_pattern():
    found = validation_groups(VIDEOS, r"/(\w)\w+_")
    assert found.groups == ("i", "e", "i", "e")
    assert found.place == r"the pattern '/(\\w)\\w+_'"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.csv", [
            "path,label,camera",
            "run/ida_run.avi,run,front", "run/eli_run.avi,run,side", "walk/ida_walk.avi,walk,front",
            "walk/eli_walk.avi,walk,", "none.avi,run,top",
        ]),
        # By the name alone, without its suffix; the first column, whatever its name.
        ("b.tsv", [
            "clip\tcamera", "ida_run\tfront", "eli_run\tside", "ida_walk\tfront", "eli_walk\t",
        ]),
        ("c.csv", [
            "Camera , camera,video",
            '1, front,"/data/run/ida_run.avi"', "2,side,eli_run.avi", "1,front,ida_walk.avi",
            "1,,eli_walk.avi", "1,front,ida_walk.avi",
        ]),
    ],
)  # fmt: skip
def test_groups_of_a_column(name, lines, tmp_path):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    found = validation_groups(VIDEOS, "camera", path)
    assert found.groups == ("front", "side", "front", "none")
    assert found.place == f"the column 'camera' of {path}"


def test_the_longest_end_of_a_path_counts(tmp_path):
    table = tmp_path / "cameras.csv"
    table.write_text("path,camera\n1.avi,other\nrun/1.avi,front\nwalk/1.avi,side\n")
    videos = video_set([("/data/run/1.avi", 0), ("/data/walk/1.avi", 1)])
    assert validation_groups(videos, "camera", table).groups == ("front", "side")


def test_what_names_no_groups(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,label,camera\nida_run.avi,0,front\nida_run.avi,0,side\n")
    for by, message in (
        ("camera", "must have one 'camera' for each video. Received: 'front' and 'side'"),
        ("place", "Received: by='place'. There are: 'path', 'label', 'camera'"),
        ("label", "none for 3 of 4, such as '/data/run/eli_run.avi'"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            validation_groups(VIDEOS, by, table)
    for by, message in (
        ("camera", "`by` must be 'group', a regular expression"),
        (r"/(\d+)_", "which does not match '/data/run/ida_run.avi'"),
        ("((", "must be a regular expression: "),
        ("(?:a)", "must have a part in parentheses"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            validation_groups(VIDEOS, by)
    with pytest.raises(FileNotFoundError, match="`table` must be a CSV file"):
        validation_groups(VIDEOS, "camera", tmp_path / "none.csv")
    numbered = video_set([(f"/data/{n}.avi", n % 2) for n in range(8)])
    with pytest.raises(ValueError, match="needs names that show groups by one clear pattern"):
        validation_groups(numbered, "group")
