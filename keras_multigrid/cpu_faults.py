"""What TensorFlow computes wrongly on some processors: found out by trying."""

import functools
from collections.abc import Iterable

import keras

from keras_multigrid import backend

# bfloat16 has 8 bits: gradients that are right differ by hundredths.
_TOLERANCE = 0.2


def check_gradients(layers: Iterable[keras.layers.Layer]) -> None:
    """Refuse layers whose gradients are wrong on this processor.

    oneDNN's gradients of 3-D convolutions in bfloat16 were so on an AMD EPYC with AVX-512, not on
    Intel's with AMX, by TensorFlow 2.17.1 and 2.21.0: where a clip has more than one frame, but
    fewer than the kernel, they hold what was in the memory before.

    Raises:
        ValueError: there is such a layer, and the processor is one of those.

    Example:

    >>> check_gradients(model.layers)
    """
    concerned = (layer for layer in layers if _is_concerned(layer))
    layer = next(concerned, None)
    if layer is not None and _are_gradients_wrong():
        raise ValueError(
            "On this processor, TensorFlow computes wrong gradients of 3-D convolutions in "
            "bfloat16 where a clip has fewer frames than the kernel. Received: layer "
            f"{layer.name!r} with a kernel of {tuple(layer.kernel_size)} in bfloat16. Set "
            "TF_ENABLE_ONEDNN_OPTS=0 in the environment before Python starts, or train in float32."
        )


def _is_concerned(layer: keras.layers.Layer) -> bool:
    is_convolution = isinstance(layer, keras.layers.Conv3D) and layer.trainable
    return is_convolution and layer.compute_dtype == "bfloat16" and layer.kernel_size[0] > 1


@functools.cache
def _are_gradients_wrong() -> bool:
    if backend.name() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return False
    clips = tf.random.stateless_normal((4, 2, 8, 8, 4), (0, 0))
    of_outputs = tf.random.stateless_normal((4, 2, 8, 8, 8), (0, 1))

    def gradient(dtype) -> tf.Tensor:
        kernel = tf.zeros((3, 3, 3, 4, 8), dtype)
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = tf.nn.conv3d(tf.cast(clips, dtype), kernel, [1] * 5, "SAME")
        of_kernel = tape.gradient(outputs, kernel, tf.cast(of_outputs, dtype))
        return tf.cast(of_kernel, tf.float32)

    expected = gradient(tf.float32)
    # Memory may hold zeros by chance, but hardly each time. NaN is no small error.
    errors = [tf.reduce_max(tf.abs(gradient(tf.bfloat16) - expected)) for _ in range(4)]
    return not all(error < _TOLERANCE * tf.reduce_max(tf.abs(expected)) for error in errors)
