"""Records of which any file may be damaged: no other pixels, no crash, and the file is named."""

import json
import re
import shutil

import fuzz
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small_videos import pictures

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import evaluation_batches
from keras_multigrid.data.records.format import MANIFEST, RecordFormat
from keras_multigrid.data.records.index import ListedFile, Placed
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.decode import read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.schedule import Grid

GRID = Grid(batch_size=3, num_frames=4, crop_size=16)
NAME = "train-00000-of-00001"
FORM = RecordFormat(short_sides=(None,), frames_per_record=3)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    records = []
    for number in range(3):
        path = folder / f"video {number}"
        path.mkdir()
        for frame, image in enumerate(pictures(number)):
            Image.fromarray(image).save(path / f"{frame}.jpg")
        records.append(VideoRecord(path=str(path), label=number % 2))
    return VideoSet(train=records, validation=records, class_names=("run", "walk"))


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    prepare(videos, root=str(root), form=FORM, workers=1)
    return root


@pytest.fixture(scope="module")
def healthy(whole):
    """The clips of the whole records."""
    found, errors = clips(whole)
    assert (len(found), errors) == (3, {})
    return found


@pytest.fixture
def root(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "records")


def without_checksums(root):
    """The records of before any had checksums."""
    manifest = json.loads((root / MANIFEST).read_bytes())
    for shards in manifest["shards"].values():
        for shard in shards:
            del shard["sha256"], shard["bytes"]
    (root / MANIFEST).write_text(json.dumps(manifest))


def clips(root):
    """Clips that TensorFlow reads, by label and content; and the errors."""
    bad_videos = BadVideos(max_share=1.0)
    settings = {"sampling": ClipSampling(min_scale=16), "bad_videos": bad_videos}
    batches = evaluation_batches(recorded_videos(str(root)).train, GRID, **settings)
    found = {clip.tobytes() for clips, _ in batches.as_numpy_iterator() for clip in clips}
    return found, bad_videos.errors


