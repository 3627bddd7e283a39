"""Videos like those of Kinetics, generated: 340 x 256 pixels, 10 s at 30 frames a second."""

import os

import av
import numpy as np

HEIGHT, WIDTH, NUM_FRAMES = 256, 340, 300

# Name of a source: options of x264 (None: a folder of JPEGs). By default it sets a key frame every
# 250 frames, as most published copies of Kinetics have them.
SOURCES = {"h264": {}, "h264_keys_32": {"g": "32"}, "jpeg": None}


def write_videos(folder: str, source: str, count: int) -> list[str]:
    """Write `count` videos, or folders of JPEGs, unless they are there; returns their paths."""
    os.makedirs(os.path.join(folder, source), exist_ok=True)
    suffix = "" if SOURCES[source] is None else ".mp4"
    paths = [os.path.join(folder, source, f"{number}{suffix}") for number in range(count)]
    for number, path in enumerate(paths):
        if not os.path.exists(path):
            write = _write_images if SOURCES[source] is None else _write_video
            write(path + ".part", number, SOURCES[source])
            os.replace(path + ".part", path)
    return paths


def _write_video(path: str, seed: int, options: dict[str, str]) -> None:
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for image in _scene(seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _write_images(path: str, seed: int, options: None) -> None:
    from PIL import Image

    os.makedirs(path, exist_ok=True)
    for number, image in enumerate(_scene(seed)):
        Image.fromarray(image).save(os.path.join(path, f"{number:06d}.jpg"), quality=90)


def _scene(seed: int):
    """A camera that sways over a textured ground, something textured that moves, and noise."""
    rng = np.random.default_rng(seed)
    ground, thing = _texture(rng, 1.6), _texture(rng, 1.3)
    noise = rng.normal(0, 2, (8, HEIGHT, WIDTH, 1)).astype(np.int16)
    phases = rng.uniform(0, 2 * np.pi, 5)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for frame in range(NUM_FRAMES):
        sway = np.sin(frame / np.array([60, 45, 20, 25, 15]) + phases)
        top, left = int(60 + 50 * sway[0]), int(120 + 100 * sway[1])
        inside = np.hypot(rows - 128 - 80 * sway[2], columns - 170 - 120 * sway[3]) < 60
        shift = int(60 + 40 * sway[4])
        image = np.where(
            inside[..., None],
            thing[shift : shift + HEIGHT, 100 : 100 + WIDTH],
            ground[top : top + HEIGHT, left : left + WIDTH],
        )
        yield np.clip(image + noise[frame % 8], 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, smoothness: float) -> np.ndarray:
    """Noise whose spectrum falls with a power of the frequency, as that of pictures does."""
    height, width = 512, 640
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((3, height, width))) / frequency**smoothness
    values = np.fft.irfft2(spectrum, s=(height, width))
    values = (values - values.mean()) / values.std()
    return np.clip(127 + 45 * np.moveaxis(values, 0, -1), 0, 255).astype(np.int16)
