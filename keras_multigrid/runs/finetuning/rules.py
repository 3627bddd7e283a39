"""The rules of the choices: from facts, the machine and what is chosen so far to a value and why.

They rest on trainings of small networks on small sets (docs/guide.md) and on the recipes of
published networks; where they guess, the reason says so.
"""

import re
from collections.abc import Mapping

from keras_multigrid.runs.finetuning.facts import SetFacts
from keras_multigrid.runs.finetuning.machine import Machine

SMALL = "i3d_small"
PUBLISHED = "slowfast_8x8_r50"
# Frames and stride that published networks were trained with, at about 30 frames a second.
_CLIPS = {
    "slowfast_16x8": (64, 2),
    "slowfast_nln_16x8": (64, 2),
    "slowfast": (32, 2),
    "x3d_xs": (4, 12),
    "x3d_s": (13, 6),
    "x3d_m": (16, 5),
    "x3d_l": (16, 5),
    "mvitv2_b_32x3": (32, 3),
    "mvit_b_32x3": (32, 3),
    "mvit": (16, 4),
    "videomae": (16, 4),
}
_FRAMES_A_SECOND = 30
# Seconds that a clip covers, where its network sets no stride.
_CLIP_SECONDS = 2.0
# Crops of the small network: the largest whose training ends in time is taken.
CROPS = (112, 96, 80, 64)
# Baseline's steps of a training from scratch, as that of the Weizmann actions had, and of one that
# begins with trained weights; and the fewest of either, and the fewest epochs.
_STEPS = {"scratch": 1500, "weights": 500}
LEAST_STEPS = 300
_LEAST_EPOCHS = 10
# Training videos from which on a large network may learn from nothing.
MANY_VIDEOS = 5000
# Of the memory, what decoded videos may take; and the disk that small copies may take, as JPEGs of
# about a twelfth of the size.
_MEMORY_SHARE = 0.25
_MOST_COPIED = 20 * 2**30
_COMPRESSION = 12
# Times as many videos in the largest class as in the smallest.
_UNBALANCED = 3
_SIDES = re.compile(r"(?:^|[^a-z])(left|right|(?:counter|anti)?clockwise)(?:$|[^a-z])")


