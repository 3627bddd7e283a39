"""Pictures of pure motion: scenes whose class is how they move, and nothing else.

A textured layer with holes moves over a still background. Position and angle of the layer are
uniform at every time, whatever the class, and its zoom has the same distribution in all classes at
a random time: one frame does not reveal the class.

A horizontal flip turns left into right and clockwise into counterclockwise: train without it.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from keras_multigrid.checks import check_choice

# Raised whenever the same seed would give other pixels.
GENERATOR_VERSION = 2


class _Motion(NamedTuple):
    """Direction of each motion. y points down, so a growing angle is clockwise on the screen."""

    x: float = 0.0
    y: float = 0.0
    angle: int = 0
    zoom: int = 0


_DIAGONAL = math.sqrt(0.5)
_MOTIONS = {
    "grow": _Motion(zoom=1),
    "move_down": _Motion(y=1.0),
    "move_down_left": _Motion(x=-_DIAGONAL, y=_DIAGONAL),
    "move_down_right": _Motion(x=_DIAGONAL, y=_DIAGONAL),
    "move_left": _Motion(x=-1.0),
    "move_right": _Motion(x=1.0),
    "move_up": _Motion(y=-1.0),
    "move_up_left": _Motion(x=-_DIAGONAL, y=-_DIAGONAL),
    "move_up_right": _Motion(x=_DIAGONAL, y=-_DIAGONAL),
    "rotate_clockwise": _Motion(angle=1),
    "rotate_counterclockwise": _Motion(angle=-1),
    "shrink": _Motion(zoom=-1),
}
CLASS_NAMES = tuple(_MOTIONS)

# Slow enough that four frames eight apart still show the direction: 13 of 72 pixels, 80 degrees.
_PIXELS_PER_FRAME = (0.6 / 72, 1.6 / 72)
_DEGREES_PER_FRAME = (4.0, 10.0)
_GROWTH_PER_FRAME = (0.02, 0.045)

_SIDE = 256  # Cells along the layer's texture, a power of two; it repeats without a seam.
_LAYER = 1.6  # Side of the texture, in short sides of the picture.
_COLOUR_BLOTCHES = 14
_HOLES = 8
_BACKGROUND_BLOTCHES = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that determines a video; classes of one seed differ in `class_name` alone.

    Args:
        class_name: one of `CLASS_NAMES`.
        height, width: pixels, even: a short side of 64 to 96, a long side of up to 4/3 of it.
        num_frames: 32 to 64.
        frames_per_second: of the file, 12 to 30; the speeds below are per frame.
        x, y: place of the picture's centre on the layer, in pixels.
        pivot_x, pivot_y: fixed point of rotation and zoom, in pixels from the picture's centre.
        angle: rotation of the layer in frame 0, in radians.
        zoom: logarithm of its zoom in the middle of the video.
        pixels_per_frame: speed of the move classes.
        radians_per_frame: speed of the rotate classes.
        zoom_per_frame: speed of grow and shrink.
        zoom_share: place on the zoom range of grow and shrink where the other classes stay, in
            [-0.5, 0.5].
        texture_seed: seed of textures and noise.
    """

    class_name: str
    height: int
    width: int
    num_frames: int
    frames_per_second: int
    x: float
    y: float
    pivot_x: float
    pivot_y: float
    angle: float
    zoom: float
    pixels_per_frame: float
    radians_per_frame: float
    zoom_per_frame: float
    zoom_share: float
    texture_seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poses:
    """Where the layer is in each frame, arrays of shape (frames,).

    Args:
        x, y: its shift, in pixels.
        angle: its rotation, in radians, clockwise on the screen.
        zoom: logarithm of its zoom.
    """

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray


def draw_scene(class_name: str, *, seed: int | tuple[int, ...]) -> Scene:
    """Draw a video's size, length, frame rate, starting pose and speeds.

    Arguments and errors: same as for `render_video`. The class takes no part in the draws.
    """
    check_choice("class_name", class_name, CLASS_NAMES)
    rng = np.random.default_rng(seed)
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
        x=rng.uniform(0.0, _LAYER * short),
        y=rng.uniform(0.0, _LAYER * short),
        pivot_x=short * rng.uniform(-0.15, 0.15),
        pivot_y=short * rng.uniform(-0.15, 0.15),
        angle=rng.uniform(0.0, math.tau),
        zoom=rng.normal(0.0, 0.15),
        pixels_per_frame=short * rng.uniform(*_PIXELS_PER_FRAME),
        radians_per_frame=math.radians(rng.uniform(*_DEGREES_PER_FRAME)),
        zoom_per_frame=math.log1p(rng.uniform(*_GROWTH_PER_FRAME)),
        zoom_share=rng.uniform(-0.5, 0.5),
        texture_seed=int(rng.integers(2**62)),
    )


