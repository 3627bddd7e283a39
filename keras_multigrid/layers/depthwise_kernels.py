"""Depth-wise 3-D convolution, by the fastest way found for each backend on a CPU.

None has a fast one with its gradient: TensorFlow has no grouped 3-D convolution at all, PyTorch's
has a fast forward operation only, and JAX's takes some forty times as long as sums of products. So
TensorFlow convolves frames by each temporal tap and sums; JAX sums shifted products, which it
compiles into one loop. JAX's and PyTorch's gradients are written here. docs/models.md has figures.
"""

import keras
from keras import ops

from keras_multigrid.layers.sizes import sizes_of


def depthwise_convolution(x, kernel, stride: int):
    """Convolve each channel by a filter of its own, with `size // 2` zeros around the clip.

    Args:
        x: (batch, frames, height, width, channels).
        kernel: (kt, kh, kw, 1, channels), odd sizes, of the dtype of `x`.
        stride: of height and width.

    Returns:
        (batch, frames, ceil(height / stride), ceil(width / stride), channels), of the same dtype.
    """
    backend = keras.backend.backend()
    if backend in ("tensorflow", "torch") and (*kernel.shape[1:3], stride) == (1, 1, 1):
        return _over_time(x, kernel)
    if backend == "tensorflow":
        return _tensorflow(x, kernel, stride)
    if backend == "torch":
        if _is_torch_training_on_cpu(x, kernel):
            return _with_gradients(_torch, _torch_gradients, x, kernel, stride)
        return _torch(x, kernel, stride)
    if backend == "jax" and _is_jax_on_cpu():
        return _with_gradients(*_jax_compiled(), x, kernel, stride)
    return ops.conv(_padded(x, kernel), kernel, (1, stride, stride), data_format="channels_last")


def _with_gradients(convolve, gradients, x, kernel, stride):
    """A convolution, and its gradients of input and kernel from that of the output."""

    @ops.custom_gradient
    def convolution(x, kernel):
        def gradient(*args, upstream=None):
            # PyTorch passes it by name, the others by place.
            upstream = args[0] if upstream is None else upstream
            return gradients(x, kernel, upstream, stride)

        return convolve(x, kernel, stride), gradient

    return convolution(x, kernel)


def _over_time(x, kernel):
    """By a kernel along time alone: frames are the rows of a picture, positions its columns."""
    shape, channels = sizes_of(x), x.shape[-1]
    x = ops.reshape(x, (shape[0], shape[1], -1, channels))
    kernel = ops.reshape(kernel, (kernel.shape[0], 1, channels, 1))
    x = ops.depthwise_conv(x, kernel, padding="same", data_format="channels_last")
    return ops.reshape(x, (*shape[:4], channels))


