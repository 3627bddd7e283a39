import av
import numpy as np
import pytest

from keras_multigrid.data.videos.decode import decode_frames, read_video
from keras_multigrid.data.videos.video import VIDEO_SUFFIXES, VideoRecord

# What files of these suffixes hold.
FORMATS = {
    ".asf": ("asf", "wmv2", "yuv420p"),
    ".gif": ("gif", "gif", "rgb8"),
    ".m2ts": ("mpegts", "libx264", "yuv420p"),
    ".m2v": ("mpeg2video", "mpeg2video", "yuv420p"),
    ".mpe": ("mpeg", "mpeg1video", "yuv420p"),
    ".mts": ("mpegts", "libx264", "yuv420p"),
    ".mxf": ("mxf", "mpeg2video", "yuv420p"),
    ".vob": ("vob", "mpeg2video", "yuv420p"),
    ".y4m": ("yuv4mpegpipe", "rawvideo", "yuv420p"),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_of_less_common_suffixes_are_read(tmp_path, suffix):
    format_name, codec, pix_fmt = FORMATS[suffix]
    path = str(tmp_path / f"a{suffix}")
    with av.open(path, "w", format=format_name) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, pix_fmt
        for number in range(20):
            image = np.full((32, 48, 3), 20 + 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())

    def numbers(frames):
        return [round((float(np.mean(frame)) - 20) / 10) for frame in frames]

    assert suffix in VIDEO_SUFFIXES
    assert numbers(read_video(VideoRecord(path=path, label=0))) == list(range(20))
    frames, _ = decode_frames(VideoRecord(path=path, label=0), lambda count: np.array([3, 11, 17]))
    assert numbers(frames) == [3, 11, 17]
