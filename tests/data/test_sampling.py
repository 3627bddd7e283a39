import numpy as np
import pytest
import tensorflow as tf

from keras_multigrid.data import sampling
from keras_multigrid.data.sampling import BLOCK, ClipSampling

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
    indices = sampling.random_indices(
        video_frames, offsets(xp, num_frames), stride=stride, draw=draw, xp=xp
    )
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
    indices = sampling.view_clip_indices(video_frames, num_frames, sampled)
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
        indices = sampling.random_segment_indices(
            frames, offsets(xp, num_frames), draw=number, xp=xp
        )
        assert np.asarray(indices).dtype == np.int64
        for place, index in enumerate(np.asarray(indices).tolist()):
            seen[place].add(index)
    for place, indices in enumerate(seen):
        first, end = edges[place : place + 2]
        assert indices == set(range(first, max(end, first + 1)))


def test_segments_are_drawn_independently_and_alike_by_each_library():
    clips = []
    for draw in range(0, 2**31 - 1, 2**31 // 500):
        clips.append(sampling.random_segment_indices(80, np.arange(8), draw=np.int64(draw)))
        (frames, number) = integers(tf, 80, draw)
        if draw % 10 == 0:
            indices = sampling.random_segment_indices(frames, offsets(tf, 8), draw=number, xp=tf)
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
    indices = sampling.view_clip_indices(
        video_frames, num_frames, sampled, number=number, count=count
    )
    assert indices.tolist() == expected


@pytest.mark.parametrize("reciprocal", [False, True])
def test_scales_lie_between_the_shortest_and_the_longest(reciprocal):
    draws = tf.constant(np.linspace(0, 2**31 - 2, 5000), tf.int64)
    shortest, longest = tf.constant(128, tf.int64), tf.constant(320, tf.int64)
    scales = sampling.choose_scale(
        draws, shortest=shortest, longest=longest, reciprocal=reciprocal
    ).numpy()
    assert (scales.min(), scales.max()) == (128, 320)
    # The mean of 1 / u, u uniform in [1 / 320, 1 / 128], is log(320 / 128) / (1 / 128 - 1 / 320).
    expected = 195.5 if reciprocal else 224
    assert scales.mean() == pytest.approx(expected, abs=3)
    same = sampling.choose_scale(draws, shortest=longest, longest=longest, reciprocal=reciprocal)
    assert set(same.numpy()) == {320}


@LIBRARIES
@pytest.mark.parametrize(("video_frames", "middle"), [(10, 5), (9, 4), (2, 1), (1, 0)])
def test_still_indices(xp, video_frames, middle):
    (video_frames,) = integers(xp, video_frames)
    indices = sampling.still_indices(video_frames, offsets(xp, 3))
    assert np.asarray(indices).tolist() == [middle] * 3


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
def test_strides_are_equally_likely_in_their_range(xp, stride, base_frames, num_frames, expected):
    draws = np.arange(2 * len(expected))
    draws, num_frames = (xp.constant(draws), *integers(xp, num_frames)) if xp is tf else (
        draws, num_frames)  # fmt: skip
    strides = sampling.choose_stride(
        draws, stride=stride, base_frames=base_frames, num_frames=num_frames
    )
    assert np.asarray(strides).tolist() == expected * 2


# The order of the videos.


def order(num_videos, *, seed, epoch=0):
    positions = tf.range(epoch * num_videos, (epoch + 1) * num_videos, dtype=tf.int64)
    return sampling.video_indices(positions, num_videos, seed).numpy().tolist()


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
    together = sampling.video_indices(positions, 50, 3).numpy()
    alone = [sampling.video_indices(positions[i : i + 1], 50, 3).numpy()[0] for i in range(30)]
    assert together.tolist() == alone


def test_a_billion_videos_cost_nothing():
    positions = tf.constant([0, 1, 999_999_999, 1_000_000_000], tf.int64)
    taken = sampling.video_indices(positions, 10**9, 0).numpy().tolist()
    assert len(set(taken)) == 4
    assert all(0 <= index < 10**9 for index in taken)


# The random numbers.


def draws(seed, block):
    return sampling.draws(seed, tf.constant(block, tf.int64), 6).numpy()


def test_draws_depend_on_seed_and_block_only():
    expected = {(s, p): draws(s, p) for s in (0, 1, 2**40) for p in (0, 1, 10**12)}
    tf.random.set_seed(5)
    for (seed, block), numbers in reversed(expected.items()):
        np.testing.assert_array_equal(draws(seed, block), numbers)
    in_graph = tf.data.Dataset.range(2).map(lambda b: sampling.draws(1, b, 6))
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
    with pytest.raises(ValueError, match=f"`{name}` must be positive. Received: {name}={value}"):
        ClipSampling(**{name: value})


def test_scales_must_be_in_order():
    with pytest.raises(ValueError, match="Received: min_scale=320, max_scale=256"):
        ClipSampling(min_scale=320, max_scale=256)
