"""Damages files of every kind that is read, and counts how that ends.

    python tests/fuzz.py                              2,000 videos, 500 pictures, 300 pickles ...
    python tests/fuzz.py --only pickles records --share 0.1
    python tests/fuzz.py --only pickles --number 17   one of them again

Each file is read in a process of its own making. Wanted are `read` and `named`: an error of the
right kind that names the file. All others are faults: of records, `other` frames than were written;
an error of `another kind`, or one that does `not name` the file; a process that `crashed`, `hung`
or `grew` by more than 1 GB. The same number always gives the same damage.
"""

import argparse
import collections
import dataclasses
import functools
import os
import pathlib
import resource
import shutil
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
_TESTS = pathlib.Path(__file__).parent
sys.path[:0] = map(str, (_TESTS.parent, _TESTS / "data", _TESTS / "models"))

import av  # noqa: E402
import checkpoint_files  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from small_videos import pictures, write_video  # noqa: E402

from keras_multigrid.data.bad_videos import BadVideos  # noqa: E402
from keras_multigrid.data.check.video import check_video  # noqa: E402
from keras_multigrid.data.clips.sampling import ClipSampling  # noqa: E402
from keras_multigrid.data.input import evaluation_batches  # noqa: E402
from keras_multigrid.data.isolation import Lost, isolated_map  # noqa: E402
from keras_multigrid.data.lists.path_lists import path_label_lists  # noqa: E402
from keras_multigrid.data.lists.published_sets import kinetics  # noqa: E402
from keras_multigrid.data.records.format import RecordFormat  # noqa: E402
from keras_multigrid.data.records.preparing import prepare  # noqa: E402
from keras_multigrid.data.records.record_set import recorded_videos  # noqa: E402
from keras_multigrid.data.videos.decode import decode_frames, read_video  # noqa: E402
from keras_multigrid.data.videos.open_video import DecodeError  # noqa: E402
from keras_multigrid.data.videos.video import VideoRecord, VideoSet  # noqa: E402
from keras_multigrid.models.weights.pickles import (  # noqa: E402
    CheckpointError,
    read_caffe2,
    read_pytorch,
)
from keras_multigrid.schedule import Grid  # noqa: E402

COUNTS = {"videos": 2000, "pictures": 500, "pickles": 300, "records": 300, "lists": 200}
# Seconds of one file, and bytes that its process may grow by.
TIME_LIMIT = 60.0
MOST_GROWTH = 1 << 30
WANTED = ("read", "named")
FAULTS = ("other", "another kind", "not named", "crashed", "hung", "grew")


