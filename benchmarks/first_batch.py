"""Time and memory to the first batch, by the number of videos and the step that a run begins at.

    python benchmarks/first_batch.py --out=results
    python benchmarks/first_batch.py --records --out=results

Each figure comes from a process of its own, which reads a list of so many videos (links to a few
files), makes the stream at the step, and takes its first batch. The time of the batch holds making
the stream; that of the list stands apart. With --records, the videos are records of 16 frames of
64 x 48 pixels, 20 KB each: 20 GB for a million. Prints a table and writes `first_batch.json`.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

NUM_FILES = 16
NUM_CLASSES = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", default="data/benchmark")
    parser.add_argument("--num_videos", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--records", action="store_true", help="read records, not files")
    parser.add_argument("--out", default="results")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.case:
        print(json.dumps(_measure(**json.loads(settings.case))))
        return
    results = []
    print(f"{'videos':>10}{'step':>12}{'list s':>9}{'first batch s':>15}{'peak MB':>10}")
    for num_videos in settings.num_videos:
        if settings.records:
            source = {"records": _write_records(settings.folder, num_videos)}
        else:
            names = (("path", num_videos), ("validation", 1))
            source = {name: _write_list(settings.folder, count) for name, count in names}
        for step in settings.steps:
            rows = [_run(**source, step=step) for _ in range(settings.repeats)]
            row = {name: sorted(row[name] for row in rows)[len(rows) // 2] for name in rows[0]}
            results.append({"num_videos": num_videos, "step": step, **row})
            print(
                f"{num_videos:>10,}{step:>12,}{row['list_seconds']:>9.2f}"
                f"{row['batch_seconds']:>15.2f}{row['peak_megabytes']:>10.0f}",
                flush=True,
            )
    os.makedirs(settings.out, exist_ok=True)
    with open(os.path.join(settings.out, "first_batch.json"), "w", encoding="utf-8") as file:
        json.dump({"command": sys.argv, "results": results}, file, indent=1)


def _write_list(folder: str, num_videos: int) -> str:
    import benchmark_videos

    files = benchmark_videos.write_videos(folder, "h264", NUM_FILES)
    links = os.path.join(os.path.abspath(folder), "links")
    os.makedirs(links, exist_ok=True)
    for number in range(1000):
        link = os.path.join(links, f"{number:03d}.mp4")
        if not os.path.lexists(link):
            os.symlink(os.path.abspath(files[number % NUM_FILES]), link)
    path = os.path.join(folder, f"list_{num_videos}.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(
            f"{links}/{n % 1000:03d}.mp4 {n % NUM_CLASSES}\n" for n in range(num_videos)
        )
    return path


def _write_records(folder: str, num_videos: int) -> str:
    """A folder of records, each shard the same videos under other names."""
    from keras_multigrid.data.records import format

    root = os.path.join(folder, f"records_{num_videos}")
    if os.path.exists(os.path.join(root, format.MANIFEST)):
        return root
    form = format.RecordFormat(short_sides=(None,))
    os.makedirs(os.path.join(root, *form.copies), exist_ok=True)
    pieces = _small_pieces(form)
    shards = {}
    for part, count in (("train", num_videos), ("validation", 1)):
        num_shards = form.num_shards(count)
        shards[part] = []
        for shard in range(num_shards):
            first = shard * form.videos_per_shard
            its_pieces = pieces[: min(form.videos_per_shard, count - first)]
            name = format.shard_name(part, shard, num_shards)
            contents = {
                f"{form.copies[0]}/{name}.tfrecord": b"".join(piece for _, piece in its_pieces),
                f"{name}.index": format.index_content([entry for entry, _ in its_pieces]),
            }
            names = format.Names(
                videos=tuple(
                    (f"{part}/{first + n}.mp4", (first + n) % NUM_CLASSES)
                    for n in range(len(its_pieces))
                ),
                bad=(),
                num_frames=sum(entry.num_frames for entry, _ in its_pieces),
                bytes={file: len(content) for file, content in contents.items()},
                sha256={file: hashlib.sha256(data).hexdigest() for file, data in contents.items()},
            )
            contents[f"{name}.json"] = names.to_json()
            for file, content in contents.items():
                with open(os.path.join(root, file), "wb") as written:
                    written.write(content)
            shards[part].append(names.shard(name))
    manifest = format.Manifest(
        form=form,
        class_names=tuple(map(str, range(NUM_CLASSES))),
        multi_label=False,
        shards={part: tuple(of_part) for part, of_part in shards.items()},
    )
    with open(os.path.join(root, format.MANIFEST), "w", encoding="utf-8") as file:
        file.write(manifest.to_json())
    return root


def _small_pieces(form) -> list:
    """Entry and content of the records of so many small videos as a shard has."""
    import cv2
    import numpy as np

    from keras_multigrid.data.records import format
    from keras_multigrid.data.videos.video import VideoRecord

    pieces = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(form.videos_per_shard):
            images = os.path.join(folder, str(number))
            os.mkdir(images)
            for frame in range(16):
                coarse = np.random.default_rng([number, frame]).integers(0, 255, (3, 4, 3))
                image = cv2.resize(coarse.astype(np.uint8), (64, 48))
                cv2.imwrite(os.path.join(images, f"{frame:02d}.jpg"), image)
            video = VideoRecord(path=images, label=number)
            path = os.path.join(folder, f"{number}.tfrecord")
            entry = format.write_video(video, form, [path], tuple(map(str, range(NUM_CLASSES))))
            with open(path, "rb") as file:
                pieces.append((entry, file.read()))
    return pieces


def _run(**case) -> dict[str, float]:
    command = [sys.executable, os.path.abspath(__file__), f"--case={json.dumps(case)}"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def _measure(
    step: int, path: str | None = None, validation: str | None = None, records: str | None = None
) -> dict[str, float]:
    from keras_multigrid.data.input import training_batches
    from keras_multigrid.data.lists.path_lists import path_label_lists
    from keras_multigrid.data.records.record_set import recorded_videos
    from keras_multigrid.schedule import Grid, MultigridSchedule

    begun = time.perf_counter()
    source = recorded_videos(records) if records else path_label_lists(path, validation=validation)
    videos = source.train
    list_seconds = time.perf_counter() - begun
    base = Grid(batch_size=4, num_frames=8, crop_size=112)
    epochs = 2 + 64 * 2_000_000 // len(videos)
    schedule = MultigridSchedule(base, num_clips=len(videos), epochs=epochs)
    begun = time.perf_counter()
    next(iter(training_batches(videos, schedule, seed=0, start_step=step)))
    return {
        "list_seconds": list_seconds,
        "batch_seconds": time.perf_counter() - begun,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


if __name__ == "__main__":
    main()
