"""`probe()` on real encoded videos, by tiny runs."""

import dataclasses
import functools
import json
import math

import keras
import pytest

from keras_multigrid import Grid, MultigridLearningRate, MultigridSchedule, ReferenceSGD
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.lists.folders import class_folders
from keras_multigrid.data.synthetic.videos import write_videos
from keras_multigrid.runs import Data, Model, Optimization, Settings, probe
from keras_multigrid.runs.learned_by_phase import learned_by_phase
from keras_multigrid.runs.probing import _decide, _of_work, candidates
from keras_multigrid.runs.report import Report
from keras_multigrid.task import Task

# More than 8 frames: the rule would keep fewer, and growths of 0 and 0.5 would be the same.
BASE = Grid(batch_size=4, num_frames=16, crop_size=32)
SCHEDULE = MultigridSchedule(BASE, num_clips=24, epochs=40, boundaries=(20, 30))


def small(classes, classifier_activation):
    """Most of a short run is tracing: nothing of the network is checked."""
    return keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(4, 3, strides=2, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(classes, activation=classifier_activation),
        ]
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root = tmp_path_factory.mktemp("probe")
    write_videos(root, num_train=24, num_validation=12, processes=1)
    return Settings(
        run_dir=str(root / "run"),
        data=Data(
            videos=class_folders(root / "train", validation=root / "validation"),
            sampling=ClipSampling(flip=False),
            keep_decoded=True,
        ),
        model=Model(model=small),
        optimization=Optimization(
            schedule=SCHEDULE,
            learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.01),
            optimizer=functools.partial(ReferenceSGD, momentum=0.9),
            # There is no batch normalization.
            precise_batches=0,
        ),
    )


def read(settings, name):
    with open(f"{settings.run_dir}/probe/{name}", encoding="utf-8") as file:
        return file.read()


def test_a_probe_that_pays_for_no_warmup_trains_nothing(settings):
    result = probe(settings)
    assert (result.answer, result.choice, result.work, result.runs) == (
        "cannot tell",
        "rule",
        0,
        [],
    )
    # 240 steps of the baseline. Two rounds of four candidates need 200 each in the first.
    assert result.needed_work == 1600
    assert "--work=1600" in str(result)
    assert "candidate" not in str(result)  # No table without rows.
    assert json.loads(read(settings, "probe.json"))["answer"] == "cannot tell"


@pytest.mark.slow
def test_halving_at_equal_work(settings):
    result = probe(settings, work=80, least_work=10)
    rounds = [[run for run in result.runs if run["round"] == number] for number in (1, 2)]
    assert [len(runs) for runs in rounds] == [4, 2]
    # Half of the work each, evenly shared.
    for runs, share in zip(rounds, (10, 20), strict=True):
        for run in runs:
            assert run["work"] == pytest.approx(share, abs=1), run
            assert run["error"] > 0
    best = sorted(rounds[0], key=lambda run: (run["result"], -run["loss"]), reverse=True)[:2]
    assert {run["candidate"] for run in rounds[1]} == {run["candidate"] for run in best}
    assert result.work == pytest.approx(sum(run["work"] for run in result.runs))
    assert set(result.learning) == {run["candidate"] for run in best}
    assert "± error" in str(result)
    # Finished runs are not run again, and say the same.
    assert probe(settings, work=80, least_work=10) == result
    # Another probe has runs of its own.
    assert probe(settings, work=60, least_work=5).work == pytest.approx(60, abs=4)
    probe(settings, work=80, least_work=10)
    bindings = read(settings, "schedule.gin")
    assert f"MultigridSchedule.batch_growth = {result.schedule.batch_growth!r}" in bindings
    assert "warmup_epochs = 'auto'" in bindings


@pytest.mark.parametrize(
    "optimizer, own, scaling",
    [(None, "sqrt", "sqrt"), (None, "linear", "linear"), ("adamw", "linear", "sqrt")],
)
def test_the_rate_grows_as_in_the_experiment_unless_told(settings, optimizer, own, scaling):
    optimization = dataclasses.replace(
        settings.optimization,
        learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.01, scaling=own),
    )
    result = probe(dataclasses.replace(settings, optimization=optimization), optimizer=optimizer)
    assert result.scaling == scaling
    assert f"scaling = '{scaling}'" in read(settings, "schedule.gin")


def test_what_is_kept_no_candidate_changes(settings):
    own = dataclasses.replace(SCHEDULE, min_crop=32, batch_growth=0.5, epoch_factor=2.0)
    optimization = dataclasses.replace(settings.optimization, schedule=own)
    kept = ("min_crop", "batch_growth")
    result = probe(dataclasses.replace(settings, optimization=optimization), kept=kept)
    chosen = result.schedule
    assert (chosen.min_crop, chosen.batch_growth) == (32, 0.5)
    # The rule's: less than the 2 of the run.
    assert chosen.epoch_factor == 1.5
    # Two candidates in a single round.
    assert result.needed_work == 400


def test_the_chosen_schedule_has_exact_steps_whatever_the_experiment_has(settings):
    rounded = dataclasses.replace(SCHEDULE, num_clips=240, round_to_epochs=True)
    optimization = dataclasses.replace(settings.optimization, schedule=rounded)
    result = probe(dataclasses.replace(settings, optimization=optimization))
    assert not result.schedule.round_to_epochs
    assert "MultigridSchedule.round_to_epochs = False" in read(settings, "schedule.gin")


