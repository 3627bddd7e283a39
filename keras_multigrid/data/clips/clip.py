"""What a training clip is before its video is known."""

from typing import NamedTuple

import tensorflow as tf


class Clip(NamedTuple):
    """What its position decides about a training clip, before its video is known.

    Integers, or int64 tensors: scalars, or vectors for several positions. A scalar beside
    vectors is the same at every position.

    Args:
        video: the video it comes from, as long as that one can be read.
        batch: number of its batch among those of its worker, which has one per step and device.
        batch_size: clips of its step on one replica.
        num_frames: frames.
        crop_size: height and width, in pixels.
        detail: shortest scale of its grid: copies of the video whose short side is at least as long
            will do, in pixels.
        duration: source frames that its frames cover: `num_frames` strides.
        scale: short side of the video at which the clip shows `region`, in pixels.
        region: side of the square that it shows, in pixels at `scale`; no longer than `scale`.
        start, top, left: random integers in [0, 2**31 - 1); with the size of the video they give
            the first frame and the place of the crop.
        flip: 1 to mirror it, else 0.
        position: in the stream of all clips.
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
    position: tf.Tensor

    @classmethod
    def unpacked(cls, values) -> "Clip":
        """The clip that `pack` made an int64 vector of: a tensor, or a list of integers."""
        return cls(*(tf.unstack(values, axis=-1) if tf.is_tensor(values) else values))

    def packed(self) -> tf.Tensor:
        """Its fields as int64 (..., fields), which data sets pass on as one tensor."""
        shape = tf.shape(self.position)
        return tf.stack([tf.broadcast_to(field, shape) for field in self], axis=-1)

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
