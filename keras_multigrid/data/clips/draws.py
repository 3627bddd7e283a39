"""The random numbers of clips, and the order of the videos.

They come from (seed, position) alone: any worker can draw them, in any order.
"""

import tensorflow as tf

# Positions whose random numbers are drawn at once. Another number gives other clips.
BLOCK = 256


def draws(seed: int, block: tf.Tensor, count: int) -> tf.Tensor:
    """Random numbers of the positions BLOCK * block, ..., BLOCK * (block + 1) - 1.

    They are int64 (count, BLOCK) in [0, 2**31 - 1).
    """
    numbers = tf.random.stateless_uniform(
        (count, BLOCK),
        seed=tf.stack([tf.constant(seed, tf.int64), block]),
        maxval=2**31 - 1,
        dtype=tf.int32,
        # The same numbers on every device.
        alg="philox",
    )
    return tf.cast(numbers, tf.int64)


def draws_at(seed: int, positions: tf.Tensor, count: int) -> tf.Tensor:
    """Random numbers of any int64 (n,) positions: int64 (count, n), as `draws` gives them."""
    blocks, place = tf.unique(positions // BLOCK)
    # Positions are runs of neighbours: few blocks.
    numbers = tf.map_fn(lambda block: draws(seed, block, count), blocks)
    numbers = tf.reshape(tf.transpose(numbers, (1, 0, 2)), (count, -1))
    return tf.gather(numbers, tf.cast(place, tf.int64) * BLOCK + positions % BLOCK, axis=1)


def uniform_at(seed: int, positions: tf.Tensor, count: int) -> tf.Tensor:
    """`count` random numbers of each of int64 (n,) positions: float32 (n, count) in [0, 1).

    They are independent of those of `draws_at`.
    """
    numbers = draws_at(seed + 2**32, positions, count)
    # 23 bits, all of which a float32 has.
    return tf.transpose(tf.cast(numbers // 2**8, tf.float32)) / 2**23


def video_indices(positions: tf.Tensor, num_videos: int, seed: int) -> tf.Tensor:
    """The videos that the clips at int64 `positions` (n,) come from: int64 (n,).

    Each epoch, `num_videos` positions, takes every video once in an order of its own.
    """
    epochs = positions // num_videos
    # Shuffle indices, not clips: a buffer of clips would not fit, and would be state. The large
    # first number is the one that tf.random.experimental.index_shuffle adds: small numbers alone
    # give similar orders.
    return shuffled(positions % num_videos, num_videos, (498_247_692, seed, epochs))


def shuffled(indices: tf.Tensor, counts, seeds) -> tf.Tensor:
    """Where indices go when each of 0, 1, ..., counts - 1 takes the place of another.

    Args:
        indices: int64 (n,), each below its count.
        counts: an integer, or int64 (n,).
        seeds: three numbers that name the order: integers, or int64 (n,). Their last 32 bits count.

    Returns:
        int64 (n,).
    """
    seeds = [tf.broadcast_to(tf.cast(seed, tf.int64), tf.shape(indices)) for seed in seeds]
    # The raw operation, as tf.random.experimental.index_shuffle mistakes the axis of several seeds.
    return tf.raw_ops.RandomIndexShuffle(
        index=indices,
        seed=tf.stack(seeds, axis=1),
        max_index=tf.cast(counts, tf.int64) - 1,
        rounds=4,
    )
