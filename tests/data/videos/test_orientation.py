"""Frames turned and mirrored as FFmpeg's players turn and mirror them."""

import io

import av
import numpy as np
import pytest

from keras_multigrid.data.records.format import RecordFormat, write_video
from keras_multigrid.data.videos.decode import decode_frames, read_video
from keras_multigrid.data.videos.orientation import upright
from keras_multigrid.data.videos.video import VideoRecord

IMAGE = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)[..., None]
# `a b c d` of the matrix of each of the eight orientations, in the order of their EXIF numbers.
ORIENTATIONS = {
    1: ((1, 0, 0, 1), [[0, 1, 2], [3, 4, 5]]),
    2: ((-1, 0, 0, 1), [[2, 1, 0], [5, 4, 3]]),
    3: ((-1, 0, 0, -1), [[5, 4, 3], [2, 1, 0]]),
    4: ((1, 0, 0, -1), [[3, 4, 5], [0, 1, 2]]),
    5: ((0, 1, 1, 0), [[0, 3], [1, 4], [2, 5]]),
    6: ((0, 1, -1, 0), [[3, 0], [4, 1], [5, 2]]),
    7: ((0, -1, -1, 0), [[5, 2], [4, 1], [3, 0]]),
    8: ((0, -1, 1, 0), [[2, 5], [1, 4], [0, 3]]),
}
# The colours of the corners that FFmpeg 5.1 shows of a picture with a red top left, a green top
# right and a blue bottom left corner: top left and right, bottom left and right.
CORNERS = {
    1: "RGB-",
    2: "GR-B",
    3: "-BGR",
    4: "B-RG",
    5: "RBG-",
    6: "BR-G",
    7: "-GBR",
    8: "G-RB",
}


def matrix(numbers, one=1 << 16):
    a, b, c, d = (number * one for number in numbers)
    return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32)


@pytest.mark.parametrize("number", ORIENTATIONS)
def test_images_are_turned_and_mirrored(number):
    numbers, expected = ORIENTATIONS[number]
    found = upright(IMAGE, matrix(numbers))
    assert found[..., 0].tolist() == expected
    assert found.flags.c_contiguous


def test_other_angles_count_as_the_nearest_quarter():
    cosine, sine = round(0.98 * (1 << 16)), round(0.17 * (1 << 16))
    found = upright(IMAGE, matrix((cosine, sine, -sine, cosine), 1))
    assert found[..., 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    found = upright(IMAGE, matrix((sine, cosine, -cosine, sine), 1))
    assert found[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
    assert upright(IMAGE, np.zeros(9, np.int32))[..., 0].tolist() == [[0, 1, 2], [3, 4, 5]]


def write_turned(path, numbers):
    image = np.full((48, 64, 3), 40, np.uint8)
    image[:16, :16], image[:16, -16:], image[-16:, :16] = (
        (230, 20, 20),
        (20, 230, 20),
        (20, 20, 230),
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "8"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.set_display_matrix(matrix(numbers))
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def corners(image):
    found = ""
    for part in (image[2:8, 2:8], image[2:8, -8:-2], image[-8:-2, 2:8], image[-8:-2, -8:-2]):
        colour = part.mean((0, 1))
        found += "RGB"[colour.argmax()] if np.ptp(colour) > 70 else "-"
    return found


@pytest.mark.parametrize("number", ORIENTATIONS)
def test_videos_are_shown_upright_by_every_reader(number, tmp_path):
    path = tmp_path / "turned.mp4"
    write_turned(path, ORIENTATIONS[number][0])
    record = VideoRecord(path=str(path), label=0)
    frames = read_video(record)
    assert frames.shape == ((3, 64, 48, 3) if number > 4 else (3, 48, 64, 3))
    assert corners(frames[1]) == CORNERS[number]
    (clip,), _ = decode_frames(record, lambda num_frames: np.array([1]))
    np.testing.assert_array_equal(clip, frames[1])
    # As records hold it.
    write_video(record, RecordFormat(), (str(tmp_path / "piece"),), ("a",))
    content = (tmp_path / "piece").read_bytes()
    jpeg = content[content.index(b"\xff\xd8\xff") :]
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert corners(image) == CORNERS[number]
