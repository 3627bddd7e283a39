"""Every experiment: what the documents say, its plan, its network, and three steps of training."""

import collections
import copy
import functools
import json
import math
import pathlib
import re

import checkpoint_files
import formula
import official_sets
import pytest

import gin
from keras_multigrid import models
from keras_multigrid.cli import experiments
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.runs import training
from keras_multigrid.runs.plan import make_plan
from keras_multigrid.runs.settings import Model, Settings

ROOT = pathlib.Path(__file__).parents[1]
NAMES = experiments.names()
# Those of published data sets, by the name of the set.
PUBLISHED = {name: row["data"] for name, row in experiments.table().items()}
TRANSFORMERS = ("mvit", "videomae")
NO_MULTIGRID = "SCHEDULE=@baseline/schedule.MultigridSchedule()"


@pytest.fixture(autouse=True)
def clear_gin():
    yield
    gin.clear_config()


def parse(name, *bindings):
    gin.clear_config()
    experiments.parse([f"gin/{name}.gin"], list(bindings))


def learning_rate(name, *bindings):
    """The learning rate of an experiment, which holds its schedule."""
    parse(name, *bindings)
    return gin.get_configurable(MultigridLearningRate)()


def make_network(**arguments):
    """The network of the experiment that was parsed."""
    settings = gin.get_bindings(Model, resolve_references=False)
    # gin resolves references as it copies them; the others would look for data.
    return copy.deepcopy(settings["model"])(**arguments)


NETWORKS = {}


def whole_network():
    """The network of the experiment that was parsed; of those that are alike, one is made."""
    alike = tuple(map(gin.query_parameter, ("%MODEL_NAME", "models.create.weight_decay")))
    if alike not in NETWORKS:
        NETWORKS[alike] = make_network(classes=7)
    return NETWORKS[alike]


def test_each_recipe_has_its_models():
    assert len(PUBLISHED) == 43
    assert collections.Counter(PUBLISHED.values()) == {
        # Stepwise and cosine of four models, inflated of two, four of X3D, AdamW of three,
        # fine-tuning of two.
        "kinetics": 19,
        "something_something": 8,
        "charades": 8,
        "ucf101": 4,
        "hmdb51": 4,
    }
    assert set(NAMES) - set(PUBLISHED) == {"quickstart", "i3d_weizmann"}


@functools.cache
def plan_totals(config):
    """Networks that take the same clips share a plan."""
    return make_plan(MultigridLearningRate.from_config(json.loads(config)))["totals"]


SMALL = ("CROP_SIZE=64", "DATA_DIR='none'", "NUM_CLIPS=60")


def test_without_boundaries_the_rule_makes_the_schedule():
    schedule = learning_rate("i3d_weizmann", *SMALL, "EPOCHS=60").schedule
    # 450 steps of the baseline, of which 1.5 times the epochs would leave less than 300.
    assert schedule.epoch_factor > 1.5
    assert 295 <= schedule.total_steps <= 305
    assert {grid.crop_size for grid in schedule.grids} == {45, 64}


def test_what_an_experiment_sets_goes_over_the_rule():
    own = ("schedule.MultigridSchedule.min_crop=1", "schedule.MultigridSchedule.epoch_factor=1.0")
    schedule = learning_rate("i3d_weizmann", *SMALL, "EPOCHS=120", *own).schedule
    assert schedule.epoch_factor == 1.0
    assert min(grid.crop_size for grid in schedule.grids) == 32


def test_with_boundaries_the_schedule_is_as_published():
    own = ("EPOCHS=120", "BOUNDARIES=(60, 90)")
    schedule = learning_rate("i3d_weizmann", *SMALL, *own).schedule
    assert schedule.epoch_factor == 1.5
    assert min(grid.crop_size for grid in schedule.grids) == 32


