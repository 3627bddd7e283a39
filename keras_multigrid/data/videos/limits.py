"""What reading from one video may cost: files from elsewhere may ask for any amount.

Environment variables set the limits, so that they hold in every process that reads videos: those of
training, of a check, of preparing records and of an input service.
"""

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator

from keras_multigrid import files
from keras_multigrid.data.videos.open_video import DecodeError

# 8192 x 4320 pixels are 35.4 million.
_FRAME_PIXELS = "KERAS_MULTIGRID_FRAME_PIXELS", "36000000"
# 64 frames of 4096 x 2160 are 1.6 GiB.
_READ_BYTES = "KERAS_MULTIGRID_READ_BYTES", str(1 << 31)
_READ_SECONDS = "KERAS_MULTIGRID_READ_SECONDS", "120"

_of_this_thread = threading.local()


def frame_pixels() -> int:
    """Pixels that a frame may have."""
    return int(_setting(*_FRAME_PIXELS))


def read_bytes() -> int:
    """Bytes that the frames of one read may take, decoded."""
    return int(_setting(*_READ_BYTES))


def read_seconds(*, is_remote: bool) -> float:
    """Seconds that one read from a video may take, from opening it on."""
    seconds = _setting(*_READ_SECONDS)
    # To wait for a server, with the last attempt, is no fault of the video.
    return seconds + 2 * files.retry_seconds() if is_remote else seconds


def check_settings() -> None:
    """Refuse limits that are no numbers.

    Raises:
        ValueError: with the name of the variable.
    """
    for variable in (_FRAME_PIXELS, _READ_BYTES, _READ_SECONDS):
        _setting(*variable)


def _setting(variable: str, default: str) -> float:
    text = os.environ.get(variable, default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number > 0:
        return number
    raise ValueError(f"{variable} must be a positive number. Received: {text!r}. Use {default}.")


def check_frame(height: int, width: int, path: str) -> None:
    """Refuse a frame that is too large.

    Raises:
        DecodeError: with the setting that allows it.
    """
    most = frame_pixels()
    if height * width > most:
        raise DecodeError(
            f"Cannot decode '{path}': frames may have {most:,} pixels. Received: {height} x "
            f"{width} (height x width). Scale the video, or allow more with {_FRAME_PIXELS[0]}."
        )


def check_read(count: int, height: int, width: int, path: str) -> None:
    """Refuse to read frames that are too large, alone or together.

    Raises:
        DecodeError: with the setting that allows it.
    """
    check_frame(height, width, path)
    most = read_bytes()
    if 3 * count * height * width > most:
        raise DecodeError(
            f"Cannot decode '{path}': the frames of one read may take {most:,} bytes. Received: "
            f"{count} frames of {height} x {width} (height x width). Read fewer, scale the video, "
            f"or allow more with {_READ_BYTES[0]}."
        )


class TooSlowError(DecodeError):
    """A read has taken longer than it may.

    Args:
        path: of the video.
    """

    def __init__(self, path: str):
        super().__init__(
            f"Cannot decode '{path}': reading it took too long. {_READ_SECONDS[0]} sets for how "
            "many seconds a read may last."
        )
        self.path = path

    def __reduce__(self):
        return type(self), (self.path,)


@contextlib.contextmanager
def time_limit(seconds: float, path: str) -> Iterator[None]:
    """Context of a read in which `check_time` raises in this thread from so many seconds on."""
    _of_this_thread.read = time.monotonic() + seconds, path
    try:
        yield
    finally:
        # What the thread reads later has no limit, or one of its own.
        _of_this_thread.read = _UNLIMITED


def check_time() -> None:
    """Decoding calls this again and again, to end by itself where it can.

    Raises:
        TooSlowError: the time of the read is over.
    """
    end, path = getattr(_of_this_thread, "read", _UNLIMITED)
    if time.monotonic() > end:
        raise TooSlowError(path)


_UNLIMITED = math.inf, ""