def scene_poses(scene: Scene) -> Poses:
    """The pose in every frame: the starting pose plus the class's motion."""
    motion = _MOTIONS[scene.class_name]
    time = np.arange(scene.num_frames)
    shift = scene.pixels_per_frame * time
    # Centred, so that growing is shrinking backwards; the others stay somewhere on that range.
    steps = motion.zoom * (time - (scene.num_frames - 1) / 2)
    if not motion.zoom:
        steps = np.full(scene.num_frames, scene.zoom_share * scene.num_frames)
    return Poses(
        x=motion.x * shift,
        y=motion.y * shift,
        angle=scene.angle + motion.angle * scene.radians_per_frame * time,
        zoom=scene.zoom + scene.zoom_per_frame * steps,
    )


def render_video(class_name: str, *, seed: int | tuple[int, ...]) -> np.ndarray:
    """Render one video, a pure function of its arguments.

    Args:
        class_name: one of `CLASS_NAMES`.
        seed: a non-negative integer, or a tuple of them.

    Returns:
        RGB frames, uint8 of shape (frames, height, width, 3).

    Raises:
        ValueError: if the class is unknown.

    Example:

    >>> render_video("grow", seed=0).shape[-1]
    3
    """
    return render_scene(draw_scene(class_name, seed=seed))


def render_scene(scene: Scene) -> np.ndarray:
    """Frames of a scene, uint8 (frames, height, width, 3)."""
    rng = np.random.default_rng(scene.texture_seed)
    # The layer is bright where the background is dark, or the other way round.
    side = 1 if scene.texture_seed % 2 else -1
    layer = _draw_layer(rng, side)
    background = _draw_background(rng, -side, scene.height, scene.width)
    frames = np.empty((scene.num_frames, scene.height, scene.width, 3), np.uint8)
    _paint(frames, layer, background, scene)
    _add_noise(frames, rng)
    return frames


def _draw_layer(rng: np.random.Generator, side: int) -> np.ndarray:
    """RGB and opacity, uint8 (cells, cells, 4)."""
    colour = _base_colour(rng, side) + 90 * _smooth_noise(rng, _COLOUR_BLOTCHES, _SIDE, _SIDE)
    opacity = 6 * _smooth_noise(rng, _HOLES, _SIDE, _SIDE)[..., :1] + 0.8
    layer = np.concatenate([np.clip(colour, 0, 255), 255 * np.clip(opacity, 0, 1)], axis=-1)
    return layer.astype(np.uint8)


def _draw_background(rng: np.random.Generator, side: int, height: int, width: int) -> np.ndarray:
    """One picture, float32 (height, width, 3)."""
    texture = 55 * _smooth_noise(rng, _BACKGROUND_BLOTCHES, height, width)
    return np.clip(_base_colour(rng, side) + texture, 0, 255)


def _base_colour(rng: np.random.Generator, side: int) -> np.ndarray:
    return (128 + 38 * side + rng.uniform(-25, 25, 3)).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, blotches: int, height: int, width: int) -> np.ndarray:
    """Seamless float32 (height, width, 3) of deviation 0.5 that bends blotches times a side."""
    grid = rng.standard_normal((3, blotches, blotches), dtype=np.float32)
    # einsum, not matmul: the BLAS threads of several workers would fight over the CPUs.
    noise = np.einsum("yi,cij->cyj", _spline_weights(blotches, height), grid)
    noise = np.einsum("cyj,xj->yxc", noise, _spline_weights(blotches, width))
    return np.ascontiguousarray(noise)


@functools.cache
def _spline_weights(blotches: int, size: int) -> np.ndarray:
    """The cubic B-spline's weights on a circle, (size, blotches): no trace of the grid is left."""
    distance = np.abs(np.arange(size)[:, None] / size * blotches - np.arange(blotches))
    distance = np.minimum(distance, blotches - distance)
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _paint(frames: np.ndarray, layer: np.ndarray, background: np.ndarray, scene: Scene) -> None:
    """Paint the moving layer over the background, in place."""
    poses = scene_poses(scene)
    height, width = background.shape[:2]
    y = (np.arange(height, dtype=np.float32) - height / 2 - scene.pivot_y)[:, None]
    x = (np.arange(width, dtype=np.float32) - width / 2 - scene.pivot_x)[None, :]
    cells = _SIDE / (_LAYER * min(height, width))
    # One 32-bit look-up fetches colour and opacity of a cell.
    texture = layer.view(np.uint32).ravel()
    for index, frame in enumerate(frames):
        scale = cells * math.exp(-poses.zoom[index])
        cos, sin = math.cos(poses.angle[index]) * scale, math.sin(poses.angle[index]) * scale
        dx, dy = x - poses.x[index], y - poses.y[index]
        u = (dx * cos + dy * sin + scene.x * cells).astype(np.int32) & (_SIDE - 1)
        v = (dy * cos - dx * sin + scene.y * cells).astype(np.int32) & (_SIDE - 1)
        drawn = texture[v * _SIDE + u].view(np.uint8).reshape(height, width, 4)
        opacity = drawn[..., 3:] * np.float32(1 / 255)
        frame[:] = background + opacity * (drawn[..., :3] - background)


def _add_noise(frames: np.ndarray, rng: np.random.Generator) -> None:
    """Add a slow drift of brightness and pixel noise to all three colours, in place."""
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