@pytest.mark.parametrize("name", NAMES)
def test_the_documents_say_what_the_plan_does(name):
    words = 2 if re.search("nln|mvit|videomae", name) else 1
    suffix = f"MODEL_{name.split('_', words)[-1]}"
    text = (ROOT / "docs" / "recipes.md").read_text()
    (row,) = [
        line
        for line in text.splitlines()
        if line.endswith(" times) |") and (f"| `{name}` |" in line or f"| `{suffix}` |" in line)
    ]
    steps, baseline, ratio = re.search(r"([\d,]+) \(([\d,]+), ([\d.]+) times\) \|$", row).groups()
    totals = plan_totals(json.dumps(learning_rate(name).get_config()))
    assert steps == f"{totals['steps']:,}"
    assert ratio == f"{totals['step_ratio']:.2f}"
    assert baseline == f"{totals['baseline_steps']:,}"


@pytest.mark.parametrize("name", NAMES)
def test_one_binding_turns_multigrid_off(name):
    schedule = learning_rate(name, NO_MULTIGRID).schedule
    assert schedule.grids == (schedule.base,)
    assert schedule.total_steps == schedule.baseline_steps


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_learning_rate_follows_the_batch(name):
    batch = 64 if PUBLISHED[name] == "kinetics" else 16
    if name.startswith("x3d") and name != "x3d_l_kinetics":
        batch = 128
    batch = 32 if name.endswith("adamw") else batch
    whole, eighth = learning_rate(name), learning_rate(name, f"BATCH_SIZE={batch // 8}")
    assert whole.schedule.base.batch_size == batch
    assert float(whole(0)) == pytest.approx(8 * float(eighth(0)))


def first_and_last_rate(name, *bindings):
    """At the end of the first phase, after the warm-up, and at the end of training."""
    policy = learning_rate(name, *bindings)
    phases = policy.schedule.phases
    return [float(policy(phase.end_step - 1)) for phase in (phases[0], phases[-1])]


@pytest.mark.parametrize(
    "name, rates",
    [
        ("slowfast_kinetics", [0.8, 0.0001]),
        ("i3d_kinetics_inflated", [0.08, 0.0001]),
        ("slowfast_something_something_from_kinetics", [0.24, 0.0003]),
        ("slowfast_charades_from_kinetics", [0.3, 0.000375]),
        ("i3d_ucf101_from_kinetics", [0.08, 0.0001]),
    ],
)
def test_rates_of_the_recipes(name, rates):
    assert first_and_last_rate(name) == pytest.approx(rates)


def test_a_table_row_is_a_file_that_others_can_include(tmp_path):
    own = tmp_path / "own.gin"
    own.write_text("include 'gin/slow_charades.gin'\nBATCH_SIZE = 8\n")
    gin.clear_config()
    experiments.parse([str(own)], [])
    assert gin.query_parameter("%RUN_DIR") == "runs/slow_charades"
    assert gin.get_configurable(MultigridLearningRate)().schedule.base.batch_size == 8


def test_clips_are_counted_unless_their_number_is_set(tmp_path):
    for part, videos in (("train", 500), ("val", 2)):
        lines = [f"{part}{index}.mp4 {index % 2}" for index in range(videos)]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines))
    own = tmp_path / "own.gin"
    own.write_text(
        "from __gin__ import dynamic_registration\n"
        "from keras_multigrid.data import lists\n"
        "include 'gin/i3d_charades.gin'\n"
        "VIDEOS = @mine/lists.path_label_lists()\n"
        f"mine/lists.path_label_lists.train = '{tmp_path}/train.txt'\n"
        f"mine/lists.path_label_lists.validation = '{tmp_path}/val.txt'\n"
        "BATCH_SIZE = 2\n"
    )

    def num_clips(*bindings):
        gin.clear_config()
        experiments.parse([str(own)], [*bindings])
        return gin.get_configurable(MultigridLearningRate)().schedule.num_clips

    assert num_clips() == 500
    assert num_clips("NUM_CLIPS = 700") == 700
    # An epoch has as many clips of each video.
    assert num_clips("clips.ClipSampling.repeats = 2") == 1000
    (tmp_path / "train.txt").unlink()
    # No lists yet: the published number of Charades, or what is set.
    assert num_clips() == 7985
    with pytest.raises(FileNotFoundError, match=r"train\.txt"):
        num_clips("experiments.count_clips.published = None")