def _padded(x, kernel):
    return ops.pad(x, [(0, 0), *((size // 2, size // 2) for size in kernel.shape[:3]), (0, 0)])


def _input_gradient(convolve, x, kernel, upstream, stride):
    """The gradient of the input: a convolution as well, by the flipped kernel."""
    spread = _spread(upstream, *sizes_of(x)[2:4], stride)
    return convolve(spread, ops.flip(kernel, (0, 1, 2)), 1)


def _spread(x, height, width, stride):
    """Positions of a strided output at their places in the input, zeros between them.

    At stride 2:   a b c  ->  a 0 b 0 c (0)
    """
    if stride == 1:
        return x
    batch, frames, rows, columns = sizes_of(x)[:4]
    x = ops.reshape(x, (batch, frames, rows, 1, columns, 1, x.shape[-1]))
    gap = (0, stride - 1)
    x = ops.pad(x, [(0, 0), (0, 0), (0, 0), gap, (0, 0), gap, (0, 0)])
    x = ops.reshape(x, (batch, frames, rows * stride, columns * stride, x.shape[-1]))
    return x[:, :, :height, :width]


def _shifted(x, frames: int):
    """The clip from `frames` later on, or earlier if negative; zeros where it has none.

    Not by an index, whose gradient would take TensorFlow three times as long.
    """
    if frames == 0:
        return x
    earlier, later = max(-frames, 0), max(frames, 0)
    padded = ops.pad(x, [(0, 0), (earlier, later), (0, 0), (0, 0), (0, 0)])
    return ops.slice(padded, (0, later, 0, 0, 0), sizes_of(x))


def _frames(x):
    """All frames of all clips: (batch * frames, height, width, channels)."""
    return ops.reshape(x, (-1, *sizes_of(x)[2:4], x.shape[-1]))


# ---- TensorFlow ----------------------------------------------------------------------------------


def _tensorflow(x, kernel, stride):
    import tensorflow as tf

    pictures, strides, padding = _tensorflow_pictures(x, kernel.shape, stride)
    batch, count = sizes_of(x)[:2]
    sums = []
    for index, tap in enumerate(_tensorflow_taps(kernel)):
        y = tf.nn.depthwise_conv2d(pictures, tap, strides, padding)
        y = tf.reshape(y, (batch, count, *sizes_of(y)[1:3], x.shape[-1]))
        sums.append(_shifted(y, index - kernel.shape[0] // 2))
    return tf.add_n(sums)


def _tensorflow_taps(kernel):
    """Kernels of 2-D convolutions, one for each frame."""
    import tensorflow as tf

    *_, channels = kernel.shape
    return tf.unstack(tf.reshape(kernel, (*kernel.shape[:3], channels, 1)))


def _tensorflow_pictures(x, shape, stride):
    """Frames, strides and padding for 2-D convolutions. Only unstrided "SAME" pads evenly."""
    if stride == 1:
        return _frames(x), (1, 1, 1, 1), "SAME"
    _, kh, kw, *_ = shape
    x = ops.pad(x, [(0, 0), (0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)])
    return _frames(x), (1, stride, stride, 1), "VALID"


# ---- PyTorch -------------------------------------------------------------------------------------


def _is_torch_training_on_cpu(x, kernel) -> bool:
    import torch

    learns = x.requires_grad or kernel.requires_grad
    return learns and torch.is_grad_enabled() and x.device.type == "cpu"


def _torch(x, kernel, stride):
    import torch

    y = torch.nn.functional.conv3d(
        torch.movedim(x, -1, 1),
        kernel.permute(4, 3, 0, 1, 2),
        stride=(1, stride, stride),
        padding=tuple(size // 2 for size in kernel.shape[:3]),
        groups=x.shape[-1],
    )
    return torch.movedim(y, 1, -1)


def _torch_gradients(x, kernel, upstream, stride):
    import torch

    shape, pictures = kernel.shape, torch.movedim(_frames(x), -1, 1)
    gradients = [
        torch.nn.grad.conv2d_weight(
            pictures,
            (shape[-1], 1, *shape[1:3]),
            torch.movedim(_frames(_shifted(upstream, shape[0] // 2 - index)), -1, 1),
            stride=stride,
            padding=(shape[1] // 2, shape[2] // 2),
            groups=shape[-1],
        )
        for index in range(shape[0])
    ]
    of_input = _input_gradient(_torch, x, kernel, upstream, stride)
    return of_input, torch.stack(gradients).permute(0, 3, 4, 2, 1)


# ---- JAX -----------------------------------------------------------------------------------------


def _is_jax_on_cpu() -> bool:
    import jax

    return jax.default_backend() == "cpu"


def _jax_compiled():
    """Both functions: outside of a compiled step, JAX would compile each of their operations."""
    import jax

    return jax.jit(_jax, static_argnums=2), jax.jit(_jax_gradients, static_argnums=3)


def _jax(x, kernel, stride):
    count, height, width = x.shape[1:4]
    kt, kh, kw, *_ = kernel.shape
    x, total = _padded(x, kernel), 0
    for frame in range(kt):
        for row in range(kh):
            for column in range(kw):
                window = x[
                    :,
                    frame : frame + count,
                    row : row + height : stride,
                    column : column + width : stride,
                ]
                # Summed in float32 under mixed precision, as convolutions are.
                tap = ops.cast(kernel[frame, row, column, 0], "float32")
                total += ops.cast(window, "float32") * tap
    return ops.cast(total, x.dtype)


def _jax_gradients(x, kernel, upstream, stride):
    of_input = _input_gradient(_jax, x, kernel, upstream, stride)
    return of_input, _jax_kernel_gradient(x, upstream, tuple(kernel.shape), stride)


def _jax_kernel_gradient(x, upstream, shape, stride):
    import jax
    import jax.numpy as jnp

    kt, kh, kw, *_ = shape
    batch, count, rows, columns, channels = upstream.shape
    window = (batch, 1, (rows - 1) * stride + 1, (columns - 1) * stride + 1, channels)
    x = jnp.pad(x, [(0, 0), *((size // 2, size // 2) for size in shape[:3]), (0, 0)])

    def of_tap(tap):
        place = tap // (kh * kw), tap // kw % kh, tap % kw

        # Frame by frame: one sum over everything takes twice the time.
        def with_frame(frame, total):
            begin = (0, frame + place[0], *place[1:], 0)
            seen = jax.lax.dynamic_slice(x, begin, window)[:, 0, ::stride, ::stride]
            return total + seen.astype("float32") * upstream[:, frame].astype("float32")

        nothing = jnp.zeros((batch, rows, columns, channels), "float32")
        return jax.lax.fori_loop(0, count, with_frame, nothing).sum((0, 1, 2))

    gradient = jax.lax.map(of_tap, jnp.arange(kt * kh * kw))
    return gradient.reshape(shape).astype(x.dtype)
