import pytest

from keras_multigrid.data.lists.frame_lists import charades_frame_lists
from keras_multigrid.data.lists.path_lists import path_label_lists
from keras_multigrid.data.lists.writing import write_lists
from keras_multigrid.data.videos.video import Span, VideoRecord, VideoSet


def test_videos_are_read_back(tmp_path):
    videos = VideoSet(
        train=(
            VideoRecord(path="/data/#1 my run.mp4", label=1),
            VideoRecord(path="s3://bucket/a.mp4", label=0),
        ),
        validation=(VideoRecord(path="/data/caf\udce9.mp4", label=0),),
        class_names=("ride a bike", "run"),
    )
    files = write_lists(videos, str(tmp_path / "new"))
    assert not files.are_frame_lists
    assert files.train == f"{tmp_path}/new/train.txt"
    assert videos == path_label_lists(
        files.train, validation=files.validation, class_names=files.class_names
    )


def test_paths_become_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = VideoRecord(path="walk/a.mp4", label=0)
    videos = VideoSet(train=(record,), validation=(record,), class_names=("walk",))
    write_lists(videos, "lists")
    assert (tmp_path / "lists" / "train.txt").read_text() == f"{tmp_path}/walk/a.mp4 walk\n"


def test_classes_named_by_numbers_are_read_back(tmp_path):
    names = ("1", "10", "2", "two words")
    records = tuple(VideoRecord(path=f"/data/{n}.mp4", label=n) for n in range(4))
    videos = VideoSet(train=records, validation=records, class_names=names)
    files = write_lists(videos, str(tmp_path))
    assert videos == path_label_lists(
        files.train, validation=files.validation, class_names=files.class_names
    )


def test_paths_that_could_be_read_otherwise_are_quoted(tmp_path):
    names = ("eli 120", "a,", "b,7", "c 1.5", 'the "d" 3', "e 3.mp4")
    records = tuple(VideoRecord(path=f"/data/{name}", label=0) for name in names)
    videos = VideoSet(train=records, validation=records, class_names=("walk",))
    files = write_lists(videos, str(tmp_path))
    assert videos == path_label_lists(
        files.train, validation=files.validation, class_names=files.class_names
    )
    assert (tmp_path / "train.txt").read_text().splitlines()[0] == '"/data/eli 120" walk'


def test_several_labels_are_read_back(tmp_path):
    labels = ((0, 2), (1,), ())
    records = tuple(
        VideoRecord(path=f"/data/a, {number}.mp4", label=label)
        for number, label in enumerate(labels)
    )
    names = ("run, fast", "walk", "ride a bike")
    videos = VideoSet(train=records, validation=records, class_names=names, multi_label=True)
    files = write_lists(videos, str(tmp_path))
    assert videos == path_label_lists(
        files.train, validation=files.validation, class_names=files.class_names, multi_label=True
    )


@pytest.mark.parametrize("unit", ["seconds", "frames"])
def test_parts_of_videos_are_read_back(tmp_path, unit):
    records = tuple(
        VideoRecord(
            path="/data/a, b.mp4", label=0, span=Span(start=start, end=start + 8, unit=unit)
        )
        for start in (0, 1000000)
    )
    videos = VideoSet(train=records, validation=records[:1], class_names=("walk",))
    files = write_lists(videos, str(tmp_path))
    assert videos == path_label_lists(
        files.train, validation=files.validation, class_names=files.class_names
    )
    mixed = (records[0], VideoRecord(path="/data/c.mp4", label=0))
    with pytest.raises(ValueError, match=r"Received: '/data/c\.mp4' with span=None"):
        write_lists(VideoSet(train=mixed, validation=mixed, class_names=("walk",)), str(tmp_path))


def frames(folder, *labels):
    return VideoRecord(
        path=folder,
        label=tuple(sorted(set().union(*labels))),
        frame_paths=tuple(f"{folder}/{number}.jpg" for number in range(len(labels))),
        frame_labels=labels,
    )


def test_frame_lists_are_read_back(tmp_path):
    videos = VideoSet(
        # Folders of one name are two videos.
        train=(frames("/my data/A/rgb", (1, 156), ()), frames("/my data/B/rgb", (3,))),
        validation=(frames("/my data/C", ()),),
        class_names=tuple(map(str, range(157))),
        multi_label=True,
    )
    files = write_lists(videos, str(tmp_path))
    assert files.are_frame_lists
    assert videos == charades_frame_lists(files.train, validation=files.validation)
    lines = (tmp_path / "validation.csv").read_text().splitlines()
    assert lines == [
        "original_vido_id video_id frame_id path labels",
        'C 0 0 /my data/C/0.jpg ""',
    ]


def test_frame_lists_keep_the_ids_of_folders_above(tmp_path):
    videos = VideoSet(
        train=(frames("/data/17/rgb", (0,)), frames("/data/5/rgb", (1,))),
        validation=(frames("/data/9/rgb", (0,)),),
        class_names=("a", "b"),
        multi_label=True,
    )
    write_lists(videos, str(tmp_path))
    lines = (tmp_path / "train.csv").read_text().splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["17", "5"]
