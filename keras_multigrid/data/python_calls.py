"""Calls of Python inside TensorFlow graphs, which end before the interpreter does."""

import atexit
import threading
import time
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_multigrid.data.bad_videos import printable


def in_python(function: Callable, arguments: Sequence[tf.Tensor], types):
    """Call a function of arrays inside a graph, until the interpreter shuts down."""
    return tf.numpy_function(_counted(function), arguments, types)


# TensorFlow's threads read ahead until the process ends. One that comes back to Python while the
# interpreter shuts down is killed, and the process waits for its result for ever. So the last act
# of the interpreter is to refuse further reads and to wait for those under way.
_closing = threading.Event()
_under_way = set()


def _counted(read: Callable) -> Callable:
    @tf.autograph.experimental.do_not_convert
    def guarded(*arguments):
        token = object()
        _under_way.add(token)
        try:
            if _closing.is_set():
                raise InterruptedError("The process ends.")
            return read(*arguments)
        except Exception as error:
            # TensorFlow writes down an error and those behind it, and what is no UTF-8 in them,
            # such as names of files, ends the process.
            text = printable(str(error))
            if text == str(error):
                raise error from None
            raise RuntimeError(f"{type(error).__name__}: {text}") from None
        finally:
            _under_way.discard(token)

    return guarded


@atexit.register
def _close(seconds: float = 30.0) -> None:
    _closing.set()
    quiet_since = time.monotonic()
    end = quiet_since + seconds
    while time.monotonic() < end and time.monotonic() - quiet_since < 0.1:
        if _under_way:
            quiet_since = time.monotonic()
        time.sleep(0.005)
