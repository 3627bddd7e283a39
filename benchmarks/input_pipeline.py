"""Clips per second of the input pipeline by grid and source, beside the bare decoder and PyTorch.

    python benchmarks/input_pipeline.py --torch=.venv-backends/bin/python --out=results

Generates videos like those of Kinetics (or takes --videos) and reads the same clips, for each grid
of the schedule, with as many threads or workers each, in turn:

    pipeline      training_batches: decoded, cropped, scaled, mirrored, normalized, in batches
    decoder       decode_frames in plain threads: what the pipeline decodes with, and nothing else
    sequential    the same by PyAV alone, from the key frame to the last one wanted; or cv2.imread
    torch_...     a DataLoader of the same clips, cropped, scaled, mirrored and normalized
    records       the pipeline on records of the same videos, short side 256
    two_sizes     on records that hold frames of short side 128, too, for coarse grids
    kept, kept_records
                  pipeline and records, their coarse clips showing what fine ones show (keep_view,
                  keep_span) instead of what the published sampling does

Each is timed from when its threads are at work, --rounds times, in turn with the others, as the
speed of shared machines varies; rates and ratios are medians of the rounds. --torch names a Python
with torch, av, decord and pillow. Prints a table and writes `input_pipeline.json`.
"""

import argparse
import dataclasses
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

import av  # noqa: E402
import benchmark_videos  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from keras_multigrid.data.clips.clip import Clip  # noqa: E402
from keras_multigrid.data.clips.indices import training_indices  # noqa: E402
from keras_multigrid.data.clips.sampling import ClipSampling  # noqa: E402
from keras_multigrid.data.clips.windows import random_window  # noqa: E402
from keras_multigrid.data.input import training_batches  # noqa: E402
from keras_multigrid.data.records.format import RecordFormat  # noqa: E402
from keras_multigrid.data.records.preparing import prepare  # noqa: E402
from keras_multigrid.data.records.record_set import recorded_videos  # noqa: E402
from keras_multigrid.data.stream import drawn_clips  # noqa: E402
from keras_multigrid.data.videos.decode import decode_frames  # noqa: E402
from keras_multigrid.data.videos.video import VideoRecord, VideoSet  # noqa: E402
from keras_multigrid.schedule import Grid, MultigridSchedule  # noqa: E402

# The recipe of SlowFast 8x8 on Kinetics, and the same with the view and the span kept.
KEPT = ClipSampling(stride=2, min_scale=256, max_scale=320)
SAMPLING = dataclasses.replace(KEPT, keep_view=False, keep_span=False)
NUM_FRAMES, CROP_SIZE = 32, 224
NUM_CLIPS = 192_000  # of the baseline's training: the files come again and again
FORMATS = {
    "records": RecordFormat(short_sides=(256,)),
    "two_sizes": RecordFormat(short_sides=(256, 128)),
}


