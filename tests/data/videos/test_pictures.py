"""Pictures as cameras and tools write them: turned, mirrored, deep, of any format."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_multigrid.data.check.video import check_video
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import Input
from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.data.videos.decode import all_frames, decode_frames, read_video
from keras_multigrid.data.videos.open_video import DecodeError
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.schedule import Grid


def quarters(height=32, width=48):
    """Red and green above blue and white: each way to turn and mirror it looks different."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (240, 10, 10)
    image[: height // 2, width // 2 :] = (10, 240, 10)
    image[height // 2 :, : width // 2] = (10, 10, 240)
    image[height // 2 :, width // 2 :] = 240
    return image


# What an EXIF orientation asks for: the quarters R, G above B, W as they are seen.
SEEN = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}


def corners(image):
    """The colours of the quarters, row by row."""
    height, width = image.shape[0] // 4, image.shape[1] // 4
    letters = ""
    for row, column in ((1, 1), (1, 3), (3, 1), (3, 3)):
        red, green, blue = (image[row * height, column * width] > 120).tolist()
        letters += "W" if red and green and blue else "R" * red + "G" * green + "B" * blue
    return letters


def write_turned(path, orientation, image=None):
    picture = Image.fromarray(quarters() if image is None else image)
    exif = picture.getexif()
    exif[0x0112] = orientation
    if path.suffix == ".tif":
        picture.save(path, tiffinfo={0x0112: orientation})
    else:
        picture.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_seen_upright_in_every_format(tmp_path, orientation):
    expected = (32, 48) if orientation < 5 else (48, 32)
    for number, suffix in enumerate((".jpg", ".png", ".webp", ".tif"), 1):
        write_turned(tmp_path / f"{number}{suffix}", orientation)
    frames = read_video(VideoRecord(path=str(tmp_path), label=0))
    assert frames.shape[1:3] == expected
    assert [corners(frame) for frame in frames] == [SEEN[orientation]] * 4
    # As they are read one by one, for records; a JPEG that is turned is encoded anew.
    shown = list(all_frames(VideoRecord(path=str(tmp_path), label=0)))
    assert [corners(frame) for frame, _ in shown] == [SEEN[orientation]] * 4
    assert [jpeg is not None for _, jpeg in shown] == [orientation == 1, False, False, False]
    assert check_video(VideoRecord(path=str(tmp_path), label=0)).fault == ""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_jpegs_are_turned_after_they_are_made_small(tmp_path, orientation):
    write_turned(tmp_path / "1.jpg", orientation, quarters(320, 480))
    record = VideoRecord(path=str(tmp_path), label=0)
    (frame,), _ = decode_frames(record, np.arange, short_side=40)
    assert frame.shape[:2] == ((40, 60) if orientation < 5 else (60, 40))
    assert corners(frame) == SEEN[orientation]


def test_exif_behind_another_segment_counts(tmp_path):
    write_turned(tmp_path / "1.jpg", 6)
    content = (tmp_path / "1.jpg").read_bytes()
    start = content.index(b"\xff\xe1")
    notes = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"
    segment = b"\xff\xe1" + struct.pack(">H", len(notes) + 2) + notes
    (tmp_path / "1.jpg").write_bytes(content[:start] + segment + content[start:])
    (frame,) = read_video(VideoRecord(path=str(tmp_path), label=0))
    assert corners(frame) == "BRWG"


@pytest.mark.parametrize("damage", [lambda exif: exif[:9], lambda exif: b"\0" * len(exif)])
def test_damaged_exif_is_no_fault(tmp_path, damage):
    write_turned(tmp_path / "1.jpg", 6)
    content = (tmp_path / "1.jpg").read_bytes()
    start = content.index(b"Exif\0\0") + 6
    length = struct.unpack(">H", content[start - 8 : start - 6])[0] - 8
    exif = damage(content[start : start + length])
    head = content[: start - 8] + struct.pack(">H", len(exif) + 8) + b"Exif\0\0"
    (tmp_path / "1.jpg").write_bytes(head + exif + content[start + length :])
    ((frame, _),) = all_frames(VideoRecord(path=str(tmp_path), label=0))
    assert corners(frame) == "RGBW"


def test_records_and_previews_show_turned_pictures_upright(tmp_path):
    records = []
    for orientation in (2, 5, 6):
        folder = tmp_path / f"turned {orientation}"
        folder.mkdir()
        for number in range(3):
            write_turned(folder / f"{number}.jpg", orientation)
        records.append(VideoRecord(path=str(folder), label=0))
    videos = VideoSet(train=records, validation=records, class_names=("one", "two"))
    prepare(videos, root=str(tmp_path / "records"), form=RecordFormat(), workers=1)
    recorded = recorded_videos(str(tmp_path / "records"))
    shown = [corners(read_video(video)[2]) for video in recorded.train]
    assert shown == ["GRWB", "RBGW", "BRWG"]
    grid = Grid(batch_size=1, num_frames=2, crop_size=32)
    for source in (videos, recorded):
        source = Input(videos=source, sampling=ClipSampling(min_scale=32, mean=0.0, std=1.0))
        cut, clip = source.validation_clip(2, grid)
        assert corners(cut.frames[0]) == "BRWG"
        assert corners((clip[0] * 255).round()) == "BRWG"


def ramp(most):
    """A grey picture whose values run from 0 to `most`."""
    return np.linspace(0, most, 64 * 48).round().astype(np.uint16).reshape(48, 64)


def write_deep(path, image):
    assert cv2.imwrite(str(path), image)


@pytest.mark.parametrize("most", [65535, 4095])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_deep_pictures_are_scaled_by_their_own_depth(tmp_path, most, suffix):
    for number in range(3):
        write_deep(tmp_path / f"{number}{suffix}", ramp(most))
    for frames in (
        read_video(VideoRecord(path=str(tmp_path), label=0)),
        [frame for frame, _ in all_frames(VideoRecord(path=str(tmp_path), label=0))],
    ):
        assert (frames[0][0, 0, 0], frames[2][47, 63, 0]) == (0, 255)
        assert abs(float(frames[1].mean()) - 127.5) < 1


def test_dark_pictures_of_a_bright_video_stay_dark(tmp_path):
    write_deep(tmp_path / "0.png", ramp(4095))
    write_deep(tmp_path / "1.png", ramp(65535))
    write_deep(tmp_path / "2.png", ramp(4095))
    frames, _ = decode_frames(VideoRecord(path=str(tmp_path), label=0), lambda n: np.array([0, 2]))
    assert [frame.max() for frame in frames] == [15, 15]


def test_deep_colours_keep_their_order(tmp_path):
    image = np.zeros((8, 8, 3), np.uint16)
    image[..., 0] = 65535
    write_deep(tmp_path / "0.png", image[..., ::-1])
    (frame,) = read_video(VideoRecord(path=str(tmp_path), label=0))
    assert frame[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_colours_that_are_no_integers_are_refused(tmp_path, shape):
    write_deep(tmp_path / "0.tif", np.ones(shape, np.float32))
    with pytest.raises(DecodeError, match=r"0\.tif': it is cut off, or no image"):
        read_video(VideoRecord(path=str(tmp_path), label=0))


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".webp", ".tiff", ".ppm", ".jfif"])
def test_frames_of_other_formats(tmp_path, suffix):
    for number in range(2):
        format_name = {".jfif": "jpeg", ".ppm": "ppm"}.get(suffix, suffix[1:])
        Image.fromarray(quarters()).save(tmp_path / f"{number}{suffix}", format_name)
    frames = read_video(VideoRecord(path=str(tmp_path), label=0))
    assert [corners(frame) for frame in frames] == ["RGBW", "RGBW"]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_a_picture_that_moves_is_no_frame(tmp_path, suffix):
    first, second = Image.fromarray(quarters()), Image.fromarray(255 - quarters())
    first.save(tmp_path / f"0{suffix}", save_all=True, append_images=[second], duration=100)
    with pytest.raises(DecodeError, match=f"0{suffix}': it moves, so it is no frame"):
        read_video(VideoRecord(path=str(tmp_path), label=0))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".gif", ".tif"])
