import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data.clips import draws as random_draws
from keras_multigrid.data.clips import indices as frame_indices
from keras_multigrid.data.clips import sampling
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.draws import BLOCK
from keras_multigrid.data.clips.sampling import ClipSampling

LIBRARIES = pytest.mark.parametrize("xp", [np, tf], ids=["numpy", "tensorflow"])


def integers(xp, *values):
    """The values as int64 scalars of a library."""
    return [xp.constant(v, tf.int64) if xp is tf else np.int64(v) for v in values]


def offsets(xp, num_frames):
    return tf.range(num_frames, dtype=tf.int64) if xp is tf else np.arange(num_frames)


# The frames of a clip.


@LIBRARIES
@pytest.mark.parametrize(
    ("video_frames", "num_frames", "stride", "draw", "expected"),
    [
        # Span 7 of 10 frames: four starts.
        (10, 4, 2, 0, [0, 2, 4, 6]),
        (10, 4, 2, 1, [1, 3, 5, 7]),
        (10, 4, 2, 3, [3, 5, 7, 9]),
        (10, 4, 2, 4, [0, 2, 4, 6]),
        (10, 4, 2, 2_147_483_646, [2, 4, 6, 8]),  # 2**31 - 2 = 4 * 536870911 + 2
        # The span is the video, and one more.
        (7, 4, 2, 5, [0, 2, 4, 6]),
        (6, 4, 2, 5, [0, 2, 4, 5]),
        (3, 4, 2, 5, [0, 2, 2, 2]),
        (1, 4, 2, 5, [0, 0, 0, 0]),
        (5, 3, 1, 2, [2, 3, 4]),
        (20, 3, 8, 3, [3, 11, 19]),
        # One frame: any.
        (10, 1, 2, 9, [9]),
        (10, 1, 2, 10, [0]),
    ],
)
def test_random_indices(xp, video_frames, num_frames, stride, draw, expected):
    video_frames, stride, draw = integers(xp, video_frames, stride, draw)
    steps = offsets(xp, num_frames) * stride
    indices = frame_indices.random_indices(video_frames, steps, reach=steps[-1], draw=draw)
    assert np.asarray(indices).tolist() == expected
    assert np.asarray(indices).dtype == np.int64


@pytest.mark.parametrize(
    ("video_frames", "num_frames", "stride", "expected"),
    [
        (10, 4, 2, [1, 3, 5, 7]),  # three frames over, the smaller half before
        (11, 4, 2, [2, 4, 6, 8]),
        (8, 4, 2, [0, 2, 4, 6]),
        (7, 4, 2, [0, 2, 4, 6]),
        (6, 4, 2, [0, 2, 4, 5]),
        (3, 4, 2, [0, 2, 2, 2]),
        (5, 1, 2, [2]),
    ],
)
def test_a_single_view_is_the_middle(video_frames, num_frames, stride, expected):
    sampled = ClipSampling(stride=stride)
    indices = frame_indices.view_clip_indices(video_frames, num_frames, sampled)
    assert indices.tolist() == expected


