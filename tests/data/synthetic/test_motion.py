import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest

from keras_multigrid.data.synthetic import motion

CLASS_NAMES = (
    "grow",
    "move_down",
    "move_down_left",
    "move_down_right",
    "move_left",
    "move_right",
    "move_up",
    "move_up_left",
    "move_up_right",
    "rotate_clockwise",
    "rotate_counterclockwise",
    "shrink",
)
# Rows and columns that a move class goes in; rows count downwards.
DIRECTIONS = {
    "move_down": (1, 0),
    "move_down_left": (1, -1),
    "move_down_right": (1, 1),
    "move_left": (0, -1),
    "move_right": (0, 1),
    "move_up": (-1, 0),
    "move_up_left": (-1, -1),
    "move_up_right": (-1, 1),
}
NUM_SCENES = 300


@functools.cache
def scenes_of(name):
    # Other seeds in each class: their draws must not be compared with themselves.
    label = CLASS_NAMES.index(name)
    return [motion.draw_scene(name, seed=(label, number)) for number in range(NUM_SCENES)]


def distance(first, second):
    """Kolmogorov-Smirnov: the largest difference of two samples' cumulative shares."""
    values = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (first, second)]
    return np.abs(shares[0] - shares[1]).max()


# The scenes.


def test_class_names():
    assert motion.CLASS_NAMES == CLASS_NAMES


def test_scenes_of_one_seed_differ_in_the_class_alone():
    left = motion.draw_scene("move_left", seed=5)
    for name in CLASS_NAMES:
        scene = motion.draw_scene(name, seed=5)
        assert scene.class_name == name
        assert dataclasses.replace(scene, class_name="move_left") == left


def test_sizes_lengths_and_frame_rates_vary_within_their_ranges():
    scenes = scenes_of("grow")
    sides = [sorted((scene.height, scene.width)) for scene in scenes]
    assert {side % 2 for pair in sides for side in pair} == {0}
    assert (min(a for a, _ in sides), max(a for a, _ in sides)) == (64, 96)
    assert all(1 <= b / a <= 4 / 3 for a, b in sides)
    assert max(b / a for a, b in sides) > 1.3
    assert {scene.height > scene.width for scene in scenes} == {False, True}
    lengths = [scene.num_frames for scene in scenes]
    assert (min(lengths), max(lengths)) == (32, 64)
    rates = [scene.frames_per_second for scene in scenes]
    assert (min(rates), max(rates)) == (12, 30)


@pytest.mark.parametrize("frame", [0, 31])
@pytest.mark.parametrize("name", CLASS_NAMES)
def test_place_and_angle_are_uniform_in_every_class_at_any_time(name, frame):
    shares = {"x": [], "y": [], "angle": []}
    for scene in scenes_of(name):
        poses = motion.scene_poses(scene)
        side = 1.6 * min(scene.height, scene.width)  # of the layer, which repeats
        shares["x"].append((scene.x - poses.x[frame]) / side % 1)
        shares["y"].append((scene.y - poses.y[frame]) / side % 1)
        shares["angle"].append(poses.angle[frame] / math.tau % 1)
    for values in shares.values():
        # 300 uniform draws exceed 0.119 with a probability below 0.0005.
        assert distance(np.array(values), np.linspace(0, 1, 10_001)) < 0.119


def test_zoom_at_a_random_time_has_one_distribution_in_all_classes():
    zooms = {}
    for number, name in enumerate(CLASS_NAMES):
        times = np.random.default_rng(number).random(NUM_SCENES)
        zooms[name] = np.array([
            motion.scene_poses(scene).zoom[int(time * scene.num_frames)]
            for scene, time in zip(scenes_of(name), times, strict=True)
        ])  # fmt: skip
        # A deviation of 0.15 about the range of grow, 48 frames of 0.032 on average.
        assert abs(zooms[name].mean()) < 0.1
        assert 0.42 < zooms[name].std() < 0.54
    # Two equal distributions differ by more than 0.167 with a probability below 0.0005.
    pairs = itertools.combinations(zooms.values(), 2)
    assert max(distance(first, second) for first, second in pairs) < 0.167


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_each_class_moves_one_thing_steadily(name):
    for scene in scenes_of(name)[:20]:
        poses = motion.scene_poses(scene)
        steps = {field: np.diff(values) for field, values in vars(poses).items()}
        rows, columns = DIRECTIONS.get(name, (0, 0))
        speed = np.hypot(steps["x"], steps["y"]) * 72 / min(scene.height, scene.width)
        if name in DIRECTIONS:
            assert np.all((speed > 0.6) & (speed < 1.6))
        assert np.all(np.sign(steps["x"].round(9)) == columns)
        assert np.all(np.sign(steps["y"].round(9)) == rows)
        turn = {"rotate_clockwise": 1, "rotate_counterclockwise": -1}.get(name, 0)
        assert np.all(np.sign(steps["angle"].round(9)) == turn)
        assert np.all(np.abs(np.degrees(steps["angle"])) < 10.001)
        growth = {"grow": 1, "shrink": -1}.get(name, 0)
        assert np.all(np.sign(steps["zoom"].round(9)) == growth)


