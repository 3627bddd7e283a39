"""The picture of docs/augmentation.md: each operation on the coarsest grid and on the base grid.

python benchmarks/augmentation_pictures.py --videos=data/motion_small --out=docs/augmentation.png
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_multigrid import ClipSampling, Grid, Input, MultigridSchedule, augmentation
from keras_multigrid.augmentation.rand_augment import OPERATIONS
from keras_multigrid.data import synthetic

SIDE, GAP, TITLE, COLUMNS = 96, 4, 18, 4
# Numbers near an end of [0, 1) go far; those of pairs are the first clip's.
OTHERS = {
    "ColorJitter": (augmentation.ColorJitter(hue=0.1), (0.9, 0.2, 0.9, 0.9)),
    "RandomResizedCrop": (augmentation.RandomResizedCrop(), (0.1, 0.9, 0.2, 0.8)),
    "RandomErasing": (
        augmentation.RandomErasing(probability=1.0),
        (0, 0.8, 0.6, 0.4, 0.6, 0.1, 0.5, 0.7),
    ),
    "HorizontalFlip": (augmentation.HorizontalFlip(), (0.0,)),
    "MixUp": (augmentation.MixUp(), (0.0, 0.9)),
    "CutMix": (augmentation.CutMix(), (0.0, 0.8, 0.5, 0.5)),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", default="data/motion_small")
    parser.add_argument("--out", default="docs/augmentation.png")
    settings = parser.parse_args()
    clips = [two_clips(settings.videos, *size) for size in ((4, 32), (16, 64))]
    cells = {"none": [clip[0] for clip in clips]}
    names = list(OPERATIONS)
    operations = {
        name: (augmentation.RandAugment(num_ops=1), ((names.index(name) + 0.5) / len(names), 0.9))
        for name in names[1:]
    }
    for name, (operation, numbers) in (operations | OTHERS).items():
        augment = augmentation.Compose([operation])
        numbers = np.array([numbers] * 2, np.float32)
        cells[name] = [
            np.asarray(augment(clip, np.eye(2, dtype=np.float32), numbers, work)[0])[0]
            for clip, work in zip(clips, (1 / 16, 1.0), strict=True)
        ]
    sheet(cells).quantize(128, dither=Image.Dither.NONE).save(settings.out, optimize=True)


def two_clips(root: str, num_frames: int, crop_size: int) -> np.ndarray:
    """Two clips of generated motion on a grid, the same ones on every grid: (2, t, s, s, 3)."""
    videos = synthetic.motion_videos(root, num_train=48, num_validation=24)
    grid = Grid(batch_size=2, num_frames=num_frames, crop_size=crop_size)
    schedule = MultigridSchedule(grid, num_clips=48, epochs=1, long_cycle=(), short_cycle=())
    sampling = ClipSampling(stride=32 // num_frames, flip=False, mean=0.0, std=1.0)
    source = Input(videos=videos, sampling=sampling)
    shown = source.training_clips(schedule, step=3, count=2, seed=1)
    return np.stack([frames for _, _, frames in shown])


def sheet(cells: dict[str, list[np.ndarray]]) -> Image.Image:
    """The last frame of each clip, coarse and fine side by side, below the operation's name."""
    width, height = 2 * SIDE + 4 * GAP, SIDE + TITLE + 2 * GAP
    rows = -(-len(cells) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, (name, clips) in enumerate(cells.items()):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        draw.text((left + GAP, top + 1), name, "black", font)
        for column, clip in enumerate(clips):
            colours = (np.clip(clip[-1], 0, 1) * 255).round().astype(np.uint8)
            picture = Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            page.paste(picture, (left + GAP + column * (SIDE + GAP), top + TITLE))
    return page


if __name__ == "__main__":
    main()
