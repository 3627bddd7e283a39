"""Videos in files that FFmpeg reads."""

from collections.abc import Iterator
from functools import partial
from itertools import islice, repeat
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from keras_multigrid.data.videos import limits
from keras_multigrid.data.videos.containers import (
    Source,
    decoded,
    open_video_stream,
    source_of,
)
from keras_multigrid.data.videos.frame_index import frame_index
from keras_multigrid.data.videos.frame_times import frame_at
from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo, in_order
from keras_multigrid.data.videos.orientation import to_rgb
from keras_multigrid.data.videos.segments import decode_segments, has_times


class VideoFile(OpenVideo):
    """A video file. Phone videos are turned and mirrored as players do.

    If a header promises more frames than the file holds, the last frame that could be decoded
    stands for the missing ones.

    Args:
        path: of the file, local or remote.
        whole_label, frame_labels: same as for `OpenVideo`.
        content: of the file, where it is in memory; `path` is then for errors.

    Raises:
        DecodeError: it has no video stream, or is larger than the limits.
        av.FFmpegError, OSError: it cannot be read.
    """

    def __init__(
        self, path: str, whole_label: Any = None, frame_labels=(), content: bytes | None = None
    ):
        super().__init__(whole_label, frame_labels)
        self._path = path
        source = source_of(path) if content is None else Source(path, content, None)
        self._version = source.version
        self._open = partial(open_video_stream, source)
        self._container, self._stream = self._open()
        try:
            self._index = frame_index(self._container, self._stream, self._open, source.version)
        except BaseException:
            self.close()
            raise
        self.num_frames = self._index.num_frames
        self._is_at_start = True

    def read(self, indices, short_side=None):
        count = len(set(indices.tolist()))
        limits.check_read(count, self._stream.height, self._stream.width, self._path)
        self._rewind()
        frames = None
        if has_times(self._container, self._stream):
            frames = decode_segments(self._container, self._stream, self._index, indices)
            if frames is None:
                self._rewind()
        if frames is None:
            frames = _decode_in_order(self._container, self._stream, indices)
        if not frames:
            raise DecodeError(f"Cannot decode '{self._path}': no frame could be decoded.")
        return in_order(frames, indices, self._path)

    def read_together(self, requests):
        # Of any size asked for, frames come whole: they are the same for all.
        union = np.unique(np.concatenate([indices for indices, _ in requests]))
        images = dict(zip(union.tolist(), self.read(union), strict=True))
        return [[images[index] for index in indices.tolist()] for indices, _ in requests]

    def frames(self) -> Iterator[tuple[np.ndarray, bytes | None]]:
        self._rewind()
        reformatter, count, frame = VideoReformatter(), 0, None
        for frame in islice(decoded(self._container, self._stream), self.num_frames):
            yield to_rgb(frame, reformatter), None
            count += 1
        if frame is None:
            raise DecodeError(f"Cannot decode '{self._path}': no frame could be decoded.")
        yield from repeat((to_rgb(frame, reformatter), None), self.num_frames - count)

    def scan(self, wanted):
        self._rewind()
        reformatter, frame, count, first = VideoReformatter(), None, 0, None
        for frame in islice(decoded(self._container, self._stream), self.num_frames):
            first = frame.pts if first is None else first
            # `frame.time` is no number for frames that come out at the end of the stream.
            is_known = None not in (first, frame.pts, self._stream.time_base)
            seconds = float((frame.pts - first) * self._stream.time_base) if is_known else None
            yield (to_rgb(frame, reformatter) if wanted(count) else None), seconds
            count += 1
        if frame is None:
            raise DecodeError(f"Cannot decode '{self._path}': no frame could be decoded.")
        # The header promised more frames than there are.
        last = to_rgb(frame, reformatter)
        yield from (
            (last if wanted(index) else None, None) for index in range(count, self.num_frames)
        )

    def frame_at(self, seconds):
        place = self._container, self._stream, self._open, self._version
        return frame_at(seconds, self._index, *place)

    def close(self) -> None:
        self._container.close()

    def _rewind(self) -> None:
        if not self._is_at_start:
            self._container.close()
            self._container, self._stream = self._open()
        self._is_at_start = False


def _decode_in_order(
    container: av.container.InputContainer, stream: av.VideoStream, indices: np.ndarray
) -> dict[int, np.ndarray]:
    """Image by index, decoded from the first frame on: correct for every file, and slow."""
    wanted, last = set(indices.tolist()), int(indices[-1])
    reformatter, images, frame = VideoReformatter(), {}, None
    for index, frame in enumerate(decoded(container, stream)):
        if index in wanted:
            images[index] = to_rgb(frame, reformatter)
        if index == last:
            return images
    if frame is None:
        return {}
    # The header promised more frames than there are.
    tail = to_rgb(frame, reformatter)
    return {index: images.get(index, tail) for index in wanted}
