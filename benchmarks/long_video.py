r"""Memory that `predict --window` takes for videos of different lengths.

    python benchmarks/long_video.py --minutes=10,180

Each video is generated, small frames of moving noise at 25 a second, and predicted by a small
network in a process of its own, whose largest resident memory is measured.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import av
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
RATE, HEIGHT, WIDTH = 25, 120, 160

PREDICT = """
import resource, sys, time
from keras_multigrid.cli import command
begun = time.perf_counter()
try:
    command.main()
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"MEASURED {peak:.0f} {time.perf_counter() - begun:.0f}", flush=True)
"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", default="10,180", help="Lengths, with commas in between.")
    parser.add_argument("--window", default=64, type=int, help="Frames of a passage.")
    parser.add_argument("--hop", default=32, type=int, help="Frames from one to the next.")
    arguments = parser.parse_args()
    print("| minutes | frames | file, MiB | largest memory, MiB | seconds |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_preset(f"{folder}/preset")
        for minutes in map(int, arguments.minutes.split(",")):
            path = f"{folder}/long.mp4"
            write_video(path, minutes)
            peak, seconds = predict(folder, path, arguments)
            size = os.path.getsize(path) / 2**20
            frames = 60 * RATE * minutes
            print(f"| {minutes} | {frames:,} | {size:.0f} | {peak} | {seconds} |", flush=True)


def write_preset(folder: str) -> None:
    """A network that is small beside decoding."""
    from keras_multigrid import models

    network = models.X3D(classes=4, blocks=(1, 1, 1, 1), width=4, head_width=16, name="small")
    clips = models.Preprocessing(num_frames=4, stride=16, crop_size=32, test_crop_size=32)
    preset = models.Preset(class_names=("a", "b", "c", "d"), preprocessing=clips)
    models.save_preset(network, folder, preset)


def write_video(path: str, minutes: int) -> None:
    """A minute of noise that moves to the right, again and again: encoded once, then copied."""
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    noise = noise.repeat(8, axis=0).repeat(8, axis=1)
    minute = f"{path}.minute.mp4"
    # Without frames that are shown in another order than they are decoded.
    options = {"preset": "ultrafast", "bf": "0"}
    with av.open(minute, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(60 * RATE):
            picture = av.VideoFrame.from_ndarray(np.roll(noise, 2 * number, axis=1))
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with av.open(path, "w") as container, av.open(minute) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        stream = container.add_stream_from_template(packets[0].stream)
        for number in range(minutes):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.is_keyframe = stream, packet.is_keyframe
                copy.time_base = packet.time_base
                shift = round(60 * number / packet.time_base)
                copy.pts, copy.dts = packet.pts + shift, packet.dts + shift
                container.mux(copy)


def predict(folder: str, path: str, arguments) -> tuple[str, str]:
    """Largest memory in MiB, and seconds, of a process that predicts."""
    command = [sys.executable, "-c", PREDICT, "predict", f"--preset={folder}/preset"]
    command += [f"--window={arguments.window}", f"--hop={arguments.hop}"]
    command += [f"--out={folder}/long.json", path]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    lines = [line for line in result.stdout.splitlines() if line.startswith("MEASURED")]
    if result.returncode or not lines:
        sys.exit(f"predict failed: {result.stderr[-2000:]}")
    _, peak, seconds = lines[-1].split()
    return peak, seconds


if __name__ == "__main__":
    begun = time.perf_counter()
    main()
    print(f"{time.perf_counter() - begun:.0f} seconds in all")
