"""Small videos whose class is the motion alone, generated in seconds.

Each video shows one textured object on a textured background. The ten classes differ in how the
object's pose (x, y, angle, zoom) moves, and in nothing else:

* Every coordinate of the pose is a circle. x and y wrap around the picture's borders, the angle
  around a full turn, the zoom around `_ZOOM_PERIOD`: an object grown too large fades out while a
  small copy of it fades in.
* The starting pose is uniform on these circles, and a steady motion keeps a uniform pose uniform.
  So a frame has the same distribution in every class, at any time of the video: one seed even
  gives all classes the same first frame.

A horizontal flip turns move_left into move_right and clockwise into counterclockwise: train on
these videos without random flips.
"""

import dataclasses
import functools
import json
import math
import operator
import os
import pathlib
import sys
from collections.abc import MutableSequence

import av
import numpy as np

# Raised whenever the same seed would give other pixels.
GENERATOR_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Motion:
    """Direction of each motion: -1, 0 or 1. y points down, so a growing angle is clockwise."""

    x: int = 0
    y: int = 0
    angle: int = 0
    zoom: int = 0
    orbit: int = 0


_MOTIONS = {
    "move_left": _Motion(x=-1),
    "move_right": _Motion(x=1),
    "move_up": _Motion(y=-1),
    "move_down": _Motion(y=1),
    "rotate_clockwise": _Motion(angle=1),
    "rotate_counterclockwise": _Motion(angle=-1),
    "grow": _Motion(zoom=1),
    "shrink": _Motion(zoom=-1),
    "orbit_clockwise": _Motion(orbit=1),
    "orbit_counterclockwise": _Motion(orbit=-1),
}

CLASS_NAMES = tuple(_MOTIONS)

# Lengths are shares of the picture's short side. The largest copy's square is 0.34 * exp(0.9 *
# 1.15) = 0.957 wide, so the object never meets itself across the border. Its outline fills about
# three quarters of the square: 0.25 to 0.7 of the short side, in the median 0.4.
_SMALLEST_DIAMETER = 0.34
_ZOOM_PERIOD = 0.9  # Natural logarithm of the growth in one period.
_FADE = 0.15  # Share of the period in which both copies are seen.

# Even at a stride of 8 frames every step stays below half of its circle, so that no motion looks
# like its opposite: at most 13 of 72 pixels, 56 degrees, 0.26 zoom periods, 0.4 orbits.
_PIXELS_PER_FRAME = (0.6 / 72, 1.6 / 72)
_DEGREES_PER_FRAME = (3.0, 7.0)
_GROWTH_PER_FRAME = (0.015, 0.03)
_FRAMES_PER_ORBIT = (20.0, 36.0)
_ORBIT_RADIUS = (10 / 72, 14 / 72)

_SPRITE = 160  # Cells across the object's square; 1.7 a pixel where it is drawn largest.
_MANIFEST = "dataset.json"
_PARTIAL_MANIFEST = "dataset.partial.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that determines a synthetic video.

    Args:
        class_name: one of `CLASS_NAMES`.
        height, width: pixels, even.
        num_frames: frames of the video.
        frames_per_second: frame rate of the file; the speeds below are per frame.
        x, y: centre of the object in frame 0, in pixels.
        angle: its rotation in frame 0, in radians, clockwise on the screen.
        zoom: its place in the zoom period in frame 0, in [0, 1).
        pixels_per_frame: speed of the move classes.
        radians_per_frame: speed of the rotate classes.
        zoom_per_frame: speed of grow and shrink, in zoom periods.
        orbit_per_frame: speed of the orbit classes, in radians.
        orbit_radius: pixels.
        orbit_phase: place on the orbit in frame 0, in radians.
        texture_seed: seed of the textures, the outline and the noise.
    """

    class_name: str
    height: int
    width: int
    num_frames: int
    frames_per_second: int
    x: float
    y: float
    angle: float
    zoom: float
    pixels_per_frame: float
    radians_per_frame: float
    zoom_per_frame: float
    orbit_per_frame: float
    orbit_radius: float
    orbit_phase: float
    texture_seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poses:
    """The object's pose in each frame; fields as in `Scene`, arrays of shape (frames,)."""

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray


