"""Frames of files that begin anywhere, are damaged or long, counted as they are decoded."""

import fractions
import os
import pathlib
import time

import av
import numpy as np
import pytest

from keras_multigrid.data.videos import frame_index
from keras_multigrid.data.videos.decode import decode_frames, read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord

H264 = "libx264", {"g": "12", "bf": "2", "x264-params": "b-adapt=0:scenecut=0"}
H264_OPEN = "libx264", {"x264-params": "keyint=12:open-gop=1:bframes=3:b-adapt=0:scenecut=0"}
H264_REFRESH = "libx264", {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}
HEVC_OPEN = "libx265", {"x265-params": "keyint=12:open-gop=1:log-level=none"}
MPEG2 = "mpeg2video", {"g": "12", "bf": "2"}
VP9 = "libvpx-vp9", {"g": "12", "b": "4M", "deadline": "realtime", "cpu-used": "8"}


def write(path, codec, options, num_frames=60):
    """A video whose frame `i` has the brightness 20 + 3 i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(num_frames):
            image = np.full((48, 64, 3), 20 + 3 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def numbers(frames):
    return np.round((np.mean(frames, (1, 2, 3)) - 20) / 3).astype(int).tolist()


def decoded(path):
    """The frames of plain decoding."""
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read(path, indices):
    record = VideoRecord(path=path, label=0)
    return decode_frames(record, lambda num_frames: np.array(indices))[0]


def without_start(source, path, count):
    """A copy without the first packets."""
    with av.open(source) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size and number >= count:
                packet.stream = stream
                new.mux(packet)
    return str(path)


def without_parts(source, path, first, end):
    """A copy of a transport stream without some of its packets of 188 bytes."""
    content = pathlib.Path(source).read_bytes()
    path.write_bytes(content[: 188 * first] + content[188 * end :])
    return str(path)


@pytest.mark.parametrize("codec", [H264, H264_OPEN, H264_REFRESH, HEVC_OPEN, MPEG2])
@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("count", [5, 12])
def test_a_stream_begun_anywhere_has_the_frames_that_are_decoded(codec, suffix, count, tmp_path):
    if (codec, suffix, count) == (H264_REFRESH, "mp4", 12):
        pytest.skip("The header calls frames key frames whose pictures are renewed bit by bit.")
    whole = write(tmp_path / f"whole.{suffix}", *codec)
    path = without_start(whole, tmp_path / f"cut.{suffix}", count)
    expected = decoded(path)
    record = VideoRecord(path=path, label=0)
    seen = []
    decode_frames(record, lambda num_frames: seen.append(num_frames) or np.array([0]))
    assert seen == [len(expected)]
    # Each alone, as a clip of one frame would find it.
    for index in (0, 1, 2, len(expected) // 2, len(expected) - 1):
        np.testing.assert_array_equal(read(path, [index])[0], expected[index])
    np.testing.assert_array_equal(read_video(record), expected)


def test_a_recording_between_key_frames(tmp_path):
    whole = write(tmp_path / "whole.ts", *H264)
    # Its tables stand at the beginning.
    path = without_parts(whole, tmp_path / "cut.ts", 3, 20)
    frames = read_video(VideoRecord(path=path, label=0))
    assert numbers(frames)[0] % 12 == 0
    assert numbers(frames) == list(range(60 - len(frames), 60))


def test_lost_packets_are_not_counted(tmp_path):
    whole = write(tmp_path / "whole.ts", *H264)
    third = os.path.getsize(whole) // 188 // 3
    path = without_parts(whole, tmp_path / "lost.ts", third, third + 12)
    expected = decoded(path)
    assert len(expected) < 60
    frames = read_video(VideoRecord(path=path, label=0))
    np.testing.assert_array_equal(frames, expected)
    alone = [read(path, [index])[0] for index in range(len(expected))]
    np.testing.assert_array_equal(alone, expected)


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_pictures_that_are_renewed_bit_by_bit(suffix, tmp_path):
    """The first frames behind what counts as a key frame are not yet whole."""
    path = write(tmp_path / f"a.{suffix}", *H264_REFRESH)
    expected = decoded(path)
    assert len(expected) == 60
    for index in (0, 12, 13, 25, 30, 50, 59):
        np.testing.assert_array_equal(read(path, [index])[0], expected[index])


LONG = {
    "h264.mkv": H264,
    "open.mkv": H264_OPEN,
    "h264.ts": H264,
    "open.ts": H264_OPEN,
    "h264.m2ts": H264,
    "hevc.mkv": HEVC_OPEN,
    "hevc.ts": HEVC_OPEN,
    "vp9.webm": VP9,
}


@pytest.mark.parametrize("name", LONG)
def test_clips_late_in_a_file_are_those_of_plain_decoding(name, tmp_path):
    path = write(tmp_path / name, *LONG[name])
    expected = decoded(path)
    assert len(expected) == 60
    for indices in ([0, 3], [11, 12], [30, 31, 32, 40], [24], [47, 48], [59], [34, 36, 59]):
        frames = read(path, indices)
        np.testing.assert_array_equal(frames, [expected[index] for index in indices])
        assert numbers(frames) == indices


def count_packets(monkeypatch):
    """Counts passes over all packets of a file."""
    passes = []
    found = frame_index._Packets.of
    monkeypatch.setattr(
        frame_index._Packets, "of", lambda open_again: passes.append(1) or found(open_again)
    )
    return passes


def test_a_file_is_read_once_to_find_its_frames_until_it_changes(tmp_path, monkeypatch):
    passes = count_packets(monkeypatch)
    path = write(tmp_path / "a.mkv", *H264)
    for index in (5, 50, 20):
        assert numbers(read(path, [index])) == [index]
    assert len(passes) == 1
    write(tmp_path / "a.mkv", *H264, num_frames=30)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 1))
    assert len(read_video(VideoRecord(path=path, label=0))) == 30
    assert len(passes) == 2


def test_a_header_that_lists_more_frames_than_the_file_has_bytes(tmp_path):
    """It would keep FFmpeg busy for minutes when it seeks."""
    write(tmp_path / "a.mp4", "libx264", {"bf": "0"}, num_frames=4)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    million = (1_000_000).to_bytes(4, "big")
    for box, place in ((b"stsz", 12), (b"stsc", 16), (b"stts", 12)):
        at = content.index(box) + place
        content[at : at + 4] = million
    at = content.index(b"stsz") + 8
    content[at : at + 4] = (1).to_bytes(4, "big")
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DecodeError, match="fewer bytes than frames"):
        read_video(VideoRecord(path=str(tmp_path / "a.mp4"), label=0))


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "libx264"])
def test_avi_files_have_the_frames_that_hold_something(codec, tmp_path):
    """To keep the rate, AVI files count frames without bytes, which show the frame before them."""
    path, shown = str(tmp_path / "a.avi"), [0, 1, 2, 13, 14, 15, 16, 40, 41, 42]
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=24, options={"g": "4", "bf": "0"})
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index, time in enumerate(shown):
            image = np.full((48, 64, 3), 20 + 3 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, fractions.Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(path) as container:
        assert container.streams.video[0].frames == 43
    expected = decoded(path)
    assert len(expected) == 10
    np.testing.assert_array_equal(read_video(VideoRecord(path=path, label=0)), expected)
    np.testing.assert_array_equal(read(path, [2, 3, 9]), [expected[n] for n in (2, 3, 9)])