def test_a_misspelt_scope_is_named():
    with pytest.raises(ValueError, match="gin scope basline: is it misspelt"):
        parse("i3d_kinetics", NO_MULTIGRID.replace("baseline", "basline"))


def test_half_a_cosine_ends_at_zero():
    name = "i3d_kinetics_cosine"
    assert first_and_last_rate(name)[1] == pytest.approx(0, abs=1e-6)
    assert first_and_last_rate(name, NO_MULTIGRID)[1] == pytest.approx(0, abs=1e-6)
    baseline = learning_rate(name, NO_MULTIGRID)
    # Halfway through 196 epochs, behind the warm-up.
    assert float(baseline(baseline.schedule.total_steps / 2)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(
    "name, clips, rate",
    [
        # frames, stride, crop, scales, test crop
        ("x3d_xs_kinetics", (4, 12, 160, 182, 228, 182), 0.1),
        ("x3d_s_kinetics", (13, 6, 160, 182, 228, 182), 0.1),
        ("x3d_m_kinetics", (16, 5, 224, 256, 320, 256), 0.1),
        ("x3d_l_kinetics", (16, 5, 312, 356, 446, 356), 0.05),
    ],
)
def test_recipes_of_x3d(name, clips, rate):
    baseline = learning_rate(name, NO_MULTIGRID)
    base, sampling = baseline.schedule.base, gin.get_configurable(ClipSampling)()
    test_crop = gin.query_parameter("MultiViewTest.crop_size")
    scales = sampling.min_scale, sampling.max_scale
    assert (base.num_frames, sampling.stride, base.crop_size, *scales, test_crop) == clips
    epochs = 256 if name == "x3d_l_kinetics" else 300
    per_epoch = baseline.schedule.total_steps / epochs
    assert per_epoch == pytest.approx(239_975 / base.batch_size, rel=1e-3)
    # The cosine's length counts the warm-up, which ends on it.
    assert float(baseline(0)) == pytest.approx(0.01)
    end = 0.5 * rate * (1 + math.cos(math.pi * 35 / epochs))
    assert float(baseline(35 * per_epoch)) == pytest.approx(end, rel=1e-3)
    assert float(baseline(17.5 * per_epoch)) == pytest.approx((0.01 + end) / 2, rel=1e-3)
    assert float(baseline(epochs / 2 * per_epoch)) == pytest.approx(rate / 2, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_coarse_clips_show_less_in_published_recipes_alone(name):
    parse(name)
    sampling = gin.get_configurable(ClipSampling)()
    is_ours = PUBLISHED.get(name) in (None, "ucf101", "hmdb51")
    assert sampling.keep_view is sampling.keep_span is is_ours


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_network_takes_every_grid(name):
    grids = learning_rate(name).schedule.grids
    network = whole_network()
    for grid in grids:
        network.check_clip_size(grid.num_frames, grid.crop_size)
    decay = 1e-6 if PUBLISHED[name] == "something_something" else 1e-4
    decay = 5e-5 if name.startswith("x3d") else decay
    # AdamW has its own.
    decay = 0 if name.startswith(TRANSFORMERS) else decay
    assert network.get_config()["weight_decay"] == decay


@pytest.mark.parametrize(
    "name, kind, parameters", [("x3d", models.X3D, 261_012), ("mvit", models.MViT, 999_372)]
)
def test_a_small_network_in_place_of_the_quickstarts(name, kind, parameters):
    gin.clear_config()
    experiments.parse(["gin/quickstart.gin", f"gin/models/{name}_small.gin"], [])
    network = make_network(classes=12)
    assert type(network) is kind
    assert network.parameter_count == parameters
    assert network.get_config()["dropout"] == 0.0


# ---- Three steps ---------------------------------------------------------------------------------

# Networks of one block a stage, and a schedule of three steps over seven videos.
TINY = (
    "BATCH_SIZE=2",
    "EPOCHS=3",
    "CROP_SIZE=36",
    "schedule.MultigridSchedule.round_to_epochs=False",
    "learning_rate.MultigridLearningRate.warmup_epochs=1",
    "clips.ClipSampling.min_scale=40",
    "clips.ClipSampling.max_scale=44",
    "models.create.blocks=(1, 1, 1, 1)",
    "models.create.width=8",
    "runs.Logging.validations=1",
    # Another function to trace, which tests/callbacks/test_batch_statistics.py has.
    "runs.Optimization.precise_batches=0",
)


@pytest.fixture(scope="session")
def data_bindings(tmp_path_factory):
    return functools.cache(lambda data: getattr(official_sets, data)(tmp_path_factory.mktemp(data)))


def tiny_bindings(name, data_bindings, folder):
    bindings = [*TINY, *data_bindings(PUBLISHED[name]), f"RUN_DIR='{folder}/run'"]
    is_cosine = name.endswith("cosine") or name.startswith(("x3d", *TRANSFORMERS))
    bindings.append(f"BOUNDARIES={() if is_cosine else (2,)}")
    # The rule would give so few clips the length of the baseline.
    own = ("epoch_factor=1.5", "min_crop=1", "min_frames=2")
    bindings += [f"schedule.MultigridSchedule.{setting}" for setting in own]
    if name.startswith("videomae"):
        bindings.append("models.create.heads=2")
    if name.startswith(TRANSFORMERS):
        # Two clips of each video, and pairs of them; patches of 4 pixels and more.
        bindings += ["BATCH_SIZE=4", "CROP_SIZE=64", "NUM_FRAMES=8", "WARMUP_EPOCHS=1"]
        bindings += ["clips.ClipSampling.min_scale=70", "clips.ClipSampling.max_scale=80"]
    if "nln" in name:
        bindings.append("models.create.non_local=((), (0,), (), ())")
    if name.startswith("slowfast"):
        bindings.append("NUM_FRAMES=16")
    if name.endswith(("from_kinetics", "inflated", "fine_tuning")):
        bindings.append(f"INITIAL_WEIGHTS='{write_weights(name, bindings, folder)}'")
    return bindings


def write_weights(name, bindings, folder):
    """A checkpoint as published: of Caffe2, of a network for pictures, or one that fills in."""
    parse(name, *bindings)
    arrays = formula.arrays(models.published_shapes(make_network(classes=400)))
    if name.startswith("videomae"):
        encoder = {f"encoder.{key}": arrays[key] for key in arrays if key[:2] not in ("he", "fc")}
        checkpoint_files.write_pytorch(str(folder / "masked.pth"), encoder, where="model")
        return folder / "masked.pth"
    if name.endswith("from_kinetics"):
        checkpoint_files.write_caffe2(str(folder / "kinetics.pkl"), arrays)
        return folder / "kinetics.pkl"
    arrays = {
        key: array[:, :, 0] if array.ndim == 5 else array
        for key, array in arrays.items()
        if "nonlocal" not in key
    }
    checkpoint_files.write_pytorch(str(folder / "pictures.pyth"), arrays)
    return folder / "pictures.pyth"


# A network with weights and several classes a video; each kind of network and of weights by
# `make test-slow`, all the others by `make test-every`.
TRAINED = ("i3d_nln_charades_from_kinetics",)
TRAINED_SLOWLY = (
    "slowfast_something_something",
    "x3d_s_kinetics",
    "i3d_nln_kinetics_inflated",
    "mvit_b_kinetics_adamw",
    "videomae_s_kinetics_fine_tuning",
)


def trained(name):
    mark = pytest.mark.slow if name in TRAINED_SLOWLY else pytest.mark.every
    return name if name in TRAINED else pytest.param(name, marks=mark)


@pytest.mark.parametrize("name", [trained(name) for name in PUBLISHED])
@pytest.mark.filterwarnings("ignore:The classifier of")
def test_three_steps(name, data_bindings, tmp_path):
    parse(name, *tiny_bindings(name, data_bindings, tmp_path))
    report = training.train(gin.get_configurable(Settings)())
    assert report.steps == 3
    assert not report.bad_videos
    assert 0 < report.metrics["loss"] < 100
