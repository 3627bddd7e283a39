import dataclasses
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.draws import video_indices
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import Input, evaluation_batches, training_batches
from keras_multigrid.data.resampling import resample
from keras_multigrid.data.videos.decode import read_video
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.monitor import StreamMonitor
from keras_multigrid.schedule import Grid, MultigridSchedule

NUM_VIDEOS = 24
# All ten phases of two stages and the fine-tuning, and 7 steps beyond the end.
SCHEDULE = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=8, crop_size=16),
    num_clips=NUM_VIDEOS,
    epochs=24,
    boundaries=(8, 16),
)
NUM_STEPS = SCHEDULE.total_steps + 7
PLAIN = MultigridSchedule(
    base=Grid(batch_size=2, num_frames=4, crop_size=16),
    num_clips=NUM_VIDEOS,
    epochs=8,
    long_cycle=(),
    short_cycle=(),
)


def take(batches, steps):
    return list(batches.take(steps).as_numpy_iterator())


def stream(videos, *, steps=NUM_STEPS, seed=1, **settings):
    return take(training_batches(videos, SCHEDULE, seed=seed, **settings), steps)


# The colours of clips of files are whole numbers of 255; those of tensors are not rounded.
ROUNDING = 1.01 / 255 / 0.225


def assert_same(batches, expected, *, atol=0.0):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        for array, other_array in zip(batch, other, strict=True):
            np.testing.assert_allclose(array, other_array, rtol=0, atol=atol)


def borders():
    """Steps at, before and behind the first of some phases, and beyond the end."""
    phases = SCHEDULE.phases
    chosen = [phases[1].first_step, phases[3].first_step - 1, phases[6].first_step + 1]
    return [0, 1, *chosen, phases[-1].first_step, SCHEDULE.total_steps, SCHEDULE.total_steps + 2]


def numbers_in(clips):
    """Video and frame that the colours of clips (..., frames, height, width, 3) tell."""
    colours = (clips * 0.225 + 0.45) * 255
    means = colours.mean(axis=(-3, -2))
    return (means[..., 0] - 10) / 10, (means[..., 1] - 10) / 8


@pytest.fixture(scope="module")
def whole(videos):
    """All batches of the schedule and 7 more."""
    return stream(videos)


@pytest.fixture(scope="module")
def decoded(videos):
    return [read_video(record) for record in videos]


def ragged(decoded, *, order=None, dtype=np.uint8):
    """A data set of videos of any size, and their labels."""
    order = range(len(decoded)) if order is None else order

    def generate():
        for index in order:
            yield decoded[index].astype(dtype), index

    signature = (
        tf.TensorSpec((None, None, None, 3), tf.as_dtype(dtype)),
        tf.TensorSpec((), tf.int32),
    )
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


# Training.


def test_every_step_has_its_grid(whole):
    assert len(SCHEDULE.phases) == 10
    assert len({SCHEDULE.grid(step) for step in range(NUM_STEPS)}) == len(SCHEDULE.grids)
    for step, (clips, labels) in enumerate(whole):
        assert clips.shape == SCHEDULE.grid(step).shape
        assert clips.dtype == np.float32
        assert labels.shape == clips.shape[:1]
        assert labels.dtype == np.int32
    # By hand: 8 / 4 frames of 16 / sqrt(2) = 11.3 pixels make 8 times the baseline's 2 clips; the
    # smallest crop, 8 pixels, makes it twice as many, for (11 / 8) ** 2 = 1.9.
    assert whole[0][0].shape == (32, 2, 8, 8, 3)
    assert whole[1][0].shape == whole[2][0].shape == (16, 2, 11, 11, 3)
    # The base grid's short cycle goes on: 4 and 2 times the clips at 8 and 11 pixels.
    last = {clips.shape for clips, _ in whole[-3:]}
    assert last == {(8, 8, 8, 8, 3), (4, 8, 11, 11, 3), (2, 8, 16, 16, 3)}


