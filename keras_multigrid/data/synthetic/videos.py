"""The embedded data set: small H.264 videos of pure motion, written in seconds."""

import contextlib
import functools
import json
import os
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np

from keras_multigrid import files
from keras_multigrid.checks import check_integer
from keras_multigrid.data.lists.folders import class_folders
from keras_multigrid.data.synthetic.motion import (
    CLASS_NAMES,
    GENERATOR_VERSION,
    draw_scene,
    render_scene,
)
from keras_multigrid.data.videos.video import VideoSet

_MANIFEST = "dataset.json"
_PARTIAL_MANIFEST = "dataset.partial.json"


def motion_videos(
    root: str, *, num_train: int = 1800, num_validation: int = 360, seed: int = 0
) -> VideoSet:
    """The embedded data set, written first unless it is there.

    Args: those of `write_videos`.

    Example:

    >>> videos = motion_videos("data/motion")
    """
    write_videos(root, num_train=num_train, num_validation=num_validation, seed=seed)
    return class_folders(os.path.join(root, "train"), validation=os.path.join(root, "validation"))


def write_videos(
    root: str | os.PathLike,
    *,
    num_train: int = 1800,
    num_validation: int = 360,
    seed: int = 0,
    processes: int | None = None,
) -> None:
    """Write the data set as H.264 files, unless it is there already.

        root/train/<class>/<number>.mp4
        root/validation/<class>/<number>.mp4
        root/dataset.json                      the settings, written last

    A video depends on (seed, split, class, number) only. What an interrupted call has written is
    kept by the next call with the same settings.

    Args:
        root: local folder, created if missing.
        num_train, num_validation: videos of each part, positive multiples of the 12 classes.
        seed: non-negative integer.
        processes: worker processes. None takes one per available CPU, 1 works in the calling
            process. Workers import the main script: with more than one, its code must stand
            under `if __name__ == "__main__":`.

    Raises:
        ValueError: if an argument is out of range, or `root` holds other files.
        RuntimeError: if a worker process dies.
    """
    check_integer("seed", seed, least=0)
    if processes is not None:
        check_integer("processes", processes)
    counts = {"num_train": num_train, "num_validation": num_validation}
    classes = len(CLASS_NAMES)
    for name, count in counts.items():
        check_integer(name, count, least=classes)
        if count % classes:
            raise ValueError(
                f"`{name}` must be a multiple of the {classes} classes. "
                f"Received: {name}={count}. Use {name}={count - count % classes}."
            )
    if files.is_remote(root) or os.path.isfile(root):
        raise ValueError(
            f"`root` must be a local folder. Received: root={os.fspath(root)!r}. Choose a path "
            "that does not exist yet; copy the videos to a remote place afterwards."
        )
    root = pathlib.Path(root)
    settings = {
        "generator": "keras_multigrid.data.synthetic",
        "generator_version": GENERATOR_VERSION,
        **counts,
        "seed": seed,
    }
    if _is_complete(root, settings):
        return
    # Claim the folder: a call with other settings must not add its videos to these.
    _write_json(root / _PARTIAL_MANIFEST, settings)
    _write_files(_list_tasks(root, num_train, num_validation, seed), processes)
    _write_json(root / _MANIFEST, settings)
    (root / _PARTIAL_MANIFEST).unlink(missing_ok=True)


class _Task(NamedTuple):
    """One file to write."""

    path: pathlib.Path
    class_name: str
    seed: tuple[int, ...]


def _list_tasks(root: pathlib.Path, num_train: int, num_validation: int, seed: int) -> list[_Task]:
    """Create the folders; return the videos that are still to be written."""
    tasks = []
    for split, (name, count) in enumerate((("train", num_train), ("validation", num_validation))):
        for label, class_name in enumerate(CLASS_NAMES):
            folder = root / name / class_name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count // len(CLASS_NAMES)):
                path = folder / f"{number:05d}.mp4"
                # A file has this name only when it is whole.
                if not path.exists():
                    tasks.append(_Task(path, class_name, seed=(seed, split, label, number)))
    return tasks


def _write_files(tasks: list[_Task], processes: int | None) -> None:
    processes = min(_available_cpus() if processes is None else processes, len(tasks) // 20)
    parallel = processes > 1
    written = _written_in_parallel(tasks, processes) if parallel else map(_write_task, tasks)
    _report_progress(0, len(tasks))
    for done, _ in enumerate(written, 1):
        _report_progress(done, len(tasks))
    print(file=sys.stderr)


def _written_in_parallel(tasks: list[_Task], processes: int) -> Iterator[None]:
    # Imported here: most programs only read videos that are there already.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # spawn: the fork of a process in which TensorFlow runs threads can hang.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, context, _end_with_parent) as pool:
            yield from pool.map(_write_task, tasks, chunksize=4)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A worker process ended before its videos were written. See its error above. If it "
            "could not import the main script, put its code under "
            '`if __name__ == "__main__":` or use processes=1.'
        ) from error


def _end_with_parent() -> None:
    """End this worker with the process that started it, even if that one is killed."""
    from multiprocessing import parent_process

    def wait():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_task(task: _Task) -> None:
    scene = draw_scene(task.class_name, seed=task.seed)
    _write_video(task.path, render_scene(scene), scene.frames_per_second)


def _write_video(path: pathlib.Path, frames: np.ndarray, frames_per_second: int) -> None:
    """Encode `frames`, uint8 (frames, height, width, 3)."""
    # A keyframe every 12 frames makes it cheap to decode a clip from the video's middle. Without
    # mbtree=0 x264 gives other bytes each time for pictures as small as these.
    options = {"preset": "veryfast", "crf": "22", "g": "12", "threads": "1"}
    options["x264-params"] = "mbtree=0"
    with _whole(path) as file, av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frames_per_second, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # Small frames: threads cost the conversion of colours more than they save.
        reformat = functools.partial(
            av.video.reformatter.VideoReformatter().reformat, format="yuv420p", threads=1
        )
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(reformat(picture)))
        container.mux(stream.encode(None))


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The file to write to, renamed to `path` when it is whole."""
    # The process number keeps two calls on one folder out of each other's way.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    yield unfinished
    os.replace(unfinished, path)


def _report_progress(done: int, total: int) -> None:
    text = f"Writing synthetic videos: {done} of {total}"
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)
    elif done in (0, total):
        print(text, file=sys.stderr, flush=True)


def _available_cpus() -> int:
    # A container may use fewer CPUs than the machine has; macOS does not say.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_complete(root: pathlib.Path, settings: dict) -> bool:
    """Whether all videos are there; a folder of anything else is refused."""
    # In this order: several processes may write the same videos, and the first to end takes the
    # partial one away when the other is there.
    for name in (_PARTIAL_MANIFEST, _MANIFEST):
        try:
            found = json.loads((root / name).read_text())
        except FileNotFoundError:
            continue
        except ValueError:
            found = "unreadable text"
        if found != settings:
            _refuse_root(root, settings, f"{name} of {found}")
        return name == _MANIFEST
    # Hidden files belong to nobody: .DS_Store, or what a killed call left.
    names = sorted(path.name for path in root.glob("[!.]*"))
    if names:
        _refuse_root(root, settings, f"{names[:5]} and no {_MANIFEST}")
    return False


def _refuse_root(root: pathlib.Path, settings: dict, found: str) -> None:
    raise ValueError(
        f"`root` must be an empty folder or hold the videos of {settings}. "
        f"Received: root={str(root)!r}, which holds {found}. Choose another folder or delete it."
    )


def _write_json(path: pathlib.Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _whole(path) as file:
        file.write_text(json.dumps(value, indent=2) + "\n")
