"""Several clips from one reading of a video: `ClipSampling(repeats=...)`."""

import dataclasses
import functools
import threading

import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import Input, training_batches
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.resampling import resample
from keras_multigrid.data.stream import drawn_clips
from keras_multigrid.data.videos.decode import read_video
from keras_multigrid.data.videos.open_video import OpenVideo
from keras_multigrid.data.videos.video import Span, VideoRecord, VideoSet
from keras_multigrid.schedule import Grid, MultigridSchedule

NUM_VIDEOS, REPEATS = 24, 2
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=4, num_frames=4, crop_size=16),
    num_clips=NUM_VIDEOS * REPEATS,
    epochs=6,
    boundaries=(3,),
    replicas=2,
)
SAMPLING = ClipSampling(stride=2, repeats=REPEATS)
STEPS = 7
CLASSES = tuple(map(str, range(NUM_VIDEOS)))


def batches(videos, steps=STEPS, schedule=SCHEDULE, **settings):
    settings = {"seed": 3, "sampling": SAMPLING, "bad_videos": BadVideos(max_share=1.0)} | settings
    data = training_batches(videos, schedule, **settings)
    return list(data.take(steps).as_numpy_iterator())


def assert_same(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        for array, other_array in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, other_array)


def assert_each_as_if_read_alone(videos, found, steps=(0, STEPS - 1)):
    source = Input(
        videos=VideoSet(train=videos, validation=videos, class_names=CLASSES),
        sampling=SAMPLING,
        bad_videos=BadVideos(max_share=1.0),
    )
    for step in steps:
        count = len(found[step][0])
        alone = source.training_clips(SCHEDULE, step=step, count=count, seed=3)
        for place, (_, cut, clip) in enumerate(alone):
            np.testing.assert_array_equal(clip, found[step][0][place])
            assert cut.label == found[step][1][place]


@pytest.fixture(scope="module")
def whole(videos):
    return batches(videos)


def test_neighbours_share_a_video_and_draw_their_own():
    def drawn(sampling):
        rows = drawn_clips(SCHEDULE, sampling, seed=3, start_step=0).take(96)
        return Clip.unpacked(np.stack(list(rows.as_numpy_iterator())).T.tolist())

    ours = drawn(SAMPLING)
    plain = drawn(dataclasses.replace(SAMPLING, repeats=1))
    videos = np.array(ours.video).reshape(2, NUM_VIDEOS, REPEATS)
    assert np.all(videos[..., 0] == videos[..., 1])
    # Each video once an epoch, in another order.
    assert np.all(np.sort(videos[..., 0]) == np.arange(NUM_VIDEOS))
    assert not np.array_equal(videos[0], videos[1])
    # The random numbers of a position are what they are.
    for name in set(Clip._fields) - {"video"}:
        assert getattr(ours, name) == getattr(plain, name)
    assert len(set(ours.start)) > 90


def test_each_clip_is_as_if_read_alone(videos, whole):
    for clips, labels in whole:
        assert np.all(labels[::2] == labels[1::2])
        assert not np.array_equal(clips[0], clips[1])
    assert_each_as_if_read_alone(videos, whole)


def test_kept_videos_give_the_same_clips(videos, whole):
    assert_same(batches(videos, steps=2, keep_decoded=True), whole[:2])


def test_any_step_to_begin_at_and_any_number_of_workers(videos, whole):
    assert_same(batches(videos, steps=2, start_step=5), whole[5:])
    halves = [
        batches(videos, steps=3, input_context=tf.distribute.InputContext(2, number, 2))
        for number in range(2)
    ]
    joined = [
        [np.concatenate(parts) for parts in zip(first, second, strict=True)]
        for first, second in zip(*halves, strict=True)
    ]
    assert_same(joined, whole[:3])


def test_records(videos, tmp_path):
    videos = VideoSet(train=videos, validation=videos[:1], class_names=CLASSES)
    form = RecordFormat(short_sides=(None,), videos_per_shard=9)
    prepare(videos, root=str(tmp_path), form=form, workers=1)
    records = recorded_videos(str(tmp_path)).train
    found = batches(records, steps=2)
    assert_each_as_if_read_alone(records, found, steps=(0, 1))


