"""Which frames and pixels make a clip, and every random number of it.

A clip is known by its position in the stream of training clips: its random numbers come from
(seed, position) alone, so any worker can draw them, in any order.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Positions whose random numbers are drawn at once. Another number gives other clips.
BLOCK = 256


class Clip(NamedTuple):
    """What its position decides about a training clip, before its video is known.

    Integers, or int64 tensors: scalars, or vectors for several positions.

    Args:
        video: the video it comes from, as long as that one can be read.
        batch: number of its batch, of all those that its worker reads, one a step and device.
        batch_size: clips of its step on one replica.
        num_frames: frames.
        crop_size: height and width, in pixels.
        detail: shortest scale of its grid: copies of the video whose short side is at least as long
            will do, in pixels.
        stride: source frames from one frame to the next.
        scale: short side that the video is scaled to, in pixels, at least `crop_size`.
        start, top, left: random integers in [0, 2**31 - 1); with the size of the video they give
            the first frame and the place of the crop.
        flip: 1 to mirror it, else 0.
    """

    video: tf.Tensor
    batch: tf.Tensor
    batch_size: tf.Tensor
    num_frames: tf.Tensor
    crop_size: tf.Tensor
    detail: tf.Tensor
    stride: tf.Tensor
    scale: tf.Tensor
    start: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    flip: tf.Tensor

    @property
    def shape(self) -> tuple[tf.Tensor, ...]:
        """(frames, height, width, colours)."""
        return self.num_frames, self.crop_size, self.crop_size, 3

    @property
    def num_pixels(self) -> tf.Tensor:
        """Numbers in it, of all colours."""
        return self.num_frames * self.crop_size**2 * 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSampling:
    """How clips are taken from videos; the published Kinetics settings are the defaults.

    Args:
        stride: source frames from one frame of a clip to the next, at the baseline's grid.
            Grids with fewer frames take a stride between this and `stride * T // t`.
        min_scale: shortest short side that a video is scaled to before the crop, in pixels, at the
            baseline's crop; smaller crops scale it down with them. Validation uses this one. None
            takes 256 / 224 of the baseline's crop.
        max_scale: longest short side, the same for all grids. None takes 320 / 224 of the
            baseline's crop.
        reciprocal_scales: draw scales so that their reciprocals are as likely each, which favours
            short ones.
        segments: instead of frames at a stride, cut the video into as many segments as the clip has
            frames, and take one frame of each: any in training, the middle one otherwise.
        flip: whether to mirror half of the training clips. Not where labels tell left from right.
        mean: subtracted from colours in [0, 1].
        std: what they are divided by then.
        subtract_clip_mean: subtract each clip's mean picture, which leaves what moves. For still
            cameras and sets too small to learn to ignore the background.
        still: repeat one frame instead of a clip: a control that shows what looks alone tell.

    Raises:
        ValueError: if a size is not positive or the scales are not in order.

    Example:

    >>> ClipSampling(stride=8, min_scale=256, max_scale=320)
    """

    stride: int = 2
    min_scale: int | None = None
    max_scale: int | None = None
    reciprocal_scales: bool = False
    segments: bool = False
    flip: bool = True
    mean: float = 0.45
    std: float = 0.225
    subtract_clip_mean: bool = False
    still: bool = False

    def __post_init__(self):
        for name in ("stride", "min_scale", "max_scale", "std"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={value!r}.")
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


def choose_scale(draw, *, shortest, longest, reciprocal: bool):
    """A short side in [shortest, longest], in pixels: int64 tensors, like `draw`."""
    if not reciprocal:
        return shortest + draw % tf.maximum(longest - shortest + 1, 1)
    share = tf.cast(draw, tf.float64) / (2**31 - 1)
    # Smaller crops have shorter scales; the longest is the same.
    low, high = (
        1 / tf.cast(scale, tf.float64) for scale in (tf.maximum(longest, shortest), shortest)
    )
    return tf.cast(tf.round(1 / (low + share * (high - low))), tf.int64)


def draws(seed: int, block: tf.Tensor, count: int) -> tf.Tensor:
    """Random numbers of the positions BLOCK * block, ..., BLOCK * (block + 1) - 1.

    Returns:
        int64 (count, BLOCK), in [0, 2**31 - 1).
    """
    numbers = tf.random.stateless_uniform(
        (count, BLOCK),
        seed=tf.stack([tf.constant(seed, tf.int64), block]),
        maxval=2**31 - 1,
        dtype=tf.int32,
        # The same numbers on every device.
        alg="philox",
    )
    return tf.cast(numbers, tf.int64)


def draws_at(seed: int, positions: tf.Tensor, count: int) -> tf.Tensor:
    """Random numbers of any int64 (n,) positions: int64 (count, n), as of `draws`."""
    blocks, place = tf.unique(positions // BLOCK)
    # Positions are runs of neighbours: few blocks.
    numbers = tf.map_fn(lambda block: draws(seed, block, count), blocks)
    return tf.gather_nd(
        tf.transpose(numbers, (1, 0, 2)),
        tf.tile(
            tf.stack([place, tf.cast(positions % BLOCK, tf.int32)], axis=1)[None], (count, 1, 1)
        ),
        batch_dims=1,
    )


def video_indices(positions: tf.Tensor, num_videos: int, seed: int) -> tf.Tensor:
    """The videos that the clips at int64 `positions` (n,) come from: int64 (n,).

    Each epoch, `num_videos` positions, takes every video once in an order of its own.
    """
    epochs = positions // num_videos
    # Shuffle indices, not clips: a buffer of clips would not fit, and would be state. The raw
    # operation, as tf.random.experimental.index_shuffle mistakes the axis of several seeds; the
    # large first number is the one it puts in: small numbers alone give orders that are alike.
    first, seeds = (tf.fill(tf.shape(epochs), tf.constant(n, tf.int64)) for n in (498247692, seed))
    return tf.raw_ops.RandomIndexShuffle(
        index=positions % num_videos,
        seed=tf.stack([first, seeds, epochs], axis=1),
        max_index=tf.constant(num_videos - 1, tf.int64),
        rounds=4,
    )


def choose_stride(draw, *, stride: int, base_frames: int, num_frames):
    """A stride in [stride, stride * base_frames // num_frames], as likely each.

    Fewer frames span less of the video, but not as much less as their number.
    """
    longest = stride * base_frames // num_frames
    return stride + draw % (longest - stride + 1)


def training_indices(video_frames, clip: Clip, sampling: ClipSampling, *, xp=np):
    """Frames of a training clip.

    Args:
        video_frames: frames in the video.
        clip: gives their number, the stride and a random integer.
        sampling: gives the way.
        xp: the array library of the arguments, numpy or `tf`.

    Returns:
        int64 (num_frames,), indices that never decrease.
    """
    offsets = (tf.range if xp is tf else np.arange)(clip.num_frames)
    if sampling.still:
        return still_indices(video_frames, offsets)
    if sampling.segments:
        return random_segment_indices(video_frames, offsets, draw=clip.start, xp=xp)
    return random_indices(video_frames, offsets, stride=clip.stride, draw=clip.start, xp=xp)


def view_clip_indices(
    video_frames, num_frames, sampling: ClipSampling, *, number=0, count=1, xp=np
):
    """Frames of one of `count` clips of a video in a test; a single one lies in the middle."""
    offsets = (tf.range if xp is tf else np.arange)(num_frames)
    if sampling.still:
        return still_indices(video_frames, offsets)
    if sampling.segments:
        return view_segment_indices(video_frames, offsets, number=number, count=count)
    stride = sampling.stride
    return view_indices(video_frames, offsets, stride=stride, number=number, count=count, xp=xp)


def random_indices(video_frames, offsets, *, stride, draw, xp=np):
    """Frames of a clip that starts anywhere in the video.

        video   0 1 2 3 4 5 6 7 8 9
        clip      x   x   x   x         offsets 0 1 2 3, stride 2, span 7, start 1

    Args:
        video_frames: frames in the video.
        offsets: 0, 1, ..., t - 1.
        stride: source frames from one to the next.
        draw: a random integer.
        xp: the array library of the arguments, numpy or `tf`.

    Returns:
        (t,) indices. A video shorter than the span repeats its last frame: 3 frames at stride 2
        give 0, 2, 2, 2.
    """
    starts = xp.maximum(video_frames - _span(offsets, stride) + 1, 1)
    return xp.minimum(draw % starts + offsets * stride, video_frames - 1)


def view_indices(video_frames, offsets, *, stride, number, count, xp=np):
    """Frames of one of `count` clips spread evenly over the video, from its start to its end.

    A single clip lies in the middle. Other arguments as of `random_indices`.
    """
    free = xp.maximum(video_frames - _span(offsets, stride), 0)
    start = free * number // (count - 1) if count > 1 else free // 2
    return xp.minimum(start + offsets * stride, video_frames - 1)


def random_segment_indices(video_frames, offsets, *, draw, xp=np):
    """One frame anywhere in each of `t` equal segments of the video.

        video   0 1 2 | 3 4 5 | 6 7 8 9
        clip      x         x   x           offsets 0 1 2

    Args: as of `random_indices`.

    Returns:
        (t,) indices. A video of fewer frames than `t` repeats some: 3 frames give 0, 0, 1, 2.
    """
    starts, lengths = _segments(video_frames, offsets)
    return starts + _scrambled(draw, offsets) % xp.maximum(lengths, 1)


def view_segment_indices(video_frames, offsets, *, number, count):
    """One frame of each of `t` equal segments: those of one of `count` clips.

    A single clip takes the middle of the segments. Other arguments as of `random_indices`.
    """
    starts, lengths = _segments(video_frames, offsets)
    return starts + lengths * (2 * number + 1) // (2 * count)


def _segments(video_frames, offsets):
    """First frame and number of frames of each segment."""
    count = offsets[-1] + 1
    starts = offsets * video_frames // count
    return starts, (offsets + 1) * video_frames // count - starts


def _scrambled(draw, offsets):
    """A random integer in [0, 2**31) for each offset, from one: rounds of products and shifts."""
    mask = 2**31 - 1
    numbers = (draw + (offsets + 1) * 0x9E3779B1) & mask
    for factor in (0x2C1B3C6D, 0x297A2D39):
        numbers = ((numbers ^ (numbers // 2**15)) * factor) & mask
    return numbers ^ (numbers // 2**15)


def still_indices(video_frames, offsets):
    """The middle frame of the video, as often as there are offsets."""
    return offsets * 0 + video_frames // 2


def _span(offsets, stride):
    return offsets[-1] * stride + 1
