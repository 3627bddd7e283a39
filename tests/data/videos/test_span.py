"""Parts of untrimmed videos: their frames, their checks and their records."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from small_videos import write_video

from keras_multigrid.data.check.videos import check_videos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import Input
from keras_multigrid.data.records.folder import video_line, video_of_line
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.decode import all_frames, opened, read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import Span, VideoRecord, VideoSet
from keras_multigrid.schedule import Grid, MultigridSchedule

CODECS = {"a.mp4": "libx264", "a.webm": "libvpx-vp9", "a.avi": "mpeg4"}


def grey(count=24):
    """Frame 0 has the grey 20, frame 1 28, and so on."""
    return np.broadcast_to(
        (20 + 8 * np.arange(count, dtype=np.uint8))[:, None, None, None], (count, 32, 32, 3)
    )


def numbers(frames):
    """Which frames of the video these are."""
    return [round((float(np.mean(frame)) - 20) / 8) for frame in frames]


def part(path, start, end, unit="frames", label=0):
    return VideoRecord(path=str(path), label=label, span=Span(start=start, end=end, unit=unit))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrimmed")
    for name, codec in CODECS.items():
        # 8 frames a second.
        write_video(folder / name, codec, grey())
    (folder / "frames").mkdir()
    for number, image in enumerate(grey()):
        Image.fromarray(image).save(folder / "frames" / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", [*CODECS, "frames"])
def test_a_part_is_read_as_if_it_were_all(folder, name):
    record = part(folder / name, 5, 9)
    assert numbers(read_video(record)) == [5, 6, 7, 8]
    assert numbers(frame for frame, _ in all_frames(record)) == [5, 6, 7, 8]
    with opened(record) as video:
        assert video.num_frames == 4
        assert numbers(video.read(np.array([1, 3, 3]))) == [6, 8, 8]


@pytest.mark.parametrize("name", CODECS)
def test_seconds_are_those_at_which_frames_are_shown(folder, name):
    assert numbers(read_video(part(folder / name, 0.5, 1.25, "seconds"))) == [4, 5, 6, 7, 8, 9]
    # Where it ends behind the video, it ends with it.
    assert numbers(read_video(part(folder / name, 2.75, 100, "seconds"))) == [22, 23]
    # Shorter than a frame.
    assert numbers(read_video(part(folder / name, 1.0, 1.01, "seconds"))) == [8]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_seconds_of_a_video_whose_rate_varies(tmp_path, name):
    # 12 frames in a second and a half, then one a second.
    times = [*range(0, 12), *range(12, 12 + 8 * 6, 8)]
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height = stream.width = 32
        stream.codec_context.time_base = Fraction(1, 8)
        for image, time in zip(grey(len(times)), times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    record = part(tmp_path / name, 2.5, 5.0, "seconds")
    # Shown at 1.5, 2.5, 3.5, 4.5 and so on.
    assert numbers(read_video(record)) == [13, 14, 15]
    assert numbers(read_video(part(tmp_path / name, 0.5, 1.0, "seconds"))) == [4, 5, 6, 7]


def test_parts_that_are_not_there(folder):
    with pytest.raises(DecodeError, match=r"a\.mp4': its part begins behind its end. Received: 3"):
        read_video(part(folder / "a.mp4", 3.0, 4.0, "seconds"))
    with pytest.raises(DecodeError, match="Give its parts in frames, not in seconds"):
        read_video(part(folder / "frames", 1.0, 2.0, "seconds"))


def test_clips_lie_in_their_part(folder):
    records = [part(folder / "a.mp4", 4, 8), part(folder / "a.mp4", 16, 20, label=1)]
    base = Grid(batch_size=2, num_frames=2, crop_size=32)
    plain = {"long_cycle": (), "short_cycle": ()}
    schedule = MultigridSchedule(base, num_clips=2, epochs=2, boundaries=(1,), **plain)
    sampling = ClipSampling(stride=2, min_scale=32, max_scale=32, mean=0.0, std=1 / 255)
    source = Input(
        videos=VideoSet(train=records, validation=records, class_names=("a", "b")),
        sampling=sampling,
    )
    seen = {0: set(), 1: set()}
    for clips, labels in source.training(schedule, seed=0).take(4):
        for clip, label in zip(clips.numpy(), labels.numpy(), strict=True):
            seen[int(label)] |= set(numbers(clip))
    assert seen[0] and seen[0] <= {4, 5, 6, 7}
    assert seen[1] and seen[1] <= {16, 17, 18, 19}
    ((clips, labels),) = source.validation(base)
    assert [numbers(clip) for clip in clips.numpy()] == [[4, 6], [16, 18]]


def test_a_check_tells_the_parts_of_a_file_apart(folder, tmp_path):
    records = (
        part(folder / "a.avi", 0, 4),
        part(folder / "a.avi", 4, 8),
        part(folder / "a.avi", 4, 8),
        part(folder / "a.avi", 40, 48),
    )
    videos = VideoSet(train=records, validation=(), class_names=("a", "b"))
    checked = check_videos(videos, journal=str(tmp_path / "journal.jsonl"), workers=1)
    assert [(finding.index, finding.reason[:13]) for finding in checked.findings] == [
        (2, "listed before"),
        (3, "unreadable: C"),
    ]
    assert checked.usable.train == records[:2]


def test_records_hold_the_part_alone(folder, tmp_path):
    records = [part(folder / "a.mp4", 0.5, 1.0, "seconds"), part(folder / "a.mp4", 16, 20)]
    assert [video_of_line(video_line(record)) for record in records] == records
    videos = VideoSet(train=records, validation=records[:1], class_names=("a", "b"))
    prepare(videos, root=str(tmp_path), form=RecordFormat(), workers=1)
    shown = [numbers(read_video(video)) for video in recorded_videos(str(tmp_path)).train]
    assert shown == [[4, 5, 6, 7], [16, 17, 18, 19]]
