"""How clips are taken from videos, and what is drawn for each of them.

A clip is known by its position in the stream of training clips: its random numbers come from
(seed, position) alone, so any worker can draw them, in any order.
"""

import dataclasses

import tensorflow as tf

from keras_multigrid.checks import check_integer, check_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSampling:
    """How clips are taken from videos: by default, coarse clips show what fine ones show.

    A clip on a coarse grid is the clip on the baseline's grid, sampled coarser: it shows the same
    region of the video (`keep_view`) over the same time (`keep_span`). 16 frames at stride 2 and 4
    frames, of one video:

        frames   0 . 2 . 4 . 6 . 8 . . . 12. . . 16. . . 20. . . 24. . . 28. 30
        fine     x   x   x   x   x   x   x   x   x   x   x   x   x   x   x   x
        coarse   x               x               x               x

    The published sampling (`keep_view=False, keep_span=False`) lets coarse clips show less: a clip
    of half the crop as little as a quarter of the region, a clip of fewer frames a shorter span.

    Args:
        stride: source frames from one frame of a clip to the next, at the baseline's grid of T
            frames.
        min_scale: shortest short side that a video is scaled to before the crop, in pixels, at the
            baseline's crop; smaller crops scale it down with them. Validation uses this one. None
            takes 256 / 224 of the baseline's crop.
        max_scale: longest short side, in pixels, at the baseline's crop. None takes 320 / 224 of
            the baseline's crop.
        keep_view: scale the longest short side down with the crop, too. False: it is the same for
            all grids, as published.
        keep_span: grids of t frames take every (T / t)-th frame of the clip that the baseline's
            grid would take. False: their stride is drawn from `stride` to `stride * T // t`, as
            published. Without effect on segments, which span the video at any grid.
        reciprocal_scales: draw scales whose reciprocals are uniform, which favours short ones.
        segments: instead of frames at a stride, cut the video into as many segments as the clip has
            frames, and take one frame of each: any in training, the middle one otherwise.
        flip: mirror half of the training clips. Turn it off where labels tell left from right.
        mean: subtracted from colours in [0, 1].
        std: the differences are divided by it.
        subtract_clip_mean: subtract each clip's mean picture, which leaves what moves. For still
            cameras and sets too small to learn to ignore the background.
        still: repeat one frame instead of a clip, as a control for what looks alone give away.
        repeats: clips of each training video that come one after the other, each with random
            numbers of its own. A video file is decoded once for all of them, for when reading is
            the limit. An epoch then has as many clips of each video, all of which
            `MultigridSchedule.num_clips` counts, and each device's part of a batch must be a
            multiple of it.

    Raises:
        ValueError: if a size is not positive or the scales are not in order.

    Example:

    >>> ClipSampling(stride=8, min_scale=256, max_scale=320)
    """

    stride: int = 2
    min_scale: int | None = None
    max_scale: int | None = None
    keep_view: bool = True
    keep_span: bool = True
    reciprocal_scales: bool = False
    segments: bool = False
    flip: bool = True
    mean: float = 0.45
    std: float = 0.225
    subtract_clip_mean: bool = False
    still: bool = False
    repeats: int = 1

    def __post_init__(self):
        check_positive("std", self.std)
        for name in ("stride", "min_scale", "max_scale", "repeats"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        if None not in (self.min_scale, self.max_scale) and self.min_scale > self.max_scale:
            raise ValueError(
                "`min_scale` must not exceed `max_scale`. "
                f"Received: min_scale={self.min_scale}, max_scale={self.max_scale}."
            )

    def scales(self, base_crop_size: int) -> tuple[int, int]:
        """Shortest and longest short side, in pixels, at the baseline's crop.

        Raises:
            ValueError: if `max_scale` alone is given and lies below the default of `min_scale`.
        """
        shortest = round(base_crop_size * 256 / 224) if self.min_scale is None else self.min_scale
        if self.max_scale is None:
            return shortest, max(shortest, round(base_crop_size * 320 / 224))
        if self.max_scale < shortest:
            raise ValueError(
                f"`max_scale` must not be below `min_scale`, by default {shortest} at a crop of "
                f"{base_crop_size}. Received: max_scale={self.max_scale}. Set both."
            )
        return shortest, self.max_scale


def choose_region(draw, sampling: ClipSampling, *, crop_size, base_crop_size: int):
    """What a clip shows: `scale` and `region` of its `Clip`, int64 tensors.

    224² clips, short sides from 256 to 320     224 of 256 ... 320
    112² clips, view kept                       224 of 256 ... 320, halved after the crop
    112² clips, published                       112 of 128 ... 320
    """
    shortest, longest = (tf.constant(n, tf.int64) for n in sampling.scales(base_crop_size))
    region = tf.constant(base_crop_size, tf.int64)
    if not sampling.keep_view:
        region = crop_size
        shortest = scale_at(shortest, crop_size=crop_size, base_crop_size=base_crop_size)
    scale = _between(draw, shortest, longest, reciprocal=sampling.reciprocal_scales)
    return tf.maximum(scale, region), region


def scale_at(scale, *, crop_size, base_crop_size: int):
    """The short side at which a crop shows what the baseline's crop shows at `scale`, in pixels."""
    relative = tf.cast(crop_size, tf.float64) / base_crop_size
    return tf.cast(tf.round(tf.cast(scale, tf.float64) * relative), tf.int64)


def _between(draw, shortest, longest, *, reciprocal: bool):
    """A short side in [shortest, longest], in pixels."""
    if not reciprocal:
        return shortest + draw % (longest - shortest + 1)
    share = tf.cast(draw, tf.float64) / (2**31 - 1)
    low, high = (1 / tf.cast(scale, tf.float64) for scale in (longest, shortest))
    return tf.cast(tf.round(1 / (low + share * (high - low))), tf.int64)


def choose_duration(draw, sampling: ClipSampling, *, num_frames, base_frames: int):
    """Source frames that a clip's frames cover, an int64 tensor.

    16 frames at stride 2     32
    4 frames, span kept       32
    4 frames, published       8, 12, ..., 32: strides 2, 3, ..., 8, equally likely
    """
    longest = sampling.stride * base_frames
    if sampling.keep_span:
        return draw * 0 + longest
    strides = longest // num_frames - sampling.stride + 1
    return num_frames * (sampling.stride + draw % strides)
