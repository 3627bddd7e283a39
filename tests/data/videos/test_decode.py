import functools
import re
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_multigrid.data.videos.decode import decode_frames, read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord

H264 = {"g": "12", "bf": "3", "sc_threshold": "0", "x264-params": "b-adapt=0"}
OPEN_GOP = H264 | {"x264-params": "b-adapt=0:open-gop=1"}
MPEG4 = {"g": "12", "b": "4M"}
HEVC = {"x265-params": "keyint=12:open-gop=1:log-level=none"}
VP9 = {"g": "12", "b": "4M", "deadline": "realtime", "cpu-used": "8"}

# Name, codec, options: every way in which a frame's place in the video can be found.
VIDEOS = {
    "closed.mp4": ("libx264", H264),
    "closed.mkv": ("libx264", H264),
    "closed.ts": ("libx264", H264),
    "open.mp4": ("libx264", OPEN_GOP),
    "refresh.mp4": ("libx264", {"g": "12", "bf": "3", "intra-refresh": "1"}),
    "old.avi": ("mpeg4", MPEG4),
    "b_frames.avi": ("mpeg4", MPEG4 | {"bf": "2"}),
    "b_frames.mov": ("mpeg4", MPEG4 | {"bf": "2"}),
    "new.webm": ("libvpx-vp9", VP9),
}


def gray(index):
    """Brightness of frame `index`: 40, 44, 48, ..."""
    return (40 + 4 * index) % 256


def scene(index, height=48, width=64):
    """A gray frame with a red top left corner and a white square that wanders to the right."""
    image = np.full((height, width, 3), gray(index), np.uint8)
    image[:8, :8] = (255, 0, 0)
    image[24:32, index : index + 8] = 255
    return image