@pytest.mark.parametrize(
    "changes",
    [
        {"long_cycle": ()},
        {"short_cycle": ()},
        {"long_cycle": (), "short_cycle": ()},
        {"round_to_epochs": True, "epochs": 30},
        {"boundaries": (), "long_cycles": 2},
        {"batch_growth": 0.5},
        {"batch_growth": 0.0, "min_frames": 4, "min_crop": 12},
    ],
    ids=["short", "long", "baseline", "whole epochs", "turns", "growth 0.5", "floors"],
)
def test_every_step_has_its_grid_in_other_schedules(videos, changes):
    settings = {"epochs": 9, "boundaries": (3, 6), **changes}
    schedule = dataclasses.replace(SCHEDULE, **settings)
    steps = schedule.total_steps + 4
    batches = take(training_batches(videos, schedule, seed=0, keep_decoded=True), steps)
    assert [clips.shape for clips, _ in batches] == [schedule.grid(n).shape for n in range(steps)]
    labels = np.concatenate([labels for _, labels in batches])[:NUM_VIDEOS]
    assert sorted(labels) == list(range(NUM_VIDEOS))


def test_clips_show_the_video_of_their_label(whole):
    for clips, labels in whole:
        videos, frames = numbers_in(clips)
        np.testing.assert_allclose(videos, np.repeat(labels[:, None], clips.shape[1], 1), atol=0.4)
        assert np.all(np.diff(frames.round()) >= 0)


def test_every_epoch_takes_every_video_once(whole):
    labels = np.concatenate([labels for _, labels in whole])
    epochs = labels[: len(labels) // NUM_VIDEOS * NUM_VIDEOS].reshape(-1, NUM_VIDEOS)
    assert len(epochs) > 20
    assert np.all(np.sort(epochs) == np.arange(NUM_VIDEOS))
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


@pytest.mark.parametrize("start_step", borders())
def test_stream_from_a_step_is_the_stream_without_those_before(videos, whole, start_step):
    steps = min(3, NUM_STEPS - start_step)
    batches = stream(videos, start_step=start_step, steps=steps)
    assert_same(batches, whole[start_step : start_step + steps])


def test_number_of_workers_and_kept_videos_change_nothing(videos, whole):
    assert_same(stream(videos, workers=1, steps=12), whole[:12])
    assert_same(stream(videos, workers=4, keep_decoded=True), whole)


def test_a_batch_that_grows_less_starts_at_any_step_with_any_number_of_workers(videos):
    schedule = dataclasses.replace(SCHEDULE, batch_growth=0.5, epochs=20)
    whole = take(training_batches(videos, schedule, seed=1, workers=1, keep_decoded=True), 60)
    start_step = schedule.phases[1].first_step - 1
    rest = training_batches(videos, schedule, seed=1, start_step=start_step, workers=4)
    assert_same(take(rest, 4), whole[start_step : start_step + 4])


def test_another_seed_gives_another_stream(videos, whole):
    clips, labels = stream(videos, seed=2, steps=1)[0]
    assert np.any(labels != whole[0][1])
    assert np.any(clips != whole[0][0])


@pytest.mark.parametrize(
    "keep_span, base_step, num_frames, strides",
    [
        # 8 frames at stride 2 at the base grid.
        (True, -1, 8, {2}),
        (False, -1, 8, {2}),
        (True, 0, 2, {8}),
        (False, 0, 2, {2, 3, 4, 5, 6, 7, 8}),
    ],
)
def test_clip_frames_lie_in_the_strides_range(videos, keep_span, base_step, num_frames, strides):
    long = VideoRecord(path=videos[23].path, label=0)
    sampling = ClipSampling(keep_span=keep_span)
    step = SCHEDULE.phases[base_step].first_step
    settings = {"start_step": step, "steps": 3, "keep_decoded": True, "sampling": sampling}
    batches = stream([long] * NUM_VIDEOS, **settings)
    seen = set()
    for clips, _ in batches:
        frames = numbers_in(clips)[1].round().astype(int)
        assert frames.shape[1] == num_frames
        steps = np.diff(frames)
        assert np.all(steps == steps[:, :1])
        seen |= set(steps[:, 0].tolist())
    assert seen == strides


def test_half_of_the_clips_are_mirrored_if_asked_for(videos, tmp_path):
    # Dark on the left, bright on the right.
    columns = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (24, 1, 3))
    for frame in range(4):
        image = tf.io.encode_jpeg(columns)
        tf.io.write_file(str(tmp_path / f"{frame}.jpg"), image)
    records = [VideoRecord(path=str(tmp_path), label=0)] * NUM_VIDEOS
    for flip, least, most in ((True, 72, 128), (False, 0, 0)):
        batches = stream(records, steps=10, sampling=ClipSampling(flip=flip))
        clips = np.concatenate([clips.mean(axis=(1, 2, 4))[:, [0, -1]] for clips, _ in batches])
        assert len(clips) == 200
        assert least <= (clips[:, 0] > clips[:, 1]).sum() <= most