def test_shrink_is_grow_backwards():
    grow = motion.draw_scene("grow", seed=9)
    shrink = motion.draw_scene("shrink", seed=9)
    np.testing.assert_allclose(
        motion.scene_poses(shrink).zoom, motion.scene_poses(grow).zoom[::-1], atol=1e-12
    )
    forward = motion.render_scene(grow).astype(int)
    backward = motion.render_scene(shrink).astype(int)[::-1]
    # Noise and drifting brightness run forwards in both.
    assert np.abs(forward - backward).mean() < 12
    assert np.abs(forward[0] - forward[-1]).mean() > 20


# The pixels.


def test_pixels_depend_on_class_and_seed_only():
    video = motion.render_video("grow", seed=(1, 2))
    assert video.dtype == np.uint8
    np.testing.assert_array_equal(video, motion.render_video("grow", seed=(1, 2)))
    np.testing.assert_array_equal(
        video, motion.render_scene(motion.draw_scene("grow", seed=(1, 2)))
    )
    other = motion.render_video("grow", seed=(1, 3))
    assert video.shape != other.shape or np.any(video != other)


def test_one_seed_gives_all_classes_the_same_pictures_to_begin_with():
    videos = {name: motion.render_video(name, seed=11) for name in CLASS_NAMES}
    assert len({video.shape for video in videos.values()}) == 1
    assert len({video[-1].tobytes() for video in videos.values()}) == 12
    for name in set(CLASS_NAMES) - {"grow", "shrink"}:
        np.testing.assert_array_equal(videos[name][0], videos["move_left"][0])
    # Zooming runs through the zoom of the others.
    zoom = motion.scene_poses(motion.draw_scene("move_left", seed=11)).zoom[0]
    for name in ("grow", "shrink"):
        frame = np.abs(motion.scene_poses(motion.draw_scene(name, seed=11)).zoom - zoom).argmin()
        difference = videos[name][frame].astype(int) - videos["move_left"][0]
        assert np.abs(difference).mean() < 15


def moving_part(scene):
    """Gray frames less what stands still, which is the background."""
    frames = motion.render_scene(scene).astype(float).mean(axis=-1)
    frames -= frames.mean(axis=(1, 2), keepdims=True)
    return frames - frames.mean(axis=0)


def common_shift(frames, lag):
    """Rows and columns that pictures move by in `lag` frames: the peak of phase correlation."""
    height, width = frames.shape[1:]
    spectra = np.fft.fft2(frames * np.hanning(height)[:, None] * np.hanning(width))
    products = spectra[lag:] * np.conj(spectra[:-lag])
    phases = (products / (np.abs(products) + 1e-9)).mean(axis=0)
    # Blurred: the pictures' noise is in the high frequencies.
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    correlation = np.fft.ifft2(phases * np.exp(-((frequency / 0.15) ** 2))).real
    peak = np.unravel_index(correlation.argmax(), correlation.shape)
    return [
        (shift + size // 2) % size - size // 2
        for shift, size in zip(peak, correlation.shape, strict=True)
    ]


@pytest.mark.parametrize("name", DIRECTIONS)
def test_pictures_move_in_the_named_direction(name):
    scene = motion.draw_scene(name, seed=3)
    rows, columns = common_shift(moving_part(scene), lag=8)
    sides = math.hypot(*DIRECTIONS[name])
    distance = 8 * scene.pixels_per_frame
    assert rows == pytest.approx(distance * DIRECTIONS[name][0] / sides, abs=1.1)
    assert columns == pytest.approx(distance * DIRECTIONS[name][1] / sides, abs=1.1)


def around_pivot(frames, scene):
    """Frames over the logarithm of the distance from the fixed point, and the angle around it."""
    height, width = frames.shape[1:]
    radii = np.exp(np.linspace(math.log(4), math.log(0.33 * min(height, width)), 64))[:, None]
    angles = np.arange(72) * math.tau / 72
    y = height / 2 + scene.pivot_y + radii * np.sin(angles)
    x = width / 2 + scene.pivot_x + radii * np.cos(angles)
    rows, columns = np.rint(y).astype(int), np.rint(x).astype(int)
    return frames[:, rows.clip(0, height - 1), columns.clip(0, width - 1)], radii[1] / radii[0]


@pytest.mark.parametrize("name", ["grow", "shrink", "rotate_clockwise", "rotate_counterclockwise"])
def test_pictures_turn_and_zoom_the_named_way(name):
    scene = motion.draw_scene(name, seed=3)
    rings, ratio = around_pivot(moving_part(scene), scene)
    outwards, clockwise = common_shift(rings, lag=8)
    growth = {"grow": 8 * scene.zoom_per_frame, "shrink": -8 * scene.zoom_per_frame}.get(name, 0)
    turn = 8 * math.degrees(scene.radians_per_frame)
    turn = {"rotate_clockwise": turn, "rotate_counterclockwise": -turn}.get(name, 0)
    assert outwards * math.log(ratio.item()) == pytest.approx(growth, abs=0.13)
    assert clockwise * 5 == pytest.approx(turn, abs=6)


def test_unknown_class_and_negative_seed_are_refused():
    with pytest.raises(ValueError, match=r"must be one of 'grow', .*Received: .*'jump'"):
        motion.render_video("jump", seed=0)
    with pytest.raises(ValueError, match="negative"):
        motion.render_video("grow", seed=(0, -1))
