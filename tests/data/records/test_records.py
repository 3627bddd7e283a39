import io
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small_videos import CODECS, pictures
from small_videos import write_video as write_encoded

from keras_multigrid.data.records import format as records_format
from keras_multigrid.data.records.format import (
    Manifest,
    Names,
    RecordFormat,
    Shard,
    shard_files,
    write_video,
)
from keras_multigrid.data.records.index import Entry, index_content
from keras_multigrid.data.videos.decode import all_frames, read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord

CLASSES = ("run", "walk")


def write(video, folder, **settings):
    """Entry, and the parsed records of each copy."""
    form = RecordFormat(**settings)
    paths = [str(folder / f"copy-{number}") for number in range(len(form.copies))]
    entry = write_video(video, form, paths, CLASSES)
    return entry, [parsed(path) for path in paths]


def parsed(path):
    """Context and feature lists of all records, as any program reads them."""
    return [
        tf.io.parse_single_sequence_example(
            content,
            context_features={
                "clip/data_path": tf.io.FixedLenFeature([], tf.string),
                "clip/first_frame": tf.io.FixedLenFeature([], tf.int64),
                "clip/label/index": tf.io.VarLenFeature(tf.int64),
                "clip/label/text": tf.io.VarLenFeature(tf.string),
                "image/height": tf.io.FixedLenFeature([], tf.int64),
                "image/width": tf.io.FixedLenFeature([], tf.int64),
            },
            sequence_features={
                "image/encoded": tf.io.FixedLenSequenceFeature([], tf.string),
                "frame/label/index": tf.io.VarLenFeature(tf.int64),
            },
        )
        for content in tf.data.TFRecordDataset(path)
    ]


def jpegs(copy):
    return [frame for _, lists in copy for frame in lists["image/encoded"].numpy().tolist()]