def test_number_of_videos_must_be_the_schedules(videos):
    with pytest.raises(ValueError, match=r"23 videos, .*num_clips=24.*num_clips = 23"):
        training_batches(videos[:-1], SCHEDULE, seed=0)


# Several classes a video.


def with_frame_labels(videos):
    """Each frame shows the class of its number."""
    records = []
    for number, record in enumerate(videos):
        frames = tuple((frame,) for frame in range(4 + number))
        label = tuple(range(4 + number))
        records.append(VideoRecord(path=record.path, label=label, frame_labels=frames))
    return records


def test_label_of_a_clip_is_what_goes_on_in_its_span(videos):
    batches = stream(with_frame_labels(videos), num_classes=30, steps=6)
    lengths = set()
    for clips, labels in batches:
        assert labels.shape == (len(clips), 30)
        assert labels.dtype == np.float32
        frames = numbers_in(clips)[1].round().astype(int)
        for label, shown in zip(labels, frames, strict=True):
            assert set(np.unique(label)) <= {0.0, 1.0}
            assert np.flatnonzero(label).tolist() == list(range(shown[0], shown[-1] + 1))
            lengths.add(int(label.sum()))
    assert len(lengths) > 3


def test_without_frame_labels_the_clip_has_the_videos_classes(videos):
    records = [
        VideoRecord(path=record.path, label=(number, 29)) for number, record in enumerate(videos)
    ]
    clips, labels = stream(records, num_classes=30, steps=1)[0]
    numbers = numbers_in(clips)[0][:, 0].round().astype(int)
    assert [np.flatnonzero(label).tolist() for label in labels] == [[n, 29] for n in numbers]


# Validation.


def test_evaluation_takes_the_middle_of_every_video_once(videos):
    grid = Grid(batch_size=9, num_frames=8, crop_size=16)
    batches = take(evaluation_batches(videos, grid), 100)
    assert [clips.shape for clips, _ in batches] == [
        (9, 8, 16, 16, 3),
        (9, 8, 16, 16, 3),
        (6, 8, 16, 16, 3),
    ]
    assert np.concatenate([labels for _, labels in batches]).tolist() == list(range(24))
    frames = np.concatenate([numbers_in(clips)[1] for clips, _ in batches]).round().astype(int)
    assert frames[0].tolist() == [0, 2, 3, 3, 3, 3, 3, 3]  # 4 frames
    assert frames[11].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]  # 15 frames
    assert frames[23].tolist() == [6, 8, 10, 12, 14, 16, 18, 20]  # 27 frames
    assert_same(take(evaluation_batches(videos, grid, workers=1, keep_decoded=True), 100), batches)


def test_evaluation_of_no_videos_is_refused():
    with pytest.raises(ValueError, match="must have validation videos"):
        evaluation_batches([], Grid(batch_size=4, num_frames=2, crop_size=16))


