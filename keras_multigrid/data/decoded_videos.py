"""What a data set of decoded videos must hold, checked before and while it is read."""

import warnings

import tensorflow as tf

_CHANNELS = (1, 2, 3, 4)
# Above what any usual normalization makes of a colour.
_LARGE = 16.0


def check_decoded_videos(videos: tf.data.Dataset) -> None:
    """Refuse a data set of other elements than decoded videos."""
    spec = videos.element_spec
    is_known = isinstance(spec, tuple) and len(spec) in (2, 3)
    shape = getattr(spec[0], "shape", None) if is_known else None
    if shape is None or shape.rank not in (4, None):
        raise ValueError(
            "The data set must give (video, label) or (video, label, weight), one video per "
            f"element, (frames, height, width, 3). Received: element_spec={spec}. Take `.batch()` "
            "away, and map other forms: "
            "`videos.map(lambda example: (example['video'], example['label']))`."
        )
    if shape.rank and shape[-1] not in (None, *_CHANNELS):
        raise ValueError(
            f"Videos must be (frames, height, width, channels), of 1 to {_CHANNELS[-1]} channels. "
            f"Received: {shape}. Move the axis of channels to the end: "
            "`videos.map(lambda video, label: (tf.transpose(video, (0, 2, 3, 1)), label))`."
        )
    dtype = spec[0].dtype
    if dtype != tf.uint8 and not dtype.is_floating:
        raise ValueError(
            "Videos must be uint8, which are normalized, or float, which are left as they are. "
            f"Received: {dtype.name}. Convert colours of 0 to 255: "
            "`videos.map(lambda video, label: (tf.cast(video, tf.uint8), label))`."
        )


def checked(video: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """A video, if it is one: what the specification of a data set leaves open."""
    video = tf.ensure_shape(video, (None, None, None, None))
    shape = tf.shape(video)
    is_video = tf.reduce_all(shape > 0) & (shape[3] <= _CHANNELS[-1])
    parts = (
        f"A video must have at least one frame, and 1 to {_CHANNELS[-1]} channels as the last "
        "axis. Received: the shape",
        shape,
        "of the element at position",
        number,
    )
    with tf.control_dependencies([tf.debugging.Assert(is_video, parts, summarize=4)]):
        return tf.identity(video)


def warned_of_colours(video: tf.Tensor, is_first: tf.Tensor) -> tf.Tensor:
    """A video of floats, with a warning at the first one if it looks as if never normalized."""

    def warn(most):
        warnings.warn(
            f"The first video holds floats up to {most:g}. Floats are left as they are. To have "
            "colours of 0 to 255 normalized, convert them: "
            "`videos.map(lambda video, label: (tf.cast(video, tf.uint8), label))`.",
            stacklevel=2,
        )
        return most

    def warned():
        most = tf.cast(tf.reduce_max(video), tf.float32)
        return tf.cond(
            most > _LARGE, lambda: tf.numpy_function(warn, [most], tf.float32), lambda: most
        )

    with tf.control_dependencies([tf.cond(is_first, warned, lambda: 0.0)]):
        return tf.identity(video)
