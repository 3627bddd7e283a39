import os
import pathlib
import textwrap

import numpy as np
import processes
import pytest
import tensorflow as tf

import keras_multigrid
from keras_multigrid.data.bad_videos import BadVideos, TooManyBadVideosError
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import scaled
from keras_multigrid.data.input import training_batches
from keras_multigrid.data.reading import ClipReader
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.schedule import Grid, MultigridSchedule
from keras_multigrid.task import SingleLabel

NUM_VIDEOS = 24
GRID = Grid(batch_size=8, num_frames=4, crop_size=16)
SCHEDULE = MultigridSchedule(
    base=GRID,
    num_clips=NUM_VIDEOS,
    epochs=12,
    long_cycle=(),
    short_cycle=(),
)
# Where the four unreadable videos stand in the list.
BAD = (3, 8, 9, 20)


@pytest.fixture(scope="module")
def bad_paths(videos, tmp_path_factory):
    """A file cut off, an empty one, one of text, and none."""
    folder = tmp_path_factory.mktemp("bad")
    content = pathlib.Path(videos[3].path).read_bytes()
    (folder / "truncated.mp4").write_bytes(content[: len(content) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is a text. " * 100)
    return [str(folder / f"{name}.mp4") for name in ("truncated", "empty", "text", "missing")]


@pytest.fixture(scope="module")
def spoilt(videos, bad_paths):
    """The videos, four of them unreadable."""
    records = list(videos)
    for index, path in zip(BAD, bad_paths, strict=True):
        records[index] = VideoRecord(path=path, label=index)
    return records


def take(records, steps, **settings):
    batches = training_batches(records, SCHEDULE, seed=1, **settings)
    return list(batches.take(steps).as_numpy_iterator())


def random_clip(reader, values):
    """Frames and label of a single clip, read in a graph."""
    drawn = tf.data.Dataset.from_tensors(tf.cast(values, tf.int64))
    _, frames, label = reader._training_clips(drawn).get_single_element()
    return frames, label


def centre(reader, index):
    """Frames of the clip in the middle of a video."""
    cut = reader.centre_cut(index, GRID)
    return scaled(cut.cropped, GRID.crop_size).numpy()


def clip_of(video, *, num_frames):
    """The values of a clip."""
    clip = Clip(
        video=video, batch=0, batch_size=8, num_frames=num_frames, crop_size=16, detail=18,
        duration=2 * num_frames, scale=18, region=16, start=7, top=5, left=3, flip=0, position=0,
    )  # fmt: skip
    return tf.constant(clip, tf.int64)


def lenient(list_path=None):
    return BadVideos(list_path, max_share=0.5)


# Replacement.


def test_clips_of_bad_videos_are_replaced_and_the_others_stay(videos, spoilt):
    healthy = take(videos, 6)
    batches = take(spoilt, 6, bad_videos=lenient())
    clips, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    healthy_clips, healthy_labels = (np.concatenate(x) for x in zip(*healthy, strict=True))
    is_bad = np.isin(healthy_labels, BAD)
    assert is_bad.sum() == 8  # four in each of two epochs
    assert not np.isin(labels, BAD).any()
    np.testing.assert_array_equal(labels[~is_bad], healthy_labels[~is_bad])
    np.testing.assert_array_equal(clips[~is_bad], healthy_clips[~is_bad])
    # By other videos each time, not by one neighbour.
    assert len(set(labels[is_bad])) > 3


def test_replacements_are_the_same_in_every_run(spoilt):
    first = take(spoilt, 6, bad_videos=lenient(), workers=1)
    second = take(spoilt, 6, bad_videos=lenient(), workers=4, keep_decoded=True)
    for (clips, labels), (other_clips, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(labels, other_labels)
        np.testing.assert_array_equal(clips, other_clips)
    # A run that starts here has no memory of bad files, and needs none.
    resumed = take(spoilt, 1, bad_videos=lenient(), start_step=5)
    np.testing.assert_array_equal(resumed[0][0], first[5][0])


def test_whole_clips_of_a_partly_damaged_video_are_read_also_when_videos_are_kept(tmp_path):
    for number in range(12):
        image = tf.io.encode_jpeg(tf.fill((20, 24, 3), tf.cast(20 * number, tf.uint8)))
        tf.io.write_file(str(tmp_path / f"{number:02d}.jpg"), image)
    (tmp_path / "11.jpg").write_bytes(b"no picture")
    record = VideoRecord(path=str(tmp_path), label=0)
    for keep_decoded in (False, True):
        bad_videos = lenient()
        reader = ClipReader(
            [record],
            ClipSampling(),
            SingleLabel(()),
            bad_videos=bad_videos,
            keep_decoded=keep_decoded,
        )
        for _ in range(2):
            frames = centre(reader, 0)
            # Frames 2, 4, 6 and 8.
            means = frames.mean(axis=(1, 2, 3))
            np.testing.assert_allclose(means, [40, 80, 120, 160], atol=2)
        assert not bad_videos.errors


def test_names_that_are_no_utf8_are_listed_and_told(videos, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    pathlib.Path(path).write_bytes(b"no video")
    records = [VideoRecord(path=path, label=0), *videos[1:]]
    list_path = tmp_path / "bad_videos.txt"
    take(records, 3, bad_videos=lenient(str(list_path)))
    assert list_path.read_bytes().startswith(os.fsencode(path) + b"\tCannot decode")
    with pytest.raises(tf.errors.OpError, match=r"TooManyBadVideosError.*caf\\udce9.mp4"):
        take(records, 9, bad_videos=BadVideos(max_share=0.0, min_clips=1))


# Counting and listing.


def test_bad_files_are_counted_each_time_and_listed_once(spoilt, bad_paths, tmp_path):
    list_path = tmp_path / "runs" / "bad_videos.txt"
    bad_videos = lenient(str(list_path))
    reader = ClipReader(spoilt, ClipSampling(), SingleLabel(()), bad_videos=bad_videos)
    for index in [3, 0, 8, 9, 20, 3, 1, 3]:
        frames, label = random_clip(reader, clip_of(index, num_frames=4))
        assert frames.shape[0] == 4
        assert int(label) == index or index in BAD
    assert list(bad_videos.errors) == bad_paths
    # Eight clips are read in the end; a replacement may be bad itself.
    assert bad_videos.clips - bad_videos.replaced_clips == 8
    assert bad_videos.replaced_clips >= 6
    lines = [line.split("\t") for line in list_path.read_text().splitlines()]
    assert [path for path, _ in lines] == bad_paths
    for path, error in lines:
        assert error.startswith(f"Cannot decode '{path}': ")
    assert "No such file" in lines[3][1]


def test_a_run_that_goes_on_lists_no_file_again(spoilt, bad_paths, tmp_path):
    list_path = str(tmp_path / "bad_videos.txt")
    for _ in range(2):
        bad_videos = lenient(list_path)
        take(spoilt, 9, bad_videos=bad_videos)
        assert sorted(bad_videos.errors) == sorted(bad_paths)
    with open(list_path) as file:
        assert sorted(line.split("\t")[0] for line in file) == sorted(bad_paths)


def test_the_pipeline_lists_every_bad_file_once(spoilt, bad_paths, tmp_path):
    list_path = tmp_path / "bad_videos.txt"
    bad_videos = lenient(str(list_path))
    take(spoilt, 9, bad_videos=bad_videos)
    paths = [line.split("\t")[0] for line in list_path.read_text().splitlines()]
    assert sorted(paths) == sorted(bad_paths) == sorted(bad_videos.errors)
    # Three epochs of four; the pipeline reads ahead.
    assert bad_videos.replaced_clips >= 12


def test_a_centre_clip_of_a_bad_video_or_of_none_is_told_apart(spoilt):
    bad_videos = lenient()
    reader = ClipReader(spoilt, ClipSampling(), SingleLabel(()), bad_videos=bad_videos)
    for index, is_readable in ((7, True), (8, False), (len(spoilt), False)):
        indices = tf.data.Dataset.from_tensors(tf.constant(index, tf.int64))
        clips = reader._centre_clips(indices, GRID)
        _, is_read, frames, _ = clips.get_single_element()
        assert bool(is_read) == is_readable
        assert frames.shape == (4, 16, 16, 3)
    assert bad_videos.replaced_clips == 1


def test_still_clips_repeat_the_middle_frame(videos):
    reader = ClipReader(videos, ClipSampling(still=True), SingleLabel(()))
    for frames, _ in (
        random_clip(reader, clip_of(16, num_frames=4)),
        (centre(reader, 16), None),
    ):
        assert frames.shape[0] == 4
        # Frame 10 of 20: 8 * 10 + 10 in green.
        np.testing.assert_allclose(np.asarray(frames)[..., 1].mean(axis=(1, 2)), 90, atol=2)
        np.testing.assert_array_equal(frames[0], frames[2])


# Too many.


def test_too_many_bad_videos_stop_the_run():
    bad_videos = BadVideos(max_share=0.1, min_clips=20)
    for number in range(19):
        if number % 2:
            bad_videos.count_clips(1)
        else:
            bad_videos.add("a.mp4", ValueError("Cannot decode 'a.mp4'"))
    with pytest.raises(TooManyBadVideosError) as error:
        bad_videos.add("b.mp4", ValueError("Cannot decode 'b.mp4'"))
    assert str(error.value).startswith("11 of 20 clips came from videos that cannot be read, more ")
    assert "the share of 0.1 that is allowed. The first: Cannot decode 'a.mp4'" in str(error.value)
    assert str(error.value).endswith("runs.Data.max_bad_share.")


def test_a_share_within_the_limit_does_not_stop_the_run():
    bad_videos = BadVideos(max_share=0.1, min_clips=10)
    for _ in range(19):
        bad_videos.count_clips(1)
    bad_videos.add("a.mp4", ValueError("bad"))
    bad_videos.add("a.mp4", ValueError("bad"))  # 2 of 21
    with pytest.raises(TooManyBadVideosError, match="3 of 22 clips"):
        bad_videos.add("a.mp4", ValueError("bad"))


def test_too_many_bad_videos_stop_the_pipeline(spoilt, tmp_path):
    list_path = str(tmp_path / "bad.txt")
    bad_videos = BadVideos(list_path, max_share=0.05, min_clips=24)
    with pytest.raises(tf.errors.OpError) as error:
        take(spoilt, 20, bad_videos=bad_videos)
    assert "clips came from videos that cannot be read, more than the share of 0.05" in str(
        error.value
    )
    assert f"All are listed in {list_path}" in str(error.value)


def test_nothing_but_bad_videos_is_a_clear_error(bad_paths):
    records = [VideoRecord(path=bad_paths[n % 4], label=n) for n in range(NUM_VIDEOS)]
    with pytest.raises(tf.errors.OpError, match="100 videos in a row cannot be read; the last: /"):
        take(records, 1, bad_videos=BadVideos(max_share=1.0))
    with pytest.raises(tf.errors.OpError, match="Check that the data set is where its annota"):
        take(records, 1, bad_videos=BadVideos(max_share=1.0))


# The end of the process.

SCRIPT = """
    import sys
    from keras_multigrid.data.videos.video import VideoRecord
    from keras_multigrid.data.input import training_batches
    from keras_multigrid.schedule import Grid, MultigridSchedule

    videos = [VideoRecord(path=path, label=0) for path in sys.argv[3:]]
    schedule = MultigridSchedule(
        base=Grid(batch_size=2, num_frames=8, crop_size=32), num_clips=len(videos), epochs=60,
        boundaries=(20, 40))
    start_step = int(float(sys.argv[1]) * schedule.total_steps)
    iterator = iter(training_batches(videos, schedule, seed=0, start_step=start_step))
    next(iterator), next(iterator)
    if sys.argv[2] == "raise":
        raise RuntimeError("on purpose")
    print("done")
"""


@pytest.mark.parametrize(
    ("share", "ending", "code"),
    [("0", "return", 0), ("0.9", "return", 0), ("0.9", "raise", 1)],
)
def test_process_ends_while_clips_are_read_ahead(videos, tmp_path, share, ending, code):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    root = pathlib.Path(keras_multigrid.__file__).parents[1]
    paths = [record.path for record in videos]
    env = {**os.environ, "PYTHONPATH": str(root)}
    result = processes.run(script, share, ending, *paths, env=env, timeout=60)
    assert result.returncode == code, result.stderr
    assert ("done" in result.stdout) == (ending == "return")
    assert ("RuntimeError: on purpose" in result.stderr) == (ending == "raise")
