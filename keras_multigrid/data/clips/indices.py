"""Which frames of a video make a clip: index arithmetic for NumPy arrays and TensorFlow tensors."""

from keras_multigrid.data.clips.arrays import arange, maximum, minimum
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.sampling import ClipSampling


def training_indices(video_frames, clip: Clip, sampling: ClipSampling):
    """Frames of a training clip of a video of `video_frames`: int64 (t,) that never decrease."""
    offsets = arange(clip.num_frames)
    if sampling.still:
        return still_indices(video_frames, offsets)
    if sampling.segments:
        return random_segment_indices(video_frames, offsets, draw=clip.start)
    offsets = offsets * clip.duration // clip.num_frames
    # As far as the baseline's clip reaches, so that both start at the same frame.
    reach = clip.duration - sampling.stride if sampling.keep_span else offsets[-1]
    return random_indices(video_frames, offsets, reach=reach, draw=clip.start)


def view_clip_indices(video_frames, num_frames, sampling: ClipSampling, *, number=0, count=1):
    """Frames of one of `count` clips of a video in a test; a single one lies in the middle."""
    offsets = arange(num_frames)
    if sampling.still:
        return still_indices(video_frames, offsets)
    if sampling.segments:
        return view_segment_indices(video_frames, offsets, number=number, count=count)
    offsets *= sampling.stride
    return view_indices(video_frames, offsets, number=number, count=count)


def random_indices(video_frames, offsets, *, reach, draw):
    """Frames of a clip that starts anywhere in the video.

        video   0 1 2 3 4 5 6 7 8 9
        clip      x   x   x   x         offsets 0 2 4 6, reach 6, start 1

    Args:
        video_frames: frames in the video.
        offsets: (t,) source frames from the clip's first one, rising from 0.
        reach: source frames after the first one that must lie in the video.
        draw: a random integer.

    Returns:
        (t,) indices. A video shorter than the span repeats its last frame: 3 frames at stride 2
        give 0, 2, 2, 2.
    """
    starts = maximum(video_frames - reach, 1)
    return minimum(draw % starts + offsets, video_frames - 1)


def view_indices(video_frames, offsets, *, number, count):
    """Frames of one of `count` clips spread evenly over the video, from its start to its end.

    A single clip lies in the middle. Other arguments: same as for `random_indices`.
    """
    free = maximum(video_frames - offsets[-1] - 1, 0)
    start = free * number // (count - 1) if count > 1 else free // 2
    return minimum(start + offsets, video_frames - 1)


def random_segment_indices(video_frames, offsets, *, draw):
    """One frame anywhere in each of `t` equal segments of the video.

        video   0 1 2 | 3 4 5 | 6 7 8 9
        clip      x         x   x           segments 0 1 2

    Args:
        video_frames: frames in the video.
        offsets: 0, 1, ..., t - 1, the segments.
        draw: a random integer.

    Returns:
        (t,) indices. A video of fewer frames than `t` repeats some: 3 frames give 0, 0, 1, 2.
    """
    starts, lengths = _segments(video_frames, offsets)
    return starts + _scrambled(draw, offsets) % maximum(lengths, 1)


def view_segment_indices(video_frames, offsets, *, number, count):
    """One frame of each of `t` equal segments: those of one of `count` clips.

    A single clip takes the middle of the segments. Other arguments: same as for
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
