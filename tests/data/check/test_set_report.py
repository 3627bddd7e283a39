import dataclasses

import numpy as np
import pytest

from keras_multigrid.data.check.set_report import SetReport, check_there, checked_report
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.task import Task


def records(*labels, folder="videos"):
    return tuple(
        VideoRecord(path=f"{folder}/{number}.mp4", label=label)
        for number, label in enumerate(labels)
    )


def report(train, validation, class_names, **settings):
    videos = VideoSet(
        train=records(*train), validation=records(*validation), class_names=class_names, **settings
    )
    return SetReport.of(videos)


def test_a_set_in_numbers():
    found = report([0, 0, 0, 1, 2, 2], [0, 1, 2], ("run", "walk", "jump"))
    assert found.faults == ()
    assert str(found).splitlines() == [
        "Videos: 6 training, 3 validation, 3 classes.",
        "Training videos of a class: 1 (walk) to 3 (run), median 2.",
    ]


def test_a_histogram_of_the_classes():
    found = report([0, 2, 2, 2, 2, 1], [0, 1, 1], ("run", "walk", "jump", "climb"))
    assert found.histogram == (
        "class  training  validation",
        "jump          4           0  ########################################",
        "run           1           1  ##########",
        "walk          1           2  ##########",
        "climb         0           0",
    )
    # The largest and the smallest of many.
    names = tuple(map(str, range(100)))
    labels = [label for label in range(100) for _ in range(label + 1)]
    many = report(labels, [0], names).histogram
    assert len(many) == 42
    assert [line.split()[:2] for line in many[20:23]] == [["80", "81"], ["...", "60"], ["19", "20"]]


def test_unbalanced_classes():
    lines = report([0] * 10 + [1], [0, 1], ("a", "b")).lines
    assert lines[2].startswith("The largest class has 10 times the training videos of the smallest")
    assert len(report([0] * 9 + [1], [0, 1], ("a", "b")).lines) == 2


def test_notes_of_the_reader_are_told():
    found = report([0, 1], [0, 1], ("a", "b"), notes=("files left out: 3, such as 'a.txt'",))
    assert found.lines[-1] == "Files left out: 3, such as 'a.txt'."


def test_labels_from_1():
    found = report([1, 2, 2], [1, 2], ("0", "1", "2"))
    assert found.faults == ()
    assert found.lines[2].startswith("No video has the label 0: do they count from 1?")
    assert len(found.lines) == 3


def test_gaps_and_empty_classes():
    names = tuple(map(str, range(10)))
    assert report([0, 3, 9], [0, 3], names).lines[2:] == (
        "Classes without a video: 7 (1, 2, 4, 5, 6 and 2 others).",
        "Classes without a validation video: 1 (9).",
    )
    assert report([0, 1], [0, 2], ("a", "b", "c")).lines[2:] == (
        "Classes without a training video: 1 (c).",
        "Classes without a validation video: 1 (b).",
    )


def test_several_labels_count_each():
    found = report([(0, 1), (1,), ()], [(1,)], ("a", "b"), multi_label=True)
    assert found.lines[1] == "Training videos of a class: 1 (a) to 2 (b), median 1.5."
    assert report([(0,)], [(0,)], ("fall",), multi_label=True).faults == ()


def test_tasks_of_ones_own_have_no_classes_to_count():
    class Regression(Task):
        pass

    videos = VideoSet(train=records(0.5), validation=records(np.ones(3)), task=Regression(("x",)))
    assert str(SetReport.of(videos)) == "Videos: 1 training, 1 validation, 1 classes."


@pytest.mark.parametrize(
    ("train", "validation", "names", "fault"),
    [
        ([], [0], ("a", "b"), "there are no training videos"),
        ([0, 1], [], ("a", "b"), "there are no validation videos"),
        ([0, 0], [0], ("fall",), "there is one class, 'fall': each video would be right"),
        ([1, 1], [0, 1], ("a", "b"), "all training videos are of one class, 'b'"),
    ],
)
def test_what_no_model_can_be_trained_on(train, validation, names, fault):
    found = report(train, validation, names)
    assert len(found.faults) == 1
    assert found.faults[0].startswith(fault)
    assert f"No model can be trained: {fault}" in str(found)
    videos = VideoSet(train=records(*train), validation=records(*validation), class_names=names)
    with pytest.raises(ValueError, match=f"`videos` cannot be trained on: {fault}"):
        checked_report(videos)


def test_first_videos_that_are_all_missing(tmp_path):
    missing = records(*[0, 1] * 15, folder=tmp_path)
    videos = VideoSet(train=missing, validation=missing[:2], class_names=("a", "b"))
    with pytest.raises(FileNotFoundError) as error:
        checked_report(videos)
    assert "None of the first 20 of 30 training videos is there." in str(error.value)
    assert f"Tried: '{tmp_path}/0.mp4', '{tmp_path}/1.mp4'," in str(error.value)
    assert "Set `root`" in str(error.value)
    # One of them is enough.
    (tmp_path / "19.mp4").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="first 2 of 2 validation videos"):
        checked_report(videos)
    (tmp_path / "1.mp4").write_bytes(b"")
    checked_report(videos)


def test_frames_of_lists_are_looked_for(tmp_path):
    video = VideoRecord(path=str(tmp_path), label=0, frame_paths=(f"{tmp_path}/1.jpg",))
    with pytest.raises(FileNotFoundError, match=r"/1\.jpg'"):
        check_there("training", [video])


def test_other_sources_are_not_looked_for():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Stored(VideoRecord):
        pass

    check_there("training", [Stored(path="row 12", label=0)])
    check_there("training", [VideoRecord(path="https://host/a.mp4", label=0)])


def test_records_are_counted_by_class(tmp_path):
    from keras_multigrid.data.lists.folders import class_folders
    from keras_multigrid.data.synthetic.videos import write_videos

    write_videos(tmp_path / "motion", num_train=12, num_validation=12, processes=1)
    videos = class_folders(tmp_path / "motion/train", validation=tmp_path / "motion/validation")
    prepare(videos, root=str(tmp_path / "records"), form=RecordFormat(), workers=1)
    found = checked_report(recorded_videos(str(tmp_path / "records")))
    assert found.lines == (
        "Videos: 12 training, 12 validation, 12 classes.",
        "Training videos of a class: 1 each.",
    )


def test_a_million_videos_are_counted():
    one = [VideoRecord(path="a.mp4", label=label) for label in range(400)]
    videos = VideoSet(
        train=one * 2500, validation=one, class_names=tuple(f"class {i}" for i in range(400))
    )
    found = SetReport.of(videos)
    assert found.lines[0] == "Videos: 1,000,000 training, 400 validation, 400 classes."