def flip(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


# The index: 4 places, then for each of 3 videos frames, height, width, and 4 places.
@pytest.mark.parametrize(
    ("number", "bit"),
    [(0, 40), (1, 3), (4, 2), (4, 63), (5, 3), (6, 60), (9, 50)],
)
@pytest.mark.parametrize("has_checksums", [True, False])
def test_one_wrong_bit_of_an_index(root, healthy, number, bit, has_checksums):
    if not has_checksums:
        without_checksums(root)
    flip(root / f"{NAME}.index", 8 * number + bit // 8, bit % 8)
    found, errors = clips(root)
    # Another height or number of frames that can be true is told by the checksum alone.
    assert found < healthy or not has_checksums
    if has_checksums:
        assert found == set()
        assert len(errors) == 3
    for error in errors.values():
        assert re.search(rf"{NAME}\.(index|tfrecord)': .*prepare the records again", error)
    video = recorded_videos(str(root)).train[0]
    if has_checksums or errors:
        with pytest.raises(DecodeError, match=str(root)):
            read_video(video)


def test_records_of_before_without_checksums(root, healthy):
    without_checksums(root)
    assert clips(root) == (healthy, {})


def test_the_other_shards_are_read(videos, healthy, tmp_path):
    form = RecordFormat(short_sides=(None,), videos_per_shard=1)
    prepare(videos, root=str(tmp_path), form=form, workers=1)
    flip(tmp_path / "train-00001-of-00003.index", 24, 0)
    found, errors = clips(tmp_path)
    assert len(found) == 2
    assert found < healthy
    assert list(errors) == [videos.train[1].path]


def test_names_that_are_damaged(root, healthy):
    flip(root / f"{NAME}.json", 200, 1)
    match = rf"Cannot read '{root}/{NAME}\.json': its checksum is not that of the manifest"
    with pytest.raises(DecodeError, match=match):
        recorded_videos(str(root)).train[0]
    # Training reads no names, unless something else cannot be read.
    assert clips(root) == (healthy, {})
    flip(root / "full" / f"{NAME}.tfrecord", 100, 0)
    found, errors = clips(root)
    assert len(found) == 2
    (error,) = errors.items()
    assert error[0] == f"{root}, video 0"
    assert re.search(match, error[1])


def test_a_shard_with_damaged_names_is_made_anew(videos, root):
    content = {path: path.read_bytes() for path in root.rglob("*.*")}
    (root / f"{NAME}.json").write_text('{"videos": [[1, 2]]')
    assert prepare(videos, root=str(root), form=FORM, workers=1).num_new_shards == 1
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == content
    (root / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json is damaged: .*Delete it"):
        prepare(videos, root=str(root), form=FORM, workers=1)


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": 3},
        {"shards": {"train": []}},
        {"shards": {"train": [{"name": "x"}], "validation": []}},
        {"shards": {"train": [{"num_videos": -1}], "validation": []}},
        {"form": {"short_sides": [256], "frames_per_record": 1e99}},
    ],
)
def test_a_manifest_that_cannot_be_true(root, change):
    manifest = json.loads((root / MANIFEST).read_bytes())
    for shard in change.get("shards", {}).get("train", []):
        change["shards"]["train"] = [manifest["shards"]["train"][0] | shard]
        if "name" in shard:
            del change["shards"]["train"][0]["num_frames"]
    (root / MANIFEST).write_text(json.dumps(manifest | change))
    with pytest.raises(ValueError, match=f"{root}/{MANIFEST} cannot be read: .*Make it anew"):
        recorded_videos(str(root))
    (root / MANIFEST).write_text(20_000 * "[")
    with pytest.raises(ValueError, match=f"{root}/{MANIFEST} cannot be read"):
        recorded_videos(str(root))


def test_a_record_that_says_that_it_is_long(root):
    path = root / "full" / f"{NAME}.tfrecord"
    flip(path, 5, 7)
    with pytest.raises(DecodeError, match=rf"'{path}': the record is damaged, at byte 0"):
        read_video(recorded_videos(str(root)).train[0])


def test_a_record_without_its_frames(root):
    path = root / "full" / f"{NAME}.tfrecord"
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    # As long as before, with right checksums, and of no fields.
    records[0] = b"\x7a" * len(records[0])
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    _, errors = clips(root)
    assert list(errors) == [recorded_videos(str(root)).train[0].path]
    assert "the record at byte 0 lacks frames" in next(iter(errors.values()))


def test_a_listed_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert ListedFile(path=str(path)).read() == b"content"
    assert ListedFile(path=str(path), size=7).read() == b"content"
    for expected in ({"size": 6}, {"size": 8}, {"sha256": "0"}):
        with pytest.raises(DecodeError, match=r"Cannot read '.*file': .* of the manifest"):
            ListedFile(path=str(path), **expected).read()
    with pytest.raises(DecodeError, match="the records lack it"):
        ListedFile(path=str(tmp_path / "none")).read()


@pytest.mark.parametrize("library", [np.asarray, lambda x: tf.constant(x, tf.int64)])
def test_what_can_be_true(library):
    def is_sound(frames=8, sizes=(24, 32), places=(0, 10, 20, 30)):
        placed = Placed(
            num_frames=library(frames), sizes=library([sizes]), places=library([places])
        )
        return bool(placed.is_sound(3))

    assert is_sound()
    assert is_sound(frames=7)
    assert not is_sound(frames=6)
    assert not is_sound(frames=10)
    assert not is_sound(frames=-1)
    assert not is_sound(frames=2**62)
    assert not is_sound(sizes=(0, 32))
    assert not is_sound(sizes=(24, 2**31))
    assert not is_sound(places=(-1, 10, 20, 30))
    assert not is_sound(places=(0, 10, 10, 30))
    assert not is_sound(places=(0, 10, 20))


@pytest.mark.slow
def test_damaged_files_of_every_kind():
    outcomes = [outcome for _, outcome in fuzz.fuzz({"records": 8}, workers=1)]
    assert {outcome.name for outcome in outcomes} == {"read", "named"}
