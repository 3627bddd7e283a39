"""Reads batches of records as a trainer does, in a process of its own, and writes what it saw.

Used by test_serving.py.
"""

import argparse
import json
import os
import pathlib
import sys
import time
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import tensorflow as tf

from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import evaluation_batches, training_batches
from keras_multigrid.data.records import serving
from keras_multigrid.data.records.record_set import recorded_videos
from keras_multigrid.schedule import Grid, MultigridSchedule

# Tests need not wait for long.
serving._PATIENCE = 2.0
serving._IDLE = 1.0


def schedule(num_videos):
    return MultigridSchedule(
        base=Grid(batch_size=4, num_frames=8, crop_size=32),
        num_clips=num_videos,
        epochs=400,
        boundaries=(200,),
        replicas=2,
    )


def seen(root, number, steps, service):
    """Shape, content and labels of each batch of trainer `number` of two."""
    videos = recorded_videos(root)
    context = tf.distribute.InputContext(2, number, 2)
    settings = {"sampling": ClipSampling(flip=False), "input_context": context, "service": service}
    its_schedule = schedule(len(videos.train))
    batches = training_batches(videos.train, its_schedule, seed=1, **settings).take(steps)
    for clips, labels in batches.as_numpy_iterator():
        yield [list(clips.shape), zlib.crc32(clips.tobytes()), labels.tolist()]
    for clips, labels in evaluation_batches(
        videos.validation, its_schedule.base, **settings
    ).as_numpy_iterator():
        yield [list(clips.shape), zlib.crc32(clips.tobytes()), labels.tolist()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--out", required=True)
    parsed = parser.parse_args()
    found = []
    for batch in seen(parsed.root, parsed.number, parsed.steps, parsed.service):
        found.append(batch)
        print(len(found), flush=True)
        # Once, until what the service has begun is given back.
        time.sleep(4.0 if len(found) == 20 else 0.02)
    pathlib.Path(parsed.out).write_text(json.dumps(found))
