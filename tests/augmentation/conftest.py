"""Clips of real encoded videos, for tests of augmentations."""

import numpy as np
import pytest
from small_videos import pictures, write_video

from keras_multigrid import ClipSampling, Grid, MultigridSchedule, VideoRecord, training_batches


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
    schedule = MultigridSchedule(
        base=Grid(batch_size=4, num_frames=4, crop_size=16),
        num_clips=6,
        epochs=2,
        long_cycle=(),
        short_cycle=(),
    )
    sampling = ClipSampling(stride=1, mean=0.0, std=1.0, flip=False)
    batches = training_batches(clip_videos, schedule, seed=0, sampling=sampling)
    return next(iter(batches))[0].numpy()


@pytest.fixture
def numbers():
    """A function that gives uniform random numbers, float32 (rows, columns)."""
    return lambda rows, columns, seed=0: np.random.default_rng(seed).random(
        (rows, columns), np.float32
    )
