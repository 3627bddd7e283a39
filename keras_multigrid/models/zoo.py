"""The published networks by name, and a small one."""

import functools
import os

import keras

from keras_multigrid.checks import check_choice
from keras_multigrid.models.c2d import C2D
from keras_multigrid.models.i3d import I3D
from keras_multigrid.models.mvit import MViT
from keras_multigrid.models.slow import Slow
from keras_multigrid.models.slowfast import SlowFast
from keras_multigrid.models.videomae import VideoMAE
from keras_multigrid.models.weights.pretrained import is_tag, load_weights
from keras_multigrid.models.weights.published_files import published_file
from keras_multigrid.models.x3d import X3D

# Names give frames x stride of the (slow) clip that the network was published with, which is for
# the data pipeline: networks take clips of any length.
_R101 = functools.partial(SlowFast, depth=101, fusion_kernel=5)
_MVIT_B = functools.partial(
    MViT,
    pools_all_queries=False,
    residual_pooling=False,
    positions="absolute",
    widens_in="perceptron",
)
_MVIT_DEEP = {"blocks": (2, 3, 16, 3), "base": (32, 224), "drop_path": 0.3}
_MODELS = {
    "c2d_8x8_r50": C2D,
    "c2d_nln_8x8_r50": functools.partial(C2D, non_local=True),
    "i3d_8x8_r50": I3D,
    "i3d_8x8_r101": functools.partial(I3D, depth=101),
    "i3d_nln_8x8_r50": functools.partial(I3D, non_local=True),
    "i3d_nln_8x8_r101": functools.partial(I3D, depth=101, non_local=True),
    # Not published: one block a stage and a quarter of the width, for small data.
    "i3d_small": functools.partial(I3D, blocks=(1, 1, 1, 1), width=16, dropout=0.0),
    "mvit_b_16x4_conv": _MVIT_B,
    "mvit_b_32x3_conv": functools.partial(_MVIT_B, **_MVIT_DEEP, kernel=None),
    "mvitv2_b_32x3": functools.partial(MViT, **_MVIT_DEEP),
    "mvitv2_s_16x4": MViT,
    "slow_4x16_r50": Slow,
    "slow_8x8_r50": Slow,
    "slow_nln_4x16_r50": functools.partial(Slow, non_local=True),
    "slow_nln_8x8_r50": functools.partial(Slow, non_local=True),
    "slowfast_4x16_r50": functools.partial(SlowFast, alpha=8, fusion_kernel=5),
    "slowfast_8x8_r50": SlowFast,
    "slowfast_16x8_r50": SlowFast,
    "slowfast_nln_4x16_r50": functools.partial(SlowFast, alpha=8, fusion_kernel=5, non_local=True),
    "slowfast_nln_8x8_r50": functools.partial(SlowFast, fusion_kernel=5, non_local=True),
    "slowfast_8x8_r101_50_50": functools.partial(_R101, temporal_blocks=(6, 6)),
    "slowfast_8x8_r101_50_101": functools.partial(_R101, temporal_blocks=(6, 23)),
    "slowfast_8x8_r101_101_101": _R101,
    "slowfast_16x8_r101_50_50": functools.partial(_R101, temporal_blocks=(6, 6)),
    "slowfast_nln_16x8_r101_50_50": functools.partial(
        _R101, temporal_blocks=(6, 6), non_local=((), (), (6, 13, 20), ())
    ),
    "videomae_b_16x4": VideoMAE,
    "videomae_s_16x4": functools.partial(VideoMAE, width=384, heads=6),
    "x3d_xs": X3D,
    "x3d_s": X3D,
    "x3d_m": X3D,
    "x3d_l": functools.partial(X3D, depth=5.0),
}


def names() -> tuple[str, ...]:
    """Names that `create` takes."""
    return tuple(_MODELS)


def create(
    name: str,
    classes: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    **overrides,
) -> keras.Model:
    """A published network.

    Args:
        name: one of `names()`, like "slowfast_8x8_r50": architecture, "nln" for non-local blocks,
            frames x stride of the (slow) clip, depth; or, like "x3d_s", architecture and size.
        classes: number of classes; None for that of published weights, otherwise 400.
        weights: None for random ones; a tag of published ones, like "kinetics400"
            (`published_tags(name)`), which are fetched once (`find_weights`); or a path or "hf://"
            address, same as for `load_weights`. A classifier with another number of classes keeps
            its random weights.
        overrides: further arguments of its class, over the published ones.

    Raises:
        ValueError: for a name or a tag that there is not, or weights of another network.
        FileNotFoundError: if there is no such file.
        WeightsUnavailable: if published weights cannot be had.

    Example:

    >>> model = create("slowfast_8x8_r50", classes=174, weights="kinetics400", dropout=0.2)
    """
    check_choice("name", name, _MODELS)
    arguments = {"name": name, "classes": 400, **overrides}
    if weights is not None and is_tag(os.fspath(weights)):
        file = published_file(name, os.fspath(weights))
        arguments["classes"] = file.classes
        arguments.setdefault("classifier_activation", file.classifier_activation)
    if classes is not None:
        arguments["classes"] = classes
    network = _MODELS[name](**arguments)
    if weights is not None:
        load_weights(network, weights)
    return network