def write_video(
    path,
    *,
    num_frames=48,
    codec="libx264",
    options=None,
    rotation=None,
    mux=None,
    size=(48, 64),
    pix_fmt="yuv420p",
    times=None,
    other_streams=False,
):
    height, width = size
    with av.open(str(path), "w", container_options=mux or {}) as container:
        if other_streams:
            sound = container.add_stream("aac", rate=8000)
            icon = container.add_stream("mjpeg", rate=24)
            icon.width, icon.height, icon.pix_fmt = 16, 16, "yuvj420p"
        stream = container.add_stream(codec, rate=24, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(scene(index, height, width), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
            if other_streams:
                small = av.VideoFrame.from_ndarray(scene(0, 16, 16), format="rgb24")
                container.mux(icon.encode(small))
                samples = np.zeros((1, 333), np.float32)
                noise = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                noise.sample_rate = 8000
                container.mux(sound.encode(noise))
        for stream in container.streams:
            container.mux(stream.encode())
    return str(path)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")

    @functools.cache
    def path_of(name):
        codec, options = VIDEOS[name]
        return write_video(folder / name, codec=codec, options=options)

    return path_of


def write_images(folder, names, **size):
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        encode = tf.io.encode_png if name.endswith(".png") else tf.io.encode_jpeg
        tf.io.write_file(str(folder / name), encode(scene(index, **size)))
    return str(folder)


def in_order(path):
    with av.open(path) as container:
        stream = max(container.streams.video, key=lambda stream: stream.width)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def record_of(path, **fields):
    return VideoRecord(path=path, label=0, **fields)


def decode(path, indices, **fields):
    frames, _ = decode_frames(record_of(path, **fields), lambda num_frames: np.array(indices))
    return np.stack(frames)


def brightness(frames):
    """Number of the frame that each frame shows, read off a gray spot."""
    return np.round((frames[:, 40:46, 50:60].mean(axis=(1, 2, 3)) - 40) / 4).astype(int).tolist()


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize(
    "indices",
    [
        [0],
        [47],
        list(range(20, 28)),  # across a key frame
        [10, 11, 12, 13],  # frames that lead a key frame
        [2, 9, 16, 23, 30, 37, 44],
        [5, 5, 40, 47, 47],
    ],
)
def test_frames_are_those_of_plain_decoding(videos, name, indices):
    path = videos(name)
    frames = decode(path, indices)
    assert frames.dtype == np.uint8
    assert brightness(frames) == indices
    expected = in_order(path)
    np.testing.assert_array_equal(frames, np.stack([expected[index] for index in indices]))


# Videos as people have them, 80 frames each.
SOURCES = {
    "h264.mp4": {},
    "short_groups.mp4": {"options": {"g": "8", "bf": "3"}},
    "open_groups.mp4": {"options": OPEN_GOP},
    "hevc.mp4": {"codec": "libx265", "options": HEVC},
    "mpeg4.avi": {"codec": "mpeg4", "options": MPEG4},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VP9},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "ten_bits.mp4": {"pix_fmt": "yuv420p10le", "options": {"g": "20"}},
    "turned.mp4": {"rotation": 90, "options": {"g": "20"}},
    # Runs of frames 20 ms apart, and every fifth one 150 ms later.
    "variable_rate.mp4": {
        "times": [20 * index + 130 * (index // 5) for index in range(80)],
        "options": {"g": "20"},
    },
    "variable_rate.mkv": {"times": [20 * index + 130 * (index // 5) for index in range(80)]},
    "odd.webm": {"codec": "libvpx-vp9", "size": (47, 63), "options": VP9},
    "odd.avi": {"codec": "mpeg4", "size": (47, 63)},
    "gray.mp4": {"pix_fmt": "gray"},
    "three_streams.mp4": {"other_streams": True},
}


def kinetics_indices(num_frames):
    """Frames of clips at every number of frames and stride of the Kinetics schedule."""
    for count in (8, 16, 32):
        for stride in range(2, 2 * 32 // count + 1):
            for start in (0, 9, 37):
                yield np.minimum(start + stride * np.arange(count), num_frames - 1)


@pytest.mark.parametrize("name", SOURCES)
def test_clips_of_every_kinetics_grid_hold_the_frames_that_plain_decoding_gives(name, tmp_path):
    path = write_video(tmp_path / name, num_frames=80, **SOURCES[name])
    expected = in_order(path)
    assert len(expected) == 80
    assert expected[0].shape[:2] == SOURCES[name].get("size", (48, 64))
    if name == "turned.mp4":
        expected = [np.rot90(image) for image in expected]
    for indices in kinetics_indices(80):
        frames = decode(path, indices)
        np.testing.assert_array_equal(frames, [expected[index] for index in indices])


@pytest.mark.parametrize("name", VIDEOS)
def test_select_gets_the_number_of_frames_and_its_indices_come_back(videos, name):
    received = []

    def select(num_frames):
        received.append(num_frames)
        return np.array([1, 1, 3], np.int32)

    frames, indices = decode_frames(record_of(videos(name)), select)
    assert received == [48]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert indices.dtype == np.int64
    assert indices.tolist() == [1, 1, 3]


def test_pixels_are_rgb_in_rows_and_columns(videos):
    (frame,) = decode(videos("closed.mp4"), [20])
    np.testing.assert_allclose(frame[2:6, 2:6].mean(axis=(0, 1)), [255, 0, 0], atol=12)
    np.testing.assert_allclose(frame[40, 50], [120, 120, 120], atol=3)
    np.testing.assert_allclose(frame[27:29, 23:25].mean(), 255, atol=8)


@pytest.mark.parametrize("name", ["closed.mp4", "old.avi", "new.webm"])
def test_read_video_gives_all_frames(videos, name):
    frames = read_video(record_of(videos(name)))
    assert brightness(frames) == list(range(48))


@pytest.mark.parametrize("movflags", ["frag_keyframe", "frag_keyframe+empty_moov"])
def test_a_fragmented_video_is_counted_whole(tmp_path, movflags):
    path = write_video(tmp_path / "a.mp4", options=H264, mux={"movflags": movflags})
    assert brightness(read_video(record_of(path))) == list(range(48))


def test_frames_before_a_cut_do_not_count(videos, tmp_path):
    """A copy that starts at frame 5: the file keeps frames 0 to 4, as frame 5 refers to them."""
    path = str(tmp_path / "cut.mp4")
    with av.open(videos("closed.mp4")) as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        ticks = round(5 / 24 / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
                packet.stream = stream
                target.mux(packet)
    assert brightness(read_video(record_of(path))) == list(range(5, 48))
    assert brightness(decode(path, [0, 42])) == [5, 47]


def test_a_turned_video_is_shown_upright(tmp_path):
    """Turned a quarter counterclockwise, the red top left corner comes to the bottom left."""
    path = write_video(tmp_path / "turned.mp4", num_frames=2, rotation=90)
    frames = decode(path, [0, 1])
    assert frames.shape == (2, 64, 48, 3)
    np.testing.assert_allclose(frames[0, 58:62, 2:6].mean(axis=(0, 1)), [255, 0, 0], atol=12)


def test_the_last_frame_stands_for_frames_that_only_the_header_has(videos, tmp_path):
    data = bytearray((tmp_path / videos("old.avi")).read_bytes())
    length = data.index(b"strh") + 8 + 32
    assert int.from_bytes(data[length : length + 4], "little") == 48
    data[length : length + 4] = (60).to_bytes(4, "little")
    path = tmp_path / "promises.avi"
    path.write_bytes(data)
    assert brightness(decode(str(path), [46, 50, 59])) == [46, 47, 47]


def test_names_with_colons_and_wrong_suffixes(videos, tmp_path):
    for name in ("12:30:00.mp4", "really_mp4.avi", "no_suffix"):
        (tmp_path / name).write_bytes((tmp_path / videos("closed.mp4")).read_bytes())
        assert brightness(decode(str(tmp_path / name), [7])) == [7]


def test_folder_of_images_in_natural_order(tmp_path):
    folder = write_images(tmp_path / "frames", ["1.jpg", "2.JPG", "9.jpeg", "10.png", "100.jpg"])
    (tmp_path / "frames" / ".0.jpg").write_bytes(b"hidden")
    (tmp_path / "frames" / "3.txt").write_text("no image")
    frames, indices = decode_frames(record_of(folder), np.arange)
    assert indices.tolist() == [0, 1, 2, 3, 4]
    assert brightness(np.stack(frames)) == [0, 1, 2, 3, 4]
    assert brightness(decode(f"{folder}/", [0, 3, 3])) == [0, 3, 3]


@pytest.mark.parametrize(
    "names",
    [
        ["img_0009.jpg", "img_0010.jpg", "img_0100.jpg"],
        ["1.jpg", "9.jpg", "10.jpg"],
        # Of one length; a plain sort would put the second first.
        ["a1bc.jpg", "a10b.jpg", "a11b.jpg"],
        ["1a.jpg", "1b.jpg", "2a.jpg"],
    ],
)
def test_images_come_in_natural_order(names, tmp_path):
    folder = write_images(tmp_path / "frames", names)
    assert brightness(decode(folder, [0, 1, 2])) == [0, 1, 2]


def test_explicit_frames_are_taken_as_listed(tmp_path):
    folder = write_images(tmp_path / "frames", ["a.jpg", "b.jpg", "c.jpg"])
    paths = (f"{folder}/c.jpg", f"{folder}/a.jpg", f"{folder}/b.jpg")
    frames = decode(folder, [0, 1, 1, 2], frame_paths=paths)
    assert brightness(frames) == [2, 0, 0, 1]
    expected = tf.io.decode_jpeg(tf.io.read_file(paths[0]), dct_method="INTEGER_ACCURATE").numpy()
    np.testing.assert_array_equal(frames[0], expected)


@pytest.mark.parametrize(
    ("short_side", "shape"),
    [(None, (480, 640)), (300, (480, 640)), (240, (240, 320)), (121, (240, 320)), (30, (60, 80))],
)
def test_large_jpegs_are_decoded_at_the_size_that_is_needed(tmp_path, short_side, shape):
    folder = write_images(tmp_path / "frames", ["1.jpg", "2.jpg"], height=480, width=640)
    frames, _ = decode_frames(record_of(folder), np.arange, short_side=short_side)
    assert [frame.shape[:2] for frame in frames] == [shape, shape]
    # The red corner, and the gray of the second frame.
    times = 480 // shape[0]
    np.testing.assert_allclose(frames[0][4 // times, 4 // times], [255, 0, 0], atol=40)
    np.testing.assert_allclose(frames[1][-3, -3], [44, 44, 44], atol=2)


def test_jpegs_and_others_of_one_folder_are_made_equally_small(tmp_path):
    folder = write_images(tmp_path / "frames", ["1.jpg", "2.png", "3.jpg"], height=97, width=131)
    for indices in ([0, 1, 2], [1], [1, 2]):
        frames, _ = decode_frames(
            record_of(folder), lambda n, i=indices: np.array(i), short_side=48
        )
        assert {frame.shape for frame in frames} == {(49, 66, 3)}
    assert [round(float(frames[0][-3, -3, 0])), round(float(frames[1][-3, -3, 0]))] == [44, 48]


def test_images_of_two_sizes_are_told_with_their_own_sizes(tmp_path):
    folder = write_images(tmp_path / "frames", ["1.jpg"], height=480, width=640)
    write_images(tmp_path / "frames", ["2.jpg"], height=240, width=320)
    with pytest.raises(DecodeError, match="Received: 240 x 320, 480 x 640"):
        decode_frames(record_of(folder), np.arange, short_side=100)


def test_an_image_that_claims_a_billion_pixels_is_named(tmp_path):
    folder = write_images(tmp_path / "frames", ["1.png"])
    path = tmp_path / "frames" / "1.png"
    data = bytearray(path.read_bytes())
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    assert error_of(record_of(folder)).startswith(
        f"Cannot decode '{path}': frames may have 36,000,000 pixels"
    )


def test_images_of_cameras_are_turned_upright(tmp_path):
    picture = Image.fromarray(scene(0))
    exif = picture.getexif()
    exif[0x0112] = 8  # a quarter counterclockwise
    picture.save(tmp_path / "1.jpg", exif=exif)
    (frame,) = decode(str(tmp_path), [0])
    assert frame.shape == (64, 48, 3)
    np.testing.assert_allclose(frame[58:62, 2:6].mean(axis=(0, 1)), [255, 0, 0], atol=12)


def test_only_the_wanted_images_are_read(tmp_path):
    folder = write_images(tmp_path / "frames", ["1.jpg", "2.jpg", "3.jpg"])
    (tmp_path / "frames" / "2.jpg").write_bytes(b"corrupt")
    assert brightness(decode(folder, [0, 2])) == [0, 2]


def test_remote_videos_and_images(videos, tmp_path):
    video = (tmp_path / videos("new.webm")).read_bytes()
    tf.io.write_file("ram://decode/new.webm", video)
    assert brightness(decode("ram://decode/new.webm", [0, 20])) == [0, 20]
    tf.io.write_file("ram://decode/frames/1.jpg", tf.io.encode_jpeg(scene(4)))
    assert brightness(decode("ram://decode/frames", [0])) == [4]


def error_of(record):
    with pytest.raises(DecodeError) as error:
        read_video(record)
    return str(error.value)


def test_unreadable_videos_are_named_with_the_reason(videos, tmp_path):
    whole = (tmp_path / videos("closed.mp4")).read_bytes()
    contents = {
        "truncated.mp4": whole[: len(whole) // 2],
        "truncated.avi": (tmp_path / videos("old.avi")).read_bytes()[:2000],
        "empty.mp4": b"",
        "text.mp4": b"404: not found\n" * 100,
        "noise.webm": np.random.default_rng(0).bytes(5000),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        path = str(tmp_path / name)
        assert error_of(record_of(path)) == (
            f"Cannot decode '{path}': Invalid data found when processing input."
        )


def test_missing_videos_are_named(tmp_path):
    path = str(tmp_path / "missing.mp4")
    message = f"Cannot decode '{path}': No such file or directory."
    assert error_of(record_of(path)) == message
    assert "'ram://decode/missing.mp4'" in error_of(record_of("ram://decode/missing.mp4"))
    # No fault of the video: it must not be replaced by another.
    with pytest.raises(ValueError, match=r"no file system for nowhere://") as raised:
        read_video(record_of("nowhere://a.mp4"))
    assert not isinstance(raised.value, DecodeError)


def test_a_file_without_pictures_is_named(tmp_path):
    path = str(tmp_path / "sound.wav")
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    assert error_of(record_of(path)) == f"Cannot decode '{path}': it has no video stream."


def test_a_broken_rest_does_not_spoil_the_frames_before(tmp_path):
    path = write_video(tmp_path / "a.mp4", options=H264, mux={"movflags": "faststart"})
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 3 // 4])
    assert brightness(decode(path, [0, 5, 10])) == [0, 5, 10]


def test_bad_images_are_named(tmp_path):
    folder = write_images(tmp_path / "frames", ["1.jpg", "2.jpg"])
    second = tmp_path / "frames" / "2.jpg"
    second.write_bytes(second.read_bytes()[:300])
    message = f"Cannot decode the image '{second}': it is cut off, or no image."
    assert error_of(record_of(folder)) == message
    second.write_bytes(b"no picture")
    assert error_of(record_of(folder)) == message
    second.write_bytes(b"")
    assert error_of(record_of(folder)) == f"Cannot decode the image '{second}': it is empty."
    paths = (f"{folder}/1.jpg", f"{folder}/3.jpg")
    message = error_of(record_of(folder, frame_paths=paths))
    assert message.startswith(f"Cannot decode the image '{folder}/3.jpg'")
    assert "No such file" in message


def test_an_empty_folder_is_named(tmp_path):
    assert error_of(record_of(str(tmp_path))) == f"Cannot decode '{tmp_path}': it has no frames."


def test_images_of_two_sizes_are_an_error(tmp_path):
    folder = write_images(tmp_path / "frames", ["1.jpg", "2.jpg"])
    write_images(tmp_path / "frames", ["3.jpg"], height=32, width=48)
    assert f"'{folder}': all frames must have one size. Received: 32 x 48, 48 x 64" in error_of(
        record_of(folder)
    )
    assert len(decode(folder, [0, 1])) == 2


@pytest.mark.parametrize(
    ("indices", "received"),
    [
        ([48], "[48]"),
        ([-1, 0], "[-1, 0]"),
        ([3, 2], "[3, 2]"),
        ([], "shape=(0,)"),
        ([0.5], "dtype=float64"),
        ([[1, 2]], "shape=(1, 2)"),
    ],
)
def test_wrong_indices_are_an_error_of_the_program(videos, indices, received):
    with pytest.raises(ValueError, match=re.escape(received)) as error:
        decode(videos("closed.mp4"), indices)
    assert not isinstance(error.value, DecodeError)


def test_clips_decode_in_parallel(videos, tmp_path):
    sources = [videos(name) for name in ("closed.mp4", "old.avi", "new.webm")]
    sources.append(write_images(tmp_path / "frames", [f"{index}.jpg" for index in range(48)]))

    def load(position):
        return decode(sources[position % 4], [position % 40, position % 40 + 8])

    clips = tf.data.Dataset.range(120).map(
        lambda position: tf.numpy_function(load, [position], tf.uint8), num_parallel_calls=8
    )
    for position, clip in enumerate(clips.as_numpy_iterator()):
        assert brightness(clip) == [position % 40, position % 40 + 8]
