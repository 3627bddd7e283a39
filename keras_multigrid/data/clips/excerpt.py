"""The part of a video that a clip shows: which frames, and where in them."""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.indices import training_indices, view_clip_indices
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import Window, centre_window, random_window
from keras_multigrid.schedule import Grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class Excerpt:
    """What is read of a video, whose length and size are not yet known.

    Args:
        indices: takes the number of its frames, returns those that are wanted, int64 (t,).
        window: takes height and width of its frames, returns the square that is wanted.
        short_side: the short side that is needed, in pixels.
        detail: the short side of the smallest copy that will do, in pixels.
        crop_size: height and width of the clip, in pixels.
        flip: 1 to mirror it, else 0.
        whole_label: the label is that of the whole video, not of the frames' span.
    """

    indices: Callable[[Any], Any]
    window: Callable[[Any, Any], Window]
    short_side: Any
    detail: Any
    crop_size: Any
    flip: Any = 0
    whole_label: bool = False


def training_excerpt(clip: Clip, sampling: ClipSampling) -> Excerpt:
    """What a training clip shows."""
    return Excerpt(
        indices=lambda num_frames: training_indices(num_frames, clip, sampling),
        window=lambda height, width: random_window(height, width, clip),
        short_side=clip.short_side,
        detail=clip.detail,
        crop_size=clip.crop_size,
        flip=clip.flip,
    )


def view_excerpt(
    grid: Grid, sampling: ClipSampling, *, scale: int, number: int = 0, count: int = 1
) -> Excerpt:
    """What clip `number` of `count` shows in a test, in its middle crop at this short side."""
    size, short_side = grid.crop_size, max(scale, grid.crop_size)
    return Excerpt(
        indices=lambda num_frames: view_clip_indices(
            num_frames, grid.num_frames, sampling, number=number, count=count
        ),
        window=lambda height, width: centre_window(height, width, crop_size=size, scale=scale),
        short_side=short_side,
        detail=short_side,
        crop_size=size,
        whole_label=True,
    )


def centre_excerpt(grid: Grid, sampling: ClipSampling) -> Excerpt:
    """What validation shows of a video: the clip in its middle, at the shortest scale."""
    return view_excerpt(grid, sampling, scale=sampling.scales(grid.crop_size)[0])
