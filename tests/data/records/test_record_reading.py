"""Clips of records, beside the same clips of folders of images."""

import copy
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.check.videos import check_videos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import evaluation_batches, training_batches
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.reading import RecordReader
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.stream import drawn_clips
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.schedule import Grid, MultigridSchedule

BASE = Grid(batch_size=2, num_frames=8, crop_size=32)
SAMPLING = ClipSampling(stride=2, min_scale=36, max_scale=46)
# Height, width, frames: odd sizes, some larger than needed, some shorter than a clip.
SIZES = [(41, 57, 20), (64, 48, 3), (37, 37, 40), (90, 121, 25), (40, 52, 9), (200, 161, 17)]
NUM_VIDEOS = len(SIZES)


def picture(number, frame):
    height, width, _ = SIZES[number]
    rows, columns = np.mgrid[:height, :width]
    waves = [
        np.sin(rows / 12 + frame / 3 + number),
        np.cos(columns / 10 - frame / 2),
        np.sin((rows + columns) / 16),
    ]
    return (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A set of folders of JPEGs with classes by frame."""
    root = tmp_path_factory.mktemp("images")
    videos = []
    for number, (_, _, count) in enumerate(SIZES):
        paths = [root / f"{number}" / f"{frame:03d}.jpg" for frame in range(count)]
        paths[0].parent.mkdir()
        for frame, path in enumerate(paths):
            subsampling = ("4:2:0", "4:4:4", "4:2:2")[number % 3]
            Image.fromarray(picture(number, frame)).save(path, quality=92, subsampling=subsampling)
        frame_labels = tuple((number % 3, 3) if frame > 8 else () for frame in range(count))
        videos.append(
            VideoRecord(
                path=str(paths[0].parent),
                label=tuple(sorted(set().union(*frame_labels))),
                frame_paths=tuple(map(str, paths)),
                frame_labels=frame_labels,
            )
        )
    return VideoSet(
        train=videos, validation=videos[::-1], class_names=tuple("abcd"), multi_label=True
    )


def make(videos, root, short_sides, **settings):
    settings = {"frames_per_record": 7, "videos_per_shard": 4} | settings
    form = RecordFormat(short_sides=short_sides, **settings)
    prepare(videos, root=str(root), form=form, workers=2)
    return recorded_videos(str(root))


@pytest.fixture(scope="module")
def records(folders, tmp_path_factory):
    """The same set as records of the images' own sizes."""
    return make(folders, tmp_path_factory.mktemp("records"), (None,))


def schedule(**settings):
    settings = {"epochs": 40, "boundaries": (20,), "num_clips": NUM_VIDEOS} | settings
    return MultigridSchedule(base=BASE, **settings)


def batches(videos, steps=12, its_schedule=None, **settings):
    settings = {"seed": 3, "sampling": SAMPLING, "num_classes": 4} | settings
    data = training_batches(videos, its_schedule or schedule(), **settings)
    return list(data.take(steps).as_numpy_iterator())


@pytest.fixture(scope="module")
def whole(records):
    return batches(records.train)


def assert_equal(ours, others):
    assert len(ours) == len(others)
    for (clips, labels), (other_clips, other_labels) in zip(ours, others, strict=True):
        np.testing.assert_array_equal(clips, other_clips)
        np.testing.assert_array_equal(labels, other_labels)


# The same clips.


@pytest.mark.parametrize("settings", [{}, {"segments": True}, {"still": True}, {"flip": False}])
def test_clips_and_their_classes_are_those_of_the_images_to_the_pixel(folders, records, settings):
    sampling = ClipSampling(stride=2, min_scale=36, max_scale=46, **settings)
    # Here, not by the reader that mends what could not be read.
    fine = BadVideos(max_share=0.0, min_clips=1)
    ours = batches(records.train, sampling=sampling, bad_videos=fine)
    assert_equal(ours, batches(folders.train, sampling=sampling))
    shapes = [clips.shape[:4] for clips, _ in ours]
    assert len(set(shapes)) > 3
    assert not fine.errors
    assert fine.clips >= sum(shape[0] for shape in shapes)


def test_every_clip_is_read_without_python(records):
    reader = RecordReader(records.train, SAMPLING, records.task)
    drawn = drawn_clips(schedule(), SAMPLING, seed=3, start_step=0).take(100)
    clips = reader._training_clips(drawn)
    assert all(is_read for _, is_read, _, _ in clips.as_numpy_iterator())
    centres = reader._centre_clips(tf.data.Dataset.range(NUM_VIDEOS), BASE)
    assert [bool(is_read) for _, is_read, _, _ in centres] == [True] * NUM_VIDEOS


def test_a_run_that_begins_later_reads_the_same(records, whole):
    assert_equal(batches(records.train, 4, start_step=8), whole[8:])


def test_validation_clips_are_the_same(folders, records):
    settings = {"sampling": SAMPLING, "num_classes": 4}
    ours, images = (
        list(evaluation_batches(videos, BASE, **settings).as_numpy_iterator())
        for videos in (records.validation, folders.validation)
    )
    assert_equal(ours, images)
    assert sum(len(clips) for clips, _ in ours) == NUM_VIDEOS


def test_kept_videos_are_the_same(folders, records):
    kept = batches(records.train, 6, keep_decoded=True)
    assert_equal(kept, batches(folders.train, 6, keep_decoded=True))


def test_one_class_a_video(folders, tmp_path):
    videos = [VideoRecord(path=video.path, label=i % 3) for i, video in enumerate(folders.train)]
    videos = VideoSet(train=videos, validation=videos[:1], class_names=tuple("abc"))
    ours = batches(make(videos, tmp_path, (None,)).train, num_classes=None)
    assert_equal(ours, batches(videos.train, num_classes=None))
    assert ours[0][1].dtype == np.int32


# Smaller copies.


def test_coarse_grids_read_the_smaller_copy_with_the_same_crops(folders, whole, tmp_path):
    two_sizes = make(folders, tmp_path, (None, 18))
    ours = batches(two_sizes.train)
    coarse = 0
    for (clips, labels), (other_clips, other_labels) in zip(whole, ours, strict=True):
        np.testing.assert_array_equal(labels, other_labels)
        # Scales of crops of 16 begin at 18, those of larger ones above.
        if clips.shape[2] > 16:
            np.testing.assert_array_equal(clips, other_clips)
            continue
        coarse += 1
        difference = np.abs(clips - other_clips).mean() * 255 * SAMPLING.std
        assert 0 < difference < 12
        # Another place of the picture would differ by more.
        others = np.abs(clips - np.roll(other_clips, 1, axis=0)).mean() * 255 * SAMPLING.std
        assert difference < others / 3
    assert coarse > 2


# What cannot be read.


@pytest.fixture
def damaged(records, tmp_path):
    """One bit of the third record of training video 2 is wrong."""
    root = tmp_path / "damaged"
    shutil.copytree(records.train.root, root)
    path = next((root / "full").glob("train-00000*.tfrecord"))
    images = records.train[2].open()._images
    content = bytearray(path.read_bytes())
    content[int(images._places[2]) + 100] ^= 1
    path.write_bytes(content)
    return recorded_videos(str(root))


def test_clips_of_damaged_records_are_replaced_and_told(records, damaged, whole, tmp_path):
    # Frames 14 to 20 of 40: some clips of the video are whole.
    bad_videos = BadVideos(str(tmp_path / "bad.txt"), max_share=0.5)
    ours = batches(damaged.train, bad_videos=bad_videos)
    changed = kept = 0
    for (clips, _), (other_clips, _) in zip(ours, whole, strict=True):
        for clip, other in zip(clips, other_clips, strict=True):
            is_same = np.array_equal(clip, other)
            changed += not is_same
            kept += is_same
    assert changed and kept > 5 * changed
    (path,) = bad_videos.errors
    assert path == records.train[2].path
    assert "the record is damaged" in bad_videos.errors[path]
    assert path in (tmp_path / "bad.txt").read_text()
    assert_equal(ours, batches(damaged.train, bad_videos=BadVideos(max_share=0.5)))


def test_validation_leaves_out_what_cannot_be_read(damaged, records, tmp_path):
    path = next((pathlib.Path(damaged.train.root) / "full").glob("validation-00000*"))
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    bad_videos = BadVideos(max_share=1.0)
    found = evaluation_batches(
        damaged.validation, BASE, sampling=SAMPLING, num_classes=4, bad_videos=bad_videos
    )
    assert sum(len(clips) for clips, _ in found) == NUM_VIDEOS - 1
    assert list(bad_videos.errors) == [damaged.validation[0].path]


def test_a_set_whose_files_are_gone_stops_the_run(records, tmp_path):
    root = tmp_path / "gone"
    shutil.copytree(records.train.root, root)
    videos = recorded_videos(str(root))
    shutil.rmtree(root / "full")
    with pytest.raises(tf.errors.OpError, match=r"TooManyBadVideosError.*the records lack"):
        batches(videos.train, bad_videos=BadVideos(max_share=0.2, min_clips=10))


# The set.


def test_the_set_tells_its_videos(folders, records):
    assert len(records.train) == NUM_VIDEOS
    assert [video.path for video in records.train] == [video.path for video in folders.train]
    assert [video.label for video in records.train] == [video.label for video in folders.train]
    assert records.validation[-1].path == records.train[0].path
    assert records.train[1:-1:2] == [records.train[1], records.train[3]]
    assert records.class_names == folders.class_names
    assert records.multi_label
    with pytest.raises(IndexError):
        records.train[NUM_VIDEOS]
    with pytest.raises(TypeError, match="integer"):
        records.train["0"]


def test_equal_sets_have_equal_digests_wherever_they_are(records, damaged, folders, tmp_path):
    assert records.train.fingerprint == damaged.train.fingerprint != records.validation.fingerprint
    assert make(folders, tmp_path / "other", (30,)).train.fingerprint != records.train.fingerprint


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": 2}', "[]"])
def test_what_is_no_finished_folder_of_records_is_refused(tmp_path, content):
    if content is None:
        expected, match = FileNotFoundError, r"holds no manifest.json.*keras-multigrid prepare"
    else:
        (tmp_path / "manifest.json").write_text(content)
        expected, match = ValueError, r"manifest.json cannot be read: .*Make it anew"
    with pytest.raises(expected, match=match):
        recorded_videos(str(tmp_path))


@pytest.mark.slow
def test_what_others_cannot_see_is_read_here_with_a_warning(records, caplog):
    theirs = training_batches(records.train, schedule(), seed=0, sampling=SAMPLING, num_classes=4)
    theirs = list(theirs.take(2).as_numpy_iterator())
    assert "could not be read" not in caplog.text
    elsewhere = copy.copy(records.train)
    elsewhere.root = "/elsewhere"
    batches = training_batches(elsewhere, schedule(), seed=0, sampling=SAMPLING, num_classes=4)
    # The graph is made; Python looks where the records are.
    elsewhere.root = records.train.root
    assert_equal(list(batches.take(2).as_numpy_iterator()), theirs)
    assert "could not be read at first" in caplog.text
    assert f"must see {records.train.root}" in caplog.text


def test_a_check_of_videos_refuses_records_and_names_what_checks_them(records, tmp_path):
    with pytest.raises(ValueError, match=r"must be files.*keras-multigrid prepare --verify --out="):
        check_videos(records, journal=str(tmp_path / "journal"))