def main() -> None:
    settings = _parse()
    results = []
    for source in settings.sources.split(","):
        paths = benchmark_videos.write_videos(settings.videos, source, settings.num_videos)
        videos = [VideoRecord(path=path, label=0) for path in paths]
        records = {
            name: records_of(f"{settings.videos}/{source}_{name}", videos, form)
            for name, form in FORMATS.items()
        }
        for schedule in _schedules(settings.batch_size, len(videos)):
            row = _measure(source, videos, records, schedule, settings)
            results.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    print(_table(results))
    os.makedirs(settings.out, exist_ok=True)
    facts = {"command": sys.argv, "cpus": os.cpu_count(), "versions": versions()}
    with open(os.path.join(settings.out, "input_pipeline.json"), "w", encoding="utf-8") as file:
        json.dump({**facts, "results": results}, file, indent=1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", default="data/benchmark", help="where they are written")
    parser.add_argument("--num_videos", type=int, default=32)
    parser.add_argument("--sources", default=",".join(benchmark_videos.SOURCES))
    parser.add_argument("--batch_size", type=int, default=4, help="clips of the base grid")
    parser.add_argument("--clips", type=int, default=96, help="at least, for each figure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--torch", help="the Python that has PyTorch; without it no loaders")
    parser.add_argument("--out", default="results")
    return parser.parse_args()


def records_of(root: str, videos: list[VideoRecord], form: RecordFormat):
    """Records of the videos, made unless they are there."""
    prepare(VideoSet(train=videos, validation=videos[:1], class_names=("",)), root=root, form=form)
    return recorded_videos(root).train


def _schedules(batch_size: int, num_videos: int):
    """One that begins with each grid of the published cycles, coarse to fine, and stays there."""
    base = Grid(batch_size=batch_size, num_frames=NUM_FRAMES, crop_size=CROP_SIZE)
    for frames, crop in ((0.25, 0.5), (0.25, 0.5**0.5), (0.5, 0.5), (0.5, 0.5**0.5), (0.5, 1.0)):
        yield schedule_of(base, num_videos, ((frames, crop), (1.0, 1.0)))
    for crop in (0.5, 0.5**0.5):
        yield schedule_of(base, num_videos, ((1.0, crop), (1.0, 1.0)))
    yield schedule_of(base, num_videos, ((1.0, 1.0),))


def schedule_of(base: Grid, num_videos: int, long_cycle) -> MultigridSchedule:
    epochs = NUM_CLIPS // num_videos
    return MultigridSchedule(
        base, num_clips=num_videos, epochs=epochs, long_cycle=long_cycle, short_cycle=()
    )


def _measure(source: str, videos, records, schedule: MultigridSchedule, settings) -> dict:
    grid = schedule.grid(0)
    # Batches enough that what is read ahead of the first and behind the last weighs little.
    num_batches = max(5, settings.clips // grid.batch_size)
    clips = _clips(videos, schedule, num_batches * grid.batch_size)
    sequential = _sequential_images if source == "jpeg" else _sequential
    readers = ("pillow",) if source == "jpeg" else ("pyav", "decord")
    methods = {
        "pipeline": lambda: pipeline_rate(videos, schedule, num_batches, settings.threads),
        "decoder": lambda: _in_threads(_decoder, clips, settings.threads),
        "sequential": lambda: _in_threads(sequential, clips, settings.threads),
        "kept": lambda: pipeline_rate(videos, schedule, num_batches, settings.threads, KEPT),
    }
    for name, its_videos in records.items():
        methods[name] = functools.partial(
            # Read quickly: more of them, for as good a figure.
            pipeline_rate,
            its_videos,
            schedule,
            4 * num_batches,
            settings.threads,
        )
    methods["kept_records"] = functools.partial(methods["records"], sampling=KEPT)
    for reader in readers if settings.torch else ():
        methods[f"torch_{reader}"] = functools.partial(
            _loader, reader, clips, grid.batch_size, settings
        )
    rates = {name: [] for name in methods}
    for _ in range(settings.rounds):
        for name, method in methods.items():
            rates[name].append(method())
    return {"source": source, "grid": str(grid), "frames": grid.num_frames, "rates": rates}


def _clips(videos, schedule: MultigridSchedule, count: int) -> list[dict]:
    """The clips that the pipeline reads, in words that every reader understands."""
    drawn = drawn_clips(schedule, SAMPLING, seed=0, start_step=0).take(count)
    clips = []
    for values in drawn.as_numpy_iterator():
        clip = Clip(*values.tolist())
        indices = training_indices(benchmark_videos.NUM_FRAMES, clip, SAMPLING)
        window = random_window(benchmark_videos.HEIGHT, benchmark_videos.WIDTH, clip)
        clips.append(
            {
                "path": videos[clip.video].path,
                "indices": indices.tolist(),
                "window": [int(place) for place in window],
                "flip": clip.flip,
                "crop_size": clip.crop_size,
            }
        )
    return clips


def pipeline_rate(videos, schedule, num_batches: int, threads: int, sampling=SAMPLING) -> float:
    batches = iter(training_batches(videos, schedule, seed=0, sampling=sampling, workers=threads))
    next(batches)
    begun = time.perf_counter()
    for _ in range(num_batches - 1):
        next(batches)
    count = (num_batches - 1) * schedule.grid(0).batch_size
    return count / (time.perf_counter() - begun)


def _in_threads(read, clips: list[dict], threads: int) -> float:
    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, clips):
            pass
    return len(clips) / (time.perf_counter() - begun)


def _decoder(clip: dict) -> None:
    record = VideoRecord(path=clip["path"], label=0)
    decode_frames(record, lambda num_frames: np.asarray(clip["indices"]))


def _sequential(clip: dict) -> None:
    indices = clip["indices"]
    with av.open(clip["path"]) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        rate = stream.average_rate * stream.time_base
        container.seek(int(indices[0] / rate), stream=stream)
        for frame in container.decode(stream):
            index = round(frame.pts * rate)
            if index in indices:
                frame.to_ndarray(format="rgb24")
            if index >= indices[-1]:
                return


def _sequential_images(clip: dict) -> None:
    for index in clip["indices"]:
        cv2.imread(f"{clip['path']}/{index:06d}.jpg", cv2.IMREAD_COLOR_RGB)


def _loader(reader: str, clips: list[dict], batch_size: int, settings) -> float:
    job = {
        "reader": reader,
        "clips": clips,
        "batch_size": batch_size,
        "workers": settings.threads,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        script = os.path.join(_ROOT, "benchmarks", "pytorch_loaders.py")
        result = subprocess.run(
            [settings.torch, script, file.name], stdout=subprocess.PIPE, text=True, check=True
        )
    return json.loads(result.stdout)["clips_per_second"]


def _table(results: list[dict]) -> str:
    lines = [
        f"{'source':<14}{'clips x frames x crop²':>22}{'clips/s':>9}{'frames/s':>10}"
        f"{'of decoder':>12}{'of sequential':>15}{'of best PyTorch':>17}"
        f"{'records clips/s':>17}{'of pipeline':>13}{'two sizes of one':>18}"
        f"{'kept of published':>19}{'records kept of published':>27}"
    ]
    for row in results:
        rates = row["rates"]
        rate = statistics.median(rates["pipeline"])
        loaders = [values for name, values in rates.items() if name.startswith("torch_")]
        best = [max(values) for values in zip(*loaders, strict=True)]
        lines.append(
            f"{row['source']:<14}{row['grid']:>22}{rate:>9.1f}{rate * row['frames']:>10.0f}"
            f"{_ratio(rates['pipeline'], rates['decoder']):>12}"
            f"{_ratio(rates['pipeline'], rates['sequential']):>15}"
            f"{_ratio(rates['pipeline'], best):>17}"
            f"{statistics.median(rates['records']):>17.1f}"
            f"{_ratio(rates['records'], rates['pipeline']):>13}"
            f"{_ratio(rates['two_sizes'], rates['records']):>18}"
            f"{_ratio(rates['kept'], rates['pipeline']):>19}"
            f"{_ratio(rates['kept_records'], rates['records']):>27}"
        )
    return "\n".join(lines)


def _ratio(ours: list[float], others: list[float]) -> str:
    """Of each round: what slowed one of them down slowed its neighbour, too."""
    if not others:
        return "-"
    return f"{statistics.median(a / b for a, b in zip(ours, others, strict=True)):.2f}"


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "av": av.__version__,
        "opencv": version("opencv-python-headless"),
    }


if __name__ == "__main__":
    main()
