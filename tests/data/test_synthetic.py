import collections
import dataclasses
import json
import math
import os
import pathlib
import subprocess
import sys

import av
import numpy as np
import pytest

from keras_multigrid.data import synthetic

CLASS_NAMES = [
    "move_left",
    "move_right",
    "move_up",
    "move_down",
    "rotate_clockwise",
    "rotate_counterclockwise",
    "grow",
    "shrink",
    "orbit_clockwise",
    "orbit_counterclockwise",
]
SETTINGS = {"num_train": 20, "num_validation": 10, "seed": 3, "processes": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "videos"
    synthetic.write_videos(root, **SETTINGS)
    return root


def decode(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def run_python(*arguments, cwd=None):
    # The package need not be installed.
    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(synthetic.__file__).parents[2])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60)


def read_all(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.mp4"))}


# The classes.


def test_class_names():
    assert list(synthetic.CLASS_NAMES) == CLASS_NAMES


def test_one_seed_gives_all_classes_the_same_first_frame_and_other_later_ones():
    videos = {name: synthetic.render_video(name, seed=11) for name in CLASS_NAMES}
    for name in CLASS_NAMES:
        np.testing.assert_array_equal(videos[name][0], videos["grow"][0])
    last_frames = {video[-1].tobytes() for video in videos.values()}
    assert len(last_frames) == 10


def test_scenes_of_one_seed_differ_in_the_class_alone():
    left = synthetic.draw_scene("move_left", seed=5)
    for name in CLASS_NAMES:
        scene = synthetic.draw_scene(name, seed=5)
        assert dataclasses.replace(scene, class_name="move_left") == left


@pytest.mark.parametrize("frame", [0, 15, 31])
@pytest.mark.parametrize("name", CLASS_NAMES)
def test_pose_is_uniform_in_every_class_at_any_time(name, frame):
    draws = collections.defaultdict(list)
    for seed in range(200):
        scene = synthetic.draw_scene(name, seed=(CLASS_NAMES.index(name), seed))
        poses = synthetic.scene_poses(scene)
        draws["x"].append(poses.x[frame] / scene.width)
        draws["y"].append(poses.y[frame] / scene.height)
        draws["angle"].append(poses.angle[frame] / math.tau)
        draws["zoom"].append(poses.zoom[frame])
    for values in draws.values():
        # Kolmogorov-Smirnov: 200 uniform draws pass 0.145 with a probability below 0.0005.
        ranks = np.arange(200) / 200
        values = np.sort(values)
        distance = max(np.max(values - ranks), np.max(ranks + 1 / 200 - values))
        assert distance < 0.145


@pytest.mark.parametrize(
    "name, moving, direction",
    [
        ("move_left", "x", -1),
        ("move_right", "x", 1),
        ("move_up", "y", -1),
        ("move_down", "y", 1),
        ("rotate_clockwise", "angle", 1),
        ("rotate_counterclockwise", "angle", -1),
        ("grow", "zoom", 1),
        ("shrink", "zoom", -1),
    ],
)
def test_steady_motions_move_one_coordinate_one_way(name, moving, direction):
    for seed in range(20):
        scene = synthetic.draw_scene(name, seed=seed)
        poses = synthetic.scene_poses(scene)
        circles = {"x": scene.width, "y": scene.height, "angle": math.tau, "zoom": 1.0}
        for field, circle in circles.items():
            step = np.diff(getattr(poses, field))
            step = (step + circle / 2) % circle - circle / 2
            if field == moving:
                assert np.all(direction * step > 0)
                # A stride of 8 frames must stay below half of the circle.
                assert np.all(8 * np.abs(step) < circle / 2)
            else:
                np.testing.assert_allclose(step, 0, atol=1e-9)


@pytest.mark.parametrize("name, sign", [("orbit_clockwise", 1), ("orbit_counterclockwise", -1)])
def test_orbit_turns_around_a_fixed_centre_without_rotation(name, sign):
    scene = synthetic.draw_scene(name, seed=2)
    poses = synthetic.scene_poses(scene)
    x = np.unwrap(poses.x, period=scene.width)
    y = np.unwrap(poses.y, period=scene.height)
    # On the screen y points down: a clockwise turn has a positive cross product.
    cross = np.diff(x)[:-1] * np.diff(y)[1:] - np.diff(y)[:-1] * np.diff(x)[1:]
    assert np.all(sign * cross > 0)
    assert 18 / 72 < (x.max() - x.min()) / min(scene.height, scene.width) < 30 / 72
    assert np.ptp(poses.angle) == 0
    assert np.ptp(poses.zoom) == 0


# The pixels.


def best_shift(before, after):
    """The circular shift (rows, columns) that takes `before` to `after`."""
    spectrum = np.fft.fft2(after) * np.conj(np.fft.fft2(before))
    correlation = np.fft.ifft2(spectrum).real
    shift = np.unravel_index(np.argmax(correlation), correlation.shape)
    return [(s + n // 2) % n - n // 2 for s, n in zip(shift, correlation.shape, strict=True)]


@pytest.mark.parametrize(
    "name, direction",
    [("move_left", (0, -1)), ("move_right", (0, 1)), ("move_up", (-1, 0)), ("move_down", (1, 0))],
)
def test_mask_moves_in_the_named_direction_across_the_border(name, direction):
    mask = synthetic.render_mask(name, seed=4).astype(float)
    for first in range(0, 24, 8):
        rows, columns = best_shift(mask[first], mask[first + 8])
        distance = rows * direction[0] + columns * direction[1]
        # 8 frames at 0.6 to 1.6 of 72 pixels of the short side.
        assert 4 <= distance * 72 / min(mask.shape[1:]) <= 14
        assert abs(rows * direction[1]) + abs(columns * direction[0]) == 0


def test_area_grows_and_shrinks():
    areas = {}
    for name in ("grow", "shrink"):
        steps = []
        for seed in range(6):
            scene = synthetic.draw_scene(name, seed=seed)
            area = synthetic.render_mask(name, seed=seed).mean(axis=(1, 2))
            # One copy alone is seen beyond the first 15 % of the zoom period.
            alone = synthetic.scene_poses(scene).zoom > 0.15
            pairs = alone[1:] & alone[:-1] & (np.abs(np.diff(area)) < 0.5 * area[1:])
            steps.extend(np.diff(np.log(area))[pairs])
        areas[name] = np.array(steps)
    # A diameter that grows by 1.5 to 3 % a frame: an area that grows by 3.0 to 6.1 %.
    assert np.all(areas["grow"] > 0)
    assert np.all(areas["shrink"] < 0)
    assert 0.03 < np.median(areas["grow"]) < 0.06
    assert -0.06 < np.median(areas["shrink"]) < -0.03


def test_shrink_is_grow_reversed_in_time():
    grow = synthetic.draw_scene("grow", seed=9)
    end = synthetic.scene_poses(grow).zoom[-1]
    shrink = dataclasses.replace(grow, class_name="shrink", zoom=end)
    np.testing.assert_allclose(
        synthetic.scene_poses(shrink).zoom, synthetic.scene_poses(grow).zoom[::-1], atol=1e-9
    )


def test_video_shows_the_object_where_the_mask_is():
    video = synthetic.render_video("move_right", seed=4).astype(float).mean(axis=-1)
    mask = synthetic.render_mask("move_right", seed=4)
    change = np.abs(video[20] - video[0])
    touched = (mask[0] > 0) | (mask[20] > 0)
    uncovered = ((mask[0] == 255) & (mask[20] == 0)) | ((mask[0] == 0) & (mask[20] == 255))
    assert np.percentile(change[~touched], 95) < 20
    assert np.median(change[uncovered]) > 30


def test_object_is_a_quarter_to_seven_tenths_of_the_short_side():
    across = []
    for seed in range(30):
        mask = synthetic.render_mask("rotate_clockwise", seed=seed)[0]
        # Diameter of the disc of the same area.
        across.append(math.sqrt((mask > 127).sum() * 4 / math.pi) / min(mask.shape))
    assert 0.35 < np.median(across) < 0.55
    assert min(across) > 0.2
    assert max(across) < 0.75


def test_pixels_depend_on_class_and_seed_only():
    video = synthetic.render_video("grow", seed=(1, 2))
    assert video.dtype == np.uint8
    np.testing.assert_array_equal(video, synthetic.render_video("grow", seed=(1, 2)))
    other = synthetic.render_video("grow", seed=(1, 3))
    assert video.shape != other.shape or np.any(video != other)


def test_sizes_lengths_and_frame_rates_vary_within_their_ranges():
    scenes = [synthetic.draw_scene("grow", seed=seed) for seed in range(200)]
    sides = [sorted((s.height, s.width)) for s in scenes]
    assert {s % 2 for pair in sides for s in pair} == {0}
    assert (min(a for a, _ in sides), max(a for a, _ in sides)) == (64, 96)
    assert all(1 <= b / a <= 4 / 3 for a, b in sides)
    assert {s.height > s.width for s in scenes} == {False, True}
    lengths = {s.num_frames for s in scenes}
    assert (min(lengths), max(lengths)) == (32, 64)
    rates = {s.frames_per_second for s in scenes}
    assert (min(rates), max(rates)) == (12, 30)


# The files.


def test_files_are_balanced_over_the_classes(root):
    counts = collections.Counter((p.parts[-3], p.parts[-2]) for p in root.rglob("*.mp4"))
    assert counts == {
        **{("train", name): 2 for name in CLASS_NAMES},
        **{("validation", name): 1 for name in CLASS_NAMES},
    }
    assert (root / "train" / "move_left" / "00001.mp4").is_file()
    assert not [p for p in root.rglob("*") if p.name.startswith(".")]


@pytest.mark.parametrize("split, label, number", [("train", 0, 1), ("validation", 7, 0)])
def test_file_decodes_to_the_rendered_video(root, split, label, number):
    seed = (3, {"train": 0, "validation": 1}[split], label, number)
    name = CLASS_NAMES[label]
    path = root / split / name / f"{number:05d}.mp4"
    video = synthetic.render_video(name, seed=seed)
    decoded = decode(path)
    assert decoded.shape == video.shape
    assert np.abs(decoded.astype(int) - video).mean() < 5
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        scene = synthetic.draw_scene(name, seed=seed)
        assert stream.average_rate == scene.frames_per_second
        assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")


def test_all_videos_differ(root):
    assert len(set(read_all(root).values())) == 30


def test_second_call_returns_at_once(root, monkeypatch):
    monkeypatch.setattr(synthetic, "_write_video", lambda *_: pytest.fail("wrote a video"))
    synthetic.write_videos(root, **SETTINGS)


def test_manifest_holds_the_settings(root):
    assert json.loads((root / "dataset.json").read_text()) == {
        "generator": "keras_multigrid.data.synthetic",
        "generator_version": synthetic.GENERATOR_VERSION,
        "num_train": 20,
        "num_validation": 10,
        "seed": 3,
    }


def test_changed_settings_are_refused(root):
    before = read_all(root)
    with pytest.raises(ValueError, match=r"'seed': 4.*'seed': 3.*another folder or delete"):
        synthetic.write_videos(root, **{**SETTINGS, "seed": 4})
    assert read_all(root) == before


def test_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match=r"thesis.txt.*another folder or delete"):
        synthetic.write_videos(tmp_path, **SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_interrupted_call_is_continued_and_gives_the_same_files(root, tmp_path, monkeypatch):
    write_video = synthetic._write_video
    written = []

    def interrupt(path, *args):
        if len(written) == 7:
            raise KeyboardInterrupt
        written.append(path)
        write_video(path, *args)

    monkeypatch.setattr(synthetic, "_write_video", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthetic.write_videos(tmp_path, **SETTINGS)
    assert not (tmp_path / "dataset.json").exists()
    with pytest.raises(ValueError, match="another folder or delete"):
        synthetic.write_videos(tmp_path, **{**SETTINGS, "seed": 4})

    monkeypatch.setattr(synthetic, "_write_video", write_video)
    kept = written[0].stat().st_mtime_ns
    synthetic.write_videos(tmp_path, **SETTINGS)
    assert written[0].stat().st_mtime_ns == kept
    # Equal bytes: the encoder too must be deterministic.
    assert read_all(tmp_path) == read_all(root)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset.json", "train", "validation"]


def test_worker_processes_write_the_same_files(tmp_path, capfd):
    settings = {"num_train": 30, "num_validation": 10, "seed": 3}
    synthetic.write_videos(tmp_path / "two", processes=2, **settings)
    assert "40 of 40" in capfd.readouterr().err
    synthetic.write_videos(tmp_path / "one", processes=1, **settings)
    assert read_all(tmp_path / "two") == read_all(tmp_path / "one")


def test_script_without_a_main_guard_gets_an_error_and_ends(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from keras_multigrid.data.synthetic import write_videos\n"
        "write_videos('videos', num_train=40, num_validation=10, processes=2)\n"
    )
    result = run_python(script.name, cwd=tmp_path)
    assert result.returncode == 1
    assert 'put its code under `if __name__ == "__main__":`' in result.stderr


def test_import_brings_neither_tensorflow_nor_keras():
    code = (
        "import sys; import keras_multigrid.data.synthetic; "
        "assert not {'tensorflow', 'keras', 'multiprocessing'} & set(sys.modules)"
    )
    assert run_python("-c", code).returncode == 0


# Bad arguments.


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_train": 15}, r"`num_train` must be a multiple .* num_train=15. Use num_train=10"),
        ({"num_validation": 0}, r"`num_validation` must be an integer of at least 10"),
        ({"num_train": 20.0}, r"`num_train` must be an integer"),
        ({"seed": -1}, r"`seed` must be an integer of at least 0. Received: seed=-1"),
        ({"processes": 0}, r"`processes` must be an integer of at least 1"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        synthetic.write_videos(tmp_path / "videos", **{**SETTINGS, **arguments})
    assert not (tmp_path / "videos").exists()


def test_remote_root_and_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a local folder"):
        synthetic.write_videos("s3://bucket/videos", **SETTINGS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a local folder"):
        synthetic.write_videos(tmp_path / "file", **SETTINGS)


def test_unknown_class_and_negative_seed_are_refused():
    with pytest.raises(ValueError, match=r"must be one of move_left, .*Received: .*'jump'"):
        synthetic.render_video("jump", seed=0)
    with pytest.raises(ValueError, match="`seed` must be an integer of at least 0"):
        synthetic.render_video("grow", seed=(0, -1))
