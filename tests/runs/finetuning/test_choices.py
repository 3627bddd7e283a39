import dataclasses

import pytest

from keras_multigrid.runs.finetuning.choices import choose, in_time, wanted_model
from keras_multigrid.runs.finetuning.facts import SetFacts
from keras_multigrid.runs.finetuning.machine import Machine

GIB = 2**30
LAPTOP = Machine(cores=2, memory_bytes=16 * GIB)
SERVER = Machine(cores=16, memory_bytes=128 * GIB, gpus=1, gpu_bytes=140 * GIB)
# The Weizmann actions, less two actors.
WEIZMANN = SetFacts(
    num_train=70,
    class_names=("run", "walk"),
    frames=39,
    short_side=144,
    rate=25.0,
    is_still=True,
    decoded_bytes=455_284_800,
    imbalance=1.0,
)
PHONE = SetFacts(
    num_train=32,
    class_names=("move_left", "move_up"),
    frames=120,
    short_side=1080,
    rate=30.0,
    is_still=False,
    decoded_bytes=40 * GIB,
    imbalance=4.0,
)


def small(facts=WEIZMANN, machine=LAPTOP, **given):
    return choose(facts, machine, model="i3d_small", why_model="it is small", given=given)


def values(choice, *names):
    return tuple(getattr(choice, name) for name in names)


def why(choice, name):
    (reason,) = [reason for reason in choice.reasons if reason.name == name]
    return reason.why


def test_a_network_that_fits_the_machine():
    assert wanted_model(LAPTOP, 70, has_weights=False)[0] == "i3d_small"
    assert wanted_model(SERVER, 70, has_weights=False)[0] == "i3d_small"
    assert wanted_model(SERVER, 70, has_weights=True)[0] == "slowfast_8x8_r50"
    assert wanted_model(SERVER, 5000, has_weights=False)[0] == "slowfast_8x8_r50"


def test_few_videos_on_a_laptop():
    choice = small()
    assert values(choice, "batch_size", "num_frames", "crop_size") == (8, 16, 112)
    # 39 frames hold 16 at stride 2, and the camera stands still.
    assert values(choice, "stride", "flip", "subtract_clip_mean") == (2, True, True)
    # 172 * 70 / 8 = 1,505 steps.
    assert values(choice, "epochs", "learning_rate", "keep_decoded") == (172, 0.1, True)
    assert values(choice, "balance", "dtype_policy") == (None, "float32")
    assert why(choice, "epochs") == "1,505 steps of the baseline, of 70 videos"
    assert why(choice, "stride").startswith("16 frames cover 1.3 seconds at 25 a second")


def test_videos_of_phones():
    choice = small(PHONE)
    # Two seconds of 30 frames: 60 // 16.
    assert values(choice, "num_frames", "crop_size", "stride") == (16, 112, 3)
    assert values(choice, "flip", "subtract_clip_mean") == (False, False)
    # 160 of 1080 pixels a side: 0.88 GiB in memory, a twelfth of it on the disk.
    assert values(choice, "copies", "keep_decoded") == (True, True)
    assert why(choice, "copies").endswith("of 160 pixels are written once, about 0.1 GiB")
    assert why(choice, "keep_decoded") == "decoded copies take 0.9 GiB: they stay in memory"
    assert choice.balance == "inverse_square_root"
    assert why(choice, "flip") == "the class 'move_left' tells left from right"


@pytest.mark.parametrize(
    "name, flip",
    [
        ("turn_left", False),
        ("Right-turn", False),
        ("clockwise", False),
        ("cleft", True),
        ("bright", True),
    ],
)
def test_classes_that_tell_left_from_right(name, flip):
    facts = dataclasses.replace(WEIZMANN, class_names=("run", name))
    assert small(facts).flip is flip


def test_short_and_small_videos():
    facts = dataclasses.replace(WEIZMANN, frames=7, short_side=60, rate=None)
    assert values(small(facts), "num_frames", "stride", "crop_size") == (4, 1, 64)
    facts = dataclasses.replace(WEIZMANN, frames=15, short_side=100)
    assert values(small(facts), "num_frames", "stride", "crop_size") == (8, 1, 96)