@pytest.mark.parametrize("labels", [(0, 0, 0, 0), (0, 1)])
def test_too_few_validation_videos_to_tell(settings, labels):
    videos = settings.data.videos
    few = [dataclasses.replace(videos.validation[0], label=label) for label in labels]
    data = dataclasses.replace(
        settings.data, videos=dataclasses.replace(videos, validation=tuple(few))
    )
    with pytest.raises(
        ValueError, match=rf"enough validation .*Received: {len(labels)} .*Use more"
    ):
        probe(dataclasses.replace(settings, data=data), work=1600)


@pytest.mark.parametrize("kept", [(), ("min_crop",)])
def test_no_candidate_is_more_work_than_the_baseline(kept):
    schedule = MultigridSchedule(
        Grid(batch_size=8, num_frames=16, crop_size=64), num_clips=60, epochs=40, min_crop=32
    )
    named = candidates(schedule, kept)
    assert list(named) == ["baseline", "rule", "growth 0.5", "growth 0"]
    for own in named.values():
        whole = dataclasses.replace(schedule, **own)
        assert whole.total_work <= 1.02 * 300
        assert whole.total_steps >= 298
        assert own.get("min_crop", 45) == 45 or not kept


def test_a_rule_that_leaves_nothing_coarser_is_the_baseline():
    base = Grid(batch_size=8, num_frames=16, crop_size=112)
    schedule = MultigridSchedule(base, num_clips=60, epochs=40, min_crop=112, min_frames=16)
    assert list(candidates(schedule, ("min_crop", "min_frames"))) == ["baseline"]


def test_candidates_that_are_all_the_baseline_are_refused(settings):
    optimization = dataclasses.replace(settings.optimization, schedule=SCHEDULE.baseline())
    small = dataclasses.replace(settings, optimization=optimization)
    with pytest.raises(ValueError, match=r"all of them are the baseline\. Use more frames"):
        probe(small, work=10)


def test_equal_candidates_are_tried_once():
    large = MultigridSchedule(
        Grid(batch_size=8, num_frames=32, crop_size=224), num_clips=10_000, epochs=10
    )
    named = candidates(large)
    # The rule's is the published one, of growth 1.
    assert list(named) == ["baseline", "rule", "growth 0.5", "growth 0"]


@pytest.mark.parametrize("num_clips", [60, 2903, 240_000])
@pytest.mark.parametrize("shares", [(), (1, 1, 1, 2)])
def test_equal_work_however_long_an_epoch_is(num_clips, shares):
    base = Grid(batch_size=8, num_frames=16, crop_size=64)
    schedule = MultigridSchedule(base, num_clips, epochs=10, phase_shares=shares)
    for name, own in candidates(schedule).items():
        short = _of_work(schedule, own, 200)
        assert short.total_work == pytest.approx(200, abs=1.5), name
        assert (set(short.grids) == {base}) == (name == "baseline")
        assert short.phases[-1].end_progress == 1


def outcome(candidate, result, number=1, error=0.02):
    loss = 1 - result
    return {
        "round": number,
        "candidate": candidate,
        "result": result,
        "error": error,
        "loss": loss,
    }


@pytest.mark.parametrize(
    "runs, expected",
    [
        # Chance is 1 / 12.
        ([outcome("baseline", 0.1), outcome("rule", 0.09)], ("cannot tell", "rule", 400)),
        ([outcome("baseline", 0.5), outcome("rule", 0.52)], ("cannot tell", "rule", 200)),
        ([outcome("baseline", 0.5), outcome("rule", 0.6)], ("multigrid", "rule", None)),
        ([outcome("baseline", 0.6), outcome("rule", 0.5)], ("baseline", "baseline", None)),
        # The baseline left in the first round, clearly beaten.
        (
            [outcome("baseline", 0.3), outcome("rule", 0.5), outcome("growth 0", 0.6, 2)],
            ("multigrid", "growth 0", None),
        ),
    ],
)
def test_decision(settings, runs, expected):
    assert _decide(runs, settings, 100) == expected


def test_an_error_to_minimize_is_refused(settings):
    videos = dataclasses.replace(settings.data.videos, task=Task(("speed",)))
    data = dataclasses.replace(settings.data, videos=videos)
    with pytest.raises(ValueError, match=r"`probe` compares .* 'loss' is to be minimized"):
        probe(dataclasses.replace(settings, data=data))


def test_what_each_grid_learned():
    schedule = MultigridSchedule(BASE, num_clips=400, epochs=10, base_share=0.25)
    steps = [round(schedule.total_steps * part / 15) for part in range(1, 16)]
    curve = [{"step": step, "val_loss": 3 - 0.01 * schedule.work_before(step)} for step in steps]
    report = Report(
        steps=steps[-1],
        baseline_steps=1000,
        seconds=1.0,
        curve=curve,
        metrics={},
        still_metrics=None,
        clips_per_second={},
        input_wait_share=0.0,
        bad_videos={},
        replaced_clips=0,
    )
    phases = learned_by_phase(schedule, report)
    assert [phase["grid"] for phase in phases] == [
        *(str(phase.base) for phase in schedule.phases[:4]),
        "4 x 16 x 32² alone",
    ]
    for phase in phases:
        assert phase["fall"] == pytest.approx(1.0)
        assert phase["error"] is None or math.isclose(phase["error"], 0, abs_tol=1e-6)
