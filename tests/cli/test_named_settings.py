"""NAME=VALUE on the command line: values, errors, and where they go in gin."""

import copy

import pytest
from absl import app

import gin
from keras_multigrid import models, optimizers
from keras_multigrid.cli import experiments, named_settings, probe


@pytest.fixture(autouse=True)
def clear_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def set_over(experiment, *arguments, bindings=()):
    given = named_settings.parse(arguments)
    experiments.parse([experiment], list(bindings), given)


def resolved(name):
    # gin resolves references as it copies them.
    return copy.deepcopy(gin.query_parameter(name))


# Setting -> what is typed, where the quickstart has it in gin, and its value there.
QUICKSTART = {
    "run_dir": ("runs/a b", "%RUN_DIR", "runs/a b"),
    "data_dir": ("/data/motion", "%DATA_DIR", "/data/motion"),
    "seed": ("3", "runs.Settings.seed", 3),
    "workers": ("2", "runs.Data.workers", 2),
    "model": ("c2d_8x8_r50", "models.create.name", "c2d_8x8_r50"),
    "initial_weights": ("a.pkl", "runs.Model.initial_weights", "a.pkl"),
    "dtype_policy": ("mixed_bfloat16", "runs.Model.dtype_policy", "mixed_bfloat16"),
    "batch_size": ("16", "%BATCH_SIZE", 16),
    "num_frames": ("8", "%NUM_FRAMES", 8),
    "crop_size": ("32", "%CROP_SIZE", 32),
    "stride": ("2", "clips.ClipSampling.stride", 2),
    "flip": ("True", "clips.ClipSampling.flip", True),
    "epochs": ("20", "%EPOCHS", 20),
    "boundaries": ("10, 15", "%BOUNDARIES", (10, 15)),
    "multigrid": ("false", "%SCHEDULE", None),
    "epoch_factor": ("1", "schedule.MultigridSchedule.epoch_factor", 1),
    "learning_rate": ("1e-2", "%LEARNING_RATE", 0.01),
    "warmup_epochs": ("auto", "learning_rate.MultigridLearningRate.warmup_epochs", "auto"),
    "optimizer": ("adamw", "runs.Optimization.optimizer", None),
    "weights": ("best", "runs.MultiViewTest.weights", "best"),
}


def test_all_settings_over_an_experiment():
    assert list(QUICKSTART) == list(named_settings.SETTINGS)
    set_over("quickstart", *(f"{name}={text}" for name, (text, _, _) in QUICKSTART.items()))
    for place, value in ((place, value) for _, place, value in QUICKSTART.values()):
        if value is not None:
            assert gin.query_parameter(place) == value, place
    assert resolved("%SCHEDULE").long_cycle == ()
    assert resolved("%SCHEDULE").base.crop_size == 32
    optimizer = resolved("runs.Optimization.optimizer")(learning_rate=0.1)
    assert isinstance(optimizer, optimizers.AdamW)
    network = resolved("runs.Model.model")(classes=7)
    assert network.name == "c2d_8x8_r50"


def test_every_example_is_a_value():
    for name, setting in named_settings.SETTINGS.items():
        assert named_settings.parse([f"{name}={setting.example}"])[name]


@pytest.mark.parametrize("kind", ["sgd", "adamw", "lamb", "lion", "muon"])
def test_optimizers_by_name(kind):
    set_over("quickstart", f"optimizer={kind}")
    classes = {"sgd": "ReferenceSGD", "adamw": "AdamW", "muon": "Muon"}
    optimizer = resolved("runs.Optimization.optimizer")(learning_rate=0.1)
    assert type(optimizer).__name__ == classes.get(kind, kind.title())


def test_settings_of_a_published_experiment_take_its_own_names():
    arguments = ("model=slowfast_8x8_r50", "initial_weights=mine.pyth", "num_frames=32")
    set_over("i3d_charades_from_kinetics", *arguments)
    assert gin.query_parameter("%MODEL_NAME") == "slowfast_8x8_r50"
    assert gin.query_parameter("%INITIAL_WEIGHTS") == "mine.pyth"
    assert resolved("runs.Model.initial_weights") == "mine.pyth"
    assert resolved("schedule.Grid.num_frames") == 32


def test_settings_over_a_file_that_uses_no_macros(tmp_path):
    own = tmp_path / "own.gin"
    own.write_text(
        "from __gin__ import dynamic_registration\n"
        "from keras_multigrid import runs\n"
        "runs.Settings.run_dir = 'runs/own'\n"
    )
    set_over(str(own), "epochs=12", "run_dir=there", "model=i3d_8x8_r50")
    assert gin.query_parameter("schedule.MultigridSchedule.epochs") == 12
    assert gin.query_parameter("runs.Settings.run_dir") == "there"
    assert gin.query_parameter("runs.MultiViewTest.run_dir") == "there"
    assert gin.query_parameter("models.create.name") == "i3d_8x8_r50"


