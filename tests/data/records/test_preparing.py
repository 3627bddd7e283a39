import os
import pathlib
import shutil
import signal
import sys
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from small_videos import CODECS, pictures
from small_videos import write_video as write_encoded

from keras_multigrid.data.records.folder import RecordFolder
from keras_multigrid.data.records.format import MANIFEST, Manifest, RecordFormat
from keras_multigrid.data.records.preparing import forget_bad, make_shards, prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.records.verifying import Fault, verify
from keras_multigrid.data.videos.decode import read_video
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

FORM = RecordFormat(short_sides=(None, 12), frames_per_record=3, videos_per_shard=3)
CLASSES = ("run", "walk")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A video of each kind."""
    folder = tmp_path_factory.mktemp("videos")
    for seed, (name, codec) in enumerate(CODECS.items()):
        write_encoded(folder / name, codec, pictures(seed))
    (folder / "images").mkdir()
    for index, image in enumerate(pictures(9)):
        jpeg = tf.io.encode_jpeg(image).numpy()
        (folder / "images" / f"{index}.jpg").write_bytes(jpeg)
    return folder


def video_set(folder, train, validation=("vp9.webm",)):
    parts = [
        [VideoRecord(path=os.path.join(folder, name), label=i % 2) for i, name in enumerate(names)]
        for names in (train, validation)
    ]
    return VideoSet(train=parts[0], validation=parts[1], class_names=CLASSES)


def run(videos, root, **settings):
    settings = {"form": FORM, "workers": 2, "time_limit": 60.0} | settings
    return prepare(videos, root=str(root), **settings)


def content(root):
    """Every file below a folder."""
    root = pathlib.Path(root)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


GOOD = ("h264.mp4", "mpeg4.avi", "images", "mjpeg.avi", "vp9.webm")


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """An unbroken run, to which others are compared."""
    root = tmp_path_factory.mktemp("whole")
    run(video_set(folder, GOOD), root)
    return root


def paths_in(records):
    """Videos of the records of a file, as any program reads them."""
    features = {"clip/data_path": tf.io.FixedLenFeature([], tf.string)}
    return [
        pathlib.Path(os.fsdecode(context["clip/data_path"].numpy())).name
        for content in tf.data.TFRecordDataset(str(records))
        for context, _ in [tf.io.parse_single_sequence_example(content, features)]
    ]


def test_what_is_written(folder, whole):
    names = ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"]
    files = [f"{copy}/{name}.tfrecord" for copy in ("full", "12") for name in names]
    files += [f"{name}.{suffix}" for name in names for suffix in ("index", "json")]
    files += ["train.labels", "validation.labels", "manifest.json", "settings.json"]
    assert sorted(content(whole)) == sorted(files)
    # Eight frames are three records.
    first, second = (paths_in(whole / "12" / f"{name}.tfrecord") for name in names[:2])
    assert first == 3 * ["h264.mp4"] + 3 * ["mpeg4.avi"] + 3 * ["images"]
    assert second == 3 * ["mjpeg.avi"] + 3 * ["vp9.webm"]
    manifest = Manifest.from_json((whole / MANIFEST).read_bytes())
    assert (manifest.form, manifest.class_names, manifest.multi_label) == (FORM, CLASSES, False)
    counts = [
        (shard.name, shard.num_videos, shard.num_frames, shard.num_bad)
        for shard in (*manifest.shards["train"], *manifest.shards["validation"])
    ]
    assert counts == [(names[0], 3, 24, 0), (names[1], 2, 16, 0), (names[2], 1, 8, 0)]
    assert verify(str(whole)) == ()
    # Where the index says that the second record of the last video begins, one does.
    index = np.frombuffer((whole / f"{names[1]}.index").read_bytes(), "<i8")
    frames, height, width, *places = index[index[1] : index[2]][:7].tolist()
    assert (frames, height, width) == (8, 24, 32)
    records = (whole / "full" / f"{names[1]}.tfrecord").read_bytes()
    length = int.from_bytes(records[places[1] : places[1] + 8], "little")
    assert places[2] - places[1] == length + 16
    assert places[3] == len(records)


def test_the_set_that_is_read(folder, whole):
    videos, written = video_set(folder, GOOD), recorded_videos(str(whole))
    assert written.class_names == CLASSES
    for part in ("train", "validation"):
        read, listed = getattr(written, part), getattr(videos, part)
        assert [(v.path, v.label) for v in read] == [(v.path, v.label) for v in listed]
        for one, other in zip(read, listed, strict=True):
            difference = np.abs(read_video(one).astype(int) - read_video(other))
            # Frames that were JPEGs are the same ones.
            assert difference.mean() < (1e-9 if other.path.endswith("images") else 4)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_byte(folder, whole, tmp_path, workers):
    prepared = run(video_set(folder, GOOD), tmp_path, workers=workers)
    assert (prepared.bad, prepared.num_new_shards) == ((), 3)
    assert content(tmp_path) == content(whole)


def test_a_finished_folder_is_left_alone(folder, whole):
    before = content(whole)
    times = {path: path.stat().st_mtime_ns for path in whole.rglob("*.*")}
    prepared = run(video_set(folder, GOOD), whole)
    assert prepared.num_new_shards == 0
    assert len(prepared.manifest.shards["train"]) == 2
    assert content(whole) == before
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*.*")} == times


def test_what_is_missing_is_made_and_leftovers_go(folder, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    for name in (MANIFEST, "train-00001-of-00002.json", "12/train-00001-of-00002.tfrecord"):
        (tmp_path / name).unlink()
    # Of a killed run.
    (tmp_path / "full" / "train-00001-of-00002.tfrecord.0.unfinished").write_text("half")
    (tmp_path / "pieces" / "tmp" / "train-00001-of-00002").mkdir(parents=True)
    (tmp_path / "pieces" / "tmp" / "train-00001-of-00002" / "0-0").write_text("half")
    (tmp_path / "lock").touch()
    calls = []
    prepared = run(
        video_set(folder, GOOD), tmp_path, progress=lambda *numbers: calls.append(numbers)
    )
    assert prepared.num_new_shards == 1
    # Four are in the shards that are there.
    assert calls == [(5, 6), (6, 6)]
    assert content(tmp_path) == content(whole)
    assert not (tmp_path / "pieces").exists()


def test_a_scratch_folder_elsewhere(folder, whole, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "mine").touch()
    run(video_set(folder, GOOD), tmp_path / "records", scratch=str(tmp_path / "scratch"))
    assert content(tmp_path / "records") == content(whole)
    assert os.listdir(tmp_path / "scratch") == ["mine"]


class Crashing(str):
    """A path that ends the process that receives it."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGSEGV,)

    def __deepcopy__(self, memo):
        return str(self)


