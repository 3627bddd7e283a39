"""Which stream of a file is the video, and which files are opened at all."""

import os
import socket
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from small_videos import write_video

from keras_multigrid.data.check.video import check_video
from keras_multigrid.data.videos.decode import decode_frames, read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord

BLUE, RED, GREEN = (0, 0, 250), (250, 0, 0), (0, 250, 0)


def images(colour, count, height=24, width=32):
    return np.full((count, height, width, 3), colour, np.uint8)


def write_streams(path, *streams, attachment=None):
    """A file of several streams: (codec, images, disposition) each."""
    with av.open(str(path), "w") as container:
        opened = []
        for codec, frames, disposition in streams:
            stream = container.add_stream(codec, rate=8)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = {"mjpeg": "yuvj420p", "ffv1": "gray"}.get(codec, "yuv420p")
            stream.disposition = disposition
            opened.append((stream, frames))
        if attachment is not None:
            container.add_attachment("cover.jpg", "image/jpeg", attachment)
        packets = []
        for stream, frames in opened:
            for image in frames:
                packets += stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
            packets += stream.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return str(path)


def jpeg(colour, height, width):
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuvj420p"
    encoder.time_base = Fraction(1, 8)
    frame = av.VideoFrame.from_ndarray(images(colour, 1, height, width)[0], format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode()])


def record_of(path):
    return VideoRecord(path=str(path), label=0)


def seen(path):
    """Shape of a video, and its mean colour, rounded."""
    frames = read_video(record_of(path))
    # A check decodes the same stream.
    assert check_video(record_of(path)).fault == ""
    return frames.shape, tuple(np.round(frames.mean((0, 1, 2)) / 50).astype(int) * 50)


def test_a_cover_is_not_the_video(tmp_path):
    video = ("libx264", images(BLUE, 6), Disposition.default)
    cover = ("mjpeg", images(RED, 1, 48, 64), Disposition.attached_pic)
    mp4 = write_streams(tmp_path / "a.mp4", video, cover)
    with av.open(mp4) as container:
        assert [stream.width for stream in container.streams.video] == [32, 64]
    assert seen(mp4) == ((6, 24, 32, 3), BLUE)
    mkv = write_streams(tmp_path / "a.mkv", video, attachment=jpeg(RED, 48, 64))
    with av.open(mkv) as container:
        assert [stream.width for stream in container.streams.video] == [32, 64]
    assert seen(mkv) == ((6, 24, 32, 3), BLUE)


def test_a_cover_alone_is_no_video(tmp_path):
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as container:
        container.add_attachment("cover.jpg", "image/jpeg", jpeg(RED, 48, 64))
        sound = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux([*sound.encode(frame), *sound.encode()])
    with pytest.raises(DecodeError, match="it has no video stream"):
        read_video(record_of(path))


def test_previews_of_chapters_are_not_the_video(tmp_path):
    path = tmp_path / "a.mp4"
    write_streams(
        path,
        ("libx264", images(BLUE, 6), Disposition.default),
        ("libx264", images(RED, 2, 48, 64), Disposition(0)),
    )
    content = bytearray(path.read_bytes())
    # The first track names the second one as its chapters: a box `tref` at the track's end.
    box = b"\0\0\0\x14tref\0\0\0\x0cchap\0\0\0\x02"
    moov, track = content.index(b"moov") - 4, content.index(b"trak") - 4
    size = int.from_bytes(content[track : track + 4], "big")
    content[track + size : track + size] = box
    for place in (moov, track):
        size = int.from_bytes(content[place : place + 4], "big") + len(box)
        content[place : place + 4] = size.to_bytes(4, "big")
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert Disposition.timed_thumbnails in container.streams.video[1].disposition
    assert seen(path) == ((6, 24, 32, 3), BLUE)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_of_several_videos_the_default_one_is_taken_and_then_the_largest(suffix, tmp_path):
    small, large = images(BLUE, 4), images(RED, 5, 48, 64)
    other = images(GREEN, 6, 36, 48)
    default, none = Disposition.default, Disposition(0)
    streams = ("libx264", large, none), ("libx264", small, default), ("libx264", other, none)
    path = write_streams(tmp_path / f"marked.{suffix}", *streams)
    assert seen(path) == ((4, 24, 32, 3), BLUE)
    streams = ("libx264", small, default), ("libx264", large, default), ("libx264", other, none)
    path = write_streams(tmp_path / f"both.{suffix}", *streams)
    if suffix == "mkv":
        assert seen(path) == ((5, 48, 64, 3), RED)
    # A preview that comes first, which MP4 files switch on.
    streams = ("mjpeg", images(RED, 3, 16, 16), none), ("libx264", small, none)
    path = write_streams(tmp_path / f"preview.{suffix}", *streams)
    assert seen(path) == ((4, 24, 32, 3), BLUE)


def test_a_stream_of_transparency_is_not_the_video(tmp_path):
    alpha = ("ffv1", images((90, 90, 90), 4), Disposition(0))
    colours = ("libx264", images(BLUE, 4), Disposition(0))
    for number, streams in enumerate([(alpha, colours), (colours, alpha)]):
        path = write_streams(tmp_path / f"{number}.mkv", *streams)
        assert seen(path) == ((4, 24, 32, 3), BLUE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {}\n"),
        ("list.mkv", "ffconcat version 1.0\nfile {}\n"),
    ],
)
def test_a_list_of_other_files_is_not_opened(name, text, tmp_path):
    write_video(tmp_path / "other.ts", "libx264", images(BLUE, 4))
    (tmp_path / name).write_text(text.format("other.ts"))
    with pytest.raises(DecodeError, match=f"Cannot decode '{tmp_path}/{name}': "):
        read_video(record_of(tmp_path / name))
    assert read_video(record_of(tmp_path / "other.ts")).shape == (4, 24, 32, 3)


def test_numbered_pictures_are_not_opened_by_a_pattern(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(jpeg(RED, 24, 32))
    with pytest.raises(DecodeError, match="No such file"):
        read_video(record_of(tmp_path / "%d.jpg"))
    (tmp_path / "%d.jpg").write_bytes(jpeg(BLUE, 24, 32))
    with pytest.raises(DecodeError, match="of a format that is not read"):
        read_video(record_of(tmp_path / "%d.jpg"))
    assert seen(tmp_path / "1.jpg") == ((1, 24, 32, 3), RED)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
    (tmp_path / "link.mp4").symlink_to("/dev/zero")
    for name in ("pipe.mp4", "socket.mp4", "link.mp4"):
        with pytest.raises(DecodeError, match=f"{name}': it is a pipe, a socket or a device"):
            decode_frames(record_of(tmp_path / name), np.arange)


def test_streams_that_begin_in_the_middle_of_a_file_do_no_harm(tmp_path):
    """A transport stream to which one with a further stream was appended."""
    write_video(tmp_path / "a.ts", "libx264", images(BLUE, 4))
    write_streams(
        tmp_path / "b.ts",
        ("libx264", images(BLUE, 4), Disposition.default),
        ("mpeg2video", images(RED, 4), Disposition(0)),
    )
    content = (tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes()
    (tmp_path / "both.ts").write_bytes(content)
    frames = read_video(record_of(tmp_path / "both.ts"))
    assert frames.shape[1:] == (24, 32, 3)
    assert len(frames) >= 4
