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
        duration: source frames that its frames stand for: `num_frames` strides.
        scale: short side of the video at which the clip shows `region`, in pixels.
        region: side of the square that it shows, in pixels at `scale`; no longer than `scale`.
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
    duration: tf.Tensor
    scale: tf.Tensor
    region: tf.Tensor
    start: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    flip: tf.Tensor

    @property
    def shape(self) -> tuple[tf.Tensor, ...]:
        """(frames, height, width, colours)."""
        return self.num_frames, self.crop_size, self.crop_size, 3

    @property
    def stride(self) -> float:
        """Source frames from one frame to the next; where it is no integer, on average."""
        return self.duration / self.num_frames

    @property
    def span(self) -> int:
        """Source frames from the first frame to the last, both included."""
        return (self.num_frames - 1) * self.duration // self.num_frames + 1

    @property
    def short_side(self) -> int:
        """Short side of the whole video where the clip has its `crop_size`, in pixels."""
        return -(-self.scale * self.crop_size // self.region)

    @property
    def num_pixels(self) -> tf.Tensor:
        """Numbers in it, of all colours."""
        return self.num_frames * self.crop_size**2 * 3


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
    keep_view: bool = True
    keep_span: bool = True
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


def choose_region(draw, sampling: ClipSampling, *, crop_size, base_crop_size: int):
    """What a clip shows: (scale, region) of `Clip`, int64 tensors like `draw`.

    224² clips, short sides from 256 to 320     224 of 256 ... 320
    112² clips, view kept                       224 of 256 ... 320, halved after the crop
    112² clips, published                       112 of 128 ... 320
    """
    shortest, longest = (tf.constant(n, tf.int64) for n in sampling.scales(base_crop_size))
    region = crop_size
    if sampling.keep_view:
        region = tf.fill(tf.shape(draw), tf.constant(base_crop_size, tf.int64))
    else:
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


def choose_duration(draw, sampling: ClipSampling, *, num_frames, base_frames: int):
    """Source frames that a clip's frames stand for: int64, like `draw`.

    16 frames at stride 2     32
    4 frames, span kept       32
    4 frames, published       8, 12, ..., 32: strides 2, 3, ..., 8, as likely each
    """
    longest = sampling.stride * base_frames
    if sampling.keep_span:
        return draw * 0 + longest
    strides = longest // num_frames - sampling.stride + 1
    return num_frames * (sampling.stride + draw % strides)


def training_indices(video_frames, clip: Clip, sampling: ClipSampling, *, xp=np):
    """Frames of a training clip.

    Args:
        video_frames: frames in the video.
        clip: gives their number, the source frames they stand for and a random integer.
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
    offsets = offsets * clip.duration // clip.num_frames
    # As far as the baseline's clip reaches, so that both start at the same frame.
    reach = clip.duration - sampling.stride if sampling.keep_span else offsets[-1]
    return random_indices(video_frames, offsets, reach=reach, draw=clip.start, xp=xp)


def view_clip_indices(
    video_frames, num_frames, sampling: ClipSampling, *, number=0, count=1, xp=np
):
    """Frames of one of `count` clips of a video in a test; a single one lies in the middle."""
    offsets = (tf.range if xp is tf else np.arange)(num_frames)
    if sampling.still:
        return still_indices(video_frames, offsets)
    if sampling.segments:
        return view_segment_indices(video_frames, offsets, number=number, count=count)
    offsets *= sampling.stride
    return view_indices(video_frames, offsets, number=number, count=count, xp=xp)


def random_indices(video_frames, offsets, *, reach, draw, xp=np):
    """Frames of a clip that starts anywhere in the video.

        video   0 1 2 3 4 5 6 7 8 9
        clip      x   x   x   x         offsets 0 2 4 6, reach 6, start 1

    Args:
        video_frames: frames in the video.
        offsets: (t,) source frames from the clip's first one, rising from 0.
        reach: source frames from the first one that shall lie in the video, too.
        draw: a random integer.
        xp: the array library of the arguments, numpy or `tf`.

    Returns:
        (t,) indices. A video shorter than the span repeats its last frame: 3 frames at stride 2
        give 0, 2, 2, 2.
    """
    starts = xp.maximum(video_frames - reach, 1)
    return xp.minimum(draw % starts + offsets, video_frames - 1)


def view_indices(video_frames, offsets, *, number, count, xp=np):
    """Frames of one of `count` clips spread evenly over the video, from its start to its end.

    A single clip lies in the middle. Other arguments as of `random_indices`.
    """
    free = xp.maximum(video_frames - offsets[-1] - 1, 0)
    start = free * number // (count - 1) if count > 1 else free // 2
    return xp.minimum(start + offsets, video_frames - 1)


def random_segment_indices(video_frames, offsets, *, draw, xp=np):
    """One frame anywhere in each of `t` equal segments of the video.

        video   0 1 2 | 3 4 5 | 6 7 8 9
        clip      x         x   x           segments 0 1 2

    Args:
        video_frames: frames in the video.
        offsets: 0, 1, ..., t - 1, the segments.
        draw: a random integer.
        xp: the array library of the arguments, numpy or `tf`.

    Returns:
        (t,) indices. A video of fewer frames than `t` repeats some: 3 frames give 0, 0, 1, 2.
    """
    starts, lengths = _segments(video_frames, offsets)
    return starts + _scrambled(draw, offsets) % xp.maximum(lengths, 1)


def view_segment_indices(video_frames, offsets, *, number, count):
    """One frame of each of `t` equal segments: those of one of `count` clips.

    A single clip takes the middle of the segments. Other arguments as of
    `random_segment_indices`.
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