def test_a_published_network_with_weights():
    choice = choose(
        dataclasses.replace(PHONE, num_train=800),
        SERVER,
        model="slowfast_8x8_r50",
        why_model="there are weights",
        initial_weights="SLOWFAST_8x8_R50.pkl",
    )
    assert values(choice, "batch_size", "num_frames", "crop_size", "stride") == (16, 32, 224, 2)
    # 10 epochs of 800 videos are the 500 steps of 16 clips.
    assert values(choice, "epochs", "learning_rate") == (10, 0.01)
    assert values(choice, "subtract_clip_mean", "dtype_policy") == (False, "mixed_bfloat16")
    # Of 60 frames a second every fourth is as far apart.
    fast = dataclasses.replace(PHONE, rate=60.0, frames=200)
    assert choose(fast, SERVER, model="slowfast_8x8_r50", why_model="").stride == 4


@pytest.mark.parametrize(
    "model, clip",
    [
        ("i3d_8x8_r50", (8, 8)),
        ("slow_4x16_r50", (4, 16)),
        ("slowfast_16x8_r50", (64, 2)),
        ("slowfast_nln_4x16_r50", (32, 2)),
        ("x3d_m", (16, 5)),
        ("mvitv2_s_16x4", (16, 4)),
        ("mvitv2_b_32x3", (32, 3)),
        ("videomae_b_16x4", (16, 4)),
    ],
)
def test_clips_of_published_networks(model, clip):
    facts = dataclasses.replace(PHONE, frames=300)
    choice = choose(facts, SERVER, model=model, why_model="as given")
    assert values(choice, "num_frames", "stride") == clip


@pytest.mark.parametrize("gib, batch_size", [(80, 16), (16, 8), (8, 4)])
def test_batches_that_fit_the_gpu(gib, batch_size):
    machine = dataclasses.replace(SERVER, gpu_bytes=gib * GIB)
    choose_on = choose(PHONE, machine, model="slowfast_8x8_r50", why_model="")
    assert choose_on.batch_size == batch_size
    two = dataclasses.replace(machine, gpus=2)
    assert choose(PHONE, two, model="slowfast_8x8_r50", why_model="").batch_size == 2 * batch_size


def test_what_is_given_stays_and_decides_on():
    choice = small(batch_size=4, epochs=3, subtract_clip_mean=False)
    assert values(choice, "batch_size", "epochs", "learning_rate") == (4, 3, 0.05)
    assert why(choice, "epochs") == "as given"
    assert not choice.subtract_clip_mean


def test_sets_that_are_too_large_to_copy():
    choice = small(dataclasses.replace(PHONE, decoded_bytes=40_000 * GIB))
    assert values(choice, "copies", "keep_decoded") == (False, False)
    assert why(choice, "copies") == "copies would take 73.2 GiB of the disk"


def test_every_choice_says_what_changes_it():
    for reason in small().reasons:
        assert reason.why and reason.change
        # Another value than the one it has.
        assert not reason.change.endswith(f"={reason.value}")
    usual = small(
        num_frames=16, stride=2, crop_size=112, batch_size=8, epochs=20, balance="inverse"
    )
    assert not [reason.name for reason in usual.reasons if reason.value in reason.change]
    assert [reason.value for reason in small().reasons][:2] == ["i3d_small", "16"]


def test_a_training_that_ends_in_time():
    choice = small()
    shorter = dict(num_train=70, given={})
    assert in_time(choice, 600, 10, **shorter) is choice
    # (96 / 112)² * 800 = 588 seconds.
    fitted = in_time(choice, 800, 10, **shorter)
    assert values(fitted, "crop_size", "epochs") == (96, 172)
    assert why(fitted, "crop_size").endswith("training is expected to end in 10 min")
    # The smallest, and no other crop that is given.
    smallest = in_time(choice, 8000, 10, **shorter)
    assert (smallest.crop_size, why(smallest, "crop_size")) == (
        64,
        "the smallest, as time is short",
    )
    fixed = in_time(choice, 1200, 10, num_train=70, given={"crop_size": 112})
    assert values(fixed, "crop_size", "epochs") == (112, 86)
    both = {"crop_size": 112, "epochs": 172}
    assert in_time(choice, 1200, 10, num_train=70, given=both) is choice
    # 35 epochs are 300 steps.
    least = in_time(choice, 9000, 1, num_train=70, given={"crop_size": 112})
    assert least.epochs == 35
    assert "too few to learn from" in why(least, "epochs")
    assert in_time(least, 9000, 1, num_train=70, given={"crop_size": 112}) is least


def test_machines_in_words():
    assert str(LAPTOP) == "2 cores, 16 GiB of memory, no GPU"
    assert str(dataclasses.replace(LAPTOP, cores=1)).startswith("1 core, ")
    assert str(SERVER) == "16 cores, 128 GiB of memory, 1 GPU of 140 GiB"