def test_evaluation_leaves_out_what_cannot_be_read(videos, tmp_path):
    records = [*videos[:5], VideoRecord(path=str(tmp_path / "none.mp4"), label=99), *videos[5:8]]
    bad_videos = BadVideos()
    grid = Grid(batch_size=4, num_frames=2, crop_size=16)
    batches = take(evaluation_batches(records, grid, bad_videos=bad_videos), 100)
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6], [7]]
    assert list(bad_videos.errors) == [str(tmp_path / "none.mp4")]
    assert (bad_videos.clips, bad_videos.replaced_clips) == (9, 1)


# Any data set of decoded videos.


def test_resample_takes_the_clips_of_training_batches(decoded, whole):
    # The same order of the videos, so that all batches must be the same.
    clips = sum(len(labels) for _, labels in whole)
    order = video_indices(tf.range(clips, dtype=tf.int64), NUM_VIDEOS, 1).numpy()
    batches = take(ragged(decoded, order=order).apply(resample(SCHEDULE, seed=1)), NUM_STEPS)
    assert_same(batches, whole, atol=ROUNDING)


@pytest.mark.parametrize("start_step", [1, SCHEDULE.phases[2].first_step, SCHEDULE.total_steps + 1])
def test_resample_starts_at_any_step(decoded, start_step):
    videos = ragged(decoded)
    expected = take(videos.apply(resample(SCHEDULE, workers=1)), start_step + 2)
    batches = take(videos.apply(resample(SCHEDULE, start_step=start_step)), 2)
    assert_same(batches, expected[start_step:])


def test_workers_resample_their_share_of_every_batch(decoded):
    videos = ragged(decoded)
    workers = [
        take(videos.apply(resample(SCHEDULE, start_step=5, input_context=context)), 4)
        for context in (tf.distribute.InputContext(2, number, 2) for number in range(2))
    ]
    whole = take(videos.apply(resample(SCHEDULE, start_step=5)), 4)
    together = [
        map(np.concatenate, zip(*batches, strict=True)) for batches in zip(*workers, strict=True)
    ]
    assert_same(together, whole)


@pytest.mark.parametrize("segments", [False, True])
def test_resample_and_files_give_the_same_still_clips(videos, decoded, whole, segments):
    sampling = ClipSampling(segments=segments, still=True, reciprocal_scales=True)
    expected = stream(videos, steps=3, sampling=sampling)
    order = np.concatenate([labels for _, labels in whole])
    resampled = ragged(decoded, order=order).apply(resample(SCHEDULE, seed=1, sampling=sampling))
    assert_same(take(resampled, 3), expected, atol=ROUNDING)
    for clips, _ in expected:
        np.testing.assert_array_equal(clips[:, 1:], clips[:, :-1])


def test_segments_reach_over_the_whole_video(videos):
    sampling = ClipSampling(segments=True)
    for clips, labels in stream(videos, sampling=sampling):
        frames = np.round(numbers_in(clips)[1]).astype(int)
        for label, shown in zip(labels, frames, strict=True):
            length, count = 4 + label, len(shown)
            edges = np.arange(count + 1) * length // count
            assert np.all((shown >= edges[:-1]) & (shown <= np.maximum(edges[1:] - 1, edges[:-1])))


def test_resample_leaves_colours_of_float_videos(decoded):
    pixels = take(ragged(decoded).apply(resample(SCHEDULE)), 3)
    floats = take(ragged(decoded, dtype=np.float32).apply(resample(SCHEDULE)), 3)
    for (clips, labels), (float_clips, float_labels) in zip(pixels, floats, strict=True):
        np.testing.assert_array_equal(labels, float_labels)
        np.testing.assert_allclose(clips, (float_clips / 255 - 0.45) / 0.225, atol=1e-4)
    assert floats[0][0].dtype == np.float32
    assert floats[0][0].max() > 150


def test_resample_takes_videos_of_one_size_and_labels_of_any_form(decoded):
    video = decoded[10]
    videos = tf.data.Dataset.from_tensor_slices(
        (np.stack([video] * NUM_VIDEOS), np.eye(NUM_VIDEOS, dtype=np.float32))
    )
    clips, labels = take(videos.apply(resample(SCHEDULE)), 1)[0]
    assert clips.shape == (32, 2, 8, 8, 3)
    assert labels.argmax(axis=1).tolist() == [*range(24), *range(8)]


