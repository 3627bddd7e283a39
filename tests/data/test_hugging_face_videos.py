"""Data sets of Hugging Face give the clips of the same files, read when their turn comes."""

import pathlib
import re
import shutil
import socket

import numpy as np
import pytest
from grey_videos import write_video
from remote_servers import web_server

from keras_multigrid import Grid, MultigridSchedule
from keras_multigrid.data import Input, VideoRecord, VideoSet, from_hugging_face, training_batches
from keras_multigrid.data.videos import DecodeError, opened
from keras_multigrid.files import StorageUnavailableError

SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=16), num_clips=6, epochs=3, boundaries=(2,)
)
NAMES = ("run", "walk")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Class folders of three videos each, and a cache beside them."""
    import datasets

    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("hf")
    for part, count in (("train", 3), ("test", 1)):
        for name in NAMES:
            (folder / "videos" / part / name).mkdir(parents=True)
            for number in range(count):
                path = folder / "videos" / part / name / f"{number}.mp4"
                write_video(path, frames=6 + number, height=20, width=28)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    import datasets

    return datasets.load_dataset(
        "videofolder", data_dir=str(folder / "videos"), cache_dir=str(folder / "cache")
    )


def in_memory(folder, labels, feature, *, names=None):
    """A data set that holds the content of files, and may hold their names."""
    import datasets

    paths = [
        folder / "videos" / "train" / NAMES[n % 2] / f"{n % 3}.mp4" for n in range(len(labels))
    ]
    rows = [
        {"clip": {"bytes": path.read_bytes(), "path": name}, "label": label}
        for path, label, name in zip(paths, labels, names or [None] * len(labels), strict=True)
    ]
    features = {"clip": datasets.Video(decode=False), "label": feature}
    return datasets.Dataset.from_list(rows, features=datasets.Features(features)), paths


def assert_same_clips(videos, records):
    ours = training_batches(videos, SCHEDULE, seed=1)
    theirs = training_batches(records, SCHEDULE, seed=1)
    batches = list(zip(ours.take(6), theirs.take(6), strict=True))
    for (clips, labels), (expected, expected_labels) in batches:
        np.testing.assert_array_equal(clips, expected)
        np.testing.assert_array_equal(labels, expected_labels)
    resumed = training_batches(videos, SCHEDULE, seed=1, start_step=4)
    np.testing.assert_array_equal(next(iter(resumed))[0], batches[4][0][0])


def test_a_folder_of_videos(loaded, folder):
    # The column decodes by torchcodec, which is not there.
    assert loaded["train"].features["video"].decode
    videos = from_hugging_face(loaded["train"])
    assert (len(videos), videos.class_names, videos.multi_label) == (6, NAMES, False)
    paths = [video.path for video in videos]
    assert sorted(paths) == sorted(map(str, (folder / "videos" / "train").rglob("*.mp4")))
    records = [VideoRecord(path=p, label=NAMES.index(p.split("/")[-2])) for p in paths]
    assert [video.label for video in videos] == [record.label for record in records]
    assert not any(video.is_remote for video in videos)
    assert_same_clips(videos, records)
    both = VideoSet(train=videos, validation=from_hugging_face(loaded["test"]))
    assert both.class_names == NAMES
    clips, labels = next(iter(Input(videos=both).validation(SCHEDULE.base)))
    assert (clips.shape, sorted(labels.numpy())) == ((2, 4, 16, 16, 3), [0, 1])
    assert videos.fingerprint.startswith("6 videos of hf:videofolder/train, ")


def test_the_order_of_a_shuffled_set_is_kept(loaded):
    import datasets

    shuffled = loaded["train"].shuffle(seed=3)
    videos = from_hugging_face(shuffled)
    rows = shuffled.cast_column("video", datasets.Video(decode=False))
    assert [video.path for video in videos] == [row["video"]["path"] for row in rows]
    assert [video.label for video in videos] == rows["label"][:]
    assert videos.fingerprint != from_hugging_face(loaded["train"]).fingerprint


def test_contents_in_the_data_set(folder):
    import datasets

    texts = ["walk", "run", "walk", "run", "run", "walk"]
    names = [f"{n}.mp4" for n in range(6)]
    dataset, paths = in_memory(folder, texts, datasets.Value("string"), names=names)
    videos = from_hugging_face(dataset.with_format("numpy"), video="clip")
    assert videos.class_names == NAMES
    assert videos[1].path == "hf:dataset/all/1/1.mp4"
    records = [
        VideoRecord(path=str(path), label=NAMES.index(text))
        for path, text in zip(paths, texts, strict=True)
    ]
    assert_same_clips(videos, records)
    with opened(videos[5]) as video:
        assert video.num_frames == 8
    swapped = from_hugging_face(dataset, video="clip", class_names=("walk", "run"))
    assert [video.label for video in swapped] == [0, 1, 0, 1, 1, 0]
    assert swapped[-1].path == "hf:dataset/all/5/5.mp4"


def test_several_labels_and_numbers(folder):
    import datasets

    kind = datasets.List(datasets.ClassLabel(names=list(NAMES)))
    dataset, _ = in_memory(folder, [[1, 0], [], [1]], kind)
    videos = from_hugging_face(dataset, video="clip")
    assert videos.multi_label
    assert [video.label for video in videos] == [(0, 1), (), (1,)]
    assert videos[0].path == "hf:dataset/all/0"
    dataset, _ = in_memory(folder, [2, 0], datasets.Value("int64"))
    videos = from_hugging_face(dataset, video="clip")
    assert (videos.class_names, videos[0].label) == (("0", "1", "2"), 2)


def test_a_file_within_an_archive(folder, tmp_path):
    import datasets

    archive = shutil.make_archive(str(tmp_path / "videos"), "zip", folder / "videos")
    address = f"zip://train/run/2.mp4::{archive}"
    rows = {"video": [address], "label": [0]}
    dataset = datasets.Dataset.from_dict(rows).cast_column("video", datasets.Video(decode=False))
    (video,) = from_hugging_face(dataset, class_names=NAMES)
    assert video.path.startswith("hf:dataset/all/0/zip:/train")
    with opened(video) as file:
        assert file.num_frames == 8


def rows_of(videos, labels, feature):
    import datasets

    features = {"video": datasets.Video(decode=False), "label": feature}
    rows = {"video": videos, "label": labels}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def test_remote_files_are_waited_for_and_named_without_secrets(folder, monkeypatch):
    import datasets

    monkeypatch.setenv("KERAS_MULTIGRID_RETRY_SECONDS", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with web_server(folder / "videos" / "train" / "run") as address:
        there = address.replace("://", "://me:word@") + "/2.mp4?X-Amz-Signature=3f2a"
        names = [there, there.replace("2.mp4", "3.mp4"), f"http://me:word@127.0.0.1:{port}/2.mp4"]
        dataset = rows_of(
            [{"path": name, "bytes": None} for name in names], [0, 0, 0], datasets.Value("int64")
        )
        found, missing, away = from_hugging_face(dataset)
        assert found.path.startswith("hf:dataset/all/0/http:/127.0.0.1:")
        assert "hidden-" in found.path
        assert found.is_remote
        with opened(found) as file:
            assert file.num_frames == 8
        with pytest.raises(DecodeError, match="No such file") as raised, opened(missing):
            pass
        assert "word" not in f"{raised.value}{found.path}{missing.path}{away.path}"
        # A server that is away says nothing about a video.
        with pytest.raises(StorageUnavailableError) as raised, opened(away):
            pass
        assert "word" not in str(raised.value)


def test_a_row_without_a_video_is_unreadable():
    import datasets

    (video,) = from_hugging_face(rows_of([None], [0], datasets.Value("int64")))
    message = "'hf:dataset/all/0' has no video: neither a path nor bytes"
    with pytest.raises(DecodeError, match=message), opened(video):
        pass


def test_labels_that_are_no_classes_are_refused():
    import datasets

    number, text = datasets.Value("int64"), datasets.Value("string")
    for labels, feature, message in (
        ([3, 10**12], number, "Received: 1000000000000, which would make 1,000,000,000,001"),
        ([{"id": 1}] * 2, {"id": number}, "Received: {'id': 1} in row 0"),
        ([[["run"]], []], datasets.List(datasets.List(text)), "Received: ['run'] in row 0"),
        ([0.5, 1.0], datasets.Value("float32"), "Received: 0.5 in row 0"),
        # Not told is not the same as none of the classes.
        ([["run"], None], datasets.List(text), "Received: None in row 1"),
    ):
        dataset = rows_of([{"path": "a.mp4", "bytes": None}] * 2, labels, feature)
        with pytest.raises(ValueError, match=re.escape(message)):
            from_hugging_face(dataset)
    dataset = rows_of([{"path": "a.mp4", "bytes": None}], [5_000], number)
    names = [f"c{n}" for n in range(5_001)]
    assert from_hugging_face(dataset, class_names=names)[0].label == 5_000


def test_what_is_no_set_of_videos(loaded, folder):
    import datasets

    train = loaded["train"]
    unlabelled, _ = in_memory(folder, [0, -1], datasets.ClassLabel(names=list(NAMES)))
    untold, _ = in_memory(folder, ["run", None], datasets.Value("string"))
    for dataset, settings, message in (
        (loaded, {}, "Received: DatasetDict. Take one split"),
        (train.to_iterable_dataset(), {}, "load it without streaming=True"),
        (train, {"video": "label"}, "`video` must name a column of type datasets.Video"),
        (train, {"label": "class"}, "Received: 'class'. There are: video, label"),
        (train, {"class_names": ("run",)}, "one of the 1 names or numbers. Received: 1 in row"),
        (unlabelled, {"video": "clip"}, "Received: -1 in row 1"),
        (untold, {"video": "clip"}, "one of the 1 names or numbers. Received: None in row 1"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            from_hugging_face(dataset, **settings)


def test_the_example_of_the_guide(folder, tmp_path, monkeypatch):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    (example,) = re.findall(r"```python\n([^`]*from_hugging_face[^`]*)```", text)
    (tmp_path / "my_videos").symlink_to(folder / "videos")
    monkeypatch.chdir(tmp_path)
    cached = example.replace('"my_videos")', f'"my_videos", cache_dir="{folder}/cache")')
    names = {}
    exec(compile(cached, "guide.md", "exec"), names)
    assert (len(names["videos"].train), len(names["videos"].validation)) == (6, 2)
    assert names["videos"].class_names == NAMES