def _num_frames(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[int, str]:
    wanted, what = 16, "as the small networks of docs/guide.md have"
    if chosen["model"] != SMALL:
        wanted, what = _published_clip(chosen["model"])[0], "as the network was published"
    if facts.frames >= wanted:
        return wanted, what
    frames = wanted
    while frames > max(facts.frames, 4):
        frames //= 2
    return frames, f"a tenth of the videos have fewer than {facts.frames + 1}"


def _stride(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[int, str]:
    frames, rate = chosen["num_frames"], facts.rate or _FRAMES_A_SECOND
    if chosen["model"] == SMALL:
        seconds = _CLIP_SECONDS
    else:
        published_frames, published = _published_clip(chosen["model"])
        seconds = published_frames * published / _FRAMES_A_SECOND
    longest = min(facts.frames, seconds * rate)
    stride = max(1, int(longest / frames + 1e-9))
    return stride, (
        f"{frames} frames cover {frames * stride / rate:.1f} seconds at {rate:.4g} a second; short "
        f"videos have {facts.frames} frames"
    )


def _crop_size(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[int, str]:
    if chosen["model"] == SMALL:
        fitting = [crop for crop in CROPS if crop <= facts.short_side] or [CROPS[-1]]
        return fitting[0], f"small videos have a short side of {facts.short_side} pixels"
    if facts.short_side >= 200 and machine.gpus:
        return 224, "as the network was published"
    crop = 160 if facts.short_side >= 144 and machine.gpus else 112
    why = f"small videos have a short side of {facts.short_side} pixels"
    return crop, why if machine.gpus else "a quarter of the published size, as there is no GPU"


def _batch_size(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[int, str]:
    if chosen["model"] == SMALL or not machine.gpus:
        return 8, "for sets of hundreds of videos: larger ones leave few steps"
    if machine.gpu_bytes is None:
        return 8, "the memory of the GPU is not known"
    each = 16 if machine.gpu_bytes >= 30 * 2**30 else 8 if machine.gpu_bytes >= 14 * 2**30 else 4
    return each * machine.gpus, f"{each} for each GPU of {machine.gpu_bytes / 2**30:.0f} GiB"


def _flip(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[bool, str]:
    sided = [name for name in facts.class_names if _SIDES.search(name.lower().replace("_", " "))]
    if sided:
        return False, f"the class {sided[0]!r} tells left from right"
    return True, "half of the clips are mirrored: no class's name tells left from right"


def _subtract(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[bool, str]:
    if chosen["initial_weights"] is not None:
        return False, "trained weights expect plain colours"
    if facts.is_still and facts.num_train < MANY_VIDEOS:
        return True, "the camera stands still, and what moves is what there is to learn"
    return False, "the camera moves" if not facts.is_still else "there are many videos"


def _epochs(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[int, str]:
    steps = _STEPS["scratch" if chosen["initial_weights"] is None else "weights"]
    epochs = max(_LEAST_EPOCHS, -(-steps * chosen["batch_size"] // facts.num_train))
    steps = epochs * facts.num_train / chosen["batch_size"]
    return epochs, f"{steps:,.0f} steps of the baseline, of {facts.num_train:,} videos"


def _learning_rate(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[float, str]:
    batch = chosen["batch_size"]
    if chosen["initial_weights"] is None:
        return round(0.1 * batch / 8, 6), "from scratch, 0.1 for 8 clips, along half a cosine"
    return round(0.01 * batch / 16, 6), "for trained weights, 0.01 for 16 clips"


def _copies(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[bool, str]:
    size = f"decoded videos take {_gib(facts.decoded_bytes)}"
    if _fits(facts.decoded_bytes, machine):
        return False, f"{size} of memory: they fit as they are"
    copied = _copied_bytes(facts, chosen) / _COMPRESSION
    if copied > _MOST_COPIED:
        return False, f"copies would take {_gib(copied)} of the disk"
    side = copy_side(chosen["crop_size"])
    return True, (
        f"{size}, too much for the memory: copies with a short side of {side} pixels are written "
        f"once, about {_gib(copied)}"
    )


def _keep_decoded(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[bool, str]:
    what, size = "decoded videos", facts.decoded_bytes
    if chosen["copies"]:
        what, size = "decoded copies", _copied_bytes(facts, chosen)
    if _fits(size, machine):
        return True, f"{what} take {_gib(size)}: they stay in memory"
    return False, f"{what} take {_gib(size)}, more than a quarter of the memory"


def copy_side(crop_size: int) -> int:
    """Short side of the copies: the longest that clips are scaled to, see `ClipSampling`."""
    return round(crop_size * 320 / 224)


def _copied_bytes(facts: SetFacts, chosen: Mapping) -> float:
    share = min(1.0, copy_side(chosen["crop_size"]) / facts.short_side)
    return facts.decoded_bytes * share**2


def _fits(size: float, machine: Machine) -> bool:
    return size <= _MEMORY_SHARE * machine.memory_bytes


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _balance(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[str | None, str]:
    times = f"the largest class has {facts.imbalance:.1f} times the videos of the smallest"
    if facts.imbalance < _UNBALANCED:
        return None, times
    return "inverse_square_root", f"{times}: rare classes are drawn more often"


def _dtype(facts: SetFacts, machine: Machine, chosen: Mapping) -> tuple[str | None, str]:
    if machine.gpus and chosen["model"] != SMALL:
        return "mixed_bfloat16", "twice as fast on recent GPUs"
    return "float32", "half precision gains nothing here"


# In the order in which they are asked: later ones see what earlier ones chose.
RULES = {
    "num_frames": _num_frames,
    "stride": _stride,
    "crop_size": _crop_size,
    "batch_size": _batch_size,
    "flip": _flip,
    "subtract_clip_mean": _subtract,
    "epochs": _epochs,
    "learning_rate": _learning_rate,
    "copies": _copies,
    "keep_decoded": _keep_decoded,
    "balance": _balance,
    "dtype_policy": _dtype,
}
# What to type for a value, and two of them: the first that is another one is shown.
CHANGES = {
    "model": ("model=", PUBLISHED, SMALL),
    "num_frames": ("num_frames=", "16", "8"),
    "stride": ("stride=", "2", "4"),
    "crop_size": ("crop_size=", "112", "64"),
    "batch_size": ("batch_size=", "8", "16"),
    "flip": ("flip=", "true", "false"),
    "subtract_clip_mean": ("--still_camera=", "true", "false"),
    "epochs": ("--minutes=60, or epochs=", "20", "40"),
    "learning_rate": ("learning_rate=", "0.02", "0.05"),
    "copies": ("--copies=", "true", "false"),
    "keep_decoded": ("--keep_decoded=", "true", "false"),
    "balance": ("--balance=", "inverse", "none"),
    "dtype_policy": ("dtype_policy=", "mixed_bfloat16", "float32"),
}


def _published_clip(model: str) -> tuple[int, int]:
    """Frames and stride of a published network."""
    found = next((clip for name, clip in _CLIPS.items() if model.startswith(name)), None)
    if found is not None:
        return found
    match = re.search(r"_(\d+)x(\d+)_", model)
    return (int(match[1]), int(match[2])) if match else (16, 4)