def draw_scene(class_name: str, *, seed: int | tuple[int, ...]) -> Scene:
    """Draws a video's size, length, frame rate, starting pose and speeds.

    The class takes no part in the draws: scenes of one seed differ in `class_name` alone.

    Args:
        class_name: one of `CLASS_NAMES`.
        seed: a non-negative integer, or a tuple of them.

    Raises:
        ValueError: if the class is unknown or the seed is negative.
    """
    _check_class_name(class_name)
    rng = np.random.default_rng(_check_seed(seed))
    short = 2 * int(rng.integers(32, 49))
    # Rounding down keeps the aspect ratio within 4:3; H.264 with 4:2:0 colour needs even sides.
    long = 2 * int(short * rng.uniform(1.0, 4 / 3) / 2)
    height, width = (short, long) if rng.random() < 0.5 else (long, short)
    return Scene(
        class_name=class_name,
        height=height,
        width=width,
        num_frames=int(rng.integers(32, 65)),
        frames_per_second=int(rng.integers(12, 31)),
        x=rng.uniform(0.0, width),
        y=rng.uniform(0.0, height),
        angle=rng.uniform(0.0, math.tau),
        zoom=rng.uniform(0.0, 1.0),
        pixels_per_frame=short * rng.uniform(*_PIXELS_PER_FRAME),
        radians_per_frame=math.radians(rng.uniform(*_DEGREES_PER_FRAME)),
        zoom_per_frame=math.log1p(rng.uniform(*_GROWTH_PER_FRAME)) / _ZOOM_PERIOD,
        orbit_per_frame=math.tau / rng.uniform(*_FRAMES_PER_ORBIT),
        orbit_radius=short * rng.uniform(*_ORBIT_RADIUS),
        orbit_phase=rng.uniform(0.0, math.tau),
        texture_seed=int(rng.integers(2**62)),
    )


def scene_poses(scene: Scene) -> Poses:
    """Returns the pose in every frame: the starting pose plus the class's motion."""
    motion = _MOTIONS[scene.class_name]
    time = np.arange(scene.num_frames)
    phase = scene.orbit_phase + motion.orbit * scene.orbit_per_frame * time
    # Relative to frame 0, so that the other classes do not move.
    orbit_x = scene.orbit_radius * (np.cos(phase) - np.cos(scene.orbit_phase))
    orbit_y = scene.orbit_radius * (np.sin(phase) - np.sin(scene.orbit_phase))
    shift = scene.pixels_per_frame * time
    return Poses(
        x=(scene.x + motion.x * shift + orbit_x) % scene.width,
        y=(scene.y + motion.y * shift + orbit_y) % scene.height,
        angle=(scene.angle + motion.angle * scene.radians_per_frame * time) % math.tau,
        zoom=(scene.zoom + motion.zoom * scene.zoom_per_frame * time) % 1.0,
    )


def render_video(class_name: str, *, seed: int | tuple[int, ...]) -> np.ndarray:
    """Renders one video, a pure function of its arguments.

    Args:
        class_name: one of `CLASS_NAMES`.
        seed: a non-negative integer, or a tuple of them. One seed gives every class the same
            first frame.

    Returns:
        RGB frames, uint8 of shape (frames, height, width, 3): 32 to 64 frames, a short side of
        64 to 96 pixels, a long side of up to 4/3 of it.

    Raises:
        ValueError: if the class is unknown or the seed is negative.
    """
    return _render_scene(draw_scene(class_name, seed=seed))