def test_bad_videos(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text\udcff\n.webm").write_text("This is a text. " * 100)
    (tmp_path / "no_frames").mkdir()
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", None))
        sound.writeframes(bytes(1600))
    # Opening it would wait for a writer that never comes.
    os.mkfifo(tmp_path / "hangs.mp4")
    names = (
        "missing.mp4", "h264.mp4", "empty.mp4", "text\udcff\n.webm", "no_frames", "sound.wav",
        "hangs.mp4", "crash", "images", "h264.mp4",
    )  # fmt: skip
    videos = video_set(tmp_path, names)
    videos.train[7] = VideoRecord(path=Crashing(tmp_path / "crash"), label=0)
    prepared = run(videos, tmp_path / "records", time_limit=2.0)
    reasons = [
        (bad.part, os.path.relpath(bad.path, tmp_path), bad.reason.replace(f"{tmp_path}/", ""))
        for bad in prepared.bad
    ]
    assert [path for _, path, _ in reasons] == [
        *("missing.mp4", "empty.mp4", "text\udcff\n.webm", "no_frames", "sound.wav"),
        *("hangs.mp4", "crash"),
    ]
    assert {part for part, _, _ in reasons} == {"train"}
    told = [reason for _, _, reason in reasons]
    assert told[0] == "Cannot decode 'missing.mp4': No such file or directory."
    assert "Invalid data" in told[1]
    assert "Invalid data" in told[2]
    assert told[3] == "Cannot decode 'no_frames': it has no frames."
    assert told[4] == "Cannot decode 'sound.wav': it has no video stream."
    assert "'hangs.mp4': it is a pipe" in told[5]
    assert told[6] == "Cannot read 'crash': it ended the process that read it (SIGSEGV)."
    # The order is kept, and a shard without videos is one.
    shards = prepared.manifest.shards["train"]
    assert [(shard.num_videos, shard.num_bad) for shard in shards] == [
        *((1, 2), (0, 3), (1, 2), (1, 0)),
    ]
    assert verify(str(tmp_path / "records")) == ()
    # They are told again, though they are not read again.
    again = run(videos, tmp_path / "records", time_limit=2.0)
    assert (again.bad, again.num_new_shards) == (prepared.bad, 0)


def test_bad_videos_can_be_tried_again(folder, whole, tmp_path):
    shutil.copytree(folder, tmp_path / "videos")
    (tmp_path / "videos" / "images").rename(tmp_path / "away")
    videos = video_set(tmp_path / "videos", GOOD)
    root = tmp_path / "records"
    assert len(run(videos, root).bad) == 1
    (tmp_path / "away").rename(tmp_path / "videos" / "images")
    assert len(run(videos, root).bad) == 1
    forget_bad(str(root))
    prepared = run(videos, root)
    assert (prepared.bad, prepared.num_new_shards) == ((), 1)
    assert [shard.num_videos for shard in prepared.manifest.shards["train"]] == [3, 2]
    assert verify(str(root)) == ()


def test_other_settings_or_videos_than_before(folder, whole):
    before = content(whole)
    videos = video_set(folder, GOOD)
    other = RecordFormat(short_sides=(None,), frames_per_record=3, videos_per_shard=3)
    with pytest.raises(ValueError, match=r"short_sides was \[None, 12\], and is \[None\]"):
        run(videos, whole, form=other)
    with pytest.raises(ValueError, match=r"class_names was \['run', 'walk'\], and is \['a', 'b'\]"):
        run(VideoSet(train=videos.train, validation=videos.validation, class_names="ab"), whole)
    with pytest.raises(ValueError, match="there were 5 train videos, and are 4"):
        run(video_set(folder, GOOD[:4]), whole)
    with pytest.raises(ValueError, match="the 1 validation videos are others"):
        run(video_set(folder, GOOD, ["images"]), whole)
    with pytest.raises(ValueError, match="the 5 train videos are others, in another order"):
        run(video_set(folder, GOOD[::-1]), whole)
    assert content(whole) == before


def test_no_readable_video(folder, tmp_path):
    with pytest.raises(ValueError, match="must have validation videos"):
        run(video_set(folder, GOOD, ()), tmp_path)
    with pytest.raises(ValueError, match=r"None of the 2 validation videos can be read.*none.mp4"):
        run(video_set(folder, GOOD, ("none.mp4", "no.mp4")), tmp_path)
    assert not (tmp_path / MANIFEST).exists()


def test_records_of_records_and_folders_on_the_web(folder, whole, tmp_path):
    with pytest.raises(ValueError, match=rf"must be files or .* the records {whole}"):
        run(recorded_videos(whole), tmp_path)
    with pytest.raises(ValueError, match=r"a folder that can be written\. Received: http://host/r"):
        run(video_set(folder, GOOD), "http://host/r")


def test_a_damaged_manifest_is_made_anew(folder, whole, tmp_path):
    root = shutil.copytree(whole, tmp_path / "records")
    (root / MANIFEST).write_text('{"a": 1}')
    for read in (recorded_videos, verify):
        with pytest.raises(ValueError, match=f"{root}/{MANIFEST} cannot be read.*Make it anew"):
            read(str(root))
    assert run(video_set(folder, GOOD), root).num_new_shards == 0
    assert content(root) == content(whole)


def test_a_folder_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Cannot write .*file/records: Not a directory"):
        run(video_set(folder, GOOD), tmp_path / "file" / "records")
    with pytest.raises(ValueError, match="no file system for nowhere"):
        run(video_set(folder, GOOD), "nowhere://records")
    # A folder stands where a file of the shard belongs.
    (tmp_path / "12" / "train-00000-of-00002.tfrecord").mkdir(parents=True)
    with pytest.raises(OSError, match=r"Cannot write .*12/train-00000-of-00002.tfrecord: Is a dir"):
        run(video_set(folder, GOOD), tmp_path)
    assert not (tmp_path / MANIFEST).exists()


def test_beam_is_an_extra(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "keras_multigrid.data.beam_preparing", raising=False)
    with pytest.raises(ImportError, match=r"constraints-beam.txt"):
        run(video_set(folder, GOOD), tmp_path, beam_options=["--runner=DirectRunner"])
    assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time(folder, whole, tmp_path):
    videos = video_set(folder, GOOD)
    errors = []

    def second(done, total):
        with pytest.raises(RuntimeError, match="Another process on this machine is preparing"):
            run(videos, tmp_path)
        errors.append(done)

    run(videos, tmp_path, progress=second)
    assert len(errors) == 6
    assert content(tmp_path) == content(whole)


def test_a_shard_that_is_made_twice_at_once(folder, whole, tmp_path):
    videos = video_set(folder, GOOD)
    target = RecordFolder(
        root=str(tmp_path),
        form=FORM,
        class_names=CLASSES,
        multi_label=False,
        num_videos={"train": 5, "validation": 1},
    )
    shards = [(place, videos.train[place.start : place.stop]) for place in target.shards[:2]]

    def make(_):
        return dict(make_shards(target, shards, workers=1, time_limit=60.0))

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(make, range(2))
    assert one == other
    shards = {name: part for name, part in content(whole).items() if "train-" in name}
    assert shards == content(tmp_path)


def test_faults_are_found(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    flipped = tmp_path / "full" / "train-00000-of-00002.tfrecord"
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\0")
    cut = tmp_path / "train-00001-of-00002.json"
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:-4])
    (tmp_path / "validation-00000-of-00001.index").unlink()
    calls = []
    faults = verify(str(tmp_path), progress=lambda *numbers: calls.append(numbers))
    assert faults == (
        Fault(
            file="full/train-00000-of-00002.tfrecord",
            shard="train-00000-of-00002",
            reason="corrupt: its checksum differs",
        ),
        Fault(
            file="train-00001-of-00002.json",
            shard="train-00001-of-00002",
            reason=f"{size - 4} bytes instead of {size}",
        ),
        Fault(
            file="validation-00000-of-00001.index",
            shard="validation-00000-of-00001",
            reason="missing",
        ),
    )
    assert calls == [(done, 12) for done in range(1, 13)]
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match="prepare the records to their end first"):
        verify(str(tmp_path))
