"""Clips of real encoded videos, for tests of augmentations."""

import av
import numpy as np
import pytest
from small_videos import pictures, write_video

from keras_multigrid.data.videos.video import VideoRecord


@pytest.fixture(scope="session")
def clip_videos(tmp_path_factory):
    """Six videos of a rectangle that moves over coloured noise, classes 0 to 5."""
    root = tmp_path_factory.mktemp("clips")
    records = []
    for number in range(6):
        noise = np.random.default_rng(number).integers(-25, 25, (24, 32, 1))
        images = np.clip(pictures(number) + noise, 0, 255).astype(np.uint8)
        path = str(root / f"{number}.mp4")
        write_video(path, "libx264", images)
        records.append(VideoRecord(path=path, label=number))
    return records


@pytest.fixture(scope="session")
def clips(clip_videos):
    """Clips as an augmentation gets them, float32 (4, 4, 16, 16, 3); colours are whole 255ths."""
    found = []
    # Without TensorFlow: the operations are tested on other backends, too.
    for video in clip_videos[:4]:
        with av.open(video.path) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        found.append(np.stack(frames[:4])[:, 4:20, 4:20])
    return np.stack(found).astype(np.float32) / 255


@pytest.fixture
def numbers():
    """A function that gives uniform random numbers, float32 (rows, columns)."""
    return lambda rows, columns, seed=0: np.random.default_rng(seed).random(
        (rows, columns), np.float32
    )