def render_mask(class_name: str, *, seed: int | tuple[int, ...]) -> np.ndarray:
    """Renders the object's opacity in each frame of `render_video`.

    Returns:
        uint8 of shape (frames, height, width), 0 for background, 255 for object.
    """
    scene = draw_scene(class_name, seed=seed)
    sprite = _draw_sprite(scene, np.random.default_rng(scene.texture_seed))
    sprite[:, :3] = 255 * (sprite[:, 3:] > 0)
    frames = np.zeros((scene.num_frames, scene.height, scene.width, 3), np.uint8)
    _paint_object(frames, sprite, scene_poses(scene))
    return frames[..., 0]


def write_videos(
    root: str | os.PathLike,
    *,
    num_train: int = 1800,
    num_validation: int = 400,
    seed: int = 0,
    processes: int | None = None,
) -> None:
    """Writes the data set as H.264 files, unless it is there already.

        root/train/<class>/<number>.mp4
        root/validation/<class>/<number>.mp4
        root/dataset.json                      the settings, written last

    A video depends on (seed, split, class, number) only. What an interrupted call has written is
    kept by the next call with the same settings.

    Args:
        root: local folder, created if missing.
        num_train: training videos, a positive multiple of the 10 classes.
        num_validation: validation videos, a positive multiple of the 10 classes.
        seed: non-negative integer.
        processes: worker processes. None takes one per available CPU, 1 works in the calling
            process. Workers import the main script: with more than one, its code must stand
            under `if __name__ == "__main__":`.

    Raises:
        ValueError: if an argument is out of range, or `root` holds anything but these videos.
        RuntimeError: if a worker process dies.
    """
    num_train = _check_video_count("num_train", num_train)
    num_validation = _check_video_count("num_validation", num_validation)
    seed = _check_integer("seed", seed, minimum=0)
    if processes is not None:
        processes = _check_integer("processes", processes, minimum=1)
    root = _check_root(root)
    settings = {
        "generator": "keras_multigrid.data.synthetic",
        "generator_version": GENERATOR_VERSION,
        "num_train": num_train,
        "num_validation": num_validation,
        "seed": seed,
    }
    if _is_complete(root, settings):
        return
    # Claims the folder: a call with other settings must not add its videos to these.
    _write_json(root / _PARTIAL_MANIFEST, settings)
    _write_files(_list_tasks(root, num_train, num_validation, seed), processes)
    _write_json(root / _MANIFEST, settings)
    (root / _PARTIAL_MANIFEST).unlink(missing_ok=True)


def _render_scene(scene: Scene) -> np.ndarray:
    rng = np.random.default_rng(scene.texture_seed)
    # The sprite is drawn first, here as in render_mask: both get the same outline.
    sprite = _draw_sprite(scene, rng)
    background = _draw_background(scene, rng)
    frames = np.repeat(background[None], scene.num_frames, axis=0)
    _paint_object(frames, sprite, scene_poses(scene))
    _add_noise(frames, rng)
    return frames