def test_a_binding_goes_over_a_setting_and_the_last_setting_over_the_first():
    set_over("quickstart", "epochs=12", "epochs=13", "seed=1", bindings=["EPOCHS = 14"])
    assert gin.query_parameter("%EPOCHS") == 14
    assert named_settings.parse(["epochs=12", "epochs=13"]) == {"epochs": "13"}


def test_texts_need_no_quotes_and_lose_those_of_gin():
    values = named_settings.parse(["run_dir='runs/a'", 'data_dir="b"', "weights=it's"])
    assert values == {"run_dir": "'runs/a'", "data_dir": "'b'", "weights": '"it\'s"'}
    assert named_settings.parse(["boundaries=()"]) == {"boundaries": "()"}
    assert named_settings.parse(["boundaries=(4,)"]) == {"boundaries": "(4,)"}


COUNTS = ("workers", "batch_size", "num_frames", "crop_size", "stride", "epochs")


@pytest.mark.parametrize(
    "argument, parts",
    [
        ("epoch=3", ["no setting 'epoch'", "Do you mean epochs", '--gin_param="epoch=3"']),
        ("EPOCHS=3", ["Do you mean epochs"]),
        ("zzz=3", ["There are run_dir, data_dir", '--gin_param="zzz=3"']),
        ("min_crop=3", ['--gin_param="schedule.MultigridSchedule.min_crop=3"']),
        ("runs.Settings.seed=3", ["no setting", '--gin_param="runs.Settings.seed=3"']),
        ("epochs=many", ["must be a whole number", "Received: epochs=many", "epochs=20"]),
        ("epochs=1.5", ["must be a whole number"]),
        *((f"{name}=0", [f"{name} must be a whole number of at least 1"]) for name in COUNTS),
        ("seed=-1", ["must be a whole number of at least 0"]),
        ("boundaries=0,3", ["must be whole numbers above 0"]),
        ("learning_rate=nan", ["must be a number above 0", "learning_rate=0.02"]),
        ("learning_rate=0", ["must be a number above 0"]),
        ("epoch_factor=-1", ["must be a number above 0"]),
        ("warmup_epochs=some", ["must be a number of at least 0, or auto"]),
        ("warmup_epochs=-1", ["must be a number of at least 0, or auto"]),
        ("boundaries=1,x", ["must be whole numbers above 0 with commas", "boundaries=10,15"]),
        ("run_dir=", ["must be a text", "run_dir=runs/mine"]),
        ("flip=maybe", ["must be one of true, false"]),
        ("optimizer=adam", ["must be one of sgd, adamw, lamb, lion, muon"]),
        ("dtype_policy=half", ["must be one of float32, mixed_bfloat16, mixed_float16"]),
        (
            "model=slowfast_8x8",
            [
                "must be a network's name, such as slowfast_8x8_r50 or",
                "Received: model=slowfast_8x8",
            ],
        ),
    ],
)
def test_what_cannot_be_meant(argument, parts):
    with pytest.raises(app.UsageError) as error:
        named_settings.parse([argument])
    for part in parts:
        assert part in str(error.value)


def test_a_setting_that_an_experiment_does_not_have():
    with pytest.raises(app.UsageError, match=r"It has FRAMES, TRAIN_LIST, VALIDATION_LIST: use"):
        set_over("i3d_charades", "data_dir=/data/charades")


def test_arguments_are_taken_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    arguments = ["a.mp4", "run_dir=x=y", "a=b.mp4", "s3://bucket/a.mp4?key=1", "./c=d.mp4"]
    given, others = named_settings.split(arguments)
    assert given == ["run_dir=x=y"]
    assert others == ["a.mp4", "a=b.mp4", "s3://bucket/a.mp4?key=1", "./c=d.mp4"]
    assert named_settings.parse(given) == {"run_dir": "'x=y'"}


def test_all_networks_are_known():
    for name in models.names():
        assert named_settings.parse([f"model={name}"]) == {"model": f"'{name}'"}


def test_a_probe_names_what_would_go_over_its_choice():
    bindings = (
        "schedule.MultigridSchedule.short_cycle = ()\n"
        "schedule.MultigridSchedule.min_crop = 45\n"
        "learning_rate.MultigridLearningRate.scaling = 'sqrt'\n"
    )
    given = ["epochs=3", "boundaries=1,2", "warmup_epochs=3"]
    params = [
        "MultigridSchedule.short_cycle = (0.5,)",
        "schedule.MultigridSchedule.min_crop=45",
        "BOUNDARIES=(1, 2)",
        "runs.Settings.seed=1",
    ]
    assert probe.set_over(bindings, given, params) == [*given[1:], params[0], params[2]]


def test_a_probe_takes_the_kind_of_optimizer_from_its_setting():
    given = ["epochs=3", "optimizer=sgd", "optimizer=AdamW"]
    assert probe.kind_of_optimizer(given) == "adamw"
    assert probe.kind_of_optimizer(["epochs=3"]) is None
