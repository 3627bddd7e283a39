"""Prepares videos in a process of its own, which tests kill.

Used by test_prepare.py and test_prepare_beam.py.
"""

import multiprocessing
import os
import pathlib
import resource
import time
import traceback

import numpy as np
from PIL import Image

from keras_multigrid.data.records.format import RecordFormat
from keras_multigrid.data.records.preparing import prepare
from keras_multigrid.data.videos.video import VideoRecord, VideoSet

# Few at a time: many moments at which a run can be killed.
FORM = RecordFormat(short_sides=(None, 12), frames_per_record=3, videos_per_shard=4)


def write_images(folder, seed):
    """A video of six frames of noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(6):
        image = rng.integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{number}.jpg")


def write_videos(folder):
    """Five videos, one of which is none."""
    for seed in range(4):
        write_images(folder / f"{seed}", seed)
    (folder / "bad.mp4").write_text("no video")
    return folder


def content(root):
    """Every file below a folder."""
    root = pathlib.Path(root)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def video_set(folder, *, times=30):
    """The videos of a folder, so many times."""
    paths = sorted(map(str, pathlib.Path(folder).iterdir()))
    videos = [VideoRecord(path=path, label=i % 2) for i, path in enumerate(times * paths)]
    return VideoSet(train=videos[8:], validation=videos[:8], class_names=("run", "walk"))


def run(videos, root, log, *, env=None, most_bytes=None, **settings):
    """Prepare a folder of videos; writes what came of it, or the traceback, into a file."""
    os.environ.update(env or {})
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    code = 0
    try:
        settings = {"workers": 2, "form": FORM} | settings
        prepared = prepare(video_set(videos), root=root, **settings)
        text = f"{prepared.num_new_shards} new shards, {len(prepared.bad)} bad videos"
    except Exception:
        code, text = 1, traceback.format_exc()
    pathlib.Path(log).write_text(text)
    # Without cleaning up what is the parent's.
    os._exit(code)


def start(videos, root, log, **settings):
    """The process, at work."""
    # Forked from one that has imported TensorFlow, which takes seconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["av", "numpy", "tensorflow"])
    process = context.Process(target=run, args=(str(videos), str(root), str(log)), kwargs=settings)
    process.start()
    return process


def finish(videos, root, log, **settings):
    """Exit code and what it said."""
    process = start(videos, root, log, **settings)
    process.join(300)
    return process.exitcode, log.read_text()


def kill_when(process, names, *, shards, pause=0.001):
    """Kill it when so many shards are finished."""
    end = time.monotonic() + 300
    # The settings' name ends like those of finished shards.
    while sum(name.endswith(".json") for name in names()) < shards + 1:
        assert process.is_alive()
        assert time.monotonic() < end
        time.sleep(pause)
    process.kill()
    process.join()
