import json

import pytest

from keras_multigrid.data.lists.lines import BadLinesError
from keras_multigrid.data.lists.published_sets import hmdb51, kinetics, something_something, ucf101
from keras_multigrid.data.videos.video import VideoRecord


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# Lines of the official files.
KINETICS_TRAIN = """label,youtube_id,time_start,time_end,split
zumba,---QUuC4vJs,84,94,train
"playing ""rock paper scissors"", twice",--3ouPhoy2A,20,30,train
abseiling,-3B32lodo2M,59,69,train
"""
KINETICS_VALIDATION = """label,youtube_id,time_start,time_end,split
abseiling,0wR5jVB-WPk,417,427,val
"""


@pytest.fixture
def kinetics_lists(tmp_path):
    return {
        "train": write(tmp_path / "train.csv", KINETICS_TRAIN),
        "validation": write(tmp_path / "validate.csv", KINETICS_VALIDATION),
        "root": tmp_path,
    }


def test_kinetics(kinetics_lists):
    videos = kinetics(**kinetics_lists)
    assert videos.class_names == ("abseiling", 'playing "rock paper scissors", twice', "zumba")
    root = kinetics_lists["root"]
    assert videos.train == (
        VideoRecord(path=f"{root}/zumba/---QUuC4vJs_000084_000094.mp4", label=2),
        VideoRecord(
            path=f'{root}/playing "rock paper scissors", twice/--3ouPhoy2A_000020_000030.mp4',
            label=1,
        ),
        VideoRecord(path=f"{root}/abseiling/-3B32lodo2M_000059_000069.mp4", label=0),
    )
    assert videos.validation == (
        VideoRecord(path=f"{root}/abseiling/0wR5jVB-WPk_000417_000427.mp4", label=0),
    )


def test_kinetics_laid_out_otherwise(kinetics_lists):
    videos = kinetics(**kinetics_lists, file_name="{split}/{youtube_id}.webm")
    assert videos.validation[0].path == f"{kinetics_lists['root']}/val/0wR5jVB-WPk.webm"


@pytest.mark.parametrize(
    "line, reason",
    [
        ("abseiling,-3B32lodo2M,59,69", "expected 5 fields, found 4"),
        ("abseiling,-3B32lodo2M,start,69,train", "the times must be numbers of seconds"),
        ("abseiling,-3B32lodo2M,inf,69,train", "the times must be numbers of seconds"),
        ("abseiling,,59,69,train", "a label, an id and times are needed"),
    ],
)
def test_kinetics_names_the_bad_line(kinetics_lists, line, reason):
    kinetics_lists["train"].write_text(KINETICS_TRAIN + line + "\n")
    with pytest.raises(ValueError, match=rf"train\.csv, line 5: {reason}.*{line}"):
        kinetics(**kinetics_lists)


def test_kinetics_refuses_what_is_no_official_list(kinetics_lists):
    kinetics_lists["train"].write_text("abseiling/a.mp4 0\n")
    with pytest.raises(ValueError, match=r"line 1: the first line must name the columns, .*label"):
        kinetics(**kinetics_lists)
    for file_name in ("{id}.mp4", "one.mp4", "{label.upper}/{youtube_id}", "{youtube_id"):
        with pytest.raises(ValueError, match="`file_name` must be made of "):
            kinetics(**kinetics_lists, file_name=file_name)


def test_kinetics_tells_of_an_open_quote(kinetics_lists):
    lines = KINETICS_TRAIN + '"abseiling,a,1,2,train\nzumba,b,1,2,train\n'
    kinetics_lists["train"].write_text(lines)
    with pytest.raises(ValueError, match=r"line 5: its quotes are wrong"):
        kinetics(**kinetics_lists)


def test_kinetics_with_columns_in_another_order(tmp_path):
    # The first release of Kinetics-400; its list of test videos has no labels.
    train = write(
        tmp_path / "train.csv",
        "youtube_id,time_start,time_end,split,is_cc,label\n-3B32lodo2M,59.0,69.0,train,0,abseiling\n",
    )
    videos = kinetics(train, validation=train, root="")
    record = VideoRecord(path="abseiling/-3B32lodo2M_000059_000069.mp4", label=0)
    assert videos.validation == (record,)
    test = write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\n--X,1,11,test\n")
    with pytest.raises(ValueError, match=r"test\.csv, line 1: .* the columns, \['label'\] too"):
        kinetics(train, validation=test, root="")


