"""Frames as they are meant to be seen: turned and mirrored as their file says."""

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter


def to_rgb(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """A decoded frame, upright, as uint8 (height, width, 3)."""
    # One thread: for small frames, starting more takes longer than the conversion.
    image = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    return image if matrix is None else upright(image, np.frombuffer(matrix, np.int32))


def upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """An image, turned by quarters and mirrored as a display matrix says.

    Args:
        image: (height, width, channels).
        matrix: int32 (9,), row by row `a b u, c d v, x y w`, as MP4 files hold it. The pixel in
            column p and row q is shown in column `a p + c q` and row `b p + d q`, counted from the
            other end where that is negative. Other angles count as the nearest quarter.

    Example, matrices by their `a b c d`:

        image      1 0 0 1   -1 0 0 1   0 1 -1 0   0 1 1 0
        0 1 2      0 1 2     2 1 0      3 0        0 3
        3 4 5      3 4 5     5 4 3      4 1        1 4
                                        5 2        2 5
    """
    a, b, _, c, d = matrix[:5].tolist()
    if abs(a) + abs(d) < abs(b) + abs(c):
        # Rows become columns: what was counted along them now is along the other axis.
        image, a, d = image.swapaxes(0, 1), c, b
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)