def decoded(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def write_images(folder, images, **settings):
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.jpg", **settings)
    return VideoRecord(path=str(folder), label=1)


# What is in a record.


@pytest.mark.parametrize("name", CODECS)
def test_a_long_video_is_cut(name, tmp_path):
    write_encoded(tmp_path / name, CODECS[name], pictures(1))
    video = VideoRecord(path=str(tmp_path / name), label=1)
    entry, (large, small) = write(
        video, tmp_path, short_sides=(None, 12), frames_per_record=3, quality=95
    )
    assert (entry.num_frames, entry.sizes) == (8, ((24, 32), (12, 16)))
    for copy, size in ((large, (24, 32)), (small, (12, 16))):
        assert [len(lists["image/encoded"]) for _, lists in copy] == [3, 3, 2]
        assert [int(context["clip/first_frame"]) for context, _ in copy] == [0, 3, 6]
        context = copy[2][0]
        assert (int(context["image/height"]), int(context["image/width"])) == size
        assert context["clip/label/index"].values.numpy().tolist() == [1]
        assert context["clip/label/text"].values.numpy().tolist() == [b"walk"]
        assert context["clip/data_path"].numpy() == str(tmp_path / name).encode()
        assert {decoded(jpeg).shape for jpeg in jpegs(copy)} == {(*size, 3)}
    # As close as JPEG comes to what was decoded.
    for jpeg, frame in zip(jpegs(large), read_video(video), strict=True):
        assert np.abs(decoded(jpeg).astype(int) - frame).mean() < 4
    # The places tell where a record's length stands.
    content = (tmp_path / "copy-1").read_bytes()
    assert len(content) == sum(entry.record_bytes[1])
    place = entry.record_bytes[1][0]
    second = next(iter(tf.data.TFRecordDataset(str(tmp_path / "copy-1")).skip(1))).numpy()
    assert content[place + 12 : place + 12 + len(second)] == second


@pytest.mark.parametrize("name", [*CODECS, "images"])
def test_frames_in_turn_are_those_of_all(name, tmp_path):
    path = tmp_path / name
    if name == "images":
        write_images(path, pictures(2))
    else:
        write_encoded(path, CODECS[name], pictures(2))
    video = VideoRecord(path=str(path), label=0)
    frames = [frame for frame, _ in all_frames(video)]
    assert len(frames) == 8
    np.testing.assert_array_equal(np.stack(frames), read_video(video))


def test_a_truncated_video_repeats_its_last_frame(tmp_path):
    path = tmp_path / "cut.avi"
    write_encoded(path, "mjpeg", pictures(2))
    content = path.read_bytes()
    # Every frame of MJPEG is a JPEG file of its own.
    *_, fourth = (match.start() for match in list(re.finditer(b"\xff\xd8\xff", content))[:4])
    path.write_bytes(content[: fourth - 8])
    video = VideoRecord(path=str(path), label=0)
    _, (copy,) = write(video, tmp_path)
    first, second, third, *others = jpegs(copy)
    assert len({first, second, third}) == 3
    assert others == [third] * 5
    np.testing.assert_array_equal(
        np.stack([frame for frame, _ in all_frames(video)]), read_video(video)
    )


def test_labels_of_the_video_and_of_its_frames(tmp_path):
    write_images(tmp_path / "images", pictures(3, count=3))
    paths = tuple(str(tmp_path / "images" / f"{number}.jpg") for number in range(3))
    video = VideoRecord(
        path="46GP8\udcff", label=(0, 1), frame_paths=paths, frame_labels=((), (0, 1), (1,))
    )
    _, (copy,) = write(video, tmp_path, frames_per_record=2)
    context, _ = copy[0]
    assert context["clip/data_path"].numpy() == b"46GP8\xff"
    assert context["clip/label/text"].values.numpy().tolist() == [b"run", b"walk"]
    labels = [
        tf.sparse.to_dense(lists["frame/label/index"], default_value=-1).numpy().tolist()
        for _, lists in copy
    ]
    assert labels == [[[-1, -1], [0, 1]], [[1]]]


# Which JPEGs stay as they are.


def test_jpegs_of_the_right_size_are_copied(tmp_path):
    video = write_images(tmp_path / "images", pictures(4), quality=71, comment=b"kept")
    entry, (large, middle, small) = write(video, tmp_path, short_sides=(None, 24, 12))
    files = [(tmp_path / "images" / f"{number}.jpg").read_bytes() for number in range(8)]
    assert jpegs(large) == files
    # No copy enlarges.
    assert jpegs(middle) == files
    assert entry.sizes == ((24, 32), (24, 32), (12, 16))
    assert {decoded(jpeg).shape for jpeg in jpegs(small)} == {(12, 16, 3)}


@pytest.mark.parametrize("kind", ["turned", "cmyk", "png"])
def test_other_images_are_encoded(kind, tmp_path):
    image = Image.fromarray(pictures(5, count=1)[0])
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / ("0.png" if kind == "png" else "0.jpg")
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif, quality=95)
    elif kind == "cmyk":
        image.convert("CMYK").save(path, quality=95)
    else:
        image.save(path)
    video = VideoRecord(path=str(tmp_path / "images"), label=0)
    entry, (copy,) = write(video, tmp_path)
    (jpeg,) = jpegs(copy)
    assert jpeg != path.read_bytes()
    # Upright in every program.
    assert entry.sizes == (((32, 24) if kind == "turned" else (24, 32)),)
    with Image.open(io.BytesIO(jpeg)) as written:
        assert (written.format, written.mode, dict(written.getexif())) == ("JPEG", "RGB", {})
    assert np.abs(decoded(jpeg).astype(int) - read_video(video)[0]).mean() < 4


def test_grey_jpegs_are_copied(tmp_path):
    video = write_images(tmp_path / "images", pictures(6)[..., 0])
    _, (copy,) = write(video, tmp_path)
    assert jpegs(copy)[7] == (tmp_path / "images" / "7.jpg").read_bytes()