def test_kinetics_700(tmp_path):
    # Lines of kinetics700_2020.
    train = write(
        tmp_path / "train.csv",
        "label,youtube_id,time_start,time_end,split\n"
        "clay pottery making,---0dWlqevI,19,29,train\n"
        "javelin throw,--07WQ2iBlw,1,11,train\n"
        "massaging person's head,--0NTAs-fA0,29,39,train\n",
    )
    validate = write(
        tmp_path / "validate.csv",
        "label,youtube_id,time_start,time_end,split\njavelin throw,--5P7G_qWJ4,14,24,validate\n",
    )
    videos = kinetics(train, validation=validate, root="", file_name="{split}/{youtube_id}.mp4")
    assert videos.class_names == ("clay pottery making", "javelin throw", "massaging person's head")
    assert [record.label for record in videos.train] == [0, 1, 2]
    assert videos.validation == (VideoRecord(path="validate/--5P7G_qWJ4.mp4", label=1),)


def test_kinetics_names_bad_lines_of_both_lists(kinetics_lists):
    kinetics_lists["train"].write_text(
        KINETICS_TRAIN + "abseiling,a,1\n" + "abseiling,b,x,9,train\n"
    )
    kinetics_lists["validation"].write_text(KINETICS_VALIDATION + "archery,a,1,2,val\n")
    with pytest.raises(BadLinesError) as error:
        kinetics(**kinetics_lists)
    first, second, third = str(error.value).splitlines()
    assert "train.csv, line 5: expected 5 fields, found 3. Received: 'abseiling,a,1'" in first
    assert "train.csv, line 6: the times must be numbers of seconds" in second
    assert "validate.csv, line 3: no training video has this label" in third


def test_kinetics_wants_training_videos(kinetics_lists):
    kinetics_lists["train"].write_text(KINETICS_TRAIN.splitlines()[0])
    with pytest.raises(ValueError, match=r"train\.csv names no video"):
        kinetics(**kinetics_lists)


def test_kinetics_refuses_a_label_without_training_videos(kinetics_lists):
    kinetics_lists["validation"].write_text(KINETICS_VALIDATION + "archery,a,1,2,val\n")
    with pytest.raises(ValueError, match=r"validate\.csv, line 3: no training video has this"):
        kinetics(**kinetics_lists)


def test_a_long_list_is_read_to_its_end(kinetics_lists):
    lines = (f"class {i % 400},id{i:09d},{i % 300},{i % 300 + 10},train\n" for i in range(10**5))
    kinetics_lists["train"].write_text(
        "label,youtube_id,time_start,time_end,split\n" + "".join(lines)
    )
    kinetics_lists["validation"].write_text(
        "label,youtube_id,time_start,time_end,split\nclass 7,a,1,2,val\n"
    )
    videos = kinetics(**kinetics_lists)
    assert len(videos.train) == 10**5
    assert videos.train[-1].path.endswith("class 399/id000099999_000099_000109.mp4")


SOMETHING = {
    "train": [
        {
            "id": "78687",
            "label": "holding potato next to vicks vaporub bottle",
            "template": "Holding [something] next to [something]",
            "placeholders": ["potato", "vicks vaporub bottle"],
        }
    ],
    "validation": [
        {
            "id": "74225",
            "label": "spinning cube that quickly stops spinning",
            "template": "Spinning [something] that quickly stops spinning",
            "placeholders": ["cube"],
        }
    ],
    "labels": {
        "Spinning something that quickly stops spinning": "1",
        "Holding something next to something": "0",
    },
}


@pytest.fixture
def something_files(tmp_path):
    files = {
        name: write(tmp_path / f"{name}.json", json.dumps(content))
        for name, content in SOMETHING.items()
    }
    return {**files, "root": tmp_path}


def test_something_something(something_files):
    root = something_files["root"]
    videos = something_something(**something_files)
    assert videos.class_names == (
        "Holding something next to something",
        "Spinning something that quickly stops spinning",
    )
    assert videos.train == (VideoRecord(path=f"{root}/78687.webm", label=0),)
    assert videos.validation == (VideoRecord(path=f"{root}/74225.webm", label=1),)
    folders = something_something(**something_files, suffix="")
    assert folders.train[0].path == f"{root}/78687"


@pytest.mark.parametrize(
    "names",
    [
        ("something-something-v2-train", "something-something-v2-validation",
         "something-something-v2-labels"),
        ("labels/train", "labels/validation", "labels/labels"),
    ],
)  # fmt: skip
def test_something_something_of_both_releases(tmp_path, names):
    train, validation, labels = (
        write(tmp_path / f"{name}.json", json.dumps(content))
        for name, content in zip(names, SOMETHING.values(), strict=True)
    )
    videos = something_something(train, validation=validation, labels=labels, root=tmp_path)
    assert [record.label for record in (*videos.train, *videos.validation)] == [0, 1]


FRAME_HEADER = "original_vido_id video_id frame_id path labels\n"