def test_a_picture_of_kilobytes_may_not_ask_for_gigabytes(tmp_path, suffix):
    """As large as libraries allow: 16,000 x 16,000 pixels, or as the header can be made to say."""
    sides = (16000, 16000)
    Image.new("L", (16, 16)).save(tmp_path / f"0{suffix}")
    content = bytearray((tmp_path / f"0{suffix}").read_bytes())
    at, length, order = {
        ".jpg": (content.find(b"\xff\xc0") + 5, 2, "big"),
        ".png": (16, 4, "big"),
        ".bmp": (18, 4, "little"),
        ".gif": (6, 2, "little"),
        ".webp": (26, 2, "little"),
    }.get(suffix, (None, 0, ""))
    if at is None:
        Image.new("L", sides).save(tmp_path / f"0{suffix}")
    else:
        content[at : at + 2 * length] = b"".join(side.to_bytes(length, order) for side in sides)
        if suffix == ".png":
            content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        (tmp_path / f"0{suffix}").write_bytes(content)
    with pytest.raises(DecodeError, match=f"0{suffix}': frames may have 36,000,000"):
        read_video(VideoRecord(path=str(tmp_path), label=0))


def test_damaged_pictures_of_other_formats_are_named(tmp_path):
    for suffix in (".gif", ".webp", ".bmp", ".png", ".tif"):
        file = io.BytesIO()
        Image.fromarray(quarters()).save(file, {".tif": "tiff"}.get(suffix, suffix[1:]))
        for content in (
            file.getvalue()[:40],
            file.getvalue()[:21],
            b"GIF89a",
            b"RIFF\0\0\0\0WEBPVP8X",
        ):
            path = tmp_path / f"0{suffix}"
            path.write_bytes(content)
            with pytest.raises(DecodeError, match="it is cut off, or no image"):
                read_video(VideoRecord(path="x", label=0, frame_paths=(str(path),)))


def test_a_png_without_pixels_is_not_read_beyond_its_end(tmp_path):
    file = io.BytesIO()
    Image.fromarray(quarters()).save(file, "png")
    # A chunk of 3 GB, by its length.
    content = file.getvalue().replace(b"IDAT", b"\x8d\xeb\x9f\xd4") + b"\xb5\x6c\x11\x20" * 5
    path = tmp_path / "0.png"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match="it is cut off, or no image"):
        read_video(VideoRecord(path="x", label=0, frame_paths=(str(path),)))


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_what_is_no_picture_file_is_not_waited_for_and_not_read(tmp_path, kind):
    for number in range(2):
        Image.fromarray(quarters()).save(tmp_path / f"{number}.png")
    path = tmp_path / "2.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        # Of zeros, which take no space on the disk.
        path.write_bytes(b"")
        os.truncate(path, 1 << 40)
    why = "larger than" if kind == "huge" else "not a regular file"
    with pytest.raises(DecodeError, match=rf"2\.png': .*{why}"):
        read_video(VideoRecord(path=str(tmp_path), label=0))