def test_resample_takes_videos_of_undeclared_shape(decoded):
    videos = ragged(decoded)
    untold = videos.map(lambda v, y: (tf.numpy_function(lambda v: v, [v], tf.uint8), y))
    assert untold.element_spec[0].shape.rank is None
    batches = take(untold.apply(resample(SCHEDULE)), 2)
    assert_same(batches, take(videos.apply(resample(SCHEDULE)), 2))


def test_resample_refuses_batches(decoded):
    videos = tf.data.Dataset.from_tensor_slices((np.stack([decoded[10]] * 24), np.arange(24)))
    with pytest.raises(ValueError, match=r"one video per element.*Take `\.batch\(\)` away"):
        videos.batch(4).apply(resample(SCHEDULE))
    with pytest.raises(ValueError, match=r"videos\.map\(lambda example: \(example\['video'\]"):
        videos.map(lambda video, label: {"video": video, "label": label}).apply(resample(SCHEDULE))


def test_resample_refuses_another_number_of_videos(decoded):
    videos = tf.data.Dataset.from_tensor_slices((np.stack([decoded[10]] * 5), np.arange(5)))
    with pytest.raises(ValueError, match=r"5 videos, .*num_clips=24.*num_clips = 5"):
        videos.apply(resample(SCHEDULE))


# Clips to look at.


def test_clips_to_look_at_are_those_of_training(videos):
    videos = [*videos]
    videos[3] = videos[4] = VideoRecord(path="none.mp4", label=3)
    names = tuple(map(str, range(NUM_VIDEOS)))
    source = Input(
        videos=VideoSet(train=videos, validation=videos, class_names=names),
        bad_videos=BadVideos(max_share=1.0),
    )
    for step in SCHEDULE.first_steps().values():
        batches = training_batches(
            videos, SCHEDULE, start_step=step, bad_videos=BadVideos(max_share=1.0), seed=1
        )
        (batch,) = take(batches, 1)
        count = min(5, len(batch[0]))
        shown = list(source.training_clips(SCHEDULE, step=step, count=count, seed=1))
        for place, (clip, cut, frames) in enumerate(shown):
            np.testing.assert_array_equal(frames, batch[0][place])
            assert cut.label == batch[1][place] == videos[cut.video].label
            assert (cut.video == clip.video) == (clip.video not in (3, 4))


# What the pipeline tells of itself.


def test_the_first_clips_of_steps_that_are_asked_for(decoded):
    monitor = StreamMonitor()
    monitor.ask_for_clips([4, 6])
    with monitor.attached():
        stream = ragged(decoded).apply(resample(SCHEDULE, start_step=3))
        later = ragged(decoded).apply(resample(SCHEDULE, start_step=6))
    batches = take(stream, 3)
    np.testing.assert_array_equal(monitor.take_clips(4), batches[1][0][:4])
    # Each once, and no others.
    assert [monitor.take_clips(step) for step in (3, 4, 5, 6)] == [None] * 4
    take(later, 1)
    monitor.ask_for_clips([])
    assert monitor.take_clips(6) is None


def waited(videos, *, steps, pause):
    """Seconds on the clock for some batches after the first."""
    monitor = StreamMonitor()
    with monitor.attached():
        iterator = iter(videos.apply(resample(PLAIN)))
    next(iterator)
    time.sleep(pause)
    before = monitor.seconds_waited
    for _ in range(steps):
        next(iterator)
        time.sleep(pause)
    return monitor.seconds_waited - before


def test_wait_is_long_where_the_pipeline_is_slow_and_short_where_batches_are_ready(decoded):
    def slow(video, label):
        tf.numpy_function(lambda: time.sleep(0.04), [], [])
        return video, label

    videos = ragged(decoded).cache()
    ready = waited(videos, steps=8, pause=0.08)
    short = waited(videos.map(slow), steps=8, pause=0)
    assert 0 <= ready < short / 3