# What cannot be written.


def test_videos_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DecodeError, match="it has no frames"):
        write(VideoRecord(path=str(tmp_path / "empty"), label=0), tmp_path)
    with pytest.raises(DecodeError, match="No such file"):
        write(VideoRecord(path=str(tmp_path / "none.mp4"), label=0), tmp_path)
    video = write_images(tmp_path / "images", pictures(7))
    Image.fromarray(pictures(7, height=32)[0]).save(tmp_path / "images" / "8.jpg")
    with pytest.raises(DecodeError, match="24 x 32 and 32 x 32"):
        write(video, tmp_path)
    (tmp_path / "images" / "8.jpg").unlink()
    with pytest.raises(OSError, match="No such file"):
        write_video(video, RecordFormat(), [str(tmp_path / "none" / "copy")], CLASSES)
    # The limit of protocol buffers, made small.
    monkeypatch.setattr(records_format, "_MOST_BYTES", 2_000)
    with pytest.raises(DecodeError, match="8 frames are too large for one record"):
        write(video, tmp_path)


# A shard's index and names, and the manifest.


def test_the_index():
    a = Entry(num_frames=5, sizes=((4, 6), (2, 3)), record_bytes=((100, 50), (30, 20)))
    b = Entry(num_frames=2, sizes=((8, 6), (3, 2)), record_bytes=((70,), (10,)))
    numbers = np.frombuffer(index_content([a, b]), "<i8").tolist()
    assert numbers == [
        *(3, 14, 23),
        *(5, 4, 6, 0, 100, 150, 2, 3, 0, 30, 50),
        *(2, 8, 6, 150, 220, 3, 2, 50, 60),
    ]
    assert np.frombuffer(index_content([]), "<i8").tolist() == [1]


def test_names_of_any_bytes():
    names = Names(
        videos=(("a\udcff.mp4", 1), ("b", (0, 2))),
        bad=(("c\udcfe\n.mp4", "é"),),
        num_frames=7,
        bytes={"x.index": 10},
        sha256={"x.index": "00"},
    )
    content = names.to_json()
    assert json.loads(content)["videos"] == [["a\udcff.mp4", 1], ["b", [0, 2]]]
    assert Names.from_json(content) == names
    shard = names.shard("x")
    assert (shard.num_videos, shard.num_frames, shard.num_bad) == (2, 7, 1)
    assert shard.bytes == {"x.index": 10, "x.json": len(content)}


def test_the_manifest():
    form = RecordFormat(short_sides=[None, 128], videos_per_shard=2)
    assert shard_files(form, "x") == ("full/x.tfrecord", "128/x.tfrecord", "x.index", "x.json")
    shard = Shard(
        name="x", num_videos=1, num_frames=2, num_bad=3, bytes={"y": 4}, sha256={"y": "z"}
    )
    manifest = Manifest(
        form=form,
        class_names=("a",),
        multi_label=False,
        shards={"train": (shard,), "validation": ()},
    )
    assert Manifest.from_json(manifest.to_json()) == manifest
    with pytest.raises(ValueError, match="its version is 2"):
        Manifest.from_json(manifest.to_json().replace('"version": 1', '"version": 2'))
    for content in ("{}", "[]", '{"version": 1}'):
        with pytest.raises(ValueError, match="no manifest of records"):
            Manifest.from_json(content)


@pytest.mark.parametrize(
    "settings",
    [
        {"short_sides": ()},
        {"short_sides": (0,)},
        {"short_sides": (128, 256)},
        {"short_sides": (256, None)},
        {"short_sides": ("256",)},
        {"short_sides": 256},
        {"short_sides": None},
        {"frames_per_record": 0},
        {"videos_per_shard": 1.5},
        {"quality": 101},
    ],
)
def test_settings_out_of_range(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        RecordFormat(**settings)
