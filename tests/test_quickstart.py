"""The quickstart, as a user runs it, watched step by step: in small, and the whole of it."""

import json
import pathlib

import av
import processes
import pytest

from keras_multigrid.data.synthetic import motion

PROBE = pathlib.Path(__file__).parent / "quickstart_probe.py"
CLASSES = ("move_left", "move_right", "grow", "shrink")
# Four of the classes on smaller clips; the schedule and all else is the quickstart's.
SMALL = """
from __gin__ import dynamic_registration

from keras_multigrid import learning_rate
from keras_multigrid import runs
from keras_multigrid import schedule
from keras_multigrid.data import clips
from keras_multigrid.data import lists

include 'gin/quickstart.gin'

VIDEOS = @lists.class_folders()
lists.class_folders.root = '{root}/train'
lists.class_folders.validation = '{root}/validation'
NUM_CLIPS = 80
NUM_FRAMES = 8
CROP_SIZE = 32
EPOCHS = 100
learning_rate.MultigridLearningRate.warmup_epochs = 30
schedule.MultigridSchedule.min_frames = 2
clips.ClipSampling.min_scale = 34
clips.ClipSampling.max_scale = 38
runs.Optimization.precise_batches = 8
runs.Logging.validations = 2
"""


def write_videos(root):
    for part, numbers in (("train", range(20)), ("validation", range(20, 30))):
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in numbers:
                write_video(folder / f"{number}.mp4", motion.render_video(name, seed=(0, number)))


def write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def watched(folder, gin_file):
    flags = (f"--gin_file={gin_file}", f"--gin_param=RUN_DIR='{folder}/run'")
    result = processes.run(PROBE, f"--out={folder}/run.json", *flags, timeout=3000)
    assert result.returncode == 0, result.stderr[-3000:]
    run = json.loads((folder / "run.json").read_text())
    steps = enumerate(zip(run["shapes"], run["expected"], strict=True))
    # Not the lists: of two this long that differ, pytest takes half an hour to draw a comparison.
    assert [step for step, (shape, expected) in steps if shape != expected] == []
    assert run["traces"] <= 4
    return run


def test_it_learns_motion_in_small(tmp_path):
    write_videos(tmp_path)
    (tmp_path / "small.gin").write_text(SMALL.format(root=tmp_path))
    run = watched(tmp_path, tmp_path / "small.gin")
    accuracy = run["metrics"]["accuracy"]
    assert accuracy >= 2 / len(CLASSES)
    assert run["still_metrics"]["accuracy"] < accuracy


@pytest.mark.every
def test_quickstart(tmp_path):
    (tmp_path / "whole.gin").write_text(
        f"include 'gin/quickstart.gin'\nDATA_DIR = '{tmp_path}/data'\n"
    )
    run = watched(tmp_path, tmp_path / "whole.gin")
    memory = run["memory"][run["all_grids_seen"] :]
    assert len(memory) > 100
    assert max(memory) < 1.05 * memory[0]
    assert run["metrics"]["accuracy"] >= 0.9
    assert run["still_metrics"]["accuracy"] < 2 / 12