@LIBRARIES
@pytest.mark.parametrize(
    ("video_frames", "num_frames"), [(10, 3), (8, 8), (3, 4), (1, 2), (100, 7), (37, 1)]
)
def test_random_segment_indices(xp, video_frames, num_frames):
    """Any frame of each segment, as likely as the others."""
    (frames,) = integers(xp, video_frames)
    edges = [place * video_frames // num_frames for place in range(num_frames + 1)]
    seen = [set() for _ in range(num_frames)]
    for draw in range(0, 2**31 - 1, 2**31 // 400):
        (number,) = integers(xp, draw)
        indices = frame_indices.random_segment_indices(frames, offsets(xp, num_frames), draw=number)
        assert np.asarray(indices).dtype == np.int64
        for place, index in enumerate(np.asarray(indices).tolist()):
            seen[place].add(index)
    for place, indices in enumerate(seen):
        first, end = edges[place : place + 2]
        assert indices == set(range(first, max(end, first + 1)))


def test_segments_are_drawn_independently_and_alike_by_each_library():
    clips = []
    for draw in range(0, 2**31 - 1, 2**31 // 500):
        clips.append(frame_indices.random_segment_indices(80, np.arange(8), draw=np.int64(draw)))
        (frames, number) = integers(tf, 80, draw)
        if draw % 10 == 0:
            indices = frame_indices.random_segment_indices(frames, offsets(tf, 8), draw=number)
            np.testing.assert_array_equal(indices, clips[-1])
    within = np.asarray(clips) - 10 * np.arange(8)
    assert np.abs(within.mean(axis=0) - 4.5).max() < 0.5
    correlations = np.corrcoef(within.T) - np.eye(8)
    assert np.abs(correlations).max() < 0.2


@pytest.mark.parametrize(
    ("video_frames", "num_frames", "number", "count", "expected"),
    [
        (9, 3, 0, 1, [1, 4, 7]),
        (10, 3, 0, 1, [1, 4, 8]),  # segments of 3, 3 and 4 frames
        (8, 8, 0, 1, list(range(8))),
        (3, 4, 0, 1, [0, 0, 1, 2]),
        (16, 2, 0, 2, [2, 10]),
        (16, 2, 1, 2, [6, 14]),
    ],
)
def test_view_of_segments(video_frames, num_frames, number, count, expected):
    sampled = ClipSampling(segments=True)
    indices = frame_indices.view_clip_indices(
        video_frames, num_frames, sampled, number=number, count=count
    )
    assert indices.tolist() == expected


def regions(draws, crop_size, **settings):
    """Scale and region of 112² clips of a 224² baseline, whose short sides are 256 to 320."""
    sampled = ClipSampling(min_scale=256, max_scale=320, **settings)
    draws = tf.constant(draws, tf.int64)
    crops = tf.fill(draws.shape, tf.constant(crop_size, tf.int64))
    found = sampling.choose_region(draws, sampled, crop_size=crops, base_crop_size=224)
    return [part.tolist() for part in np.broadcast_arrays(*found)]


def test_a_kept_view_is_the_baselines_at_every_crop():
    for crop_size in (112, 158, 224):
        scales, shown = regions([0, 1, 64, 65, 2**31 - 2], crop_size)
        # 2**31 - 2 = 33_038_209 * 65 + 61
        assert scales == [256, 257, 320, 256, 317]
        assert set(shown) == {224}


def test_a_published_view_is_of_the_crop():
    # 128 to 320: 193 scales; 2**31 - 2 = 11_126_858 * 193 + 52
    assert regions([0, 192, 193, 2**31 - 2], 112, keep_view=False) == [
        [128, 320, 128, 180],
        [112] * 4,
    ]
    # 181 to 320: 140 scales.
    assert regions([0, 139, 140], 158, keep_view=False) == [[181, 320, 181], [158] * 3]


@pytest.mark.parametrize(
    "keep_view, shortest, uniform, reciprocal",
    [
        (True, 256, 288, 285.6),
        # The mean of 1 / u is log(320 / 128) / (1 / 128 - 1 / 320).
        (False, 128, 224, 195.5),
    ],
)
def test_reciprocal_scales_favour_the_short(keep_view, shortest, uniform, reciprocal):
    draws = np.linspace(0, 2**31 - 2, 5000).astype(np.int64)
    for is_reciprocal, expected in ((False, uniform), (True, reciprocal)):
        scales, _ = regions(draws, 112, keep_view=keep_view, reciprocal_scales=is_reciprocal)
        assert (min(scales), max(scales)) == (shortest, 320)
        assert np.mean(scales) == pytest.approx(expected, abs=3)


def test_a_crop_longer_than_the_short_side_shows_all_of_it():
    sampled = ClipSampling(min_scale=8, max_scale=9)
    draws = tf.constant([0, 1], tf.int64)
    scale, region = sampling.choose_region(draws, sampled, crop_size=draws + 8, base_crop_size=16)
    assert scale.numpy().tolist() == [16, 16]
    assert region == 16


@LIBRARIES
@pytest.mark.parametrize(("video_frames", "middle"), [(10, 5), (9, 4), (2, 1), (1, 0)])
def test_still_indices(xp, video_frames, middle):
    (video_frames,) = integers(xp, video_frames)
    indices = frame_indices.still_indices(video_frames, offsets(xp, 3))
    assert np.asarray(indices).tolist() == [middle] * 3


def durations(draws, *, stride, base_frames, num_frames, xp, keep_span):
    draws, num_frames = (np.asarray(draws), num_frames) if xp is np else (
        tf.constant(draws, tf.int64), tf.constant(num_frames, tf.int64))  # fmt: skip
    sampled = ClipSampling(stride=stride, keep_span=keep_span)
    found = sampling.choose_duration(draws, sampled, num_frames=num_frames, base_frames=base_frames)
    return np.asarray(found).tolist()


@LIBRARIES
@pytest.mark.parametrize(
    ("stride", "base_frames", "num_frames", "expected"),
    [
        (2, 32, 8, [2, 3, 4, 5, 6, 7, 8]),
        (2, 32, 16, [2, 3, 4]),
        (2, 32, 32, [2]),
        (2, 32, 12, [2, 3, 4, 5]),  # 64 / 12 = 5.3
        (8, 4, 2, [8, 9, 10, 11, 12, 13, 14, 15, 16]),
        (1, 8, 2, [1, 2, 3, 4]),
    ],
)
def test_published_strides_are_equally_likely_in_their_range(
    xp, stride, base_frames, num_frames, expected
):
    settings = {"stride": stride, "base_frames": base_frames, "num_frames": num_frames, "xp": xp}
    draws = list(range(2 * len(expected)))
    found = durations(draws, keep_span=False, **settings)
    assert found == [num_frames * stride for stride in expected * 2]
    whole = stride * base_frames
    assert durations(draws, keep_span=True, **settings) == [whole] * len(draws)


def clip_frames(num_frames, duration, *, start, video_frames=300, xp=np, **settings):
    values = dict.fromkeys(Clip._fields, 0)
    values |= {"num_frames": num_frames, "duration": duration, "start": start}
    if xp is tf:
        video_frames = tf.constant(video_frames, tf.int64)
        values = {name: tf.constant(value, tf.int64) for name, value in values.items()}
    clip, sampled = Clip(**values), ClipSampling(**settings)
    indices = np.asarray(frame_indices.training_indices(video_frames, clip, sampled)).tolist()
    assert indices[-1] - indices[0] + 1 == clip.span
    return indices


@LIBRARIES
def test_a_coarse_clip_is_every_so_manyth_frame_of_the_fine_one(xp):
    # 16 frames at stride 2 span 31 of 40 frames: ten starts.
    fine = clip_frames(16, 32, start=27, video_frames=40, xp=xp)
    assert fine == list(range(7, 38, 2))
    for num_frames in (8, 4, 2, 1):
        coarse = clip_frames(num_frames, 32, start=27, video_frames=40, xp=xp)
        assert coarse == fine[:: 16 // num_frames]


@LIBRARIES
def test_a_number_of_frames_that_does_not_divide_the_fine_ones_has_uneven_strides(xp):
    # 3 frames for 8 at stride 2: 16 / 3 = 5.33.
    assert clip_frames(3, 16, start=0, xp=xp) == [0, 5, 10]
    assert clip_frames(6, 8, start=0, stride=1, xp=xp) == [0, 1, 2, 4, 5, 6]


@LIBRARIES
def test_a_published_coarse_clip_starts_wherever_it_fits(xp):
    # 4 frames at stride 3 span 10 of 12 frames: three starts.
    frames = clip_frames(4, 12, start=2, video_frames=12, keep_span=False, xp=xp)
    assert frames == [2, 5, 8, 11]


# The order of the videos.


def order(num_videos, *, seed, epoch=0):
    positions = tf.range(epoch * num_videos, (epoch + 1) * num_videos, dtype=tf.int64)
    return random_draws.video_indices(positions, num_videos, seed).numpy().tolist()


@pytest.mark.parametrize("num_videos", [1, 2, 3, 16, 17, 50])
def test_every_epoch_is_a_permutation(num_videos):
    for seed in (0, 1):
        for epoch in (0, 1, 1000):
            taken = order(num_videos, seed=seed, epoch=epoch)
            assert sorted(taken) == list(range(num_videos))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [order(50, seed=seed, epoch=epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert len({tuple(taken) for taken in orders}) == 9
    assert order(50, seed=1, epoch=1) == order(50, seed=1, epoch=1)
    # Independent: two orders agree in one place on average; 10 or more in 1 of 10 million pairs.
    for number, taken in enumerate(orders):
        for other in orders[:number]:
            assert sum(a == b for a, b in zip(taken, other, strict=True)) < 10


def test_a_position_alone_has_the_video_it_has_among_others():
    positions = tf.range(95, 125, dtype=tf.int64)  # the end of an epoch of 50, and half the next
    together = random_draws.video_indices(positions, 50, 3).numpy()
    alone = [random_draws.video_indices(positions[i : i + 1], 50, 3).numpy()[0] for i in range(30)]
    assert together.tolist() == alone


def test_a_billion_videos_cost_nothing():
    positions = tf.constant([0, 1, 999_999_999, 1_000_000_000], tf.int64)
    taken = random_draws.video_indices(positions, 10**9, 0).numpy().tolist()
    assert len(set(taken)) == 4
    assert all(0 <= index < 10**9 for index in taken)


# The random numbers.


def draws(seed, block):
    return random_draws.draws(seed, tf.constant(block, tf.int64), 6).numpy()


def test_draws_depend_on_seed_and_block_only():
    expected = {(s, p): draws(s, p) for s in (0, 1, 2**40) for p in (0, 1, 10**12)}
    tf.random.set_seed(5)
    for (seed, block), numbers in reversed(expected.items()):
        np.testing.assert_array_equal(draws(seed, block), numbers)
    in_graph = tf.data.Dataset.range(2).map(lambda b: random_draws.draws(1, b, 6))
    for block, numbers in enumerate(in_graph.as_numpy_iterator()):
        np.testing.assert_array_equal(numbers, expected[1, block])
    # Of nine times 1,536 numbers among 2**31, 0.04 pairs are equal on average.
    assert len({int(n) for numbers in expected.values() for n in numbers.flat}) > 9 * 1536 - 3


def test_draws_are_even_and_independent():
    numbers = np.concatenate([draws(0, block) for block in range(4)], axis=1)
    assert numbers.shape == (6, 4 * BLOCK)
    assert numbers.dtype == np.int64
    assert numbers.min() >= 0
    assert numbers.max() < 2**31 - 1
    shares = numbers / 2**31
    # Four standard deviations: 1 / sqrt(12 * 1024) of a mean, 1 / sqrt(1024) of a correlation.
    assert np.abs(shares.mean(axis=1) - 0.5).max() < 0.036
    assert np.abs(np.corrcoef(shares) - np.eye(6)).max() < 0.125
    # The next position's numbers have nothing to do with this one's.
    assert abs(np.corrcoef(shares[0, 1:], shares[0, :-1])[0, 1]) < 0.125
    ones = (numbers % 2).sum(axis=1)
    assert np.all((ones > 448) & (ones < 576))


# The settings.


@pytest.mark.parametrize(
    ("settings", "base_crop_size", "expected"),
    [
        ({}, 224, (256, 320)),
        ({}, 112, (128, 160)),
        ({}, 64, (73, 91)),  # 73.14 and 91.43
        ({"min_scale": 224}, 224, (224, 320)),
        ({"max_scale": 340}, 224, (256, 340)),
        ({"min_scale": 400}, 224, (400, 400)),
        ({"min_scale": 8, "max_scale": 9}, 224, (8, 9)),
    ],
)
def test_scales(settings, base_crop_size, expected):
    assert ClipSampling(**settings).scales(base_crop_size) == expected


@pytest.mark.parametrize("name", ["stride", "min_scale", "max_scale", "std"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive .*{name}={value}"):
        ClipSampling(**{name: value})


def test_scales_must_be_in_order():
    with pytest.raises(ValueError, match="Received: min_scale=320, max_scale=256"):
        ClipSampling(min_scale=320, max_scale=256)