def test_something_something_with_frame_lists(something_files, tmp_path):
    # The reference's lists; a video whose frames are nowhere is left out, as there.
    entry = SOMETHING["train"][0] | {"id": "42326"}
    something_files["train"].write_text(json.dumps([entry, *SOMETHING["train"]]))
    train = write(
        tmp_path / "train.csv",
        FRAME_HEADER + '78687 0 0 78687/78687_000001.jpg ""\n78687 0 1 78687/78687_000002.jpg ""\n',
    )
    validation = write(tmp_path / "val.csv", FRAME_HEADER + '74225 0 0 74225/74225_000001.jpg ""\n')
    videos = something_something(**something_files, frame_lists=(train, validation))
    root = something_files["root"]
    frames = (f"{root}/78687/78687_000001.jpg", f"{root}/78687/78687_000002.jpg")
    assert videos.train == (VideoRecord(path=f"{root}/78687", label=0, frame_paths=frames),)
    assert [record.label for record in videos.validation] == [1]
    assert not videos.multi_label
    with pytest.raises(ValueError, match="`frame_lists` must be two files"):
        something_something(**something_files, frame_lists=str(train))


def test_something_something_names_the_bad_entry(something_files):
    entry = {"id": "1", "template": "Eating [something]"}
    something_files["train"].write_text(json.dumps([*SOMETHING["train"], entry]))
    with pytest.raises(ValueError, match=r"train\.json, entry 1: it needs an id, .*Eating \[some"):
        something_something(**something_files)
    something_files["train"].write_text("[{")
    with pytest.raises(ValueError, match=r"train\.json is not JSON"):
        something_something(**something_files)
    something_files["train"].unlink()
    with pytest.raises(FileNotFoundError, match="`train` must be a file"):
        something_something(**something_files)


def test_something_something_wants_every_number(something_files):
    something_files["labels"].write_text('{"Holding something next to something": "1"}')
    with pytest.raises(ValueError, match="labels must have the numbers 0 to 0"):
        something_something(**something_files)


@pytest.fixture
def ucf_lists(tmp_path):
    splits = tmp_path / "ucfTrainTestlist"
    write(splits / "classInd.txt", "1 ApplyEyeMakeup\r\n2 Archery\r\n")
    write(
        splits / "trainlist02.txt",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 1\r\nArchery/v_Archery_g08_c01.avi 2\r\n",
    )
    write(splits / "testlist02.txt", "Archery/v_Archery_g01_c05.avi\r\n")
    return splits


def test_ucf101(ucf_lists, tmp_path):
    videos = ucf101(ucf_lists, root=tmp_path, split=2)
    assert videos.class_names == ("ApplyEyeMakeup", "Archery")
    assert [record.label for record in videos.train] == [0, 1]
    path = f"{tmp_path}/Archery/v_Archery_g01_c05.avi"
    assert videos.validation == (VideoRecord(path=path, label=1),)


def test_ucf101_names_what_is_wrong(ucf_lists, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"trainlist01\.txt.*ucfTrainTestlist"):
        ucf101(ucf_lists, root=tmp_path)
    with pytest.raises(ValueError, match="`split` must be one of 1, 2, 3"):
        ucf101(ucf_lists, root=tmp_path, split=0)
    for line in ("Archery 2", "Archery/v 1.avi 2", "Archery/a.avi 1", "Archery/a.avi 2 3"):
        write(ucf_lists / "testlist02.txt", line)
        with pytest.raises(ValueError, match=r"line 1: expected `Archery/<video> 2`"):
            ucf101(ucf_lists, root=tmp_path, split=2)
    write(ucf_lists / "testlist02.txt", "Archery/a.avi\nDiving/v_Diving_g01_c05.avi\n")
    with pytest.raises(ValueError, match=r"testlist02\.txt, line 2: .* no class 'Diving'"):
        ucf101(ucf_lists, root=tmp_path, split=2)


@pytest.fixture
def hmdb_lists(tmp_path):
    splits = tmp_path / "splits"
    write(
        splits / "brush_hair_test_split1.txt",
        "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n"
        "atheistinchief_brush_hair_u_nm_np2_le_goo_0.avi 0 \n",
    )
    # Names that look like comments.
    write(
        splits / "ride_bike_test_split1.txt",
        "#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ba_med_0.avi 2 \n",
    )
    write(splits / "ride_bike_test_split2.txt", "other.avi 1\n")
    return splits


def test_hmdb51(hmdb_lists, tmp_path):
    videos = hmdb51(hmdb_lists, root=tmp_path)
    assert videos.class_names == ("brush_hair", "ride_bike")
    path = f"{tmp_path}/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi"
    assert videos.train == (VideoRecord(path=path, label=0),)
    path = f"{tmp_path}/ride_bike/#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ba_med_0.avi"
    assert videos.validation == (VideoRecord(path=path, label=1),)


def test_hmdb51_names_what_is_wrong(hmdb_lists, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no \*_test_split3\.txt"):
        hmdb51(hmdb_lists, root=tmp_path, split=3)
    write(hmdb_lists / "ride_bike_test_split1.txt", "a.avi 3\n")
    with pytest.raises(ValueError, match=r"split1\.txt, line 1: expected a file name and 0, 1 or"):
        hmdb51(hmdb_lists, root=tmp_path)
