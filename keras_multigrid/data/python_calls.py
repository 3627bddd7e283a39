"""Calls of Python inside TensorFlow graphs, which end before the interpreter does."""

import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from keras_multigrid.data.bad_videos import printable

# TensorFlow's threads read ahead until the process ends. One that comes back to Python while the
# interpreter shuts down is killed, and the process waits for its result for ever. So the last act
# of the interpreter is to refuse further calls and to wait for those under way.
closing = threading.Event()
_under_way = {}


def in_python(
    function: Callable, arguments: Sequence[tf.Tensor], specs: Sequence[tf.TensorSpec]
) -> list[tf.Tensor]:
    """Call a function of arrays inside a graph, until the interpreter shuts down.

    Args:
        function: takes an array for each argument, and returns one for each spec.
        arguments: tensors.
        specs: types and shapes of the results.
    """

    @tf.autograph.experimental.do_not_convert
    def guarded(*arrays):
        try:
            with before_the_end():
                return function(*arrays)
        except Exception as error:
            # TensorFlow writes down an error and those behind it, and what is not UTF-8 in them,
            # such as names of files, ends the process.
            text = printable(str(error))
            if text == str(error):
                raise error from None
            raise RuntimeError(f"{type(error).__name__}: {text}") from None

    tensors = tf.numpy_function(guarded, arguments, [spec.dtype for spec in specs])
    for tensor, spec in zip(tensors, specs, strict=True):
        tensor.set_shape(spec.shape)
    return tensors


@contextlib.contextmanager
def before_the_end(stop: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Python code for whose end the interpreter waits before it shuts down.

    Args:
        stop: called when the interpreter shuts down.

    Raises:
        InterruptedError: it shuts down already.
    """
    token = object()
    _under_way[token] = stop
    try:
        if closing.is_set():
            raise InterruptedError("The process ends.")
        yield
    finally:
        del _under_way[token]


@atexit.register
def _close(seconds: float = 30.0) -> None:
    closing.set()
    for stop in list(_under_way.values()):
        stop()
    quiet_since = time.monotonic()
    end = quiet_since + seconds
    while time.monotonic() < end and time.monotonic() - quiet_since < 0.1:
        if _under_way:
            quiet_since = time.monotonic()
        time.sleep(0.005)
