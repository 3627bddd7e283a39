"""Small encoded videos of several kinds, shared by tests."""

import av
import numpy as np

CODECS = {
    "h264.mp4": "libx264",
    "mpeg4.avi": "mpeg4",
    "vp9.webm": "libvpx-vp9",
    "mjpeg.avi": "mjpeg",
}


def pictures(seed, count=8, height=24, width=32):
    """A rectangle that moves over a coloured ground."""
    ground = np.random.default_rng(seed).integers(30, 220, 3)
    images = np.broadcast_to(ground, (count, height, width, 3)).astype(np.uint8)
    for index, image in enumerate(images):
        image[8:16, 3 * index : 3 * index + 8] = 255 - ground
    return images


def write_video(path, codec, images):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8, options={"g": "4"})
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