def _draw_sprite(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Returns the object's picture, uint8 (cells, 4): RGB and opacity, 0 where it is not."""
    texture = _base_colour(scene, rng, side=1) + 70 * _smooth_noise(rng, 5, _SPRITE, _SPRITE)
    radius, theta = _sprite_grid()
    # Lobes of fixed strength and random direction: no outline is round enough to hide a rotation.
    outline = np.ones_like(theta)
    for lobes, strength in ((1, 0.16), (2, 0.2), (3, 0.12), (5, 0.06)):
        phase = np.float32(rng.uniform(0.0, math.tau))
        outline += np.float32(strength) * np.cos(lobes * theta + phase)
    # The soft edge ends at 0.95 of the square: its border is transparent.
    outline *= 0.9 / outline.max()
    opacity = np.clip((outline - radius) / 0.1 + 0.5, 0.0, 1.0)[..., None]
    sprite = np.concatenate([np.clip(texture, 0, 255), 255 * opacity], axis=-1)
    sprite *= sprite[..., 3:] >= 1
    return sprite.astype(np.uint8).reshape(-1, 4)


def _draw_background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Returns one picture, uint8 (height, width, 3)."""
    texture = 55 * _smooth_noise(rng, 7, scene.height, scene.width)
    return np.clip(_base_colour(scene, rng, side=-1) + texture, 0, 255).astype(np.uint8)


def _base_colour(scene: Scene, rng: np.random.Generator, *, side: int) -> np.ndarray:
    """Returns a mean colour (3,); the object's and the background's lie across mid-grey."""
    brightness = 38 * side * (1 if scene.texture_seed % 2 else -1)
    return (128 + brightness + rng.uniform(-25, 25, 3)).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, cells: int, height: int, width: int) -> np.ndarray:
    """Returns float32 (height, width, 3) of deviation 0.5 that bends every 1/cells of a side."""
    grid = rng.standard_normal((3, cells + 3, cells + 3), dtype=np.float32)
    # einsum, not matmul: the BLAS threads of several workers would fight over the CPUs.
    noise = np.einsum("yi,cij->cyj", _spline_weights(cells, height), grid)
    noise = np.einsum("cyj,xj->cyx", noise, _spline_weights(cells, width))
    return np.ascontiguousarray(noise.transpose(1, 2, 0))


@functools.cache
def _spline_weights(cells: int, size: int) -> np.ndarray:
    """Returns the cubic B-spline's weights, (size, cells + 3): they leave no trace of the grid."""
    place = 1 + (np.arange(size) + 0.5) / size * cells
    distance = np.abs(place[:, None] - np.arange(cells + 3))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


@functools.cache
def _sprite_grid() -> tuple[np.ndarray, np.ndarray]:
    """Returns radius (1 in the middle of an edge) and angle of each cell of the sprite."""
    axis = ((np.arange(_SPRITE) + 0.5) * 2 / _SPRITE - 1).astype(np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.hypot(x, y), np.arctan2(y, x)


def _paint_object(frames: np.ndarray, sprite: np.ndarray, poses: Poses) -> None:
    """Paints the object over `frames`, uint8 (frames, height, width, 3), in place."""
    small = min(frames.shape[1:3]) * _SMALLEST_DIAMETER * np.exp(_ZOOM_PERIOD * poses.zoom)
    large = small * math.exp(_ZOOM_PERIOD)
    opacity = np.minimum(poses.zoom / _FADE, 1.0)
    for index, frame in enumerate(frames):
        pose = (poses.x[index], poses.y[index], poses.angle[index])
        # The last period's large copy fades out underneath this period's small one.
        if opacity[index] < 1.0:
            _paint_sprite(frame, sprite, *pose, large[index], 1.0 - opacity[index])
        _paint_sprite(frame, sprite, *pose, small[index], opacity[index])


def _paint_sprite(
    frame: np.ndarray,
    sprite: np.ndarray,
    x: float,
    y: float,
    angle: float,
    diameter: float,
    opacity: float,
) -> None:
    """Paints one copy of the object over `frame`, uint8 (height, width, 3), in place."""
    rows, dy = _nearby(frame.shape[0], y, diameter / 2)
    columns, dx = _nearby(frame.shape[1], x, diameter / 2)
    # Turns offsets in the picture back into cells of the upright sprite.
    cells = _SPRITE / diameter
    cos, sin = math.cos(angle) * cells, math.sin(angle) * cells
    u = (dx * cos + _SPRITE / 2)[None, :] + (dy * sin)[:, None]
    v = (dx * -sin + _SPRITE / 2)[None, :] + (dy * cos)[:, None]
    # What lies outside of the sprite gets its border's colour, which is transparent.
    u = np.clip(u, 0, _SPRITE - 1).astype(np.int32)
    v = np.clip(v, 0, _SPRITE - 1).astype(np.int32)
    # One 32-bit look-up fetches all four bytes of a cell, and is 0 where nothing is painted.
    drawn = sprite.view(np.uint32).take(v * _SPRITE + u).ravel()
    painted = drawn.nonzero()[0]
    drawn = drawn[painted].view(np.uint8).reshape(-1, 4)
    places = (rows[:, None] * frame.shape[1] + columns).ravel()[painted]
    pixels = frame.reshape(-1, 3)
    behind = pixels[places].astype(np.float32)
    alpha = drawn[:, 3:] * np.float32(opacity / 255)
    pixels[places] = behind + alpha * (drawn[:, :3] - behind) + np.float32(0.5)


def _nearby(size: int, centre: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices within `radius` of `centre` on a circle, and their offsets from it.

    size 6, centre 0.5, radius 2: indices 5 0 1 2, offsets -1.5 -0.5 0.5 1.5
    """
    places = np.arange(math.ceil(centre - radius), math.floor(centre + radius) + 1)
    return places % size, (places - centre).astype(np.float32)


def _add_noise(frames: np.ndarray, rng: np.random.Generator) -> None:
    """Adds a slow drift of brightness and pixel noise to all three colours, in place."""
    num_frames, height, width, _ = frames.shape
    # One field at random offsets: fresh noise for every pixel would take longer than the rest.
    margin = 16
    field = 2 * rng.standard_normal((height + margin, width + margin, 1), dtype=np.float32)
    field = np.rint(field).astype(np.int16).repeat(3, axis=2)
    offsets = rng.integers(0, margin, (num_frames, 2))
    phase = rng.uniform(0.0, math.tau) + np.arange(num_frames) / rng.uniform(6, 20)
    drift = np.rint(rng.uniform(2, 6) * np.sin(phase)).astype(np.int16)
    for frame, (row, column), level in zip(frames, offsets, drift, strict=True):
        noise = field[row : row + height, column : column + width] + level
        frame[:] = np.clip(frame + noise, 0, 255)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Task:
    """One file to write."""

    path: pathlib.Path
    class_name: str
    seed: tuple[int, ...]


def _list_tasks(root: pathlib.Path, num_train: int, num_validation: int, seed: int) -> list[_Task]:
    """Creates the folders and returns the videos that are still to be written."""
    tasks = []
    for split, (name, count) in enumerate((("train", num_train), ("validation", num_validation))):
        for label, class_name in enumerate(CLASS_NAMES):
            folder = root / name / class_name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count // len(CLASS_NAMES)):
                path = folder / f"{number:05d}.mp4"
                # A file has this name only when it is whole.
                if not path.exists():
                    video_seed = (seed, split, label, number)
                    tasks.append(_Task(path=path, class_name=class_name, seed=video_seed))
    return tasks


def _write_files(tasks: list[_Task], processes: int | None) -> None:
    processes = min(_available_cpus() if processes is None else processes, len(tasks) // 20)
    if processes > 1:
        _write_in_parallel(tasks, processes)
    else:
        for done, task in enumerate(tasks):
            _report_progress(done, len(tasks))
            _write_task(task)
    _report_progress(len(tasks), len(tasks))
    print(file=sys.stderr)


def _write_in_parallel(tasks: list[_Task], processes: int) -> None:
    # Imported here: most programs only read videos that are there already.
    import multiprocessing
    from multiprocessing.connection import wait

    # spawn: the fork of a process in which TensorFlow runs threads can hang. Plain processes, as
    # pools restart dying workers for ever or hang when interrupted; killing these is harmless.
    context = multiprocessing.get_context("spawn")
    done = context.RawArray("i", processes)
    workers = [
        context.Process(target=_write_share, args=(tasks[i::processes], done, i), daemon=True)
        for i in range(processes)
    ]
    running = workers
    try:
        for worker in workers:
            worker.start()
        while running:
            wait([worker.sentinel for worker in running], timeout=0.5)
            running = [worker for worker in running if worker.is_alive()]
            # Asked for after is_alive: no worker can leave the list with its code unseen.
            codes = [worker.exitcode for worker in workers]
            _report_progress(sum(done), len(tasks))
            if any(codes) or (not running and sum(done) < len(tasks)):
                _raise_worker_error(codes, sum(done), len(tasks))
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
                worker.join()


def _raise_worker_error(codes: list[int | None], done: int, total: int) -> None:
    raise RuntimeError(
        f"The worker processes must write {total} videos and end with code 0. Received: {done} "
        f"videos and the codes {codes}. See their error above. If they could not import the main "
        'script, put its code under `if __name__ == "__main__":` or use processes=1.'
    )


def _write_share(tasks: list[_Task], done: MutableSequence[int], worker: int) -> None:
    for task in tasks:
        _write_task(task)
        done[worker] += 1


def _write_task(task: _Task) -> None:
    scene = draw_scene(task.class_name, seed=task.seed)
    _write_video(task.path, _render_scene(scene), scene.frames_per_second)


def _write_video(path: pathlib.Path, frames: np.ndarray, frames_per_second: int) -> None:
    """Encodes `frames`, uint8 (frames, height, width, 3); `path` appears when it is whole."""
    # The process number keeps two calls on one folder out of each other's way.
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    # A keyframe every 12 frames makes it cheap to decode a clip from the video's middle. Without
    # mbtree=0 x264 gives other bytes each time for pictures as small as these.
    options = {"preset": "veryfast", "crf": "22", "g": "12", "threads": "1"}
    options["x264-params"] = "mbtree=0"
    with av.open(str(unfinished), "w", format="mp4") as container:
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
    os.replace(unfinished, path)


def _report_progress(done: int, total: int) -> None:
    line = f"\rWriting synthetic videos: {done} of {total}"
    print(line, end="", file=sys.stderr, flush=True)


def _available_cpus() -> int:
    # A container may use fewer CPUs than the machine has; macOS cannot tell.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_complete(root: pathlib.Path, settings: dict) -> bool:
    """Tells finished videos from missing ones, and refuses a folder of anything else."""
    for name in (_MANIFEST, _PARTIAL_MANIFEST):
        if (root / name).exists():
            found = _read_json(root / name)
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


def _read_json(path: pathlib.Path) -> object:
    try:
        return json.loads(path.read_text())
    except ValueError:
        return "unreadable text"


def _write_json(path: pathlib.Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(unfinished, path)


def _check_root(root: str | os.PathLike) -> pathlib.Path:
    if "://" in os.fspath(root) or os.path.isfile(root):
        raise ValueError(
            f"`root` must be a local folder. Received: root={os.fspath(root)!r}. Choose a path "
            "that does not exist yet; copy the videos to a remote place afterwards."
        )
    return pathlib.Path(root)


def _check_class_name(class_name: str) -> None:
    if class_name not in CLASS_NAMES:
        raise ValueError(
            f"`class_name` must be one of {', '.join(CLASS_NAMES)}. "
            f"Received: class_name={class_name!r}. Choose one of these."
        )


def _check_seed(seed: int | tuple[int, ...]) -> list[int]:
    parts = seed if isinstance(seed, tuple) else (seed,)
    return [_check_integer("seed", part, minimum=0) for part in parts]


def _check_video_count(name: str, value: int) -> int:
    classes = len(CLASS_NAMES)
    value = _check_integer(name, value, minimum=classes)
    if value % classes:
        raise ValueError(
            f"`{name}` must be a multiple of the {classes} classes. "
            f"Received: {name}={value}. Use {name}={value - value % classes}."
        )
    return value


def _check_integer(name: str, value: int, *, minimum: int) -> int:
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool) or integer < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}. Use {name}={minimum} or more."
        )
    return integer
