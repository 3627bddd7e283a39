"""Videos like those of phones: rotated by metadata, of several rates and sizes.

Used by tests of finetuning; as a program it writes larger ones:

    python tests/phone_videos.py OUT [--videos=40] [--short_side=360]
"""

import argparse
import fractions
import pathlib
import sys

import av
import cv2
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from keras_multigrid.data.synthetic.motion import draw_scene, render_scene

CLASSES = ("grow", "move_left", "move_up", "rotate_clockwise")
RATES = (fractions.Fraction(30000, 1001), 24, 60, 30)
# `a b c d` of the display matrix, and quarter turns that undo it.
TURNS = (((1, 0, 0, 1), 0), ((0, 1, -1, 0), 1), ((0, -1, 1, 0), 3), ((-1, 0, 0, -1), 2))
ASPECTS = (16 / 9, 4 / 3, 9 / 16)
NAMES = ("IMG_{:04d}.MOV", "VID_20230{:04d}_171500.mp4", "PXL_20230{:04d}_091500123.mp4")


def write_phone_videos(root, *, videos, short_side):
    """Class folders below `root`, of as many videos in all."""
    for number in range(videos):
        name = CLASSES[number % len(CLASSES)]
        folder = pathlib.Path(root, name)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAMES[number % len(NAMES)].format(1000 + number)
        _write(path, name, number, short_side)


def _write(path, class_name, number, short_side):
    rate = RATES[number % len(RATES)]
    # Other periods than those of classes: no class has a rate or a turn of its own.
    matrix, quarters = TURNS[number // 4 % len(TURNS)]
    aspect = ASPECTS[number // 5 % len(ASPECTS)]
    # Even, as the colours of 4:2:0 need.
    width, height = (2 * round(short_side * max(side, 1) / 2) for side in (aspect, 1 / aspect))
    frames = render_scene(draw_scene(class_name, seed=(7, number)))
    # As many times as fast as the scenes, which have about 25 frames a second.
    count = max(2, round(len(frames) * float(rate) / 25))
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "26", "g": "30"})
        picture = np.rot90(np.zeros((height, width)), quarters)
        stream.height, stream.width = picture.shape
        stream.pix_fmt = "yuv420p"
        stream.set_display_matrix(
            np.array([*_row(matrix[:2]), *_row(matrix[2:]), 0, 0, 1 << 30], np.int32)
        )
        for index in chosen:
            shown = cv2.resize(frames[index], (width, height), interpolation=cv2.INTER_LINEAR)
            image = np.ascontiguousarray(np.rot90(shown, quarters))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _row(pair):
    return (pair[0] << 16, pair[1] << 16, 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--short_side", type=int, default=360)
    settings = parser.parse_args()
    write_phone_videos(settings.out, videos=settings.videos, short_side=settings.short_side)