@dataclasses.dataclass(frozen=True)
class Item:
    """One damaged file: a kind, the number of the damage, and the folder of the healthy files."""

    kind: str
    number: int
    folder: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How it ended, what the error was, and by how many bytes the process grew."""

    name: str
    text: str = ""
    growth: int = 0


# ---- Damage --------------------------------------------------------------------------------------

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40)


def damaged(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """A content of which some parts are wrong, missing, doubled or of another file."""
    content = bytearray(content)
    for _ in range(random.integers(1, 4)):
        start = int(random.integers(0, len(content) or 1))
        length = int(min(2 ** random.integers(0, 10), len(content) - start))
        end = start + length
        match random.integers(0, 8):
            case 0 | 1:
                for place in random.integers(0, len(content) or 1, random.integers(1, 9)):
                    content[place : place + 1] = [content[place] ^ (1 << random.integers(0, 8))]
            case 2:
                del content[start:]
            case 3:
                del content[start:end]
            case 4:
                content[start:start] = content[start:end]
            case 5:
                content[start:end] = random.bytes(length)
            case 6:
                size, order = int(random.choice([1, 2, 4, 8])), random.choice(["little", "big"])
                value = int(random.choice(_EXTREMES)) % (1 << 8 * size)
                content[start : start + size] = value.to_bytes(size, str(order))
            case 7:
                place = int(random.integers(0, len(other) or 1))
                content[start:end] = other[place : place + length]
    return bytes(content)


# ---- Healthy files -------------------------------------------------------------------------------

_VIDEOS = {
    **{"h264.mp4": "libx264", "mpeg4.mp4": "mpeg4", "h264.mkv": "libx264"},
    **{"vp9.webm": "libvpx-vp9", "mjpeg.avi": "mjpeg", "mpeg4.avi": "mpeg4"},
    **{"mpeg2.ts": "mpeg2video", "h264.ts": "libx264", "gif.gif": "gif"},
}
_PICTURES = ("baseline.jpg", "progressive.jpg", "grey.jpg", "a.png", "a.webp", "a.bmp", "a.gif")
_RECORDS = RecordFormat(short_sides=(None, 12), frames_per_record=3, videos_per_shard=2)
_GRID = Grid(batch_size=2, num_frames=4, crop_size=12)


def write_sources(folder: pathlib.Path) -> None:
    """Write a folder of healthy files for each kind."""
    for kind in COUNTS:
        (folder / kind).mkdir()
    for seed, (name, codec) in enumerate(_VIDEOS.items()):
        if codec == "gif":
            frames = [Image.fromarray(image) for image in pictures(seed)]
            frames[0].save(folder / "videos" / name, save_all=True, append_images=frames[1:])
        else:
            write_video(folder / "videos" / name, codec, pictures(seed, count=12))
    _write_fragmented(folder / "videos" / "fragmented.mp4")
    for seed, name in enumerate(_PICTURES):
        image = Image.fromarray(pictures(seed)[0])
        image = image.convert("L") if "grey" in name else image
        options = {"progressive": True} if "progressive" in name else {}
        image.save(folder / "pictures" / name, **options)
    arrays = {f"s1.pathway0_stem.{end}": np.ones((3, 4), np.float32) for end in ("weight", "bias")}
    arrays["head.projection.weight"] = np.arange(12, dtype=np.float16).reshape(3, 4)
    checkpoint_files.write_pytorch(str(folder / "pickles" / "zip.pyth"), arrays)
    checkpoint_files.write_pytorch(str(folder / "pickles" / "legacy.pyth"), arrays, legacy=True)
    blobs = {"conv1_w": arrays["s1.pathway0_stem.weight"], "pred_b": np.asfortranarray(np.eye(3))}
    for protocol in (0, 2, 4):
        content = checkpoint_files.pickle.dumps({"blobs": blobs}, protocol=protocol)
        (folder / "pickles" / f"{protocol}.pkl").write_bytes(content)
    listed = [
        VideoRecord(path=str(folder / "videos" / n), label=i % 2)
        for i, n in enumerate(("h264.mp4", "mjpeg.avi", "vp9.webm"))
    ]
    videos = VideoSet(train=listed, validation=listed, class_names=("run", "walk"))
    prepare(videos, root=str(folder / "records"), form=_RECORDS, workers=1)
    lines = [f"{'walk' if n % 2 else 'run'}/video {n}.avi {n % 2}" for n in range(20)]
    (folder / "lists" / "paths.txt").write_text("# a set\n" + "\n".join(lines))
    rows = [f"walk,{n:011d},{n},{n + 10},train" for n in range(20)]
    header = "label,youtube_id,time_start,time_end,split"
    (folder / "lists" / "kinetics.csv").write_text("\n".join([header, *rows]))


def _write_fragmented(path: pathlib.Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream("libx264", rate=8, options={"g": "4"})
        stream.height, stream.width, stream.pix_fmt = 24, 32, "yuv420p"
        for image in pictures(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


# ---- Reading, in a process that may be lost ------------------------------------------------------


def try_one(item: Item) -> Outcome:
    """Damage a file and read it."""
    random = np.random.default_rng((list(COUNTS).index(item.kind), item.number))
    sources = sorted(p for p in pathlib.Path(item.folder, item.kind).rglob("*") if p.is_file())
    source, other = random.choice(np.array(sources)), random.choice(np.array(sources))
    content = damaged(source.read_bytes(), other.read_bytes(), random)
    with tempfile.TemporaryDirectory() as folder:
        read = functools.partial(_READ[item.kind], source, content, pathlib.Path(folder))
        return measured(functools.partial(read, item.folder))


def measured(read) -> Outcome:
    """The outcome of a call, with the growth of the process."""
    before = _begin_to_measure()
    outcome = read()
    growth = _status("VmHWM") - before
    if growth > MOST_GROWTH:
        return Outcome("grew", outcome.text, growth)
    return dataclasses.replace(outcome, growth=growth)


def _outcome(read, path, *kinds: type[Exception]) -> Outcome:
    """How a call ends that reads this file; it returns whether what it read is right."""
    try:
        return Outcome("other" if read() is False else "read")
    except kinds as error:
        named = str(path) in str(error)
        return Outcome("named" if named else "not named", str(error))
    except Exception as error:
        return Outcome("another kind", f"{type(error).__name__}: {error}")


def _read_video(source, content, folder, _) -> Outcome:
    path = folder / source.name
    path.write_bytes(content)
    record = VideoRecord(path=str(path), label=0)

    def read():
        fault = check_video(record).fault
        decode_frames(record, lambda count: np.arange(8) * (count - 1) // 7, short_side=16)
        if fault:
            raise DecodeError(fault)

    return _outcome(read, path, DecodeError)


def _read_picture(source, content, folder, sources) -> Outcome:
    folder = folder / "video"
    folder.mkdir()
    for number in (1, 3):
        shutil.copy(source, folder / f"{number}{source.suffix}")
    path = folder / f"2{source.suffix}"
    path.write_bytes(content)
    record = VideoRecord(path=str(folder), label=0)

    def read():
        fault = check_video(record).fault
        read_video(record)
        if fault:
            raise DecodeError(fault)

    # Pictures of several sizes are the folder's fault.
    return _outcome(read, folder, DecodeError)


def _read_pickle(source, content, folder, _) -> Outcome:
    path = folder / source.name
    path.write_bytes(content)
    return read_pickle(path)


def read_pickle(path: pathlib.Path) -> Outcome:
    """The outcome of reading a checkpoint."""
    read = read_caffe2 if path.suffix == ".pkl" else read_pytorch
    return _outcome(lambda: read(str(path)) and None, path, CheckpointError)


def _read_list(source, content, folder, _) -> Outcome:
    path = folder / source.name
    path.write_bytes(content)
    read = functools.partial(path_label_lists, validation=str(source))
    if path.suffix == ".csv":
        read = functools.partial(kinetics, validation=str(source), root=str(folder))
    return _outcome(lambda: read(str(path)) and None, path, ValueError, FileNotFoundError)


def _read_records(source, content, folder, sources) -> Outcome:
    healthy = pathlib.Path(sources, "records")
    root = folder / "records"
    shutil.copytree(healthy, root)
    path = root / source.relative_to(healthy)
    path.write_bytes(content)

    def read():
        videos = recorded_videos(str(root))
        expected = recorded_videos(str(healthy))
        both = ([*part.train, *part.validation] for part in (videos, expected))
        pairs = zip(*both, strict=True)
        return all(np.array_equal(*map(read_video, pair)) for pair in pairs)

    by_python = _outcome(read, root, ValueError, FileNotFoundError)
    by_graph = _outcome(
        functools.partial(_has_healthy_clips, root, healthy), root, ValueError, OSError
    )
    return by_graph if by_graph.name in FAULTS else by_python


def _has_healthy_clips(root: pathlib.Path, healthy: pathlib.Path) -> bool:
    """Read records by TensorFlow: whether each clip is one of the healthy ones."""
    return _centres(root) <= _healthy_centres(healthy)


@functools.cache
def _healthy_centres(root: pathlib.Path) -> set[bytes]:
    return _centres(root)


def _centres(root: pathlib.Path) -> set[bytes]:
    videos = recorded_videos(str(root)).train
    settings = {"sampling": ClipSampling(min_scale=12), "bad_videos": BadVideos(max_share=1.0)}
    batches = evaluation_batches(videos, _GRID, **settings)
    return {clip.tobytes() for clips, _ in batches.as_numpy_iterator() for clip in clips}


_READ = {
    "videos": _read_video,
    "pictures": _read_picture,
    "pickles": _read_pickle,
    "records": _read_records,
    "lists": _read_list,
}


# ---- Memory --------------------------------------------------------------------------------------


def _begin_to_measure() -> int:
    # Far more than is allowed, far less than would take the machine down.
    limit = _status("VmSize") + 8 * MOST_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    # The peak begins anew.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"/proc/self/status has no {name}.")


# ---- All of them ---------------------------------------------------------------------------------


def fuzz(counts: dict[str, int], *, number: int | None = None, workers: int = 2):
    """Damage and read files; the outcome of each item.

    Args:
        counts: how many of each kind.
        number: only this one of each.
        workers: processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_sources(pathlib.Path(folder))
        items = [
            Item(kind, n, folder)
            for kind, count in counts.items()
            for n in (range(count) if number is None else [number])
        ]
        for item, result in isolated_map(try_one, items, workers=workers, time_limit=TIME_LIMIT):
            if isinstance(result, Lost):
                name = "hung" if "longer than" in result.reason else "crashed"
                result = Outcome(name, result.reason)
            yield item, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(COUNTS), default=list(COUNTS))
    parser.add_argument("--share", type=float, default=1.0, help="of the files of each kind")
    parser.add_argument("--number", type=int, help="read one again")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    counts = {kind: max(1, round(COUNTS[kind] * options.share)) for kind in options.only}
    tables = collections.defaultdict(collections.Counter)
    growth, faults = collections.Counter(), []
    for item, outcome in fuzz(counts, number=options.number, workers=options.workers):
        tables[item.kind][outcome.name] += 1
        growth[item.kind] = max(growth[item.kind], outcome.growth)
        if outcome.name in FAULTS or options.number is not None:
            faults.append(f"{item.kind} {item.number}: {outcome.name}: {outcome.text[:300]}")
    names = (*WANTED, *FAULTS)
    print(f"{'':10}", *(f"{name:>12}" for name in names), f"{'growth, MB':>12}")
    for kind, table in tables.items():
        cells = [f"{table[name]:12,}" for name in names]
        print(f"{kind:10}", *cells, f"{growth[kind] / 1e6:12.0f}")
    print(*faults, sep="\n")
    return int(any(table[name] for table in tables.values() for name in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