def test_parts_of_untrimmed_videos(videos):
    spans = [Span(start=1, end=4, unit="frames"), None]
    parts = [
        dataclasses.replace(video, span=spans[number % 2]) for number, video in enumerate(videos)
    ]
    assert_each_as_if_read_alone(parts, batches(parts, steps=1), steps=(0,))


def test_unreadable_videos_are_replaced_clip_by_clip(videos):
    spoilt = [*videos]
    spoilt[5] = spoilt[11] = VideoRecord(path="/none.mp4", label=5)
    bad_videos = BadVideos(max_share=1.0)
    found = batches(spoilt, bad_videos=bad_videos)
    assert_each_as_if_read_alone(spoilt, found, steps=range(4))
    assert bad_videos.replaced_clips >= 2 * REPEATS


def test_a_reading_that_is_too_large_is_done_clip_by_clip(videos, whole, monkeypatch):
    # Of the largest video 28 x 32 pixels: for the frames of one clip, but not of two.
    monkeypatch.setenv("KERAS_MULTIGRID_READ_BYTES", str(4 * 3 * 28 * 32))
    bad_videos = BadVideos()
    assert_same(batches(videos, bad_videos=bad_videos), whole)
    assert not bad_videos.errors


# Grey frames; the label counts what is done with the video.
class CountedVideo(OpenVideo):
    num_frames = 20

    def __init__(self, record):
        super().__init__(record.label)
        self._record = record

    def read(self, indices, short_side=None):
        self._record.count("frames", len(indices))
        return [np.full((24, 24, 3), index, np.uint8) for index in indices]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CountedRecord(VideoRecord):
    counts: dict
    lock: threading.Lock

    def open(self, detail=None):
        self.count("opened", 1)
        return CountedVideo(self)

    def count(self, name, count):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + count


def test_a_video_is_opened_once_for_its_clips():
    counts = {}
    make = functools.partial(CountedRecord, counts=counts, lock=threading.Lock())
    videos = [make(path=f"{number}", label=number) for number in range(NUM_VIDEOS)]
    rows = drawn_clips(SCHEDULE, SAMPLING, seed=3, start_step=0).take(8)
    clips = [Clip.unpacked(row.tolist()) for row in rows.as_numpy_iterator()]
    source = Input(
        videos=VideoSet(train=videos, validation=videos, class_names=CLASSES), sampling=SAMPLING
    )
    reader = source._python_reader(videos)
    cuts = reader.training_cuts(clips)
    assert [cut.video for cut in cuts] == [clip.video for clip in clips]
    assert counts == {"opened": 4, "frames": 8 * clips[0].num_frames}


def test_data_sets_of_decoded_videos(videos):
    def generate():
        for number, video in enumerate(videos):
            yield read_video(video), number

    signature = (tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32))
    decoded = tf.data.Dataset.from_generator(generate, output_signature=signature)
    found = list(decoded.apply(resample(SCHEDULE, sampling=SAMPLING)).take(3).as_numpy_iterator())
    labels = np.concatenate([labels for _, labels in found])
    assert labels[:48].tolist() == np.repeat(np.arange(24), 2).tolist()
    assert not np.array_equal(found[0][0][0], found[0][0][1])
    later = decoded.apply(resample(SCHEDULE, sampling=SAMPLING, start_step=2)).take(1)
    assert_same(list(later.as_numpy_iterator()), found[2:])


def test_errors(videos):
    schedule = dataclasses.replace(SCHEDULE, num_clips=NUM_VIDEOS)
    with pytest.raises(ValueError, match=r"times `repeats`.*24 videos, repeats=2.*num_clips = 48"):
        batches(videos, schedule=schedule)
    sampling = dataclasses.replace(SAMPLING, repeats=3)
    schedule = dataclasses.replace(SCHEDULE, num_clips=NUM_VIDEOS * 3)
    with pytest.raises(ValueError, match=r"multiple of `repeats`.*repeats=3.*over 1 devices"):
        batches(videos, schedule=schedule, sampling=sampling)
    with pytest.raises(ValueError, match="`repeats` must be a positive integer"):
        ClipSampling(repeats=0)
