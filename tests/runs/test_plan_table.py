import dataclasses

from test_plan import KINETICS, PUBLISHED, SHORT

from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.runs.plan import Device, make_plan
from keras_multigrid.runs.plan_table import format_plan


def test_table_of_the_published_schedule():
    lines = format_plan(make_plan(PUBLISHED, replicas=8)).splitlines()
    assert max(len(line) for line in lines) < 100
    # Two lines of header and a rule, 14 phases, a rule and the totals.
    assert " ".join(lines[3].split()) == (
        "1 25,623 25,623 73 512 x 8 x 158² 1024 x 112², 512 x 158² 0.01 to 0.8 8 64"
    )
    assert " ".join(lines[16].split()) == (
        "14 24,090 261,659 358 64 x 32 x 224² 256 x 112², 128 x 158² 0.0001 1 8"
    )
    assert set(lines[2]) == set(lines[17]) == {"-"}
    totals = "\n".join(lines[18:])
    assert "261,659  3.42 times fewer steps than the baseline's 896,011" in totals
    assert "261,051  in steps of the baseline: 3.43 times less than its 896,011" in totals
    assert "358  the baseline's 239" in totals
    assert "1.50 times the baseline's 57,344,704" in totals
    assert "1,024  clips, 128 on each of 8 replicas" in totals


def test_table_of_a_baseline():
    text = format_plan(make_plan(MultigridLearningRate(SHORT.baseline(), 0.1)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[3] == "1 16 16 2 8 x 4 x 16² - 0.1 1"
    assert lines[5] == "steps 16 as many as the baseline"
    assert lines[6] == "work 16 in steps of the baseline, as much as its 16"


def test_table_of_a_batch_that_grows_less():
    half = dataclasses.replace(KINETICS, batch_growth=0.5)
    lines = format_plan(make_plan(MultigridLearningRate(half, 0.1), replicas=8)).splitlines()
    assert max(len(line) for line in lines) < 100
    assert " ".join(lines[1].split()) == "phase steps epoch work base grid adds rate groups each"
    # 58 epochs of 239,975 // 192 = 1,249 steps, each 0.311264 of the work of the baseline's.
    assert " ".join(lines[3].split()) == (
        "1 72,442 58 22,548 192 x 8 x 158² 192 x 112², 192 x 158² 0.3 3 24"
    )


def test_fractions_of_epochs_have_one_decimal():
    exact = dataclasses.replace(KINETICS, round_to_epochs=False)
    rows = format_plan(make_plan(MultigridLearningRate(exact, 0.1))).splitlines()
    # 94 * (32/3) / 23 epochs, times 239 * 1.5 / (196 + 43 / 5.75 * 7/3).
    assert rows[3].split()[3] == "73.2"
    assert rows[16].split()[3] == "358.5"


def test_table_of_rates():
    device = Device(clips_per_second=30, parameters=34_566_488)
    text = format_plan(make_plan(PUBLISHED, replicas=8, device=device))
    assert max(len(line) for line in text.splitlines()) < 100
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "1 1.9 2,560 20,480 128 4.61" in rows
    assert "baseline 66.4 240 7,680 24 4.62" in rows
    assert "seconds a step 0.267 at 30 clips/s of the baseline's grid on one device" in rows
    assert "GB/s 0.907 each device sends, for the gradients of 34,566,488 parameters" in rows
    assert "time 19.4 hours the baseline's 66.4 hours; input, validation not counted" in rows


def test_one_device_sends_nothing():
    device = Device(clips_per_second=1, parameters=1000)
    plan = make_plan(PUBLISHED, device=device)
    assert plan["rates"]["gradient_bytes_per_second"] == 0
    text = format_plan(plan)
    assert "GB/s  " not in text
    # 64 s a step: 261,659 and 896,011 of them.
    assert "194 days  the baseline's 664 days" in text


def test_the_warning_names_the_groups_of_the_schedule():
    four = dataclasses.replace(SHORT, clips_per_group=4)
    plan = make_plan(MultigridLearningRate(four, 0.1), replicas=4)
    assert [phase["groups"] for phase in plan["phases"]] == [1]
    # 8 clips on 4 replicas: 2 replicas of 2 clips make a group of 4.
    assert format_plan(plan).splitlines()[-1] == (
        "warning: fewer than 4 clips a replica: statistics are those of 2 neighbours in phase 1"
    )
