"""SlowFast: a wide pathway over few frames and a narrow one over all."""

from collections.abc import Collection, Sequence

import keras
from keras import ops

from keras_multigrid.models import resnet3d
from keras_multigrid.models.single_pathway import check_non_local, repeated, smallest_crop
from keras_multigrid.models.video_model import VideoModel, check_blocks

# Temporal kernels of the stages, of the slow and of the fast pathway.
_SLOW, _FAST = (1, 1, 3, 3), (3, 3, 3, 3)


@keras.saving.register_keras_serializable(package="keras_multigrid")
class SlowFast(VideoModel):
    """SlowFast: one clip in; the slow pathway sees every `alpha`-th frame of it, the fast one all.

    Feichtenhofer, Fan, Malik and He, "SlowFast Networks for Video Recognition", ICCV 2019. The slow
    pathway's frames are spread evenly from the first to the last. For clips of a multiple of
    `alpha` frames.

    Args:
        include_top: whether to end in a classifier; without it the output is the pooled features of
            both pathways.
        weights: None for random ones, or the path of a `.weights.h5` file.
        input_shape: (frames, height, width, 3); None for sizes that change, as multigrid's do.
        classes: number of classes.
        classifier_activation: of the classifier: "softmax", "sigmoid" (several labels), None.
        name: of the model.
        depth: 50 or 101, which sets `blocks`.
        blocks: number of blocks in each of the four stages, instead of `depth`'s.
        width: channels of the slow stem; the fast pathway has `1 / beta` of the slow one's.
        alpha: frames of the fast pathway for each of the slow one.
        beta: how many times fewer channels the fast pathway has.
        fusion_kernel: temporal kernel of the lateral connections.
        temporal_blocks: blocks of stage 4, on the slow and the fast pathway, that look along time;
            None for all. Published networks of depth 101 have (6, 6), (6, 23) and (23, 23).
        non_local: numbers of the blocks of each stage that a non-local block follows on the slow
            pathway, or True for the published ones, ((), (1, 3), (1, 3, 5), ()).
        dropout: share of the pooled features that is dropped in training.
        weight_decay: of convolutions and classifier; normalization parameters have none.
        dtype: policy of all layers, like "mixed_bfloat16"; None for the global one.

    Input: (batch, frames, height, width, 3). Output: (batch, classes).

    Raises:
        ValueError: for a depth, blocks or a width that make no model.

    Example:

    >>> SlowFast(classes=10)(keras.ops.zeros((2, 32, 224, 224, 3))).shape
    (2, 10)
    """

    def __init__(
        self,
        include_top: bool = True,
        weights: str | None = None,
        input_shape: Sequence[int | None] = (None, None, None, 3),
        classes: int = 400,
        classifier_activation: str | None = "softmax",
        name: str | None = None,
        *,
        depth: int = 50,
        blocks: Sequence[int] | None = None,
        width: int = 64,
        alpha: int = 4,
        beta: int = 8,
        fusion_kernel: int = 7,
        temporal_blocks: tuple[int, int] | None = None,
        non_local: bool | Sequence[Collection[int]] = False,
        dropout: float = 0.5,
        weight_decay: float = 1e-4,
        dtype=None,
    ):
        blocks = check_blocks(depth, blocks)
        locations = check_non_local(non_local, blocks)
        if temporal_blocks is None:
            temporal_blocks = (blocks[2], blocks[2])
        if width % beta:
            raise ValueError(
                "`width` must be a multiple of `beta`, so that the fast pathway has whole "
                f"channels. Received: width={width}, beta={beta}."
            )

        def kernels(stage, pathway):
            kernel = (_SLOW, _FAST)[pathway][stage]
            temporal = temporal_blocks[pathway] if stage == 2 else blocks[stage]
            return repeated((kernel,), temporal) + repeated((1,), blocks[stage] - temporal)

        def join(slow, fast, stage):
            name = f"s{stage}_fuse"
            connection = resnet3d.lateral(
                fast, kernel=fusion_kernel, alpha=alpha, weight_decay=weight_decay, name=name
            )
            return keras.layers.Concatenate(name=f"{name}-concat")([slow, connection])

        def pathways(clips):
            slow = EvenlySpacedFrames(alpha, name="slow_frames")(clips)
            slow = resnet3d.stem(
                slow,
                width=width,
                temporal_kernel=1,
                weight_decay=weight_decay,
                name="s1-pathway0",
            )
            fast = resnet3d.stem(
                clips,
                width=width // beta,
                temporal_kernel=5,
                weight_decay=weight_decay,
                name="s1-pathway1",
            )
            for index in range(len(blocks)):
                slow = join(slow, fast, index + 1)
                shared = {
                    "stride": 1 if index == 0 else 2,
                    "weight_decay": weight_decay,
                }
                slow = resnet3d.stage(
                    slow,
                    inner=width * 2**index,
                    temporal_kernels=kernels(index, 0),
                    non_local_after=locations[index],
                    attention="dot_product",
                    name=f"s{index + 2}-pathway0",
                    **shared,
                )
                fast = resnet3d.stage(
                    fast,
                    inner=width // beta * 2**index,
                    temporal_kernels=kernels(index, 1),
                    name=f"s{index + 2}-pathway1",
                    **shared,
                )
            return [slow, fast]

        config = {
            "include_top": include_top,
            "input_shape": tuple(input_shape),
            "classes": classes,
            "classifier_activation": classifier_activation,
            "blocks": tuple(blocks),
            "width": width,
            "alpha": alpha,
            "beta": beta,
            "fusion_kernel": fusion_kernel,
            "temporal_blocks": tuple(temporal_blocks),
            "non_local": tuple(tuple(places) for places in locations),
            "dropout": dropout,
            "weight_decay": weight_decay,
        }
        super().__init__(pathways, config, weights=weights, dtype=dtype, name=name)
        self.min_frames = self.frame_multiple = alpha
        self.min_crop_size = smallest_crop(locations)


@keras.saving.register_keras_serializable(package="keras_multigrid")
class EvenlySpacedFrames(keras.layers.Layer):
    """One of every `every` frames, spread evenly from the first to the last.

        32 frames, every 4:   0 4 8 13 17 22 26 31

    Input: (batch, frames, height, width, channels). Output: the same with `frames // every`.
    """

    def __init__(self, every: int, **kwargs):
        super().__init__(**kwargs)
        self.every = every

    def build(self, input_shape):
        pass

    def call(self, clips):
        frames = ops.shape(clips)[1]
        count = frames // self.every
        # Sizes may be known at run time alone, and `count` be 1.
        steps = ops.maximum(count - 1, 1)
        return ops.take(clips, ops.arange(count) * (frames - 1) // steps, axis=1)

    def compute_output_shape(self, input_shape):
        batch, frames, *rest = input_shape
        return (batch, None if frames is None else frames // self.every, *rest)

    def get_config(self):
        return {**super().get_config(), "every": self.every}
